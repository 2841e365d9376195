"""What a page says of itself: description, card, address, and a stamp at its end.

While the repository has no address (it is still ``OWNER``), nothing of the site points to
it: no button, no "report a problem", no canonical address.
"""

import html
import json
import re
from pathlib import Path
from urllib.parse import quote, urlencode

from docutils import nodes

ROOT = Path(__file__).parent.parent.parent
CARD = "_static/card.png"
BOOK = "Multimodal large models"
SILENT = ("404.html", "search.html", "genindex.html")  # no page to be found
MAP = """<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{}</urlset>
"""
LOST = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Page not found</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.6 Georgia, serif; max-width: 34rem; margin: 15vh auto; padding: 1rem }}
</style></head><body><main><h1>There is no such page</h1>
<p>It may have been moved. <a href="{}">Go to the front page of the book</a>, where all
chapters are listed.</p></main></body></html>
"""
NAMED = ("torch", "transformers")  # the versions that the stamp tells
NUMBER = re.compile(r"(?:^|/)(\d)(\d+)_\w+$")


def configure(app, config) -> None:
    """Hide the buttons that lead to the repository, if it has no address yet."""
    options = config.html_theme_options
    if "OWNER" in options.get("repository_url", ""):
        for name in ("use_repository_button", "use_issues_button", "launch_buttons"):
            options.pop(name, None)
    elif not config.html_baseurl:
        owner, name = options["repository_url"].rstrip("/").split("/")[-2:]
        config.html_baseurl = f"https://{owner}.github.io/{name}/"


def describe(app, page, template, context, doctree) -> None:
    """Fill the head of a page, and put the stamp below its text."""
    if doctree is None:
        return
    text, address = first_sentences(doctree), context.get("pageurl")
    context["metatags"] = context.get("metatags", "") + tags(
        context.get("title", BOOK), text, address
    )
    context["title"] = re.sub(r"<[^>]+>", "", context.get("title", ""))
    if mark := stamp(page, repository(app)):
        context["body"] = context.get("body", "") + mark


def first_sentences(doctree, limit: int = 180) -> str:
    """The first paragraph of prose on a page, cut at the end of a sentence or a word."""
    for node in doctree.findall(nodes.paragraph):
        text = " ".join(node.astext().split())
        inside = any(isinstance(n, nodes.list_item | nodes.entry) for n in _above(node))
        if len(text) >= 60 and not inside and "Chapter" not in text[:8]:
            break
    else:
        return ""
    if len(text) <= limit:
        return text
    whole = text[: limit + 1].rpartition(". ")[0]
    return f"{whole}." if len(whole) > 60 else text[:limit].rpartition(" ")[0] + " …"


def _above(node):
    while node.parent is not None:
        node = node.parent
        yield node


def tags(title: str, text: str, address: str | None) -> str:
    """Description and social card."""
    title = re.sub(r"<[^>]+>", "", title)
    entries = [
        ("name", "description", text),
        ("property", "og:title", title),
        ("property", "og:site_name", BOOK),
        ("property", "og:type", "article"),
        ("property", "og:description", text),
        ("name", "twitter:card", "summary_large_image"),
    ]
    if address:  # a card needs a whole address
        base = address.split("/chapters/")[0]
        entries.append(("property", "og:url", address))
        entries.append(("property", "og:image", f"{base}/{CARD}"))
    return "\n".join(
        f'<meta {kind}="{name}" content="{html.escape(value, quote=True)}" />'
        for kind, name, value in entries
        if value
    )


def repository(app) -> str | None:
    """The address of the repository; None while it has none."""
    found = app.config.html_theme_options.get("repository_url", "")
    return None if not found or "OWNER" in found else found


def stamp(page: str, address: str | None) -> str:
    """When and with what a chapter was executed, in which time; where to report."""
    run = _runs().get(f"{page.removeprefix('chapters/')}.ipynb")
    if not run:
        return ""
    versions = ", ".join(f"{name} {run['versions'][name]}" for name in NAMED)
    how = f"{run['seconds']} s and {run['gib']} GiB on {run['hardware']}"
    parts = [f"Executed on {run['date']} in {how}", versions]
    if studies := studies_of(ROOT / f"{page}.ipynb"):
        parts.append("studies: " + ", ".join(studies))
    parts.append("text CC BY 4.0, code MIT")
    if address:
        found = NUMBER.search(page)
        named = f"{found[1]}.{found[2]}" if found else page
        body = f"Chapter {named}, executed on {run['date']} with {versions}.\n\n"
        asked = urlencode({"title": f"{named}: ", "body": body}, quote_via=quote)
        parts.append(f'<a href="{address}/issues/new?{asked}">report a problem</a>')
    return f'<p class="stamp">{" · ".join(parts)}</p>'


def studies_of(notebook: Path) -> list[str]:
    """The studies whose results a chapter shows."""
    text = notebook.read_text(encoding="utf-8")
    return sorted(set(re.findall(r"load\(\\?[\"'](\w+)\\?[\"']\)", text)))


def _runs() -> dict[str, dict]:
    """The last run of each chapter, by its file: ``1-background/11_….ipynb``."""
    file = ROOT / "chapters" / "appendix" / "run_times.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def finish(app, failed) -> None:
    """Write a map of the site for search engines, if it has an address, and a 404 page."""
    if failed or app.builder.name != "html":
        return
    base, folder = app.config.html_baseurl, Path(app.outdir)
    (folder / "404.html").write_text(LOST.format(base or "/"), encoding="utf-8")
    if base:
        found = sorted(page.relative_to(folder) for page in folder.rglob("*.html"))
        shown = [p.as_posix() for p in found if p.name not in SILENT]
        entries = "".join(f"<url><loc>{base}{page}</loc></url>\n" for page in shown)
        (folder / "sitemap.xml").write_text(MAP.format(entries), encoding="utf-8")
        robots = f"User-agent: *\nSitemap: {base}sitemap.xml\n"
        (folder / "robots.txt").write_text(robots, encoding="utf-8")


def setup(app):
    """Called by Sphinx."""
    app.connect("build-finished", finish)
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", describe, priority=950)
