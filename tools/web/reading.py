"""Notebooks and pages on their way into Sphinx: each pass changes what is read.

A pass takes the notebook and the Sphinx application with the name of the page, and may
change the notebook. It never touches the file.
"""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat

_NOTEBOOKS: list[Callable] = []
_TEXTS: list[Callable] = []
_FINISHED: list[Callable] = []


def notebook_pass(function: Callable) -> Callable:
    """Let ``function(notebook, page, app)`` change each notebook that is read."""
    _NOTEBOOKS.append(function)
    return function


def text_pass(function: Callable) -> Callable:
    """Let ``function(text, page, app)`` return each Markdown text that is read.

    Such texts are the pages that are no notebooks, and the Markdown cells of notebooks.
    """
    _TEXTS.append(function)
    return function


def finished_pass(function: Callable) -> Callable:
    """Let ``function(text)`` return each finished HTML page; twice does no more than once."""
    _FINISHED.append(function)
    return function


def finish(app, failed) -> None:
    """Change the pages that are written, those of an earlier build too."""
    if failed or app.builder.format != "html":
        return
    for file in Path(app.outdir).rglob("*.html"):
        text = new = file.read_text(encoding="utf-8")
        for change in _FINISHED:
            new = change(new)
        if new != text:
            file.write_text(new, encoding="utf-8", newline="\n")


def read(app, page: str, content: list[str]) -> None:
    """What Sphinx calls with each source; ``content`` holds one text."""
    if not app.env.doc2path(page).endswith(".ipynb"):
        content[0] = _changed(content[0], page, app)
        return
    notebook = nbformat.reads(content[0], as_version=4)
    for change in _NOTEBOOKS:
        change(notebook, page, app)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _changed(cell.source, page, app)
    content[0] = json.dumps(notebook)


def _changed(text: str, page: str, app) -> str:
    for change in _TEXTS:
        text = change(text, page, app)
    return text


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("build-finished", finish)
