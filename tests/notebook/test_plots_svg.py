"""What a notebook keeps of a figure: text as text, pictures inside, few bytes."""

import base64
import io
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.notebook import plots
from mmbook.notebook.plots.figure import NARROW_MIME
from mmbook.notebook.plots.svg import tidied, without_pictures
from mmbook.world import render, sample_scenes

DATA = re.compile(r'xlink:href="data:image/(\w+);base64,([^"]*)"')


@pytest.fixture(scope="module")
def images():
    return render(sample_scenes(7, seed=3))


def shown(figure, monkeypatch):
    """What the figure hands to a notebook: its data and metadata."""
    found = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda data, raw, metadata: found.append((data, metadata)),
    )
    figure._ipython_display_()
    ((data, metadata),) = found
    return data, metadata


def photographs(count=1):
    """Smooth pictures of 300 pixels, as of a camera."""
    small = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, size=300, mode="bicubic").clamp(0, 1)


def test_text_is_text_in_a_font_that_each_reader_has(images):
    figure = plots.show_images(images[:1], ["a red circle"])
    tree = ElementTree.fromstring(figure.to_bytes())
    texts = list(tree.iter("{http://www.w3.org/2000/svg}text"))
    assert [text.text for text in texts] == ["a red circle"]
    rule = tree.find(".//{http://www.w3.org/2000/svg}style").text
    assert "text{font-family: 'DejaVu Sans', Verdana" in rule
    assert "'Noto Sans CJK SC', sans-serif}" in rule
    mono = plots.draw_flow([("a", (1, 2))]).to_bytes().decode()
    assert "monospace" in mono


def test_small_pictures_keep_their_pixels(images):
    svg = plots.show_images(images[:2]).to_bytes().decode()
    kinds = DATA.findall(svg)
    assert [kind for kind, _ in kinds] == ["png", "png"] and "pixelated" in svg
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(kinds[1][1]))))
    expected = (images[1].permute(1, 2, 0) * 255).numpy()
    assert np.abs(pixels[..., :3] - expected).max() <= 1


def test_a_small_picture_s_pixel_is_a_whole_number_of_the_page_s(images):
    figure = plots.show_images(images)
    for axes in figure.axes:
        side = axes.get_position().width * figure.get_figwidth() * 96
        assert side / 48 == pytest.approx(round(side / 48), abs=1e-6)


def test_photographs_are_jpeg_of_the_size_that_is_shown():
    svg = plots.show_images(photographs(2)).to_bytes().decode()
    for kind, data in DATA.findall(svg):
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert kind == "jpeg" and max(picture.size) == 155  # 1.5 for each of the page's
    assert "pixelated" not in svg and len(svg) < 20_000


def test_a_see_through_picture_stays_png():
    figure, axes = plots.subplots()
    see_through = np.random.default_rng(0).random((120, 120, 4))
    axes.imshow(see_through, interpolation="none")
    assert DATA.findall(figure.to_bytes().decode())[0][0] == "png"


def test_a_long_curve_keeps_its_highs_and_lows_as_a_path():
    figure, axes = plots.subplots()
    values = torch.randn(20_000)
    (line,) = axes.plot(values, linewidth=0.3)
    svg = figure.to_bytes().decode()
    assert len(svg) < 40_000 and "<image" not in svg
    y = line.get_ydata()
    assert len(y) == 1000 and (y.min(), y.max()) == (values.min(), values.max())


def test_a_long_curve_that_turns_back_is_pixels_and_its_label_text():
    figure, axes = plots.subplots()
    axes.plot(torch.randn(20_000), torch.randn(20_000), linewidth=0.3)
    axes.set(title="pressure")
    svg = figure.to_bytes().decode()
    assert len(svg) < 200_000 and ">pressure</text>" in svg and "<image" in svg


def test_tidying_keeps_the_drawing_and_drops_what_nobody_sees():
    svg = (
        '<?xml version="1.0"?>\n<!DOCTYPE svg>\n'
        '<svg xmlns="http://www.w3.org/2000/svg">\n <metadata>x</metadata>\n'
        ' <defs><path id="used" d="M 1.23456 2.001 \nL 3 40.5 \n"/></defs>\n'
        ' <g id="a"><g id="b"><!-- c --><path style="fill: red; opacity: 0.5"/>\n'
        '<path style="fill: red; opacity: 0.5; stroke: blue"/></g></g>'
        '<use href="#used"/><text x="7.123456">a</text></svg>'
    )
    found = ElementTree.fromstring(tidied(svg))
    name = "{http://www.w3.org/2000/svg}"
    kinds = [element.tag.removeprefix(name) for element in found.iter()]
    assert kinds == "svg style defs path g path path use text".split()
    used, group = found.find(f".//{name}path"), found.find(f"{name}g")
    first, second = group
    assert used.attrib == {"id": "used", "d": "M 1.23 2 L 3 40.5"}
    assert group.attrib == {"style": "fill: red"}  # said once; each part is see-through
    assert first.attrib == {"style": "opacity: 0.5"}
    assert second.attrib == {"style": "opacity: 0.5; stroke: blue"}
    assert found.find(f"{name}text").attrib == {"x": "7.12"}


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["dots", "tiles", "diagram"])
def test_tidying_changes_no_pixel(theme):
    """The slim drawing and matplotlib's own look the same in a browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("needs Chromium")
    figure = {
        "dots": lambda: plots.plot_comparison(
            {"a": [0.3, 0.5], "b": [0.8]}, chance=0.5
        ),
        "tiles": lambda: plots.plot_matrix([[1, 2], [3, 4]], ["r", "s"], ["x", "y"]),
        "diagram": lambda: plots.draw_flow([["a", "b"], ("c", (1, 2))], "title"),
    }[theme]()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    raw = buffer.getvalue().decode()
    seen = []
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu"]
        chromium = started.chromium.launch(executable_path=browser, args=options)
        view = chromium.new_page()
        for svg in (raw[raw.index("<svg") :], tidied(raw)):
            view.set_content(svg)
            shot = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
            seen.append(np.asarray(shot, float))
        chromium.close()
    assert np.abs(seen[0] - seen[1]).mean() < 0.2


def test_a_narrow_drawing_names_the_pictures_that_the_wide_one_holds():
    wide = (
        '<image xlink:href="data:image/png;base64,AA"/><image xlink:href="data:x,B"/>'
    )
    narrow = '<image xlink:href="data:x,B"/><image xlink:href="data:x,C"/>'
    assert without_pictures(narrow, wide) == (
        '<image xlink:href="wide:1"/><image xlink:href="data:x,C"/>'
    )


def test_a_notebook_keeps_caption_description_and_a_narrow_drawing(monkeypatch, images):
    figure = plots.show_images(images, ["a"] * 7).caption("Seven\n  scenes.", "Shapes.")
    data, metadata = shown(figure, monkeypatch)
    assert list(data) == ["image/svg+xml", NARROW_MIME]
    assert metadata == {"image/svg+xml": {"alt": "Shapes.", "caption": "Seven scenes."}}
    assert "data:" not in data[NARROW_MIME] and 'href="wide:6"' in data[NARROW_MIME]


def test_without_a_caption_there_is_a_description_and_nothing_invented(monkeypatch):
    data, metadata = shown(plots.draw_graph([("a", "b")]), monkeypatch)
    assert list(data) == ["image/svg+xml"]  # it fits a phone as it is
    assert metadata == {"image/svg+xml": {"alt": "Diagram: a → b."}}


def test_caption_returns_the_figure():
    figure = plots.draw_flow(["a", "b"])
    assert figure.caption("Two boxes.") is figure
