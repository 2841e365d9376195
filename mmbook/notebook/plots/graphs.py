"""The graph of a computation: boxes from top to bottom, and their arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from .arrows import arrow, canvas
from .describing import listed, plain
from .diagrams import box_width, detail_of, draw_boxes, said_of
from .figure import Plot
from .style import LEAST, NARROW, styled
from .text import wrap


@styled
def draw_graph(
    arrows: Sequence[tuple],
    details: Mapping[str, object] | None = None,
    title: str = "",
) -> Plot:
    """Boxes from top to bottom, joined by the arrows that are given.

    ``draw_graph([("data", "pre-training"), ("pre-training", "model", "1")])``

    Parameters
    ----------
    arrows : (from, to) or (from, to, label): no cycles. A box stands one row beneath the
        lowest of those that point to it.
    details : by name of a box, a tensor, a shape or a text that stands in it, too.
    title : stands above.
    """
    details = {name: detail_of(value) for name, value in (details or {}).items()}
    arrows = [(*arrow, "")[:3] for arrow in arrows]
    figure = _graph(_layers(arrows, details, np.inf), details, title)
    figure.narrower = lambda: _narrow(arrows, details, title)
    ways = [f"{_named(a, details)} → {_named(b, {})}" for a, b, _ in arrows]
    figure.says = said_of(title, listed(list(map(plain, ways)), 360))
    return figure


def _narrow(arrows: list[tuple], details: dict, title: str) -> Plot | None:
    """The graph for a phone, wide rows in parts below each other; None if that is wide."""
    layers = _layers(arrows, details, NARROW - 0.1)
    figure = _graph(layers, details, "\n".join(wrap(title, NARROW - 0.25, 10)))
    return figure if figure.get_figwidth() <= NARROW + 0.01 else None


def _graph(layers: tuple[list, list], details: dict, title: str) -> Plot:
    """The rows of boxes below each other, and their arrows."""
    rows, chains = layers
    widths = [_row_width(row, details) for row in rows]
    head = 0.34 * bool(title)
    width, height = max(widths) + 0.1, head + len(rows) * (0.5 + _FALL) - _FALL + 0.1
    figure, axes = canvas(width, height, title)
    middle = {}
    for number, (row, taken) in enumerate(zip(rows, widths, strict=True)):
        left, y = (width - taken) / 2, head + 0.3 + number * (0.5 + _FALL)
        for name in row:
            own = _graph_width(name, details)
            middle[name] = (left + own / 2, y)
            if isinstance(name, str):
                draw_boxes(axes, [(name, details.get(name, ""))], left, y, own)
            left += own + _GAP
    ends = [chain[-1] for chain, _ in chains]
    for chain, label in chains:
        meets = ends.count(chain[-1]) > 1
        _draw_chain(axes, [middle[name] for name in chain], label, meets)
    return figure


def _named(name: str, details: dict) -> str:
    return f"{name} {details.get(name, '')}".strip()


_GAP, _FALL = 0.22, 0.42  # inches between two boxes, and between two rows


def _graph_width(name, details: dict) -> float:
    """Of a box; of the place that an arrow needs to pass by a row."""
    return box_width([(name, details.get(name, ""))]) if isinstance(name, str) else 0.2


def _row_width(row: list, details: dict) -> float:
    return sum(_graph_width(name, details) + _GAP for name in row) - _GAP


def _layers(arrows: list[tuple], details: dict, limit: float) -> tuple[list, list]:
    """Names in rows, with places where long arrows pass; and each arrow's way."""
    names = list(dict.fromkeys(name for a, b, _ in arrows for name in (a, b)))
    if not names:
        raise ValueError("nothing to draw: give at least one arrow")
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for a, b, _ in arrows:
            depth[b] = max(depth[b], depth[a] + 1)
    if max(depth.values()) >= len(names):
        raise ValueError(
            "these arrows form a cycle; a graph from top to bottom has none"
        )
    rows = [[n for n in names if depth[n] == d] for d in range(max(depth.values()) + 1)]
    rows = [part for row in rows for part in _parted(row, details, limit)]
    depth = {name: d for d, row in enumerate(rows) for name in row}
    chains = []
    for number, (a, b, label) in enumerate(arrows):
        passed = [(number, d) for d in range(depth[a] + 1, depth[b])]
        for place in passed:
            rows[place[1]].append(place)
        chains.append(([a, *passed, b], label))
    return _untangled(rows, [chain for chain, _ in chains]), chains


def _parted(row: list, details: dict, limit: float) -> list[list]:
    """A row, or its halves below each other where it is too wide."""
    if len(row) < 2 or _row_width(row, details) <= limit:
        return [row]
    half = len(row) // 2
    return [
        part
        for side in (row[:half], row[half:])
        for part in _parted(side, details, limit)
    ]


def _untangled(rows: list[list], chains: list[list]) -> list[list]:
    """Order each row by where its boxes' arrows come from."""
    above: dict = {}
    for chain in chains:
        for a, b in pairwise(chain):
            above.setdefault(b, []).append(a)
    ordered = [rows[0]]
    for row in rows[1:]:
        place = {
            name: i / max(1, len(ordered[-1]) - 1) for i, name in enumerate(ordered[-1])
        }
        mean = {n: np.mean([place.get(a, 0.5) for a in above.get(n, "-")]) for n in row}
        ordered.append(sorted(row, key=lambda name: mean[name]))
    return ordered


def _draw_chain(axes, points: list[tuple], label: str, meets: bool) -> None:
    """An arrow from a box down to another, through the places where it passes by."""
    for number, ((x, y), (next_x, next_y)) in enumerate(pairwise(points)):
        first, last = number == 0, number == len(points) - 2
        start, end = y + 0.28, next_y - 0.29
        if not first:  # straight past the boxes of a row
            arrow(axes, [(x, y - 0.29)] * 2 + [(x, start)] * 2, head=False)
        half = (start + end) / 2
        way = [(x, start), (x, half), (next_x, half), (next_x, end)]
        arrow(axes, way, curved=True, head=last)
        if first and label:
            turn = (next_x > x + 0.01) - (next_x < x - 0.01)
            side = (-turn if meets else turn) or 1  # away from the other arrow
            beside = {"ha": "right" if side < 0 else "left", "va": "center"}
            axes.text((x + next_x) / 2 + 0.08 * side, half, label, size=LEAST, **beside)
