"""Tables: as HTML, as tiles with numbers, and of confusions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from torch import Tensor

from .colours import INK
from .describing import listed, plain, sentences, shortened
from .figure import Plot
from .style import LEAST, NARROW, TILES, WIDTH, styled
from .text import text_width, wrap

_SHAPE = re.compile(r"\(\d+(, \d+)*,?\)")  # stays on one line
_NUMBER = re.compile(r"[–—-]?|[-−+±~]?\d[\d., ]*\S{0,3}( ± [\d.,]+\S{0,3})?")


@dataclass(frozen=True, repr=False)
class Table:
    """A table of texts that a notebook shows as HTML: see :func:`table`."""

    header: list[str]
    rows: list[list[str]]
    caption: str = ""

    def _repr_html_(self) -> str:
        columns = zip(*self.rows, strict=True)
        sides = ["right" if all(map(_NUMBER.fullmatch, c)) else "left" for c in columns]
        caption = f"<caption>{escape(self.caption)}</caption>\n" if self.caption else ""
        head = _row("th", self.header, sides)
        body = "\n".join(_row("td", row, sides) for row in self.rows)
        head, body = f"<thead>\n{head}\n</thead>", f"<tbody>\n{body}\n</tbody>"
        return f"<table>\n{caption}{head}\n{body}\n</table>"

    def __repr__(self) -> str:
        return "\n".join("\t".join(row) for row in [self.header, *self.rows])


def _row(kind: str, texts: list[str], sides: list[str]) -> str:
    texts = [_SHAPE.sub(lambda s: s[0].replace(" ", "\u00a0"), text) for text in texts]
    cells = [
        f'<{kind} style="text-align: {side}">{escape(text)}</{kind}>'
        for text, side in zip(texts, sides, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def table(
    rows: Sequence[Sequence],
    header: Sequence[str],
    caption: str = "",
    number: str = "{:.2f}",
) -> Table:
    """An HTML table; columns of numbers are aligned at the right.

    Parameters
    ----------
    rows : their cells: texts, or numbers; those that are not whole become text by
        ``number``.
    """
    wrong = [row for row in rows if len(row) != len(header)]
    if wrong or not rows:
        raise ValueError(
            f"a table needs rows of {len(header)} cells, like its header; got "
            f"{list(wrong[0]) if wrong else 'no rows'}"
        )
    plain = [[x.item() if hasattr(x, "item") else x for x in row] for row in rows]
    texts = [
        [number.format(x) if isinstance(x, float) else str(x) for x in row]
        for row in plain
    ]
    return Table(list(map(str, header)), texts, caption)


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
    values = np.asarray(torch.as_tensor(matrix).detach().cpu(), dtype=float)
    if values.shape != (len(rows), len(columns)) or not values.size:
        raise ValueError(
            f"matrix must be ({len(rows)}, {len(columns)}), like the names of its rows and "
            f"columns, and not empty; got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError("matrix must be finite: a tile has no colour for nan or inf")
    if form is None:
        form = "{:.0f}" if (values == values.round()).all() else "{:.2f}"
    given = (values, rows, columns, title, form, labels)
    figure = _tiled(*given, WIDTH)
    figure.narrower = lambda: _tiled_narrow(*given)
    figure.says = _said(values, rows, columns, title, form, labels)
    return figure


def _tiled(values, rows, columns, title, form, labels, width: float) -> Plot:
    """The tiles in a figure of at most that width."""
    longest = max(text_width(name, 8.5) for name in rows)
    room = 0.4 + 0.3 * bool(labels[0])
    tile = min(0.62, (width - longest - room) / len(columns))
    slanted = max(text_width(name, 8.5) for name in columns) > 0.95 * tile
    height = min(tile, 0.42) * len(rows) + (0.75 if slanted else 0.35)
    height += 0.35 * bool(labels[1]) + 0.3 * bool(title)
    size = (tile * len(columns) + longest + room, height)
    figure = Plot(figsize=size, layout="constrained")
    axes = figure.subplots()
    widest = max(text_width(form.format(value), LEAST) for value in values.flat)
    _draw_tiles(axes, values, form, min(LEAST, LEAST * 0.94 * tile / widest))
    _name_tiles(axes, rows, columns, slanted)
    axes.set(xlabel=labels[1], ylabel=labels[0])
    figure.suptitle(title, x=0.01, ha="left", size=10)
    return figure


def _tiled_narrow(values, rows, columns, title, form, labels) -> Plot | None:
    """The tiles for a phone: names before the rows, or above them if room is short."""
    longest = max(text_width(name, 8.5) for name in rows)
    tile = (NARROW - longest - 0.4 - 0.3 * bool(labels[0])) / len(columns)
    widest = max(text_width(form.format(value), LEAST) for value in values.flat)
    if tile < widest / 0.94:
        return _tiled_below_names(values, rows, columns, title, form, labels)
    title = "\n".join(wrap(title, NARROW - 0.2, 10))
    return _tiled(values, rows, columns, title, form, labels, NARROW)


def _tiled_below_names(values, rows, columns, title, form, labels) -> Plot | None:
    """The tiles for a phone, each row's name above it, or in blocks of columns."""
    high, step = 0.3, 0.54  # inches of a tile, and from row to row
    widest = max(text_width(form.format(value), LEAST) for value in values.flat)
    over = text_width(columns[-1], 8.5) * 0.77  # how far the last slanted name goes
    if (NARROW - 0.35 - over) / len(columns) < widest / 0.94:
        return _in_blocks(values, rows, columns, title, form, labels)
    slant = 0.66 * max(text_width(name, 8.5) for name in columns) + 0.2
    height = step * len(rows) + slant + 0.2 * (bool(labels[1]) + bool(title))
    figure = Plot(figsize=(NARROW, height + 0.1), layout="constrained")
    axes = figure.subplots()
    _draw_tiles(axes, values, form, LEAST, step / high)
    _name_tiles(axes, [""] * len(rows), columns, slanted=True)
    for row, name in enumerate(rows):
        axes.text(0, row * step / high - 0.1, name, va="bottom", size=8.5)
    axes.set(ylim=((len(rows) - 1) * step / high + 1, 1 - step / high))
    axes.set(xlabel=labels[1], ylabel=labels[0])
    title = "\n".join(wrap(title, NARROW - 0.2, 10))
    figure.suptitle(title, x=0.01, ha="left", size=10)
    return figure


