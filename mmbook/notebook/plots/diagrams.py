"""Boxes and arrows: the five steps, and the graph of a computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.patches import FancyBboxPatch

from .arrows import arrow, canvas
from .colours import BLUE
from .describing import listed, plain, sentences, shortened
from .figure import Plot
from .style import LEAST, NARROW, WIDTH, styled
from .text import fonts, text_width, wrap


@styled
def draw_flow(steps: Sequence, title: str = "") -> Plot:
    """Boxes and arrows from left to right, with the shapes that really flowed.

    ``draw_flow([("picture", image), [("image encoder", tokens), …], …])``

    Parameters
    ----------
    steps : each is a name, or a name and a tensor, a shape or a text that stands beneath
        it; or a list of such steps, which stand above each other. Equally many above
        each other are joined one to one, otherwise all to all. Too long a flow goes on
        in the next row.
    title : stands above.
    """
    columns = [_boxes(step) for step in steps]
    if not columns or not all(columns):
        raise ValueError("nothing to draw: give at least one step, and no empty list")
    figure = _flow(columns, title, WIDTH)
    figure.narrower = lambda: _flow(columns, "\n".join(wrap(title, 3.5, 10)), NARROW)
    texts = [" and ".join(f"{a} {b}".strip() for a, b in column) for column in columns]
    figure.says = _said(title, " → ".join(map(plain, texts)))
    return figure


def _said(title: str, text: str) -> str:
    """A diagram in words."""
    return shortened(sentences([plain(title), f"Diagram: {text}"]))


def _flow(columns: list, title: str, limit: float) -> Plot:
    """Boxes and arrows in rows of at most that width."""
    rows = _flow_rows(columns, limit)
    rows = rows if len(rows) == 1 else _flow_rows(columns, limit - 4 * _BUS)
    tall = [max(len(column) for column in row) * 0.72 for row in rows]
    width = max(sum(map(_box_width, row)) + _ARROW * (len(row) - 1) for row in rows)
    height = sum(tall) + 0.3 * (len(rows) - 1 + bool(title))
    bus = _BUS if len(rows) > 1 else 0.0  # room for the lines between rows
    figure, axes = canvas(width + 4 * bus + 0.1, height, title)
    top, before = 0.3 * bool(title), None
    for row, space in zip(rows, tall, strict=True):
        left, arrive = 0.05 + 2 * bus, before
        for column in row:
            placed = _draw_boxes(axes, column, left, top + space / 2)
            if arrive is not None:
                _connect(axes, arrive, placed, turn=arrive is before)
            left += _box_width(column) + _ARROW
            arrive = placed
        before, top = arrive, top + space + 0.3
    return figure


_ARROW, _BUS = 0.36, 0.09  # inches between two boxes; from a box to a line past it


def _boxes(step) -> list[tuple[str, str]]:
    """A step, or a list of steps, as names and the texts beneath."""
    if isinstance(step, list):
        return [box for part in step for box in _boxes(part)]
    name, *detail = (step,) if isinstance(step, str) else step
    if len(detail) > 1 or not isinstance(name, str):
        raise ValueError(
            f"a step is a name, or (name, tensor, shape or text); got {step!r}"
        )
    return [(name, _detail(detail[0]) if detail else "")]


def _detail(value) -> str:
    """The shape of a tensor, or the text itself."""
    shape = getattr(value, "shape", value)
    return shape if isinstance(shape, str) else str(tuple(shape) if shape != () else "")


def _box_width(column: list[tuple[str, str]]) -> float:
    names = [text_width(name, 9.5) * 1.08 for name, _ in column]  # bold is wider
    shapes = [text_width(text, LEAST, "DejaVu Sans Mono") for _, text in column]
    return max(0.8, *names, *shapes) + 0.22


def _flow_rows(columns: list, width: float) -> list[list]:
    """Break a flow into rows of about equal length that fit the page."""
    sizes = [_box_width(column) + _ARROW for column in columns]
    least = -(-(sum(sizes) - _ARROW) // (width - 0.1))
    limit = sum(sizes) / least if least > 1 else width
    rows: list[list] = [[]]
    used = 0.0
    for column, size in zip(columns, sizes, strict=True):
        if rows[-1] and (
            used + size - _ARROW > width - 0.1 or used > limit - size / 2 + 1e-6
        ):
            rows, used = [*rows, []], 0.0
        rows[-1].append(column)
        used += size
    return rows


def _draw_boxes(axes, column, left: float, middle: float, width=None) -> list[tuple]:
    """Draw boxes above each other; where they are: (left, right, middle)."""
    width, placed = width or _box_width(column), []
    for number, (name, detail) in enumerate(column):
        y = middle + 0.72 * (number - (len(column) - 1) / 2)
        box = FancyBboxPatch(
            (left + 0.06, y - 0.21),
            width - 0.12,
            0.42,
            boxstyle="round,pad=0.06,rounding_size=0.09",
            facecolor=(*matplotlib.colors.to_rgb(BLUE), 0.06),
            edgecolor=BLUE,
            linewidth=1.1,
        )
        axes.add_patch(box)
        style = {"ha": "center", "va": "center"}
        lift = 0.1 if detail else 0.0
        axes.text(left + width / 2, y - lift, name, size=9.5, weight="bold", **style)
        mono = style | {"size": LEAST, "family": fonts("DejaVu Sans Mono")}
        axes.text(left + width / 2, y + 0.12, detail, **mono)
        placed.append((left, left + width, y))
    return placed


def _connect(axes, before: list, after: list, turn: bool) -> None:
    """Arrows from the boxes of one column to the next, or down to the next row."""
    if turn:
        _turn(axes, before, after)
        return
    pairs = [(a, b) for a in before for b in after]
    if len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
    for (_, start, y), (end, _, next_y) in pairs:
        middle = (start + end) / 2
        points = [
            (start + 0.03, y),
            (middle, y),
            (middle, next_y),
            (end - 0.03, next_y),
        ]
        arrow(axes, points, curved=True)


def _turn(axes, before: list, after: list) -> None:
    """Lines from every box of a column, down between the rows, and to every box below."""
    between = after[0][2] - 0.51
    right, left = before[0][1] + _BUS, after[0][0] - _BUS
    one = len(after) == 1
    end = sum(after[0][:2]) / 2 if one else left
    for _, edge, y in before:
        points = [(edge, y), (right, y), (right, between), (end, between)]
        arrow(axes, points, head=False)
    for edge, _, y in after:
        corner, last = (
            (end, between if one else y),
            (end, y - 0.29) if one else (edge, y),
        )
        arrow(axes, [(end, between), (end, between), corner, last])


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
    details = {name: _detail(value) for name, value in (details or {}).items()}
    arrows = [(*arrow, "")[:3] for arrow in arrows]
    rows, chains = _layers(arrows)
    widths = [
        sum(_graph_width(name, details) + _GAP for name in row) - _GAP for row in rows
    ]
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
                _draw_boxes(axes, [(name, details.get(name, ""))], left, y, own)
            left += own + _GAP
    for chain, label in chains:
        _draw_chain(axes, [middle[name] for name in chain], label)
    figure.narrower = lambda: None  # it has no other order
    ways = [f"{_named(a, details)} → {_named(b, {})}" for a, b, _ in arrows]
    figure.says = _said(title, listed(list(map(plain, ways)), 360))
    return figure


def _named(name: str, details: dict) -> str:
    return f"{name} {details.get(name, '')}".strip()


_GAP, _FALL = 0.3, 0.42  # inches between two boxes, and between two rows


def _graph_width(name, details: dict) -> float:
    """Of a box; of the place that an arrow needs to pass by a row."""
    return _box_width([(name, details.get(name, ""))]) if isinstance(name, str) else 0.2


def _layers(arrows: list[tuple]) -> tuple[list[list], list[tuple]]:
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
    chains = []
    for number, (a, b, label) in enumerate(arrows):
        passed = [(number, d) for d in range(depth[a] + 1, depth[b])]
        for place in passed:
            rows[place[1]].append(place)
        chains.append(([a, *passed, b], label))
    return _untangled(rows, [chain for chain, _ in chains]), chains


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
        mean = {n: np.mean([place.get(a, 0.5) for a in above.get(n, [])]) for n in row}
        ordered.append(sorted(row, key=lambda name: mean[name]))
    return ordered


def _draw_chain(axes, points: list[tuple], label: str) -> None:
    """An arrow from a box down to another, through the places where it passes by."""
    for number, ((x, y), (next_x, next_y)) in enumerate(pairwise(points)):
        first, last = number == 0, number == len(points) - 2
        start, end = y + 0.28 * first, next_y - 0.29 * last
        half = (start + end) / 2
        way = [(x, start), (x, half), (next_x, half), (next_x, end)]
        arrow(axes, way, curved=True, head=last)
        if first and label:
            side = -1 if next_x < x else 1  # outside the bend
            beside = {"ha": "right" if side < 0 else "left", "va": "center"}
            axes.text((x + next_x) / 2 + 0.08 * side, half, label, size=LEAST, **beside)
