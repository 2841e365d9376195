"""The Sphinx extension of the book's site: each file does one thing to the pages.

The notebooks stay as they are; what the site shows differently is made here, while it is
built. ``_config.yml`` names this folder, so a plain ``jupyter-book build`` has it, too.
"""

from . import (
    bundle,
    cells,
    code,
    exercises,
    figures,
    formulas,
    glossary,
    head,
    media,
    meta,
    moved,
    navigation,
    reading,
    search,
    source,
    tables,
)

PARTS = (
    reading,
    cells,
    code,
    tables,
    formulas,
    meta,
    head,
    media,
    source,
    glossary,
    search,
    moved,
    navigation,
    figures,
    bundle,
)


def setup(app):
    """Called by Sphinx: set up each part."""
    for part in PARTS:
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
