"""One style sheet for a page, and no script that holds up its first view.

The theme and its parts name twenty style sheets and a dozen scripts in each head, two of
them twice. A phone asks for each of them before it draws. Here the style sheets of a page
become one, each script is named once and waits until the page is read, and FontAwesome's
font keeps the few icons that the book shows.
"""

import hashlib
import os
import re
from functools import cache
from pathlib import Path

from .icons import NAME, icons

SHEET = re.compile(r'\s*<link(?=[^>]*rel="stylesheet")[^>]*href="([^"?]+)[^"]*"[^>]*>')
SCRIPT = re.compile(r'[ \t]*<script[^>]*\ssrc="([^"]+)"[^>]*></script>\n?')
PRELOAD = re.compile(r'\s*<link rel="preload" as="script"[^>]*>')
OPTIONS = re.compile(r'<script src="([^"?]*documentation_options\.js)[^"]*"></script>')
ADDRESS = re.compile(
    r"url\(\s*[\"']?(?!data:|#|https?:)([^\"')?#]+)([^\"')]*)[\"']?\s*\)"
)
ICONS = "all.min.css"  # FontAwesome's
INDEX = "searchindex.js"
IMPORT = re.compile(r'@import (?:url\()?"([^"]+)"\)?;')


def sheet(file: Path, folder: Path, text: str | None = None) -> str:
    """The text of a style sheet, with its imports in it and its addresses from ``folder``."""
    text = file.read_text(encoding="utf-8") if text is None else text
    text = IMPORT.sub(lambda found: sheet(file.parent / found[1], folder), text)

    def address(found):
        target = (file.parent / found[1]).resolve()
        return f'url("{Path(os.path.relpath(target, folder)).as_posix()}{found[2]}")'

    return text if file.parent == folder else ADDRESS.sub(address, text)


def bundled(page: Path, text: str, static: Path, used: set[str]) -> str:
    """The text of a page with one style sheet, which is written if it is new."""
    head, mark, body = text.partition("</head>")
    names = list(dict.fromkeys(SHEET.findall(head)))
    if len(names) < 2:
        return text
    files = tuple((page.parent / name).resolve() for name in names)
    root = names[0].partition("_static/")[0]
    name = _written(files, static.resolve(), frozenset(used))
    link = f'\n    <link rel="stylesheet" href="{root}_static/{name}" />'
    first = SHEET.search(head).start()
    head = SHEET.sub("", head[:first]) + link + SHEET.sub("", head[first:])
    return head + mark + body


@cache
def _written(files: tuple[Path, ...], static: Path, used: frozenset[str]) -> str:
    """The name of the one style sheet for several, which is written."""
    others = "".join(sheet(file, static) for file in files if file.name != ICONS)
    parts = []
    for file in files:
        text = icons(file, set(used), others) if file.name == ICONS else None
        parts.append(sheet(file, static, text))
    whole = "\n".join(parts)
    name = f"book-{hashlib.sha256(whole.encode()).hexdigest()[:8]}.css"
    (static / name).write_text(whole, encoding="utf-8", newline="\n")
    return name


def deferred(page: Path, text: str) -> str:
    """The text of a page whose scripts are named once and wait; its options stand in it.

    Scripts that wait run in the order in which they are named. Those that waited before
    ran after all others, so they are named last; so is the index of the search, which
    starts the search with whatever is there.
    """
    head, mark, body = text.partition("</head>")
    head = PRELOAD.sub("", head)
    head = OPTIONS.sub(lambda found: _inline(page.parent / found[1]), head)
    seen, last = set(), []

    def once(found):
        name = found[1].partition("?")[0]
        if name in seen:
            return ""
        seen.add(name)
        waits = " defer" in found[0]
        line = found[0] if waits else found[0].replace("<script ", "<script defer ", 1)
        if not waits and not name.endswith(INDEX):
            return line
        last.append(line.strip())
        return ""

    head, body = SCRIPT.sub(once, head), SCRIPT.sub(once, body)
    rest, end, tail = body.rpartition("</body>")
    return head + mark + rest + "\n".join(last) + end + tail


def _inline(file: Path) -> str:
    return f"<script>{file.read_text(encoding='utf-8').strip()}</script>"


def finish(app, failed) -> None:
    """Bundle the finished pages."""
    if failed or app.builder.name != "html":  # others are no pages for a phone
        return
    out = Path(app.outdir)
    pages = [page for page in out.rglob("*.html") if "_static" not in page.parts]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    scripts = [file.read_text(encoding="utf-8") for file in out.rglob("*.js")]
    used = {name for text in [*texts.values(), *scripts] for name in NAME.findall(text)}
    for page, text in texts.items():
        new = deferred(page, bundled(page, text, out / "_static", used))
        if new != text:
            page.write_text(new, encoding="utf-8", newline="\n")


def setup(app):
    """Called by Sphinx."""
    app.connect("build-finished", finish, priority=900)
