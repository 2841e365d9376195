"""The look of all figures, and the figures that several chapters draw.

Figures are transparent and their text is of a middle grey, so they stand on a white page
as well as on a dark one. The colours of lines and marks can be told apart by readers who
confuse red and green (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/), and nothing
is told by colour alone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

INK = "#7a7f87"  # of text and axes
COLOURS = ("#2f8fd0", "#e07b16", "#1a9e77", "#cc6fa5", "#a58b2a", "#7d75c9")
RIGHT, WRONG = "#1a9e77", "#d9603b"

_STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.transparent": True,
    "savefig.bbox": "tight",
    "figure.dpi": 110,
    "figure.figsize": (7.0, 3.2),
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "grid.color": INK,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": "viridis",
    "svg.hashsalt": "mmbook",
    "svg.fonttype": "path",
}


def use_style() -> None:
    """Switch the style of the book on; in a notebook, line plots become SVG."""
    mpl.rcParams.update(_STYLE)
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if get_ipython() is not None:
        set_matplotlib_formats("svg", bbox_inches="tight", metadata={"Date": None})


def show_scenes(
    images: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    right: Sequence[bool] | None = None,
    columns: int = 6,
    side: float = 1.45,
) -> Figure:
    """A grid of pictures, each with its sentence below.

    Parameters
    ----------
    images : (B, 3, H, W) in [0, 1] or uint8, or a list of (3, H, W).
    titles : a sentence each.
    right : whether each sentence is right; puts ✓ or ✗ before it.
    columns, side : pictures in a row, inches of one.
    """
    images = list(images)
    if not images:
        raise ValueError("no pictures to show: the list is empty")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    below = _space_for(titles, right, side)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns * side * 1.12, rows * (side + below))
    )
    for number, axis in enumerate(np.atleast_1d(axes).flat):
        axis.axis("off")
        if number >= len(images):
            continue
        axis.imshow(_pixels(images[number]), interpolation="nearest")
        if titles is not None:
            _caption(
                axis, titles[number], None if right is None else right[number], side
            )
    return figure


def _space_for(titles, right, side) -> float:
    if titles is None:
        return 0.08
    lines = max(_wrap(t, side, right is not None).count("\n") + 1 for t in titles)
    return 0.12 + 0.155 * lines


def _caption(axis, text: str, right: bool | None, side: float) -> None:
    colour, mark = INK, ""
    if right is not None:
        colour, mark = (RIGHT, "✓ ") if right else (WRONG, "✗ ")
    axis.set_title(
        mark + _wrap(text, side, right is not None),
        y=-0.06,
        va="top",
        loc="center",
        fontsize=8,
        color=colour,
    )


def _wrap(text: str, side: float, marked: bool) -> str:
    return "\n".join(textwrap.wrap(text, int(side * 14) - 2 * marked) or [""])


def _pixels(image: Tensor) -> np.ndarray:
    """(3, H, W) float or uint8 → (H, W, 3) uint8."""
    if image.is_floating_point():
        image = (image.clamp(0, 1) * 255).round()
    return image.byte().permute(1, 2, 0).cpu().numpy()


def plot_history(history) -> Figure:
    """Loss, learning rate and validation over the steps of a training run."""
    if not history.steps:
        raise ValueError("the history has no steps to plot")
    steps = [record["step"] + 1 for record in history.steps]
    panels = 3 if history.validations else 2
    figure, axes = plt.subplots(1, panels, figsize=(3.1 * panels, 2.6))
    axes[0].plot(steps, history["loss"], alpha=0.35, linewidth=0.9)
    axes[0].plot(steps, smooth(history["loss"]), color=COLOURS[0])
    axes[0].set(yscale="log", title="training loss", xlabel="step")
    axes[1].plot(steps, history["learning_rate"], color=COLOURS[1])
    axes[1].set(title="learning rate", xlabel="step", ylim=(0, None))
    if history.validations:
        names = [name for name in history.validations[0] if name != "step"]
        at = [record["step"] for record in history.validations]
        for name, colour in zip(names, COLOURS[2:], strict=False):
            values = [record[name] for record in history.validations]
            axes[2].plot(at, values, "o-", color=colour, label=name, markersize=4)
        axes[2].set(title="validation", xlabel="step")
        axes[2].legend()
    return figure


def smooth(values: Sequence[float], window: int = 15) -> np.ndarray:
    """A running mean over the last ``window`` values."""
    total = np.cumsum(np.insert(np.asarray(values, dtype=float), 0, 0.0))
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - window, 0)
    return (total[end] - total[begin]) / (end - begin)


def plot_comparison(
    results: Mapping[str, Sequence[float]],
    label: str = "accuracy",
    chance: float | None = None,
    limits: tuple[float, float] | None = (0, 1.02),
) -> Figure:
    """One row a method: a dot for each seed, a bar for the mean, the mean as a number."""
    if not results:
        raise ValueError("no results to compare")
    figure, axis = plt.subplots(figsize=(6.4, 0.45 * len(results) + 0.75))
    for row, (name, values) in enumerate(results.items()):
        colour, mean = COLOURS[row % len(COLOURS)], float(np.mean(values))
        axis.barh(row, mean, height=0.56, color=colour, alpha=0.3)
        axis.plot(values, np.full(len(values), row), "o", color=colour, markersize=5)
        right = limits[1] if limits else max(map(max, results.values()))
        axis.text(right * 1.03, row, f"{mean:.2f}", va="center", ha="left")
    axis.set_yticks(range(len(results)), list(results))
    axis.set(xlabel=label, ylim=(len(results) - 0.5, -0.5))
    if limits:
        axis.set_xlim(*limits)
    if chance is not None:
        axis.axvline(chance, color=INK, linestyle="--", linewidth=1)
        axis.annotate(
            "chance",
            (chance, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=8,
        )
    axis.grid(axis="y", visible=False)
    return figure


def show_attention(
    image: Tensor, words: Sequence[str], maps: Tensor, columns: int = 6
) -> Figure:
    """One picture, and once for each word, lit where the word looked.

    Parameters
    ----------
    image : (3, H, W). words : L of them. maps : (L, h, w), not negative.
    """
    if len(words) != len(maps):
        raise ValueError(f"{len(words)} words need as many maps; got {len(maps)}")
    columns = min(columns, len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 1.35, rows * 1.6))
    axes = np.atleast_1d(axes).flat
    extent = (0, image.shape[2], image.shape[1], 0)
    for number, axis in enumerate(axes):
        axis.axis("off")
        if number > len(words):
            continue
        pixels = _pixels(image)
        axis.imshow(pixels if number == 0 else _grey(pixels), extent=extent)
        if number:
            heat = maps[number - 1].detach().cpu().numpy()
            axis.imshow(
                heat / heat.max(),
                extent=extent,
                cmap="inferno",
                alpha=0.72,
                interpolation="bicubic",
                vmin=0,
                vmax=1,
            )
        axis.set_title(
            "the picture" if number == 0 else words[number - 1],
            loc="center",
            fontsize=9,
        )
    return figure


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels.mean(-1, keepdims=True), 3, -1).astype(np.uint8)


def plot_matrix(
    matrix,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    form: str = "{:.2f}",
) -> Figure:
    """A table of numbers as a heat map, each number written into its field."""
    values = np.asarray(matrix, dtype=float)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"a matrix of {len(rows)} rows and {len(columns)} columns is needed; got "
            f"{values.shape}"
        )
    size = (1.6 + 0.75 * len(columns), 0.9 + 0.5 * len(rows))
    figure, axis = plt.subplots(figsize=size)
    axis.imshow(values, cmap="viridis", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for i, j in np.ndindex(values.shape):
        colour = "white" if values[i, j] <= middle else "black"
        axis.text(
            j, i, form.format(values[i, j]), ha="center", va="center", color=colour
        )
    axis.set_xticks(range(len(columns)), list(columns))
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_title(title)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def draw_flow(steps: Sequence[tuple[str, str]], title: str = "") -> Figure:
    """Boxes and arrows from left to right: what a step is called, and what leaves it.

    Parameters
    ----------
    steps : (name, shape) pairs, in the order in which the data pass them; take the
        shapes from live tensors.
    """
    if not steps:
        raise ValueError("no steps to draw")
    wide, gap = 1.5, 0.55
    figure, axis = plt.subplots(figsize=(len(steps) * (wide + gap) * 0.82, 1.25))
    for number, (name, shape) in enumerate(steps):
        left, colour = number * (wide + gap), COLOURS[number % len(COLOURS)]
        box = FancyBboxPatch(
            (left, 0),
            wide,
            0.9,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=mpl.colors.to_rgba(colour, 0.16),
            edgecolor=colour,
            linewidth=1.4,
        )
        axis.add_patch(box)
        axis.text(left + wide / 2, 0.58, name, ha="center", va="center", fontsize=10)
        axis.text(left + wide / 2, 0.27, shape, ha="center", va="center", fontsize=8)
        if number:
            axis.annotate(
                "",
                (left - 0.06, 0.45),
                (left - gap + 0.06, 0.45),
                arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.3},
            )
    axis.set(xlim=(-0.05, len(steps) * (wide + gap) - gap + 0.05), ylim=(-0.05, 0.95))
    axis.set_aspect("equal")
    axis.axis("off")
    if title:
        axis.set_title(title)
    return figure
