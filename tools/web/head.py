"""The head of each page: no script that the book does not use, and a first view that is right.

Jupyter Book always loads Thebe (live code), names another host for it, and names it twice,
which is an error in every reader's browser. The theme loads all icons of FontAwesome as a
script of 1.5 MB, although its style draws them. And it sets light or dark by scripts that
come late, so that a page is dark on dark until then.
"""

import re

from .reading import finished_pass

FIRST = """<script>
(function (root) {
  var stored = null;
  try { stored = localStorage.getItem("mode"); } catch (error) {}
  var dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  var chosen = stored === "light" || stored === "dark" ? stored : dark ? "dark" : "light";
  root.dataset.mode = stored || "auto";
  root.dataset.theme = chosen;
})(document.documentElement);
</script>"""
CHANGES = (  # what finished pages have, and what they shall have
    (
        re.compile(r'<html([^>]*?)\s*(?:data-theme="\w*")?\s*>', re.S),
        r'<html\1 data-theme="light">',
    ),
    (re.compile(r'<script data-cfasync="false">.*?</script>', re.S), FIRST),
    (re.compile(r'\s*<script src="[^"]*fontawesome[^"]*"></script>'), ""),
    (re.compile(r'\s*<link rel="preload" as="font"[^>]*>'), ""),
    (re.compile(r'data-default-mode=""'), 'data-default-mode="auto"'),
)
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')


def lighten(app, page, template, context, doctree):
    """Drop Thebe from a page."""
    for kind in ("script_files", "css_files"):
        if kind in context:
            context[kind] = [file for file in context[kind] if not _is_thebe(file)]


def _is_thebe(file) -> bool:
    named = str(getattr(file, "filename", file) or "")
    body = str(getattr(file, "attributes", {}).get("body", ""))
    return "thebe" in named or "THEBE" in body


@finished_pass
def mended(text: str) -> str:
    """The text of a finished page, with the right head; mended twice is mended once."""
    head, mark, body = text.partition("</head>")
    for old, new in CHANGES:
        head = old.sub(new, head)
    body = body.replace('data-default-mode=""', 'data-default-mode="auto"')
    first = VIEWPORT.search(head)
    head = VIEWPORT.sub("", head)
    return (
        head.replace("</title>", f"</title>{first[0]}" if first else "</title>")
        + mark
        + body
    )


def setup(app):
    """Called by Sphinx."""
    app.connect("html-page-context", lighten, priority=900)
