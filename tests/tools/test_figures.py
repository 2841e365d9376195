"""Figures of the site: number, caption, description, both themes, a narrow version."""

import base64
import functools
import http.server
import io
import shutil
import sys
import threading
from itertools import product
from pathlib import Path

import nbformat
import normalise
import pytest
from docutils import nodes
from PIL import Image
from web import figures
from web.figures_svg import completed, pixels, size, themed, written

from mmbook.notebook.plots.colours import BLUE, DARK, INK

SVG = (
    '<svg width="518.4pt" height="96pt" xmlns="http://www.w3.org/2000/svg">'
    f'<path style="stroke: {BLUE}"/><text style="fill: {INK}">loss &amp; rate</text>'
    "<text>0.5</text><text>step</text></svg>\n"
)
NARROW = '<svg width="270pt" height="200pt"><text>narrow</text></svg>\n'


def png(dpi=None):
    """A picture file of 40 by 20 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(
        buffer, "PNG", **({"dpi": (dpi, dpi)} if dpi else {})
    )
    return buffer.getvalue()


def output(data, **said):
    """An output of a notebook with one image."""
    kind = next(iter(data))
    metadata = {kind: said} if said else {}
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def notebook(*outputs):
    cells = [nbformat.v4.new_code_cell("draw()", outputs=[o]) for o in outputs]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_drawing_is_light_where_the_page_is_dark():
    svg = themed(SVG)
    assert svg.index("<style>") < svg.index("<path")
    assert f'[style*="stroke: {BLUE}"]{{stroke:{DARK[BLUE]}!important}}' in svg
    assert f'[style*="fill: {INK}"]{{fill:{DARK[INK]}!important}}' in svg
    assert "screen and (prefers-color-scheme:dark)" in svg
    assert f"stroke: {INK}" not in svg  # no rule for what is not there
    old = themed('<svg><text style="fill: #767676">x</text></svg>')
    assert f"fill:{DARK[INK]}" in old
    assert themed("<svg><g/></svg>") == "<svg><g/></svg>"


def test_sizes_are_those_of_the_page():
    assert size(SVG) == (691, 128)
    assert size("<svg><g/></svg>") is None
    assert pixels(png()) == (40, 20) and pixels(png(192)) == (20, 10)
    assert pixels(b"no picture") is None


def test_a_narrow_drawing_gets_the_pictures_of_the_wide_one():
    wide = '<image xlink:href="data:a"/><image xlink:href="data:b"/>'
    assert completed('<image xlink:href="wide:1"/>', wide) == (
        '<image xlink:href="data:b"/>'
    )


def test_words_of_a_drawing_describe_it_if_nothing_else_does():
    assert written(SVG) == "loss & rate; step"
    assert written("<svg><path/></svg>") == ""


@pytest.mark.parametrize(
    "page, expected",
    [
        ("chapters/2-concepts/25_fusion", "2.5"),
        ("chapters/6-applications/610_code", "6.10"),
        ("chapters/exercises/25_fusion", "E2.5"),
        ("chapters/exercises/solutions/25_fusion", "S2.5"),
        ("chapters/index", ""),
    ],
)
def test_numbers_come_from_the_chapter(page, expected):
    assert figures.chapter(page) == expected


def test_what_outputs_say_is_kept_and_the_private_kind_taken_out():
    book = notebook(
        output({"image/svg+xml": SVG, figures.NARROW: NARROW}, caption="c", alt="a"),
        output({"image/png": base64.b64encode(png()).decode()}),
    )
    figures.prepare(book, "page", None)
    found = [said for known in figures._read.pop("page").values() for said in known]
    assert [(s.caption, s.alt, bool(s.narrow), s.size) for s in found] == [
        ("c", "a", True, (691, 128)),
        ("", "", False, (40, 20)),
    ]
    assert list(book.cells[0].outputs[0].data) == ["image/svg+xml"]
    assert "prefers-color-scheme" in book.cells[0].outputs[0].data["image/svg+xml"]


def test_a_figure_has_number_anchor_and_caption():
    said = figures.Said("Loss of `fit` at $t$, *both*", "A curve.", "", (691, 128))
    made = figures.figure(nodes.image(uri="a.svg"), said, "2.5", 3)
    assert made["ids"] == ["figure-2-5-3"]
    image, caption = made.children
    assert caption.astext() == "Figure 2.5.3: Loss of fit at t, both"
    kinds = [type(child).__name__ for child in caption.children]
    assert {"literal", "math", "emphasis"} <= set(kinds)
    assert image["alt"] == "A curve."


def test_a_figure_without_caption_has_its_number_and_no_invented_text():
    made = figures.figure(nodes.image(uri="a.png"), figures.Said(), "2.5", 1)
    assert made.children[1].astext() == "Figure 2.5.1"
    assert made.children[0]["alt"] == "Figure 1 of chapter 2.5"


def test_all_but_the_first_image_may_come_later():
    said = figures.Said(alt='say "x"', size=(10, 5))
    first, second = (
        figures.figure(nodes.image(uri="a"), said, "1.1", n).children[0] for n in (1, 2)
    )
    assert figures.attributes(first) == ' alt="say &quot;x&quot;" width="10" height="5"'
    assert figures.attributes(second).endswith(' loading="lazy" decoding="async"')


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with three figures, built by Sphinx with this part alone."""
    sphinx = pytest.importorskip("sphinx.application")
    place = tmp_path_factory.mktemp("book")
    book = notebook(
        output({"image/svg+xml": SVG, figures.NARROW: NARROW}, caption="One.", alt="a"),
        output({"image/svg+xml": SVG.replace("0.5", "0.6")}),
        output({"image/png": base64.b64encode(png(192)).decode()}),
    )
    book.cells.insert(0, nbformat.v4.new_markdown_cell("# 2.5 A title"))
    (place / "25_title.ipynb").write_text(nbformat.writes(book), encoding="utf-8")
    (place / "only.py").write_text(
        "from web import figures, reading\n"
        "def setup(app):\n    reading.setup(app)\n    figures.setup(app)\n",
        encoding="utf-8",
    )
    sys.path.insert(0, str(place))
    settings = {
        "extensions": ["myst_nb", "only"],
        "root_doc": "25_title",
        "nb_execution_mode": "off",
    }
    built = {}
    for builder in ("html", "epub"):
        out = place / builder
        app = sphinx.Sphinx(
            place,
            None,
            out,
            place / "tree",
            builder,
            settings,
            status=None,
            warning=None,
        )
        app.build()
        built[builder] = out
    sys.path.remove(str(place))
    return built


