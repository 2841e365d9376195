"""Figures: on any page, by anybody, the same to the byte."""

import io
import subprocess
import sys
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.notebook import plots
from mmbook.training import History
from mmbook.world import render, sample_scenes


@pytest.fixture(scope="module")
def images():
    return render(sample_scenes(5, seed=3))


@pytest.fixture
def history():
    steps = [
        {"step": i, "loss": 3 * 0.98**i, "learning_rate": 1e-3 * (1 - i / 300)}
        for i in range(300)
    ]
    validations = [{"step": s, "loss": 1.0, "exact": s / 300} for s in (100, 200, 300)]
    return History(steps, validations)


def words(figure):
    """Everything that is written in a figure, in one list."""
    texts = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in texts if text.get_text()]


def assert_nothing_is_cut_off(figure):
    size = figure.get_size_inches() * figure.dpi
    for written in figure.findobj(matplotlib.text.Text):
        if written.get_text():
            box = written.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= size[0], written.get_text()
            assert box.y0 >= 0 and box.y1 <= size[1], written.get_text()


def every_plot(images, history):
    maps = torch.arange(72.0).view(2, 6, 6)
    return {
        "scenes": plots.show_images(
            images, ["a b"] * 5, [True, False, None, True, True]
        ),
        "clips": plots.show_clips([images, images[:2]], ["a", "b"], [True, None]),
        "attention": plots.show_attention(images[0], ["a", "b"], maps),
        "history": plots.plot_history(history),
        "comparison": plots.plot_comparison({"a": [0.1, 0.2], "b": [0.9]}, chance=0.5),
        "matrix": plots.plot_matrix(maps[0, :2, :3], ["r", "s"], ["x", "y", "z"]),
        "flow": plots.draw_flow([("a", images), [("b", (1, 2)), "c"], "d"]),
    }


@pytest.mark.slow
def test_same_data_gives_the_same_bytes_and_small_files(images, history):
    first, second = every_plot(images, history), every_plot(images, history)
    for name, figure in first.items():
        data = figure.to_bytes()
        assert data == second[name].to_bytes(), name
        assert len(data) < 100_000, name


@pytest.mark.slow
def test_background_is_transparent(images, history):
    for name, figure in every_plot(images, history).items():
        png = np.array(Image.open(io.BytesIO(figure.to_bytes("png"))).convert("RGBA"))
        border = [png[0, :, 3], png[-1, :, 3], png[:, 0, 3], png[:, -1, 3]]
        assert max(edge.mean() for edge in border) < 40, name


