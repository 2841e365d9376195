"""Figures with a number, a caption and a description, for wide and narrow screens.

What a figure says stands beside it in the notebook: ``plots.Plot`` puts caption and
alternative text into the metadata of the output, and a narrow drawing under a kind of
its own. Here all this becomes ``<figure>``; the colours follow the page's theme.
"""

import base64
import hashlib
import os
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from docutils import nodes

from .figures_svg import completed, pixels, size, themed, written
from .reading import notebook_pass

NARROW = "application/vnd.mmbook.narrow+xml"
KINDS = ("image/svg+xml", "image/png", "image/jpeg", "image/gif")
PHONE = 360  # pixels; wider figures are drawn anew for a phone, or scroll there
PAGE = re.compile(r"(?:.*/)?([1-9])([1-9]\d*)_\w+")
INLINE = re.compile(r"`([^`]+)`|\$([^$]+)\$|\*([^*]+)\*")


@dataclass
class Said:
    """What is known about a figure besides its picture."""

    caption: str = ""
    alt: str = ""
    narrow: str = ""
    size: tuple[int, int] | None = None


class numbered(nodes.figure):
    """A figure with a number of the book's own."""


class picture(nodes.image):
    """An image that has a narrow version, a size and a place on the page."""


_read: dict[str, dict[str, list[Said]]] = {}  # by page, and by the picture's file


@notebook_pass
def prepare(notebook, page, app):
    """Give the drawings both themes, and keep what the outputs say about them."""
    found = _read[page] = defaultdict(list)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            narrow = _text(data.pop(NARROW, ""))
            for kind in KINDS:
                if kind in data:
                    data[kind], name, said = _prepared(kind, data[kind], narrow, output)
                    found[name].append(said)


def _prepared(kind: str, content, narrow: str, output) -> tuple[str, str, Said]:
    """An image for the site, the name of its file, and what is said about it."""
    meta = output.get("metadata", {}).get(kind, {})
    said = Said(caption=meta.get("caption", ""), alt=meta.get("alt", ""))
    if kind != "image/svg+xml":
        data = base64.b64decode(content)
        said.size = pixels(data)
        return content, hashlib.sha256(data).hexdigest(), said
    svg = _text(content)
    said.alt, said.size = said.alt or written(svg), size(svg)
    said.narrow = themed(completed(narrow, svg)) if narrow else ""
    svg = themed(svg)
    data = os.linesep.join(svg.splitlines()).encode()  # as MyST-NB names the file
    return svg, hashlib.sha256(data).hexdigest(), said


def _text(content) -> str:
    return content if isinstance(content, str) else "".join(content)


def chapter(page: str) -> str:
    """The number before those of a page's figures: "2.5", or "E2.5" of exercises."""
    found = PAGE.fullmatch(page)
    if not found:
        return ""
    kind = {"exercises": "E", "solutions": "S"}
    folder = posixpath.basename(posixpath.dirname(page))
    return f"{kind.get(folder, '')}{found[1]}.{found[2]}"


def number(app, doctree):
    """Turn the images of a notebook's outputs into numbered figures."""
    page, count, bundle = app.env.docname, 0, None
    found = _read.pop(page, {})
    for image in list(doctree.findall(nodes.image)):
        if not _in_output(image):
            continue
        together = image.parent.parent  # kinds of one output: only one is shown
        count += together is not bundle or together.get("nb_element") != "mime_bundle"
        bundle = together
        known = found.get(Path(image["uri"]).stem)
        said = known.pop(0) if known else Said()
        image.replace_self(figure(image, said, chapter(page), count))


def _in_output(node) -> bool:
    while node.parent is not None:
        node = node.parent
        if "cell_output" in node.get("classes", ()):
            return True
    return False


def figure(image, said: Said, prefix: str, count: int) -> numbered:
    """A figure of an image and what is said about it."""
    name = f"{prefix}.{count}" if prefix else str(count)
    shown = picture("", **image.attributes)
    spoken = f"Figure {count} of chapter {prefix}" if prefix else f"Figure {count}"
    shown["alt"] = said.alt or spoken
    shown["narrow"], shown["size"], shown["count"] = said.narrow, said.size, count
    caption = nodes.caption("", "")
    label = f"Figure {name}" + (":" if said.caption else "")
    caption += nodes.inline("", label, classes=["figure-number"])
    if said.caption:
        caption += [nodes.Text(" "), *inline(said.caption)]
    anchor = "figure-" + name.lower().replace(".", "-")
    return numbered("", shown, caption, ids=[anchor], classes=["book-figure"])


def inline(text: str) -> list[nodes.Node]:
    """A caption with `code`, $formulas$ and *emphasis*."""
    found, end = [], 0
    for match in INLINE.finditer(text):
        found.append(nodes.Text(text[end : match.start()]))
        code, tex, stressed = match.groups()
        kind = nodes.literal if code else nodes.math if tex else nodes.emphasis
        words = code or tex or stressed
        found.append(kind(words, words))
        end = match.end()
    return [*found, nodes.Text(text[end:])]


def visit_html(self, node):
    """``<picture>``: the narrow drawing on a phone, else the wide one.

    An EPUB has the wide image alone. (A node with a visitor for ``epub`` would take from
    Sphinx those that other parts have for ``html``.)
    """
    narrow, builder = node.get("narrow"), self.builder
    if builder.name == "epub":
        self.visit_image(node)
        return
    wide = f"{builder.imgpath}/{quote(builder.images[node['uri']])}"
    shown = f'<img src="{wide}"{attributes(node)}/>'
    if narrow:
        name = f"{Path(wide).stem}-narrow.svg"
        folder = Path(builder.outdir) / builder.imagedir
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(narrow, encoding="utf-8")
        across, up = size(narrow) or (PHONE, PHONE)
        shown = (
            f'<picture><source media="(max-width: 600px)" width="{across}" '
            f'height="{up}" srcset="{builder.imgpath}/{name}"/>{shown}</picture>'
        )
    elif (node["size"] or (0, 0))[0] > PHONE:
        shown = f'<div class="figure-scroll" tabindex="0">{shown}</div>'
    self.body.append(shown)
    raise nodes.SkipNode


def attributes(node) -> str:
    """Description and size of an image; all but the first of a page may come later."""
    text = f' alt="{escape(node["alt"], quote=True)}"'
    if node["size"]:
        text += ' width="{}" height="{}"'.format(*node["size"])
    return text + (' loading="lazy" decoding="async"' if node["count"] > 1 else "")


def leave_html(self, node):
    """After a plain image."""
    self.depart_image(node)


def setup(app):
    """Called by Sphinx."""
    app.add_node(picture, html=(visit_html, leave_html))
    app.add_node(numbered)
    app.connect("doctree-read", number, priority=600)  # when images have been found
    app.add_css_file("figures.css")
