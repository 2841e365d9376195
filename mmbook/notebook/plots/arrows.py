"""What diagrams are drawn on, in inches, and their arrows."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from .colours import INK
from .figure import Plot
from .text import text_width


def canvas(width: float, height: float, title: str = "") -> tuple[Plot, Axes]:
    """A figure and axes that measure it in inches from the upper left corner."""
    width = max(width, text_width(title, 10) + 0.1)
    figure = Plot(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(0.05, 0.17, title, size=10)
    return figure, axes


def arrow(axes, points: list, curved: bool = False, head: bool = True) -> None:
    """An arrow along four points: a curve that they bend, or straight pieces."""
    bend = Path.CURVE4 if curved else Path.LINETO
    path = Path(points, [Path.MOVETO, bend, bend, bend])
    style = "-|>,head_length=3.5,head_width=2" if head else "-"
    axes.add_patch(
        FancyArrowPatch(
            path=path, arrowstyle=style, color=INK, linewidth=1.1, capstyle="butt"
        )
    )
