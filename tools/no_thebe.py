"""A Sphinx extension for the site: leave out Thebe (live code), which the book does not use.

Jupyter Book always loads it, names another host for it, and names it twice, which is an
error in every reader's browser.
"""


def without_thebe(app, page, template, context, doctree):
    """Drop Thebe's scripts and style from a page."""
    for kind in ("script_files", "css_files"):
        if kind in context:
            context[kind] = [file for file in context[kind] if not _is_thebe(file)]


def _is_thebe(file) -> bool:
    named = str(getattr(file, "filename", file) or "")
    body = str(getattr(file, "attributes", {}).get("body", ""))
    return "thebe" in named or "THEBE" in body


def setup(app):
    """Called by Sphinx."""
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
