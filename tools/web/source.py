"""Every line of the package on the site, woven with the chapters that explain it.

Each module has a page with its listing, made when all else is written, as the pages of
``sphinx.ext.viewcode`` are. Names of the package in chapters lead there; there, each
public name leads back to the chapters and exercises in which it stands.
"""

import functools
import re

import nbformat
from book import ROOT, notebooks, spoken

from .reading import text_pass
from .source_listing import (
    chapter_source,
    contents,
    listing,
    module_page,
    package_index,
)
from .source_marks import linked_code, linked_prose
from .source_package import Package, Target
from .source_uses import index, uses

HOME = "chapters/appendix/source"
CHAPTER = re.compile(r"chapters/\d-[^/]*/\d\d+_\w+")


@functools.cache
def package() -> Package:
    """The package as it is now; it is read once in a build."""
    return Package.read(ROOT / "mmbook")


@functools.cache
def read() -> dict[str, object]:
    """All notebooks by the page that shows them."""
    pages = [path.relative_to(ROOT).with_suffix("").as_posix() for path in notebooks()]
    return {page: nbformat.read(ROOT / f"{page}.ipynb", as_version=4) for page in pages}


@functools.cache
def standing() -> dict[Target, list[str]]:
    """The pages in which each name stands; a solution counts as its exercise."""
    pages = sorted(
        read(), key=lambda page: (page.startswith("chapters/exercises"), page)
    )
    named = [(page.replace("/solutions/", "/"), read()[page]) for page in pages]
    return index(named, package())


def label(page: str) -> str:
    """How a note names a page: "2.5", "exercises 2.5"."""
    number = spoken(ROOT / f"{page}.ipynb")
    return f"exercises {number}" if "/exercises/" in page else number


def page_of(module: str) -> str:
    """The page with the listing of a module."""
    return f"source/{module.replace('.', '/')}"


def address(app, page: str):
    """A function that gives the address of a target, seen from a page."""

    def href(target: Target) -> str:
        to = app.builder.get_relative_uri(page, page_of(target.module))
        return f"{to}#{target.name}" if target.name else to

    return href


def listings(app):
    """Called by Sphinx: the page of each module, with links to the one before and after."""
    if app.builder.format != "html":
        return
    modules = list(package().modules.values())
    for place, module in enumerate(modules):
        page = page_of(module.name)
        here = functools.partial(app.builder.get_relative_uri, page)
        there = [p for p in read() if p in app.env.found_docs]
        chapters = {label(p): here(p) for p in there if CHAPTER.fullmatch(p)}
        body = listing(
            module,
            package(),
            address(app, page),
            chapters,
            lambda target, there=there, here=here: [
                (label(p), here(p)) for p in standing().get(target, ()) if p in there
            ],
        )
        context = {
            "title": module.name,
            "body": module_page(module, body, here(HOME)),
            "toc": contents(module),
            "parents": [{"link": here(HOME), "title": "Source of the package"}],
        }
        for side, other in (("prev", place - 1), ("next", place + 1)):
            if 0 <= other < len(modules):
                name = modules[other].name
                title = name.removeprefix("mmbook.")
                context[side] = {"link": here(page_of(name)), "title": title}
        yield page, context, "page.html"


def weave(app, page, template, context, doctree):
    """Called by Sphinx for each page: link what it names, and list it at the end."""
    if doctree is None or "body" not in context or page == HOME:
        return
    href = address(app, page)
    body, scope = linked_code(context["body"], package(), href)
    body = linked_prose(body, package(), href, scope)
    if CHAPTER.fullmatch(page) and page in read():
        used = chapter_source(uses(read()[page], package()), package(), href)
        before, end, after = body.rpartition("</section>")
        body = before + used + end + after
    context["body"] = body


@text_pass
def placed(text, page, app):
    """The index of the package at the end of its page."""
    if page != HOME:
        return text
    return f"{text}\n\n{package_index(package(), address(app, page))}"


def outdated(app, env, added, changed, removed):
    """Called by Sphinx: the index, and all notebooks if a name is no longer where it was."""
    now = {Target(m.name, n) for m in package().modules.values() for n in m.definitions}
    gone = getattr(env, "mmbook_names", now) - now
    env.mmbook_names = now
    notebooks_too = [page for page in env.found_docs if gone and page in read()]
    return [*({HOME} & set(env.found_docs)), *notebooks_too]


def setup(app):
    """Called by Sphinx."""
    app.connect("env-get-outdated", outdated)
    app.connect("html-page-context", weave)
    app.connect("html-collect-pages", listings)
