"""Colours: readable in both themes, different for the colour-blind, one for a method."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest

from mmbook.fusion import FUSIONS
from mmbook.notebook import plots
from mmbook.notebook.plots.colours import DARK

PALETTES = {"light": plots.COLOURS, "dark": [DARK[c] for c in plots.COLOURS]}
# Machado et al. 2009: what is left of a colour without red or green receptors
RECEPTORS = {
    "all": np.eye(3),
    "red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "green": [[0.367, 0.861, -0.228], [0.28, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}
TO_CONES = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.63]]
TO_LAB = [
    [0.2105, 0.7936, -0.0041],
    [1.978, -2.4286, 0.4506],
    [0.0259, 0.7828, -0.8087],
]


def linear(colour):
    """Light of the three primaries."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    """The contrast of two colours (WCAG 2.1)."""
    lights = [linear(c) @ [0.2126, 0.7152, 0.0722] + 0.05 for c in (first, second)]
    return max(lights) / min(lights)


def perceived(colour, receptor):
    """A colour in Oklab, where distances are about equally visible."""
    seen = np.clip(np.array(RECEPTORS[receptor]) @ linear(colour), 0, 1)
    return np.array(TO_LAB) @ np.cbrt(np.array(TO_CONES) @ seen)


def test_text_and_series_can_be_read_in_both_themes():
    for colour in (plots.INK, *plots.COLOURS):
        assert contrast(colour, "#ffffff") >= 4.5, colour
        assert contrast(DARK[colour], "#121212") >= 4.5, colour


@pytest.mark.parametrize("theme", PALETTES)
@pytest.mark.parametrize("receptor", RECEPTORS)
def test_series_differ_also_for_the_colour_blind(theme, receptor):
    for first, second in combinations(PALETTES[theme], 2):
        apart = np.linalg.norm(perceived(first, receptor) - perceived(second, receptor))
        assert apart > 0.07, (first, second)


def test_a_method_has_one_colour_however_it_is_written():
    for names in (
        ("LoRA", "LoRA, rank 4", "lora"),
        ("cross_attention", "cross-attention", "cross attention, places"),
        ("frozen, probe", "linear probe", "100 labels, head only"),
        ("from scratch", "from scratch, 20 labels", "random"),
    ):
        assert len({plots.colour_of(name) for name in names}) == 1, names
    assert plots.colour_of("LoRA") != plots.colour_of("full")
    assert plots.colour_of("chance") == plots.INK
    assert plots.colour_of("of nobody") == plots.colour_of("of nobody")


def test_methods_in_one_figure_have_different_colours():
    names = "full, last layer, LoRA, adapters, prefix, prompt, biases, IA³".split(", ")
    assert len(set(plots.colours_of(names).values())) == len(names)
    # both are vermilion in the table: the second one gives way
    both = plots.colours_of(["from scratch", "biases"])
    assert len(set(both.values())) == 2
    assert both["from scratch"] == plots.colour_of("from scratch")


def test_unknown_names_take_the_colours_that_are_left_in_order():
    found = plots.colours_of(["8, rate 1", "frozen", "32, rate 1", "32, rate 4"])
    free = [c for c in plots.COLOURS if c != plots.colour_of("frozen")]
    assert found["8, rate 1"] == free[0]
    assert found["32, rate 1"] == found["32, rate 4"] == free[1]
    many = plots.colours_of([f"way {i}" for i in range(20)])
    assert set(many.values()) == set(plots.COLOURS)


def test_each_fusion_looks_different():
    looks = {tuple(plots.look_of(name).items()) for name in FUSIONS}
    assert len(looks) == len(FUSIONS)


def test_bars_have_the_colours_of_their_methods():
    figure = plots.plot_comparison({"LoRA, rank 4": [0.5], "full": [0.4], "x": [0.1]})
    colours = [
        matplotlib.colors.to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches
    ]
    assert colours[:2] == [plots.colour_of("LoRA"), plots.colour_of("full")]


def test_numbers_on_tiles_can_be_read():
    matrix = np.arange(101)[None]
    figure = plots.plot_matrix(matrix, ["r"], ["x"] * 101)
    for text, value in zip(figure.axes[0].texts, matrix.ravel(), strict=True):
        assert contrast(text.get_color(), plots.TILES(value / 100)) >= 4.5