def _in_blocks(values, rows, columns, title, form, labels) -> Plot | None:
    """The tiles for a phone: columns that find no room stand below; None if none does."""
    longest = max(text_width(name, 8.5) for name in rows)
    room = NARROW - longest - 0.4 - 0.3 * bool(labels[0])
    widest = max(text_width(form.format(value), LEAST) for value in values.flat)
    if room < widest / 0.94:
        return None
    count = -(-len(columns) // int(room / (widest / 0.94)))
    blocks = np.array_split(np.arange(len(columns)), count)
    tile = room / len(blocks[0])
    height = count * (0.3 * len(rows) + 0.75) + 0.35 * bool(labels[1]) + 0.3
    figure = Plot(figsize=(NARROW, height), layout="constrained")
    limits = min(0.0, values.min()), values.max()
    for axes, block in zip(np.ravel(figure.subplots(count)), blocks, strict=True):
        _draw_tiles(axes, values[:, block], form, LEAST, limits=limits)
        axes.set_xlim(0, len(blocks[0]))
        names = [columns[number] for number in block]
        wide = max(text_width(name, 8.5) for name in names) > 0.95 * tile
        _name_tiles(axes, rows, names, wide)
        axes.set(ylabel=labels[0], xlabel="" if block[0] else labels[1])
    title = "\n".join(wrap(title, NARROW - 0.2, 10))
    figure.suptitle(title, x=0.01, ha="left", size=10)
    return figure


def _said(values, rows, columns, title, form, labels) -> str:
    """The matrix in words: its names, its largest and its smallest number."""
    rows, columns = list(map(plain, rows)), list(map(plain, columns))
    parts = [plain(title) or "A matrix of numbers"]
    for kind, label, names in (
        ("Rows", labels[0], rows),
        ("Columns", labels[1], columns),
    ):
        parts.append(
            f"{kind}{f' ({plain(label)})' if label else ''}: {listed(names, 110)}"
        )
    for word, place in (("Largest", values.argmax()), ("Smallest", values.argmin())):
        row, column = np.unravel_index(place, values.shape)
        number = form.format(values[row, column])
        parts.append(f"{word}: {number} ({rows[row]}, {columns[column]})")
    return shortened(sentences(parts))


def _draw_tiles(axes, values, form: str, size: float, step=1.0, limits=None) -> None:
    """A tile for each number, and the number in a colour that can be read on it.

    From row to row it is ``step`` times a tile's height.
    """
    lowest, highest = limits or (min(0.0, values.min()), values.max())
    edges = {"edgecolors": INK, "linewidth": 0.5, "clip_on": False, "antialiased": True}
    edges |= {"cmap": TILES, "vmin": lowest, "vmax": highest or 1.0}
    across = np.arange(values.shape[1] + 1)
    for row in range(len(values)) if step != 1 else ():
        down = [row * step, row * step + 1]
        axes.pcolormesh(across, down, values[row : row + 1], **edges)
    if step == 1:
        axes.pcolormesh(values, **edges)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = TILES((value - lowest) / ((highest - lowest) or 1.0))
        light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        colour = "black" if light > 0.179 else "white"  # either has 4.5 : 1 there
        place = {"ha": "center", "va": "center_baseline", "size": size}
        axes.text(
            column + 0.5, row * step + 0.5, form.format(value), color=colour, **place
        )


def _name_tiles(axes, rows: Sequence[str], columns: Sequence[str], slanted: bool):
    """Names of the rows at the left, of the columns above; no frame."""
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    if slanted:
        axes.tick_params(axis="x", labelrotation=40)
        for name in axes.get_xticklabels():
            name.set(ha="left", va="bottom", rotation_mode="anchor")
    axes.set_ylim(len(rows), 0)
    axes.xaxis.set_label_position("top")
    axes.grid(False)
    axes.spines[:].set_visible(False)


def plot_confusion(
    truth: Sequence[int] | Tensor,
    predicted: Sequence[int] | Tensor,
    names: Sequence[str],
) -> Plot:
    """The confusion matrix (混淆矩阵): rows are true classes, columns predicted ones.

    Parameters
    ----------
    truth, predicted : class numbers of the same examples, as many.
    names : of the classes.
    """
    truth, predicted = (torch.as_tensor(x).cpu() for x in (truth, predicted))
    if truth.shape != predicted.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(
            "truth and predicted must be class numbers of the same examples; got "
            f"{tuple(truth.shape)} and {tuple(predicted.shape)}"
        )
    classes = {*truth.tolist(), *predicted.tolist()}
    if outside := [n for n in classes if not 0 <= n < len(names)]:
        raise ValueError(f"{len(names)} classes have names; got class {outside[0]}")
    counts = torch.zeros(len(names), len(names), dtype=torch.long)
    counts.index_put_((truth, predicted), torch.tensor(1), accumulate=True)
    figure = plot_matrix(counts, names, names, labels=("true", "predicted"))
    figure.says = _confused(counts, list(map(plain, names)))
    return figure


def _confused(counts: Tensor, names: list[str]) -> str:
    """A confusion matrix in words."""
    right, wrong = int(counts.trace()), counts - counts.diag().diag()
    parts = [f"Confusion matrix of {int(counts.sum())} examples, {right} of them right"]
    for place in wrong.flatten().argsort(descending=True, stable=True)[:3].tolist():
        truth, said = divmod(place, len(names))
        if wrong[truth, said]:
            pair = f"{names[truth]} taken for {names[said]}"
            parts.append(f"{pair}: {int(wrong[truth, said])}")
    return shortened(sentences(parts))
