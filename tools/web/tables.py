"""Numbers in tables: what belongs together stays on one line of a narrow column."""

import re

from .reading import notebook_pass

SPREAD = "± "
INTERVAL = re.compile(r"(\[[-+−]?[\d.]+,) ([-+−]?[\d.]+\])")
KEPT = "±\N{NO-BREAK SPACE}"


@notebook_pass
def keep_spreads(notebook, page, app):
    """A line may break before "± 0.03" and before "[0.1, 0.3]", not within them."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = kept(data["text/html"])


def kept(html):
    """The text of an output, or its lines, with spreads in one piece."""
    if isinstance(html, list):
        return [kept(line) for line in html]
    html, found = INTERVAL.subn("\\1\N{NO-BREAK SPACE}\\2", html.replace(SPREAD, KEPT))
    return html.replace("<table>", '<table class="intervals">') if found else html


def setup(app):
    """Nothing to connect: the pass is called when a page is read."""
