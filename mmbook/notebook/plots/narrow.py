"""Any figure of panels, redrawn for a phone: the panels below each other."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from .style import LEAST, NARROW
from .text import wrap


def stacked(figure: Figure) -> Figure | None:
    """A copy that is narrow; None for a figure whose panels stand in no one grid."""
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    specs = [axes.get_subplotspec() for axes in panels]
    grids = {id(spec.get_gridspec()) for spec in specs if spec}
    if not panels or None in specs or len(grids) != 1:
        return None
    try:
        small: Any = copy.deepcopy(figure)
    except (AttributeError, TypeError, ValueError):  # something cannot be copied
        return None
    _stack([axes for axes in small.axes if axes.get_label() != "<colorbar>"], small)
    _fit_texts(small)
    for axes in small.axes:
        _fit_legend(axes, small)
    _move_legends_below(small)
    _thin_ticks(small)
    return small


def _stack(panels: Sequence, figure: Figure) -> None:
    """Give each panel a row of its own, or two a row if many stood beside each other."""
    grid = panels[0].get_subplotspec().get_gridspec()
    rows, columns = grid.nrows, grid.ncols
    by_column = rows > 1 and columns > 1 and _titles_above_columns(panels)
    panels = sorted(panels, key=lambda axes: _place(axes, by_column))
    _show_what_was_shared(panels, by_column)
    beside = 2 if columns >= 4 else 1
    lines = math.ceil(len(panels) / beside)
    tall = [_share(axes) for axes in panels[::beside]]
    height = figure.get_figheight() * max(1.0, sum(tall))
    figure.set_size_inches(NARROW, min(height, 2.9 * lines) if lines > 1 else height)
    layout = figure.add_gridspec(lines, beside, height_ratios=tall)
    for number, axes in enumerate(panels):
        axes.set_subplotspec(layout[divmod(number, beside)])


def _place(axes, by_column: bool) -> tuple[int, int]:
    spec = axes.get_subplotspec()
    place = spec.rowspan.start, spec.colspan.start
    return place[::-1] if by_column else place


def _share(axes) -> float:
    """Which share of the figure's height a panel has."""
    spec = axes.get_subplotspec()
    grid = spec.get_gridspec()
    ratios = np.array(grid.get_height_ratios() or [1] * grid.nrows, float)
    return float(ratios[spec.rowspan.start : spec.rowspan.stop].sum() / ratios.sum())


def _titles_above_columns(panels: Sequence) -> bool:
    """Whether a title stands above each column only."""
    titled = {
        _place(axes, False)[0]
        for axes in panels
        if axes.get_title(loc="left") or axes.get_title()
    }
    return titled == {0}


def _show_what_was_shared(panels: Sequence, by_column: bool) -> None:
    """Labels that only the first or the last panel had stand at each of them."""
    first: dict[int, Any] = {}
    for axes in panels:
        row = axes.get_subplotspec().rowspan.start
        first.setdefault(row, axes)
        if not axes.get_ylabel():
            axes.set_ylabel(first[row].get_ylabel())
        hidden = not axes.yaxis.get_tick_params("major").get("labelleft", True)
        if hidden:
            axes.tick_params(axis="y", labelleft=True)
        if not by_column and axes.get_subplotspec().get_gridspec().ncols > 1:
            if not axes.xaxis.get_tick_params("major").get("labelbottom", True):
                axes.tick_params(axis="x", labelbottom=True)


def _fit_texts(figure: Any) -> None:
    """No text smaller than 11 pixels, and titles on as many lines as they need."""
    for text in figure.findobj(Text):
        if text.get_size() < LEAST:
            text.set_size(LEAST)
    for axes in figure.axes:
        for text in (axes._left_title, axes.title, axes.xaxis.label):
            if text.get_text() and "$" not in text.get_text():
                lines = wrap(text.get_text(), NARROW - 0.75, text.get_size())
                text.set_text("\n".join(lines))


def _fit_legend(axes, figure: Figure) -> None:
    """A legend wider than the panel has fewer columns; one beside it goes below."""
    legend = axes.get_legend()
    if legend is None:
        return
    figure.draw_without_rendering()
    frame, box = axes.get_window_extent(), legend.get_window_extent()
    beside, wide = box.x0 >= frame.x1 - 1, box.width > frame.width
    outside = beside or box.y1 <= frame.y0
    if not (wide or outside):
        return
    columns = max(1, int(legend._ncols * min(1.0, 0.95 * frame.width / box.width)))
    where: dict[str, Any] = {"loc": legend._loc}
    if outside or columns == 1 < len(legend.get_texts()):
        where = {"loc": "upper left", "bbox_to_anchor": (0, -0.55 / frame_inches(axes))}
    _again(axes, legend, ncols=columns if not beside else 1, **where)


def frame_inches(axes) -> float:
    """How high a panel is."""
    return max(0.3, axes.get_window_extent().height / axes.figure.dpi)


def _again(parent, legend, **options) -> None:
    """The same legend, placed anew."""
    labels = [text.get_text() for text in legend.get_texts()]
    handles = legend.legend_handles
    if legend in getattr(parent, "legends", ()):
        parent.legends.remove(legend)
    parent.legend(handles, labels, fontsize=LEAST, **options)


def _move_legends_below(figure: Figure) -> None:
    """The legends of the whole figure."""
    for legend in list(figure.legends):
        widest = max(t.get_window_extent().width for t in legend.get_texts())
        columns = 2 if widest < figure.dpi * (NARROW / 2 - 0.5) else 1
        _again(figure, legend, loc="outside lower left", ncols=columns)


def _thin_ticks(figure: Figure) -> None:
    """Where numbers below an axis touch each other, every second one goes."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [t for t in axes.get_xticklabels() if t.get_text() and t.get_visible()]
        boxes = sorted((t.get_window_extent() for t in labels), key=lambda box: box.x0)
        close = any(a.x1 + 2 > b.x0 for a, b in pairwise(boxes))
        if not close or any(t.get_rotation() for t in labels):
            continue
        ticks = axes.get_xticks()
        texts = [t.get_text() for t in axes.get_xticklabels()]
        if all(any(sign.isdigit() for sign in text) for text in texts if text):
            kept = [text if i % 2 == 0 else "" for i, text in enumerate(texts)]
            axes.set_xticks(ticks, kept)
        else:
            axes.set_xticks(
                ticks, texts, rotation=40, ha="right", rotation_mode="anchor"
            )