@pytest.mark.slow
def test_import_changes_no_setting():
    code = (
        "import sys, matplotlib;"
        "now = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams"
        " if k != 'backend'};"  # asking for the backend would set it
        "before = now(); import mmbook.notebook.plots as p; p.draw_flow(['a', 'b']).to_bytes();"
        "assert now() == before and 'matplotlib.pyplot' not in sys.modules;"
        "p.use_style(); assert matplotlib.rcParams['text.color'] == p.INK"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_look_does_not_depend_on_the_reader_s_settings(images, history):
    usual = {k: f.to_bytes() for k, f in every_plot(images, history).items()}
    odd = {"font.size": 20, "axes.facecolor": "red", "axes.grid": False}
    with matplotlib.rc_context(odd | {"svg.fonttype": "none"}):
        for name, figure in every_plot(images, history).items():
            assert figure.to_bytes() == usual[name], name


def test_scenes_have_a_panel_and_a_caption_each(images):
    figure = plots.show_images(images, [f"picture {i}" for i in range(5)], columns=2)
    assert len(figure.axes) == 5
    assert [w for w in words(figure) if "picture" in w] == [
        f"picture {i}" for i in range(5)
    ]
    rows = {round(axes.get_position().y0, 4) for axes in figure.axes}
    assert len(rows) == 3


def test_clips_are_strips_of_their_own_lengths_with_titles(images):
    figure = plots.show_clips([images, images[:2]], ["first", "second"], [None, False])
    assert [w for w in words(figure) if w] == ["first", "✗", "second"]
    shown = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
    assert len(shown) == 5 + 2
    np.testing.assert_allclose(shown[6], images[1].permute(1, 2, 0))
    tops = {round(axes.get_position().y0, 4) for axes in figure.axes}
    assert len(tops) == 2  # one row for each clip
    figure = plots.show_clips(images[None].expand(2, -1, -1, -1, -1))
    assert len(figure.axes) == 10 and figure.get_figwidth() <= plots.WIDTH + 0.01
    assert plots.show_clips(images.repeat(9, 1, 1, 1)[None]).get_figwidth() < 7.3


def test_clips_that_cannot_be_shown_are_named(images):
    with pytest.raises(ValueError, match=r"\(F, 3, H, W\).*got \(3, 48, 48\)"):
        plots.show_clips(images)
    with pytest.raises(ValueError, match="as many as the images; got 1 for 2"):
        plots.show_clips([images, images], ["only one"])


def test_long_titles_of_clips_are_wrapped_and_nothing_is_cut_off(images):
    text = "a small yellow triangle moves to the left of a large orange square"
    figure = plots.show_clips([images[:2], images], [text, "short"], [True, None])
    assert " ".join(w for w in words(figure) if w not in ("✓", "short")) == text
    assert_nothing_is_cut_off(figure)


def test_right_and_wrong_are_told_by_sign_and_colour(images):
    figure = plots.show_images(images[:3], ["a"] * 3, right=[True, False, None])
    frames = [axes.spines["left"].get_edgecolor() for axes in figure.axes]
    assert len(set(frames)) == 3
    assert words(figure).count("✓") == words(figure).count("✗") == 1


def test_long_captions_are_wrapped_and_nothing_is_cut_off(images):
    text = "a small yellow triangle to the left of a large orange square"
    figure = plots.show_images(images, [text] * 5, [True] * 5)
    assert " ".join(w for w in words(figure) if w != "✓") == " ".join([text] * 5)
    assert_nothing_is_cut_off(figure)
    first, panel = (
        figure.texts[0].get_window_extent(),
        figure.axes[0].get_window_extent(),
    )
    assert first.y1 <= panel.y0


def test_pictures_of_bytes_and_of_other_sizes_are_shown(images):
    mixed = [(images[0] * 255).byte(), torch.rand(3, 120, 200)]
    shown = [axes.images[0].get_array() for axes in plots.show_images(mixed).axes]
    assert [array.shape for array in shown] == [(48, 48, 3), (93, 155, 3)]
    assert np.allclose(shown[0].max(), images[0].max(), atol=1 / 255)


def test_attention_is_bright_where_the_map_is_high():
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 3] = 1.0
    figure = plots.show_attention(torch.ones(3, 48, 48), ["red"], maps)
    plain, lit = (
        np.asarray(axes.images[0].get_array()).mean(-1) for axes in figure.axes
    )
    assert plain.min() == 1 and lit[3, 44] > 0.9 and lit[44, 3] < 0.5
    assert words(figure) == ["the picture", "red"]


def test_attention_scale_is_shared_or_each_word_s_own():
    maps = torch.stack([torch.full((2, 2), 0.1), torch.full((2, 2), 0.9)])

    def brightness(shared):
        figure = plots.show_attention(
            torch.ones(3, 8, 8), ["a", "b"], maps, shared=shared
        )
        return [
            np.asarray(axes.images[0].get_array()).mean() for axes in figure.axes[1:]
        ]

    low, high = brightness(shared=True)
    assert high == pytest.approx(1) and low < 0.7
    assert brightness(shared=False) == pytest.approx([1, 1])


def test_history_has_loss_rate_and_metrics(history):
    figure = plots.plot_history(history)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["loss", "learning rate", "validation: exact"]
    assert figure.axes[0].get_yscale() == "log"
    line = figure.axes[0].lines[0]
    x, y = line.get_xdata(), line.get_ydata()
    assert len(x) <= 120 and x[0] == 1
    assert np.allclose(y, 3 * 0.98 ** (x - 1), rtol=0.1)  # smoothing follows the curve
    assert list(figure.axes[0].lines[1].get_xdata()) == [100, 200, 300]
    assert len(plots.plot_history(History(history.steps)).axes) == 2


