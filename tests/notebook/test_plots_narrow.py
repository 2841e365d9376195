"""Figures on a phone: 360 pixels wide, and no text below 11 pixels."""

import matplotlib
import pytest
import torch
from matplotlib.text import Text

from mmbook.notebook import plots
from mmbook.training import History
from mmbook.world import render, sample_scenes


@pytest.fixture(scope="module")
def images():
    return render(sample_scenes(8, seed=3))


def panels(rows, columns, **options):
    """A figure with a curve in each panel."""
    figure, axes = plots.subplots(rows, columns, **options)
    for number, panel in enumerate(axes.flat):
        panel.plot([1, 2, 3], label="a")
        panel.set(title=f"panel {number}")
    return figure, axes


def history():
    steps = [{"step": i, "loss": 0.9**i, "learning_rate": 1e-3} for i in range(40)]
    return History(steps, [{"step": 40, "loss": 1.0, "exact": 0.5}])


def every_narrow(images):
    wide = {
        "images": plots.show_images(images, ["a red circle"] * 8),
        "clips": plots.show_clips([images, images], ["a", "b"]),
        "attention": plots.show_attention(
            images[0], list("abcdef"), torch.rand(6, 3, 3)
        ),
        "history": plots.plot_history(history()),
        "comparison": plots.plot_comparison({"a long name": [0.1, 0.2], "b": [0.9]}),
        "matrix": plots.plot_matrix(torch.rand(3, 7), list("rst"), list("abcdefg")),
        "flow": plots.draw_flow([(f"step {i}", (64, 36)) for i in range(6)]),
        "fusions": plots.draw_fusions([("f", {"image": 7}, "sum", [{"image"}])] * 2),
        "panels": panels(1, 3)[0],
    }
    return {name: figure.narrow() for name, figure in wide.items()}


@pytest.mark.slow
def test_narrow_figures_fit_and_can_be_read(images):
    for name, figure in every_narrow(images).items():
        assert figure.get_figwidth() <= 3.75 + 0.01, name
        figure.draw_without_rendering()
        edge = figure.get_figwidth() * figure.dpi
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible():
                assert text.get_size() * 96 / 72 >= 11, (name, text.get_text())
                box = text.get_window_extent()
                if box.x0 > edge + 20 or box.x1 < -10:
                    continue  # a number beyond the end of an axis, which is not drawn
                assert box.x1 <= edge + 2 and box.x0 >= -2, (name, text.get_text())


def test_panels_stand_below_each_other_in_reading_order():
    figure, _ = panels(2, 2)
    small = figure.narrow()
    small.draw_without_rendering()
    boxes = [axes.get_position() for axes in small.axes]
    assert len({round(box.x0, 2) for box in boxes}) == 1
    assert [box.y0 for box in boxes] == sorted((b.y0 for b in boxes), reverse=True)
    wide = {round(axes.get_position().x0, 2) for axes in figure.axes}
    assert len(wide) == 2  # the wide figure is as it was


def test_columns_with_a_title_above_each_stay_together():
    figure, axes = panels(2, 2, sharex="col")
    for panel in axes[1]:
        panel.set(title="")
    small = figure.narrow()
    small.draw_without_rendering()
    order = sorted(range(4), key=lambda i: -small.axes[i].get_position().y0)
    assert order == [0, 2, 1, 3]


def test_labels_that_panels_shared_stand_at_each_of_them():
    figure, axes = panels(1, 2, sharey=True)
    axes[0].set_ylabel("accuracy")
    small = figure.narrow()
    assert [panel.get_ylabel() for panel in small.axes] == ["accuracy"] * 2
    assert small.axes[1].yaxis.get_tick_params("major")["labelleft"]
    assert axes[1].get_ylabel() == ""


def test_a_legend_beside_the_panels_goes_below_them():
    figure, axes = panels(1, 2)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    small = figure.narrow()
    small.draw_without_rendering()
    (legend,) = small.legends
    lowest = min(axes.get_window_extent().y0 for axes in small.axes)
    assert legend.get_window_extent().y1 <= lowest
    assert len(figure.legends) == 1


def test_numbers_that_would_touch_are_thinned():
    figure, axes = plots.subplots()
    axes.plot(range(30))
    axes.set_xticks(range(0, 30, 2), [f"{n}000" for n in range(0, 30, 2)])
    labels = [t.get_text() for t in figure.narrow().axes[0].get_xticklabels()]
    assert labels[::2] == [f"{n}000" for n in range(0, 30, 4)] and set(
        labels[1::2]
    ) == {""}


def test_names_of_methods_stand_above_their_bars():
    small = plots.plot_comparison({"a": [0.2], "b": [0.9]}, chance=0.5).narrow()
    (axes,) = small.axes
    written = [text.get_text() for text in axes.texts]
    assert written == ["0.20", "a", "0.90", "b", "chance"]
    assert all(not label.get_text() for label in axes.get_yticklabels())


def places(figure):
    """Where names stand."""
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    return [text.get_position() for text in texts]


def test_a_figure_that_fits_or_cannot_change_has_no_narrow_one(images):
    assert plots.show_images(images[:2]).narrow() is None
    names = [f"name {i}" for i in range(12)]
    wide = [("a", name) for name in names]
    assert plots.draw_graph(wide).narrow() is None  # its rows cannot be broken
    many = plots.plot_matrix(torch.rand(1, 14), ["a long name " * 6], ["word"] * 14)
    assert many.narrow() is None  # its numbers could not be read


def test_columns_that_find_no_room_stand_below_the_others():
    numbers = torch.rand(14, 14)
    small = plots.plot_matrix(numbers, list("abcdefghijklmn"), ["word"] * 14).narrow()
    written = [text.get_text() for axes in small.axes for text in axes.texts]
    blocks = torch.cat([part.flatten() for part in numbers.split(7, dim=1)])
    assert written == [f"{number:.2f}" for number in blocks]


def test_a_row_of_a_graph_that_is_too_wide_stands_in_two():
    arrows = [(name * 9, "goal") for name in "abcd"]
    figure = plots.draw_graph(arrows)
    assert len({y for _, y in places(figure)}) == 2
    small = figure.narrow()
    assert small.get_figwidth() <= 3.75 and len({y for _, y in places(small)}) == 3


def test_pictures_are_as_large_in_fewer_columns(images):
    wide = plots.show_images(images)
    small = wide.narrow()
    sides = [
        axes.get_position().width * figure.get_figwidth()
        for figure in (wide, small)
        for axes in figure.axes
    ]
    assert max(sides) == pytest.approx(min(sides))
    assert len({round(axes.get_position().x0, 3) for axes in small.axes}) == 3
    assert isinstance(small, matplotlib.figure.Figure)


@pytest.mark.parametrize("columns, side", [(12, 0.7), (3, 0.3)])
def test_no_word_below_a_picture_is_broken(columns, side):
    pictures = torch.rand(12, 3, 24, 24)
    wide = plots.show_images(
        pictures, ["square", "triangle"] * 6, columns=columns, side=side
    )
    for figure in (wide, wide.narrow() or wide):
        assert {text.get_text() for text in figure.texts} == {"square", "triangle"}
    assert wide.get_figwidth() <= 7.2 + 0.01
