"""Numbers in tables: what belongs together stays on one line of a narrow column."""

from .reading import notebook_pass

SPREAD = "± "
KEPT = "±\N{NO-BREAK SPACE}"


@notebook_pass
def keep_spreads(notebook, page, app):
    """A line may break before "± 0.03", not within it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = kept(data["text/html"])


def kept(html):
    """The text of an output, or its lines, with spreads in one piece."""
    if isinstance(html, list):
        return [kept(line) for line in html]
    return html.replace(SPREAD, KEPT)


def setup(app):
    """Nothing to connect: the pass is called when a page is read."""
