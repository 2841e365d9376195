"""Matrices as pictures: with numbers, or of confusions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .style import INK, TILES, WIDTH, Plot, styled, text_width, wrap


@styled
def plot_matrix(
    matrix,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    form: str | None = None,
    labels: tuple[str, str] = ("", ""),
) -> Plot:
    """A matrix of numbers from zero up as tiles: darker is more.

    Parameters
    ----------
    matrix : (rows, columns), tensor or array.
    rows, columns : their names.
    form : how each number is written, ``"{:.2f}"`` or, if all are whole, ``"{:.0f}"``.
    labels : what the rows and the columns are.
    """
    matrix = np.asarray(torch.as_tensor(matrix).detach().cpu(), dtype=float)
    if matrix.shape != (len(rows), len(columns)) or not matrix.size:
        raise ValueError(
            f"matrix must be ({len(rows)}, {len(columns)}), like the names of its rows and "
            f"columns, and not empty; got {matrix.shape}"
        )
    if form is None:
        form = "{:.0f}" if (matrix == matrix.round()).all() else "{:.2f}"
    longest = max(text_width(name, 8.5) for name in rows)
    tile = min(0.62, (WIDTH - longest - 0.6) / len(columns))
    wrapped = ["\n".join(wrap(name, 1.3 * tile, 8.5)) for name in columns]
    slanted = max(text_width(name, 8.5) for name in columns) > 0.95 * tile
    top = 0.75 if slanted else 0.35
    height = (
        min(tile, 0.42) * len(rows) + top + 0.35 * bool(labels[1]) + 0.3 * bool(title)
    )
    size = (tile * len(columns) + longest + 0.4 + 0.3 * bool(labels[0]), height)
    figure = Plot(figsize=size, layout="constrained")
    axes = figure.subplots()
    lowest, highest = min(0.0, matrix.min()), matrix.max()
    axes.pcolormesh(matrix, cmap=TILES, vmin=lowest, vmax=highest or 1.0, **_EDGES)
    for (row, column), value in np.ndenumerate(matrix):
        red, green, blue, _ = TILES((value - lowest) / ((highest - lowest) or 1.0))
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        colour = "#101a24" if light > 0.2 else "white"
        place = {"ha": "center", "va": "center_baseline", "size": min(8.5, 15 * tile)}
        axes.text(column + 0.5, row + 0.5, form.format(value), color=colour, **place)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns if slanted else wrapped)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    if slanted:
        axes.tick_params(axis="x", labelrotation=40)
        for name in axes.get_xticklabels():
            name.set(ha="left", va="bottom", rotation_mode="anchor")
    axes.set(xlabel=labels[1], ylabel=labels[0], ylim=(len(rows), 0))
    figure.suptitle(title, x=0.01, ha="left", size=10)
    axes.xaxis.set_label_position("top")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure


_EDGES = {"edgecolors": INK, "linewidth": 0.5, "clip_on": False, "antialiased": True}


def plot_confusion(
    truth: Sequence[int], said: Sequence[int], names: Sequence[str]
) -> Plot:
    """How often each class was taken for which (混淆矩阵): rows are true, columns said.

    Parameters
    ----------
    truth, said : class numbers of the same examples, as many.
    names : of the classes.
    """
    truth, said = torch.as_tensor(truth).cpu(), torch.as_tensor(said).cpu()
    if truth.shape != said.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(
            "truth and said must be class numbers of the same examples; got "
            f"{tuple(truth.shape)} and {tuple(said.shape)}"
        )
    outside = [n for n in {*truth.tolist(), *said.tolist()} if not 0 <= n < len(names)]
    if outside:
        raise ValueError(f"{len(names)} classes have names; got class {outside[0]}")
    counts = torch.zeros(len(names), len(names), dtype=torch.long)
    counts.index_put_((truth, said), torch.tensor(1), accumulate=True)
    return plot_matrix(counts, names, names, labels=("true", "said"))