@pytest.mark.slow
def test_a_built_page_shows_numbered_figures(page):
    html = (page["html"] / "25_title.html").read_text(encoding="utf-8")
    for number in (1, 2, 3):
        assert f'id="figure-2-5-{number}"' in html
    assert html.count("<picture>") == 1 and "-narrow.svg" in html
    assert html.count('loading="lazy"') == 2
    assert 'width="691" height="128"' in html and 'width="20" height="10"' in html
    narrow = list((page["html"] / "_images").glob("*-narrow.svg"))
    assert [file.read_text(encoding="utf-8") for file in narrow] == [NARROW]


@pytest.mark.slow
def test_an_epub_shows_the_wide_image_with_its_caption(page):
    html = (page["epub"] / "25_title.xhtml").read_text(encoding="utf-8")
    assert "Figure 2.5.1:" in html and "<picture" not in html
    assert html.count("<img") == 3 and 'alt="a"' in html


@pytest.fixture(scope="module")
def chromium():
    """A browser, if one is there."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu"]
        found = started.chromium.launch(executable_path=browser, args=options)
        yield found
        found.close()


@pytest.mark.slow
def test_an_image_has_the_colours_of_the_page_s_theme_whatever_the_system_s(chromium):
    box = f'<rect width="9" height="9" style="fill: {BLUE}"/></svg>'
    svg = themed('<svg width="9" height="9" xmlns="http://www.w3.org/2000/svg">' + box)
    data = base64.b64encode(svg.encode()).decode()
    for system, theme in product(("light", "dark"), repeat=2):
        view = chromium.new_page(color_scheme=system)
        view.set_content(
            f'<html style="color-scheme: {theme}"><body style="margin: 0">'
            f'<img src="data:image/svg+xml;base64,{data}"/>'
        )
        seen = Image.open(io.BytesIO(view.screenshot())).getpixel((4, 4))
        expected = BLUE if theme == "light" else DARK[BLUE]
        assert "#{:02x}{:02x}{:02x}".format(*seen[:3]) == expected, (system, theme)


@pytest.mark.slow
def test_a_browser_takes_the_narrow_drawing(page, chromium):
    handler = functools.partial(Quiet, directory=page["html"])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/25_title.html"
    for width, ending in ((390, "-narrow.svg"), (1280, ".svg")):
        view = chromium.new_page(viewport={"width": width, "height": 800})
        view.goto(address)
        used = view.evaluate("document.querySelector('figure img').currentSrc")
        assert used.endswith(ending), width
        assert used.endswith("-narrow.svg") == (width == 390)
    server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *_):
        pass


def test_a_normal_notebook_keeps_what_its_figures_say_and_nothing_else():
    book = notebook(output({"image/svg+xml": SVG}, caption="c", alt="a"))
    book.cells[0].outputs[0].metadata["needs_background"] = "light"
    book.cells[0].outputs[0].metadata["image/svg+xml"]["width"] = 3
    kept = nbformat.reads(normalise.normalised(nbformat.writes(book)), 4)
    said = {"image/svg+xml": {"caption": "c", "alt": "a"}}
    assert kept.cells[0].outputs[0].metadata == said


def test_the_folder_of_the_site_holds_the_style():
    css = Path(__file__).parents[2] / "_static/figures.css"
    assert "color-scheme: dark" in css.read_text(encoding="utf-8")
