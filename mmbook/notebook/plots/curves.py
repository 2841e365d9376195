"""Curves of a training, and methods compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import ticker

from .colours import BLUE, COLOURS, INK, MARKERS, VERMILION, colours_of
from .describing import listed, sentences, shortened
from .figure import Plot
from .style import LEAST, NARROW, WIDTH, styled


@styled
def plot_history(history) -> Plot:
    """How a training run went: loss, learning rate, validation metrics.

    Parameters
    ----------
    history : a :class:`mmbook.training.History`. The loss is drawn on a logarithmic
        scale, as measured (faint) and smoothed; a validated ``loss`` beside it; other
        validated metrics in a panel of their own.
    """
    if not history.steps:
        raise ValueError("nothing to plot: the history has no steps")
    figure = _training(history, WIDTH)
    figure.narrower = lambda: _training(history, NARROW)
    return figure


def _training(history, width: float) -> Plot:
    """A training run; the metrics stand beside the loss, or below it."""
    validated = _validated(history.validations)
    validation_loss = validated.pop("loss", None)
    wide, more = width > NARROW, bool(validated)
    figure = Plot(
        figsize=(width, 2.9 if wide else 2.9 + 2 * more), layout="constrained"
    )
    if wide and more:
        grid = figure.add_gridspec(2, 2, height_ratios=[4, 1], width_ratios=[3, 2])
    else:
        grid = figure.add_gridspec(2 + more, 1, height_ratios=[4, 1, 4][: 2 + more])
    loss, rate = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    steps = np.array([record["step"] + 1 for record in history.steps])
    _draw_loss(loss, steps, np.array(history["loss"]), validation_loss)
    _draw_rate(rate, steps, np.array(history["learning_rate"]))
    loss.tick_params(labelbottom=False)
    for axes in (loss, rate):
        axes.set_xlim(0, steps[-1] * 1.01)
    if validated:
        _draw_metrics(figure.add_subplot(grid[:, 1] if wide else grid[2, 0]), validated)
    return figure


def _validated(validations: list[dict]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) of each validated metric, by its name."""
    series: dict[str, list] = {}
    for record in validations:
        for name, value in record.items():
            if name != "step":
                series.setdefault(name, []).append((record["step"], value))
    return series


def _draw_loss(axes, steps, loss, validation) -> None:
    positive = bool((loss > 0).all())
    if positive:
        axes.set_yscale("log")
        decades = np.log10(loss.max() / loss.min())
        subs = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 3 else (1,)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=10))
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    at, low, middle, high = _envelope(steps, loss, positive)
    axes.fill_between(at, low, high, color=BLUE, alpha=0.28, linewidth=0.6)
    axes.plot(at, middle, color=BLUE, label="training")
    if validation:
        at, values = zip(*validation, strict=True)
        axes.plot(at, values, "s", color=VERMILION, label="validation", clip_on=False)
        axes.legend(loc="upper right")
    axes.set_title("loss")


def _draw_rate(axes, steps, rates) -> None:
    some = np.unique(np.linspace(0, len(steps) - 1, 120).astype(int))
    axes.plot(steps[some], rates[some], color=INK, linewidth=1.2)
    axes.fill_between(steps[some], rates[some], color=INK, alpha=0.15, linewidth=0)
    axes.set(title="learning rate", xlabel="step", ylim=(0, None))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(1))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))


