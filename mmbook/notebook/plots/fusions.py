"""Fusions side by side, token by token."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.patches import FancyBboxPatch, Rectangle

from .arrows import arrow, canvas
from .colours import COLOURS, INK
from .describing import listed, shortened
from .figure import Plot
from .style import LEAST, NARROW, WIDTH, styled
from .text import text_width, wrap


@styled
def draw_fusions(flows: Sequence[tuple], columns: int = 2) -> Plot:
    """How tokens flow through fusions: in at the left, out at the right.

    A square is a token. Those that go in have the colour of their modality; one that
    comes out has a stripe in the colour of each modality on which it depends.

    Parameters
    ----------
    flows : for each fusion its name, the number of tokens of each modality that goes
        in, a text for the operation, and for each token that comes out the names of the
        modalities on which it depends.
    columns : how many fusions stand beside each other.
    """
    if not flows or not all(out for *_, out in flows):
        raise ValueError("nothing to draw: each fusion needs tokens that come out")
    names = list(dict.fromkeys(name for _, given, _, _ in flows for name in given))
    colours = dict(zip(names, COLOURS, strict=False))
    figure = _fusions(flows, colours, columns, WIDTH)
    figure.narrower = lambda: _fusions(flows, colours, 1, NARROW)
    figure.says = _said(flows)
    return figure


def _said(flows: Sequence[tuple]) -> str:
    """Each fusion in words."""
    texts = []
    for name, given, operation, out in flows:
        tokens = " and ".join(f"{count} {kind}" for kind, count in given.items())
        texts.append(f"{name}: {tokens} tokens → {operation} → {len(out)} tokens")
    return shortened("Fusions, token by token. " + listed(texts, 370) + ".")


def _fusions(flows: Sequence[tuple], colours, columns: int, width: float) -> Plot:
    """So many fusions beside each other."""
    rows = [flows[i : i + columns] for i in range(0, len(flows), columns)]
    tall = [max(map(_flow_height, row)) + 0.42 for row in rows]
    legend = 0.2 * (1 + len(colours) if width == NARROW else 1)
    figure, axes = canvas(width, sum(tall) + legend + 0.05)
    top = 0.0
    for row, height in zip(rows, tall, strict=True):
        for number, flow in enumerate(row):
            left = width / columns * number + 0.1
            _draw_fusion(axes, flow, left, top, height, colours)
        top += height
    _token_legend(axes, colours, top + 0.06, width)
    return figure


_SIDE, _PITCH, _ROW = 0.088, 0.108, 6  # of a token's square, in inches; tokens in a row


def _block_height(tokens: int) -> float:
    return -(-tokens // _ROW) * _PITCH


def _flow_height(flow: tuple) -> float:
    _, given, _, out = flow
    return max(
        sum(_block_height(n) + 0.07 for n in given.values()), _block_height(len(out))
    )


def _draw_fusion(axes, flow, left, top, height, colours) -> None:
    """One fusion: tokens, a box with the operation, tokens."""
    name, given, operation, out = flow
    axes.text(left, top + 0.16, name, size=9.5, weight="bold")
    middle, wide = top + 0.28 + (height - 0.42) / 2, _ROW * _PITCH
    y = middle - sum(_block_height(n) + 0.07 for n in given.values()) / 2
    for modality, number in given.items():
        _squares(axes, [(modality,)] * number, left, y, colours)
        y += _block_height(number) + 0.07
    box, width = left + wide + 0.3, 1.1
    frame: dict = {"facecolor": "none", "edgecolor": INK, "linewidth": 1.0}
    style = "round,pad=0.02,rounding_size=0.07"
    lines = wrap(operation, width - 0.08, LEAST)
    half = 0.072 * len(lines) + 0.07
    axes.add_patch(
        FancyBboxPatch((box, middle - half), width, 2 * half, boxstyle=style, **frame)
    )
    where = {"ha": "center", "va": "center", "size": LEAST, "linespacing": 1.15}
    axes.text(box + width / 2, middle, "\n".join(lines), **where)
    for start in (left + wide + 0.03, box + width + 0.05):
        ends = (start, middle), (start + 0.08, middle), (start + 0.16, middle)
        arrow(axes, [*ends, (start + 0.22, middle)])
    right = box + width + 0.32
    _squares(axes, out, right, middle - _block_height(len(out)) / 2, colours)


def _squares(axes, tokens: Sequence, left: float, top: float, colours: dict) -> None:
    """Tokens in rows of six, each striped by the modalities on which it depends."""
    for number, known in enumerate(tokens):
        row, column = divmod(number, _ROW)
        x, y = left + column * _PITCH, top + row * _PITCH
        known = [name for name in colours if name in known]
        for stripe, name in enumerate(known):
            part = _SIDE / len(known)
            axes.add_patch(
                Rectangle(
                    (x + stripe * part, y), part, _SIDE, color=colours[name], lw=0
                )
            )
        if not known:
            axes.add_patch(Rectangle((x, y), _SIDE, _SIDE, fill=False, ec=INK, lw=0.8))


def _token_legend(axes, colours: dict, top: float, width: float) -> None:
    """Which colour is which modality."""
    x = 0.1
    shown = [((name,), f"{name} token") for name in colours]
    if len(colours) > 1:
        shown.append((tuple(colours), "depends on " + " and ".join(colours)))
    for known, text in shown:
        if x > 0.1 and x + 0.14 + text_width(text, LEAST) > width:
            x, top = 0.1, top + 0.2
        _squares(axes, [known], x, top, colours)
        axes.text(x + 0.14, top + _SIDE / 2, text, size=LEAST, va="center_baseline")
        x += 0.14 + text_width(text, LEAST) + 0.25
