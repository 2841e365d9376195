"""What is said of a figure to those who do not see it."""

import numpy as np
import pytest
import torch

from mmbook.notebook import plots
from mmbook.world import render, sample_scenes


def test_curves_are_said_with_their_ends():
    figure, axes = plots.subplots()
    axes.plot([1, 10, 100], [0.5, 0.7, 0.912345], label="frozen")
    axes.plot([1, 100], [0.25, 0.25], label="chance")
    axes.set(title="Shapes", xlabel="labels", ylabel="accuracy")
    assert figure.alt == (
        "Shapes: accuracy against labels: frozen from 0.5 to 0.912; chance at 0.25."
    )


def test_bars_are_said_with_their_heights():
    figure, axes = plots.subplots()
    axes.bar(["one", "two"], [0.25, 3])
    axes.set(ylabel="share")
    assert figure.alt == "share: one 0.25; two 3."


def test_panels_are_counted_and_said_one_by_one():
    figure, axes = plots.subplots(1, 2)
    axes[0].imshow(np.array([[0.0, 2.0]]))
    axes[1].plot([3, 4, 5])
    axes[1].set(title="$z_i$ and $\\alpha$")
    assert figure.alt == (
        "2 panels. a map of values from 0 to 2. zi and alpha: a curve from 3 to 5."
    )


@pytest.mark.parametrize(
    "figure, said",
    [
        (
            lambda: plots.plot_comparison({"a": [0.2, 0.4], "b": [0.9]}, chance=0.5),
            "Bars, accuracy: a 0.30 ± 0.14; b 0.90. Chance: 0.50.",
        ),
        (
            lambda: plots.plot_matrix([[1, 2], [3, 4]], ["r", "s"], ["x", "y"], "T"),
            "T. Rows: r; s. Columns: x; y. Largest: 4 (s, y). Smallest: 1 (r, x).",
        ),
        (
            lambda: plots.plot_confusion([0, 0, 1], [0, 1, 1], ["cat", "dog"]),
            "Confusion matrix of 3 examples, 2 of them right. cat taken for dog: 1.",
        ),
        (
            lambda: plots.draw_flow([["a", "b"], ("head", (2, 3))], "Flow"),
            "Flow. Diagram: a and b → head (2, 3).",
        ),
        (
            lambda: plots.draw_graph([("a", "b"), ("b", "c")], {"a": (4,)}),
            "Diagram: a (4,) → b; b → c.",
        ),
        (
            lambda: plots.draw_fusions([("sum", {"image": 3}, "adds", [{"image"}])]),
            "Fusions, token by token. sum: 3 image tokens → adds → 1 tokens.",
        ),
    ],
)
def test_each_kind_of_figure_says_what_it_shows(figure, said):
    assert figure().alt == said


def test_pictures_are_counted_with_their_titles_and_marks():
    images = render(sample_scenes(4, seed=3))
    titles, right = ["a", "b", "b", ""], [True, False, False, None]
    figure = plots.show_images(images, titles, right)
    assert figure.alt == "4 pictures: a (right); b (wrong) (2 times)."
    clips = plots.show_clips(images[None], ["moves"])
    assert clips.alt == "1 clip, each a row of frames: moves."
    looks = plots.show_attention(images[0], ["red", "ring"], torch.rand(2, 3, 3))
    assert looks.alt == (
        "A picture, and where the model looks in it for each of 2 words: red; ring."
    )


def test_a_description_stays_short_and_says_what_it_leaves_out():
    figure, axes = plots.subplots()
    for number in range(40):
        axes.plot([0, 1], [0, number + 1], label=f"a rather long name {number}")
    assert len(figure.alt) <= 400 and "more." in figure.alt
    many = plots.show_images(torch.rand(50, 3, 8, 8), [f"title {i}" for i in range(50)])
    assert len(many.alt) <= 400 and many.alt.startswith(
        "50 pictures: title 0; title 1;"
    )


def test_the_same_figure_is_said_the_same_and_drawing_changes_nothing():
    figure, axes = plots.subplots()
    axes.plot([1, 2, 4], label="a")
    before = figure.alt
    figure.to_bytes()
    assert figure.alt == before


def test_a_given_description_is_taken():
    figure = plots.draw_flow(["a", "b"]).caption("c", alt="two\nboxes")
    assert figure.alt == "two boxes"