def _envelope(steps, values, logarithmic: bool, points: int = 120):
    """At most ``points`` places: lowest, smoothed and highest value around each."""
    reach = max(1, len(steps) // 50)
    smooth = np.log(values) if logarithmic else values
    window = np.hanning(2 * reach + 3)[1:-1]
    ones = np.convolve(np.ones(len(steps)), window, "full")[reach : reach + len(steps)]
    smooth = np.convolve(smooth, window, "full")[reach : reach + len(steps)] / ones
    smooth = np.exp(smooth) if logarithmic else smooth
    edges = np.linspace(0, len(steps), min(points, len(steps)) + 1).astype(int)
    parts = [
        (steps[a], values[a:b].min(), smooth[a], values[a:b].max())
        for a, b in pairwise(edges)
    ]
    return np.array(parts).T


def _draw_metrics(axes, validated: dict) -> None:
    for number, (name, points) in enumerate(validated.items()):
        at, values = zip(*points, strict=True)
        turn = (number + 2) % len(COLOURS)  # blue and vermilion are the loss's
        style = {"color": COLOURS[turn], "marker": MARKERS[turn], "clip_on": False}
        axes.plot(at, values, label=name, **style)
    only = f": {name}" if len(validated) == 1 else ""
    axes.set(title=f"validation{only}", xlabel="step")
    axes.set_xlim(left=0)
    drawn = [value for points in validated.values() for _, value in points]
    if min(drawn) >= 0 and max(drawn) <= 1:
        axes.set_ylim(-0.02, 1.03)
    if not only:
        axes.legend(loc="best")


@styled
def plot_comparison(
    results: Mapping[str, Sequence[float]],
    label: str = "accuracy",
    chance: float | None = None,
    limits: tuple[float, float] | None = None,
    number: str = "{:.2f}",
    line: str = "chance",
) -> Plot:
    """Compare methods by their results over seeds: each seed a dot, the mean a bar.

    Parameters
    ----------
    results : for each name, one number per seed.
    label : what was measured.
    chance : what guessing would reach: a dashed line.
    limits : of the axis; 0 to 1 if all results lie there.
    number : how the mean at the right is written. Behind it stands the standard
        deviation over seeds, if there is more than one.
    line : what the dashed line is called.
    """
    values = {name: np.atleast_1d(np.asarray(v, float)) for name, v in results.items()}
    if not values or any(
        v.size == 0 or not np.isfinite(v).all() for v in values.values()
    ):
        raise ValueError(
            f"every method needs at least one result, and finite ones; got {dict(results)}"
        )
    everything = np.concatenate([*values.values(), np.array([0.0, chance or 0.0])])
    inside = everything.min() >= 0 and everything.max() <= 1
    limits = limits or ((0.0, 1.0) if inside else _limits(everything))
    given = (values, label, chance, limits, number, line)
    figure = _compared(*given, WIDTH)
    figure.narrower = lambda: _compared(*given, NARROW)
    figure.says = _said(values, label, chance, number, line)
    return figure


def _compared(values, label, chance, limits, number, line, width: float) -> Plot:
    """A row for each method; its name stands before the bar, or above it."""
    wide, last = width > NARROW, len(values) - 0.5
    figure = Plot(
        figsize=(width, 0.62 + (0.36 if wide else 0.5) * len(values)),
        layout="constrained",
    )
    axes = figure.subplots()
    colours = colours_of(values)
    for row, (name, seeds) in enumerate(values.items()):
        half = 0.3 if wide else 0.24
        _draw_seeds(axes, row, seeds, (limits[0], half), number, colours[name])
        if not wide:
            at: dict[str, Any] = {
                "xy": (0, row - 0.31),
                "xycoords": ("axes fraction", "data"),
            }
            axes.annotate(name, size=LEAST, va="bottom", **at)
    if chance is not None:
        _draw_chance(axes, chance, None if wide else len(values), line)
    axes.set_yticks(range(len(values)), list(values) if wide else [""] * len(values))
    axes.set(xlim=limits, ylim=(last, -0.5 if wide else -0.75), xlabel=label)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


def _said(values: dict, label: str, chance: float | None, number: str, line) -> str:
    """The comparison in words."""
    means = [f"{name} {_mean(seeds, number)}" for name, seeds in values.items()]
    end = "" if chance is None else f"{line.capitalize()}: {number.format(chance)}"
    start = f"Bars, {label}: "
    return shortened(sentences([start + listed(means, 360 - len(start)), end]))


def _mean(seeds: np.ndarray, number: str) -> str:
    """Mean and standard deviation."""
    text = number.format(seeds.mean())
    return text + (" ± " + number.format(seeds.std(ddof=1)) if len(seeds) > 1 else "")


def _draw_seeds(axes, row: int, seeds, bar: tuple, number: str, colour: str) -> None:
    """One method: a bar for the mean, a dot for each seed, and the mean as a number."""
    low, half = bar
    axes.barh(row, seeds.mean() - low, 2 * half, low, color=colour, alpha=0.3)
    axes.plot([seeds.mean()] * 2, [row - half, row + half], color=colour)
    dots = {"color": colour, "markersize": 4, "clip_on": False}
    axes.plot(seeds, row + _jitter(len(seeds)), "o", **dots)
    coordinates = ("axes fraction", "data")
    style = {"xycoords": coordinates, "va": "center_baseline"}
    axes.annotate(_mean(seeds, number), (1.02, row), **style)


def _draw_chance(axes, chance: float, rows: int | None, name: str) -> None:
    """A dashed line, with its name above; over the bars only, if their rows are given."""
    line: dict[str, Any] = {
        "zorder": 1.5,
        "color": INK,
        "linestyle": (0, (4, 3)),
        "linewidth": 1.2,
    }
    if rows is None:
        axes.axvline(chance, **line)
    for row in range(rows or 0):
        axes.plot([chance] * 2, [row - 0.24, row + 0.24], **line)
    above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
    coordinates = ("data", "axes fraction")
    axes.annotate(name, (chance, 1), xycoords=coordinates, size=8.5, **above)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Of an axis that holds zero and all values."""
    margin = 0.05 * (values.max() - values.min() or 1.0)
    low = values.min() - margin if values.min() < 0 else 0.0
    return low, values.max() + margin


def _jitter(count: int) -> np.ndarray:
    """Small shifts, so that equal results do not hide each other."""
    return np.linspace(-0.15, 0.15, count) if count > 1 else np.zeros(1)
