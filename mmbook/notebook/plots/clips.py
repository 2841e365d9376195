"""Clips as film strips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .figure import Plot
from .placing import (
    DOT,
    EDGE,
    LINE,
    fitted,
    on_pixels,
    one_each,
    pixels_of,
    place,
    said,
    wrapped,
    write,
)
from .style import NARROW, WIDTH, styled

_BETWEEN = 3 * DOT  # inches between two frames


@styled
def show_clips(
    clips: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    right: Sequence[bool | None] | None = None,
    side: float = 0.72,
) -> Plot:
    """Clips as film strips, one below the other: frames from left to right.

    Parameters
    ----------
    clips : (B, F, 3, H, W) or a list of (F, 3, H, W) whose F may differ; float in
        [0, 1] or uint8.
    titles : what stands above each strip.
    right : True draws ✓ and False ✗ before the title; None marks nothing.
    side : the largest height of a frame in inches.
    """
    strips = [_strip(clip, side) for clip in clips]
    titles = one_each("titles", titles, strips, "")
    right = one_each("right", right, strips, None)
    figure = _strips(strips, titles, right, side, WIDTH)
    figure.narrower = lambda: _strips(strips, titles, right, side, NARROW)
    count = f"{len(strips)} clip{'s' * (len(strips) > 1)}, each a row of frames"
    figure.says = said(count, titles, right)
    return figure


def _strips(strips: list[list], titles, right, side: float, width: float) -> Plot:
    """Film strips; one that is longer than the figure is wide goes on below."""
    scale = _scale(strips, side, width)
    tall = max(strip[0].shape[0] for strip in strips) * scale
    wide = max(strip[0].shape[1] for strip in strips) * scale + _BETWEEN
    fit = max(1, int((width - 2 * EDGE + _BETWEEN) / wide + 1e-6))
    longest = min(fit, max(map(len, strips)))
    width = longest * wide - _BETWEEN + 2 * EDGE
    texts = wrapped(titles, right, width - 2 * EDGE)
    above = 0.065 + LINE * max(map(len, texts)) if any(titles) else 0.0
    rows = [-(-len(strip) // fit) for strip in strips]
    tops = np.cumsum([0.0, *(above + n * (tall + _BETWEEN) + 0.05 for n in rows)])
    figure = Plot(figsize=(on_pixels(width), on_pixels(tops[-1] + EDGE)))
    for strip, lines, mark, top in zip(strips, texts, right, tops, strict=False):
        for number, frame in enumerate(strip):
            row, column = divmod(number, fit)
            down = top + above + row * (tall + _BETWEEN)
            size = frame.shape[1] * scale, frame.shape[0] * scale
            place(figure, frame, EDGE + column * wide, down, *size).axis("off")
        first = figure.get_figheight() - top - above + 0.055 + LINE * (len(lines) - 1)
        write(figure, lines, mark, EDGE, first)
    return figure


def _scale(strips: list[list], side: float, width: float) -> float:
    """Inches for a pixel of a frame: on whole pixels of the page, if that fits.

    Strips go on below rather than shrink, unless a frame more or two would fit.
    """
    high = max(strip[0].shape[0] for strip in strips)
    wide = max(strip[0].shape[1] for strip in strips)
    scale = side / DOT / high
    longest = max(map(len, strips)) * (wide + _BETWEEN / DOT / scale)
    if width > NARROW:
        scale = min(scale, (width - 2 * EDGE) / DOT / longest)
    return (int(scale) or scale) * DOT


def _strip(clip: Tensor, side: float) -> list[np.ndarray]:
    """(F, 3, H, W) → F frames (H, W, 3)."""
    clip = torch.as_tensor(clip)
    if clip.ndim != 4 or not len(clip):
        raise ValueError(
            "a clip must be (F, 3, H, W) with one frame or more, float in [0, 1] or "
            f"uint8; got {tuple(clip.shape)}"
        )
    return [fitted(pixels_of(frame), side) for frame in clip]