def test_history_shows_a_spike_and_a_loss_that_is_not_positive(history):
    history.steps[151]["loss"] = 50.0
    band = plots.plot_history(history).axes[0].collections[0]
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(50)
    history.steps[10]["loss"] = -0.5
    assert plots.plot_history(history).axes[0].get_yscale() == "linear"


def test_history_of_one_step_plots():
    one = History([{"step": 0, "loss": 1.0, "learning_rate": 0.1}])
    assert plots.plot_history(one).to_bytes().startswith(b"<svg")


def test_comparison_shows_seeds_means_and_chance():
    figure = plots.plot_comparison({"a": [0.2, 0.4], "b": [0.9]}, chance=0.5)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(d) for d in dots] == [[0.2, 0.4], [0.9]]
    assert {"0.30 ± 0.14", "0.90", "chance"} <= set(words(figure))
    assert axes.get_xlim() == (0, 1)
    assert plots.plot_comparison({"a": [-3, 40]}).axes[0].get_xlim()[0] < -3


def test_matrix_writes_every_number():
    matrix = np.array([[0, 5, 10], [3, 7, 9]])
    figure = plots.plot_matrix(matrix, ["r", "s"], ["x", "y", "z"], "title")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0", "5", "10", "3", "7", "9"]
    assert "title" in words(figure)


