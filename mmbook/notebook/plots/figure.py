"""The figure that shows itself: wide, narrow for a phone, with caption and description."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .describing import description
from .narrow import stacked
from .style import NARROW, STYLE, WIDTH, styled
from .svg import tidied, without_pictures
from .text import missing_characters_ignored, missing_characters_told_once

NARROW_MIME = "application/vnd.mmbook.narrow+xml"  # what only the book's site reads
HEAVY = 4000  # points of a curve, or tiles of a mesh, that are too many for a drawing
PLACES = 500  # across a curve of so many points


class Plot(Figure):
    """A figure that a notebook shows by itself, once, as SVG.

    It stands apart from pyplot: nothing has to be closed. ``savefig`` works as usual.
    """

    says: str | None = None  # a description, if it is not made from what is drawn
    narrower: Callable[[], Figure | None] | None = None  # draws it for a phone

    def caption(self, text: str, alt: str | None = None) -> Plot:
        """Say what is seen: at the end of a cell, ``figure.caption("…")``.

        Parameters
        ----------
        text : stands beneath the figure in the book, behind its number.
        alt : for those who do not see the figure. Without it, a description is made
            from what is drawn.
        """
        self._caption, self._alt = " ".join(text.split()), alt
        return self

    @property
    def alt(self) -> str:
        """What is drawn, in words."""
        given = getattr(self, "_alt", None)
        return " ".join(given.split()) if given else self.says or description(self)

    def to_bytes(self, image_format: str = "svg") -> bytes:
        """The picture file, ``"svg"`` or ``"png"``; equal bytes for equal data."""
        buffer = io.BytesIO()
        self.savefig(buffer, format=image_format)
        if image_format == "svg":
            return tidied(buffer.getvalue().decode()).encode()
        return buffer.getvalue()

    def narrow(self) -> Figure | None:
        """The figure for a screen of 360 pixels; None if it fits, or cannot be narrow."""
        if self.get_figwidth() <= NARROW + 0.01:
            return None
        with matplotlib.rc_context(STYLE):
            return self.narrower() if self.narrower else stacked(self)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write a file in the book's look, whatever matplotlib's settings are."""
        name = options.get("format") or str(fname).rpartition(".")[-1]
        told = missing_characters_told_once
        if name == "svg":
            options.setdefault("metadata", {"Date": None, "Creator": None})
            told = missing_characters_ignored  # a browser has fonts for them
            _keep_heavy_as_pixels(self)
        elif name == "png":
            options.setdefault("metadata", {"Software": None})
        with matplotlib.rc_context(STYLE), told():
            super().savefig(fname, **options)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        wide = self.to_bytes().decode()
        data, said = {"image/svg+xml": wide}, {"alt": self.alt}
        if narrow := self.narrow():
            small = tidied(_written(narrow))
            data[NARROW_MIME] = without_pictures(small, wide)
        if text := getattr(self, "_caption", ""):
            said["caption"] = text
        display(data, raw=True, metadata={"image/svg+xml": said})


def _written(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue().decode()


def _keep_heavy_as_pixels(figure: Figure) -> None:
    """What would make the file large; a curve over time becomes its highs and lows."""
    for axes in figure.axes:
        for line in axes.lines:
            if np.size(line.get_xdata(orig=False)) > HEAVY:
                line.set_rasterized(not _thinned(line))
        for image in axes.images:
            if image.get_interpolation() in ("auto", "antialiased"):
                image.set_interpolation("none")  # its own pixels, not those of a screen
        for mesh in axes.collections:
            values = mesh.get_array()
            if values is not None and values.size > HEAVY:
                mesh.set_rasterized(True)


def _thinned(line) -> bool:
    """Keep the lowest and the highest point at each place, if the curve runs onwards."""
    x, y = (np.asarray(values, float) for values in line.get_data(orig=False))
    onwards = (np.diff(x) >= 0).all() and np.isfinite(y).all()
    if not onwards or line.get_marker() != "None":
        return False
    parts = np.array_split(np.arange(len(x)), PLACES)
    kept = [n for p in parts for n in sorted((p[y[p].argmin()], p[y[p].argmax()]))]
    line.set_data(x[kept], y[kept])
    return True


@styled
def subplots(rows: int = 1, columns: int = 1, height: float = 2.8, **options):
    """A :class:`Plot` with axes, as ``pyplot.subplots`` gives them.

    Call :func:`use_style` before, so that what you add has the book's look, too.
    ``height`` and ``width`` are inches; further options go to ``Figure.subplots``.
    """
    size = (options.pop("width", WIDTH), height)
    figure = Plot(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)
