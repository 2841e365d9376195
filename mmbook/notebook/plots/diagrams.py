"""Boxes and arrows from left to right: the five steps."""

from __future__ import annotations

from collections.abc import Container, Sequence

import matplotlib
from matplotlib.patches import FancyBboxPatch

from .arrows import arrow, canvas
from .colours import BLUE, INK
from .describing import plain, sentences, shortened
from .figure import Plot
from .style import LEAST, NARROW, WIDTH, styled
from .text import fonts, text_width, wrap


@styled
def draw_flow(steps: Sequence, title: str = "", frozen: Container[str] = ()) -> Plot:
    """Boxes and arrows from left to right, with the shapes that really flowed.

    ``draw_flow([("picture", image), [("image encoder", tokens), …], …])``

    Parameters
    ----------
    steps : each is a name, or a name and a tensor, a shape or a text that stands beneath
        it; or a list of such steps, which stand above each other. Equally many above
        each other are joined one to one, otherwise all to all. Too long a flow goes on
        in the next row.
    title : stands above.
    frozen : names of boxes that are drawn grey and dashed: what does not learn.
    """
    columns = [_boxes(step) for step in steps]
    if not columns or not all(columns):
        raise ValueError("nothing to draw: give at least one step, and no empty list")
    figure = _flow(columns, title, WIDTH, frozen)
    heading = "\n".join(wrap(title, 3.5, 10))
    figure.narrower = lambda: _flow(columns, heading, NARROW, frozen)
    said = [[f"{a} {b}{' (frozen)' * (a in frozen)}" for a, b in c] for c in columns]
    texts = [" and ".join(map(str.strip, column)) for column in said]
    figure.says = said_of(title, " → ".join(map(plain, texts)))
    return figure


def said_of(title: str, text: str) -> str:
    """A diagram in words."""
    return shortened(sentences([plain(title), f"Diagram: {text}"]))


def _flow(columns: list, title: str, limit: float, frozen: Container[str]) -> Plot:
    """Boxes and arrows in rows of at most that width."""
    rows = _flow_rows(columns, limit)
    rows = rows if len(rows) == 1 else _flow_rows(columns, limit - 4 * _BUS)
    tall = [max(len(column) for column in row) * 0.72 for row in rows]
    width = max(sum(map(box_width, row)) + _ARROW * (len(row) - 1) for row in rows)
    height = sum(tall) + 0.3 * (len(rows) - 1 + bool(title))
    bus = _BUS if len(rows) > 1 else 0.0  # room for the lines between rows
    figure, axes = canvas(width + 4 * bus + 0.1, height, title)
    top, before = 0.3 * bool(title), None
    for row, space in zip(rows, tall, strict=True):
        left, arrive = 0.05 + 2 * bus, before
        for column in row:
            placed = draw_boxes(axes, column, left, top + space / 2, None, frozen)
            if arrive is not None:
                turn = top - 0.15 if arrive is before else None
                _connect(axes, arrive, placed, turn)
            left += box_width(column) + _ARROW
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
    return [(name, detail_of(detail[0]) if detail else "")]


def detail_of(value) -> str:
    """The shape of a tensor, or the text itself."""
    shape = getattr(value, "shape", value)
    return shape if isinstance(shape, str) else str(tuple(shape) if shape != () else "")


def box_width(column: list[tuple[str, str]]) -> float:
    names = [text_width(name, 9.5) * 1.08 for name, _ in column]  # bold is wider
    shapes = [text_width(text, LEAST, "DejaVu Sans Mono") for _, text in column]
    return max(0.8, *names, *shapes) + 0.22


def _flow_rows(columns: list, width: float) -> list[list]:
    """Break a flow into rows of about equal length that fit the page."""
    sizes = [box_width(column) + _ARROW for column in columns]
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


def draw_boxes(
    axes, column, left: float, middle: float, width=None, frozen: Container[str] = ()
) -> list[tuple]:
    """Draw boxes above each other; where they are: (left, right, middle)."""
    width, placed = width or box_width(column), []
    for number, (name, detail) in enumerate(column):
        y = middle + 0.72 * (number - (len(column) - 1) / 2)
        colour = INK if name in frozen else BLUE
        box = FancyBboxPatch(
            (left + 0.06, y - 0.21),
            width - 0.12,
            0.42,
            boxstyle="round,pad=0.06,rounding_size=0.09",
            facecolor=(*matplotlib.colors.to_rgb(colour), 0.06),
            edgecolor=colour,
            linewidth=1.1,
            linestyle="--" if name in frozen else "-",
        )
        axes.add_patch(box)
        style = {"ha": "center", "va": "center"}
        lift = 0.1 if detail else 0.0
        axes.text(left + width / 2, y - lift, name, size=9.5, weight="bold", **style)
        mono = style | {"size": LEAST, "family": fonts("DejaVu Sans Mono")}
        axes.text(left + width / 2, y + 0.12, detail, **mono)
        placed.append((left, left + width, y))
    return placed


def _connect(axes, before: list, after: list, turn: float | None) -> None:
    """Arrows from one column to the next, or down to a row, past the height ``turn``."""
    if turn is not None:
        _turn(axes, before, after, turn)
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


def _turn(axes, before: list, after: list, between: float) -> None:
    """Lines from every box of a column, down between the rows, and to every box below."""
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
