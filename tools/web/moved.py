"""Where a page was under another address, a line that leads on.

Pages of solutions now stand below their tasks, and some chapters have another number.
"""

import re
from pathlib import Path

EXERCISES = re.compile(r"chapters/exercises/(\w+)")
NUMBERED_ANEW = {
    "4-mathematics/42_captioning_loss": "43_captioning_loss",
    "4-mathematics/43_other_losses": "44_contrastive_and_matching_losses",
    "exercises/42_captioning_loss": "43_captioning_loss",
    "exercises/43_other_losses": "44_contrastive_and_matching_losses",
}
TEXT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="0; url={target}">
<link rel="canonical" href="{target}">
<title>{title}</title>
</head>
<body>
<main><h1>{title}</h1>
<p>{text} <a href="{target}">Go on</a>.</p>
</main>
</body>
</html>
"""
SOLUTIONS = "The solutions have moved", "They stand below their tasks."
CHAPTER = "This page has moved", "The chapter has another number now."


def addresses(pages: set[str]) -> dict[str, tuple]:
    """Old addresses below ``chapters/``, each with its target, a title and a text."""
    old = {}
    for page in pages:
        if found := EXERCISES.fullmatch(page):
            name = found[1]
            old[f"exercises/solutions/{name}"] = (f"../{name}.html", *SOLUTIONS)
    for page, name in NUMBERED_ANEW.items():
        old[page] = (f"{name}.html", *CHAPTER)
    return old


def redirect(app, failed) -> None:
    """Write a page at each old address."""
    if failed or app.builder.format != "html":
        return
    for page, (target, title, text) in addresses(app.env.found_docs).items():
        path = Path(app.outdir, "chapters", f"{page}.html")
        path.parent.mkdir(parents=True, exist_ok=True)
        html = TEXT.format(target=target, title=title, text=text)
        path.write_text(html, encoding="utf-8", newline="\n")


def setup(app):
    """Called by Sphinx."""
    app.connect("build-finished", redirect, priority=400)