def test_confusion_counts_truth_in_rows():
    figure = plots.plot_confusion([0, 0, 1], [0, 1, 1], ["cat", "dog"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1", "0", "1"]


def test_flow_writes_live_shapes_and_joins_boxes():
    two = [("picture", torch.zeros(2, 3, 8, 8)), ("text", (2, 7))]
    figure = plots.draw_flow(
        [two, ["see", "read"], "fuse", ("loss", torch.tensor(1.0))]
    )
    patches = [type(patch).__name__ for patch in figure.axes[0].patches]
    assert patches.count("FancyBboxPatch") == 6
    assert patches.count("FancyArrowPatch") == 2 + 2 + 1  # one to one, two to one, one
    assert {"(2, 3, 8, 8)", "(2, 7)", "fuse"} <= set(words(figure))


def test_what_is_frozen_is_drawn_dashed_and_said():
    figure = plots.draw_flow([("picture", (2, 3)), "encoder", "head"], "", {"encoder"})
    boxes = [p for p in figure.axes[0].patches if type(p).__name__ == "FancyBboxPatch"]
    assert [box.get_linestyle() for box in boxes] == ["-", "--", "-"]
    assert "encoder (frozen) → head" in figure.alt
    assert "frozen" not in plots.draw_flow(["encoder", "head"]).alt


def test_a_fused_token_has_a_stripe_for_each_modality_that_it_knows_of():
    given = {"image": 7, "text": 2}
    out = [{"image"}, {"text", "image"}, set()]
    figure = plots.draw_fusions([("mine", given, "does it", out)])
    squares = figure.findobj(matplotlib.patches.Rectangle)
    squares = [square for square in squares if square.get_fill()]
    colours = [matplotlib.colors.to_hex(s.get_facecolor()) for s in squares]
    # in: 7 and 2; out: one whole, two stripes, one frame; the legend: one, one, two
    assert colours.count(plots.BLUE) == 7 + 2 + 2
    assert colours.count(plots.VERMILION) == 2 + 1 + 2
    assert {"mine", "does it", "image token"} <= set(words(figure))


def test_long_flow_goes_on_in_a_second_row_within_the_page():
    figure = plots.draw_flow([(f"a long name {i}", (64, 36, 96)) for i in range(7)])
    assert figure.get_figwidth() <= plots.WIDTH + 0.01
    boxes = [p for p in figure.axes[0].patches if type(p).__name__ == "FancyBboxPatch"]
    assert len({round(box.get_y(), 2) for box in boxes}) == 2
    size = figure.get_size_inches() * figure.dpi
    for box in boxes:
        extent = box.get_window_extent()
        assert extent.x0 >= 0 and extent.x1 <= size[0] and extent.y1 <= size[1]


def test_a_line_to_the_next_row_passes_no_box():
    two = [("CTC head", "sum over paths"), ("attention decoder", "word by word")]
    start = [("waveform", "S samples"), ("log-mel", "40 × T"), ("encoder", "N × D")]
    axes = plots.draw_flow([*start, two, "sentence"]).narrow().axes[0]
    boxes = [p for p in axes.patches if type(p).__name__ == "FancyBboxPatch"]
    lines = [p for p in axes.patches if type(p).__name__ == "FancyArrowPatch"]
    assert len({round(box.get_y(), 2) for box in boxes}) > 2  # there are rows
    for line in lines:
        points = line.get_path().vertices
        for (x, y), (to_x, to_y) in pairwise(points):
            for box in boxes if y == to_y else ():
                over = max(x, to_x) > box.get_x() and min(x, to_x) < (
                    box.get_x() + box.get_width()
                )
                assert not (over and box.get_y() < y < box.get_y() + box.get_height())


def test_wrong_use_is_explained(images, history):
    wrong = {
        "images is empty": lambda: plots.show_images([]),
        "titles must be as many": lambda: plots.show_images(images, ["a"]),
        r"a picture must be \(3, H, W\)": lambda: plots.show_images([images[0].mT[0]]),
        "columns must be 1": lambda: plots.show_images(images, columns=0),
        "one map for each of the 2": lambda: plots.show_attention(
            images[0], ["a", "b"], torch.rand(3, 6, 6)
        ),
        "history has no steps": lambda: plots.plot_history(History()),
        "at least one result": lambda: plots.plot_comparison({"a": []}),
        "and finite ones": lambda: plots.plot_comparison({"a": [1.0, np.nan]}),
        "must be finite": lambda: plots.plot_matrix([[np.nan]], ["r"], ["x"]),
        "up to 255: divide it by 255": lambda: plots.show_images(255 * images),
        r"matrix must be \(1, 2\)": lambda: plots.plot_matrix(
            [[1.0]], ["r"], ["x", "y"]
        ),
        "2 classes have names": lambda: plots.plot_confusion([0], [2], ["a", "b"]),
        "give at least one step": lambda: plots.draw_flow([]),
        "needs tokens that come out": lambda: plots.draw_fusions(
            [("a", {"b": 1}, "c", [])]
        ),
        "a step is a name": lambda: plots.draw_flow([("a", (1,), "too much")]),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="at least one result"):
        plots.plot_comparison({})


def test_a_graph_puts_each_box_beneath_those_that_point_to_it():
    arrows = [("data", "model", "1"), ("model", "fusion"), ("model", "learning")]
    arrows += [("fusion", "learning")]
    figure = plots.draw_graph(arrows, {"fusion": torch.zeros(2, 3)}, "a title")
    assert {"data", "model", "fusion", "learning", "1", "(2, 3)", "a title"} == set(
        words(figure)
    )
    texts = figure.findobj(matplotlib.text.Text)
    height = {t.get_text(): t.get_position()[1] for t in texts}
    for above, below, *_ in arrows:  # the axis points downwards
        assert height[above] < height[below]
    # an arrow from model to learning passes by the row of fusion: six pieces in all
    assert len(figure.findobj(matplotlib.patches.FancyArrowPatch)) == 6


@pytest.mark.parametrize(
    "arrows, message",
    [([], "at least one arrow"), ([("a", "b"), ("b", "a")], "form a cycle")],
)
def test_a_graph_that_cannot_be_drawn_is_refused(arrows, message):
    with pytest.raises(ValueError, match=message):
        plots.draw_graph(arrows)


@pytest.mark.parametrize(
    "draw",
    [
        lambda title: plots.draw_flow(["a", "b"], title),
        lambda title: plots.draw_graph([("a", "b")], title=title),
    ],
)
def test_a_title_wider_than_the_boxes_is_not_cut_off(draw):
    assert_nothing_is_cut_off(draw("a title that is much longer than the boxes"))
