"""Colours, fonts and sizes of the book's figures."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap

from .colours import BLUE, COLOURS, INK, VERMILION
from .text import fonts

RIGHT, WRONG = BLUE, VERMILION
MARKS = {True: ("✓", RIGHT), False: ("✗", WRONG)}
TILES = LinearSegmentedColormap.from_list("tiles", ["#edf2f8", "#6ea6d9", "#0d3f73"])
WIDTH = 7.2  # inches: the text column of the site
NARROW = 3.75  # inches: 360 pixels, the screen of a phone
LEAST = 8.5  # points: 11 pixels, the smallest text
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "figure.dpi": 96,
    "figure.figsize": (WIDTH, 2.8),
    "savefig.facecolor": "none",
    "savefig.edgecolor": "none",
    "savefig.dpi": 144,
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
    "svg.fonttype": "none",  # text that can be selected, searched and read aloud
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


def styled(function: Callable) -> Callable:
    """Run a function in the book's style, and leave matplotlib's settings alone."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapped
