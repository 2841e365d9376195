"""Colours, fonts and sizes of the book's figures, and the figure that shows itself."""

from __future__ import annotations

import base64
import functools
import io
import sys
from collections.abc import Callable
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from .text import fonts, missing_characters_told_once

INK = "#767676"  # 4.5 : 1 on white, 4.1 : 1 on #121212
BLUE, VERMILION, VIOLET, TEAL, MAGENTA = COLOURS = (
    "#3a8ad6",
    "#e0561b",
    "#7f3fe0",
    "#15a585",
    "#b51e68",
)
MARKERS = ("o", "s", "^", "D", "v")
RIGHT, WRONG = BLUE, VERMILION
MARKS = {True: ("✓", RIGHT), False: ("✗", WRONG)}
TILES = LinearSegmentedColormap.from_list("tiles", ["#edf2f8", "#6ea6d9", "#0d3f73"])
WIDTH = 7.2  # inches: the text column of the site
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "figure.dpi": 96,
    "figure.figsize": (WIDTH, 2.8),
    "savefig.facecolor": "none",
    "savefig.edgecolor": "none",
    "savefig.dpi": 192,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "grid.color": INK,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "font.family": fonts(),
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",  # the same everywhere, whatever fonts the reader has
    "svg.hashsalt": "mmbook",  # the same names inside the file each time
}


def use_style() -> None:
    """Give matplotlib the book's look, and notebooks SVG pictures that never vary."""
    matplotlib.rcParams.update(STYLE)
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return  # not in a notebook
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("svg", metadata={"Date": None})


class Plot(Figure):
    """A figure that a notebook shows by itself, once, in the format that fits it.

    It stands apart from pyplot: nothing has to be closed. ``savefig`` works as usual.
    """

    image_format = "svg"

    def to_bytes(self, image_format: str | None = None) -> bytes:
        """The picture file, ``"svg"`` or ``"png"``; equal bytes for equal data."""
        buffer = io.BytesIO()
        self.savefig(buffer, format=image_format or self.image_format)
        return buffer.getvalue()

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write a file in the book's look, whatever matplotlib's settings are."""
        name = options.get("format") or str(fname).rpartition(".")[-1]
        if name == "svg":
            options.setdefault("metadata", {"Date": None, "Creator": None})
        elif name == "png":
            options.setdefault("metadata", {"Software": None})
        with matplotlib.rc_context(STYLE), missing_characters_told_once():
            super().savefig(fname, **options)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data = self.to_bytes()
        if self.image_format == "svg":
            display({"image/svg+xml": data.decode()}, raw=True)
        else:  # two pixels for one: sharp on fine screens
            width = {"width": round(self.get_figwidth() * 96)}
            text = base64.b64encode(data).decode()
            display({"image/png": text}, raw=True, metadata={"image/png": width})


def styled(function: Callable) -> Callable:
    """Run a function in the book's style, and leave matplotlib's settings alone."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapped


@styled
def subplots(rows: int = 1, columns: int = 1, height: float = 2.8, **options):
    """A :class:`Plot` with axes, as ``pyplot.subplots`` gives them.

    Call :func:`use_style` before, so that what you add has the book's look, too.
    ``height`` and ``width`` are inches; further options go to ``Figure.subplots``.
    """
    size = (options.pop("width", WIDTH), height)
    figure = Plot(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)
