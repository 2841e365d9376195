"""Grids of pictures, and where a model looks."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .colours import INK
from .figure import Plot
from .placing import (
    DOT,
    EDGE,
    GAP,
    LINE,
    MARK,
    SIZE,
    fitted,
    on_pixels,
    one_each,
    pixels_of,
    place,
    said,
    wrapped,
    write,
)
from .style import MARKS, NARROW, WIDTH, styled
from .svg import SMALL
from .text import text_width


@styled
def show_images(
    images: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    right: Sequence[bool | None] | None = None,
    columns: int = 6,
    side: float = 1.5,
) -> Plot:
    """Pictures in a grid, each with its caption beneath.

    Parameters
    ----------
    images : (B, 3, H, W) or a list of (3, H, W); float in [0, 1] or uint8.
    titles : what stands beneath, wrapped to the picture's width.
    right : True draws ✓ and False ✗ before the caption and colours the frame; None
        marks nothing.
    columns, side : how many in a row; the largest side of a picture in inches.
    """
    pictures = [pixels_of(image) for image in images]
    titles = one_each("titles", titles, pictures, "")
    right = one_each("right", right, pictures, None)
    figure = _picture_grid(pictures, titles, right, columns, side)
    count = f"{len(pictures)} picture{'s' * (len(pictures) > 1)}"
    figure.says = said(count, titles, right)
    return figure


@styled
def show_attention(
    image: Tensor,
    words: Sequence[str],
    maps: Tensor,
    columns: int = 6,
    shared: bool = True,
) -> Plot:
    """A picture, and where the model looked for each word: dark where it did not.

    Parameters
    ----------
    image : (3, H, W), float in [0, 1] or uint8.
    words : L words.
    maps : (L, h, w), one map a word, from :func:`mmbook.explain.attention_maps` or
        :func:`mmbook.explain.occlusion`; what is below zero counts as zero.
    columns : how many in a row.
    shared : one scale for all words, so that a word which looked nowhere in particular
        stays dark; False brightens each word's own maximum.
    """
    picture, maps = pixels_of(image), torch.as_tensor(maps).float().cpu()
    if maps.ndim != 3 or not len(maps) or len(maps) != len(words):
        raise ValueError(
            f"maps must be (L, h, w) with one map for each of the {len(words)} words; got "
            f"{tuple(maps.shape)}"
        )
    brightness = _brightness(maps, picture.shape[:2], shared)
    pictures = [picture, *(_dimmed(picture, each) for each in brightness)]
    titles, marks = ["the picture", *words], [None] * len(pictures)
    figure = _picture_grid(pictures, titles, marks, columns)
    figure.says = said(
        f"A picture, and where the model looks in it for each of {len(words)} words",
        words,
        marks[1:],
    )
    return figure


def _brightness(maps: Tensor, size: tuple[int, int], shared: bool) -> np.ndarray:
    """(L, h, w) → (L, H, W) in [0, 1], smooth."""
    maps = maps.clamp(min=0)
    top = maps.amax() if shared else maps.amax((1, 2), keepdim=True)
    maps = maps / top.clamp(min=1e-12)
    smooth = F.interpolate(maps[:, None], size=size, mode="bilinear")[:, 0]
    return smooth.clamp(0, 1).sqrt().numpy()  # small weights can be seen, too


def _dimmed(picture: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """The picture, dark and bluish where the brightness (H, W) is zero."""
    blue = np.array([0.13, 0.16, 0.27])
    dark = 0.25 * picture + 0.75 * blue * picture.mean(-1, keepdims=True)
    return dark + brightness[..., None] * (picture - dark)


def _picture_grid(
    pictures: list[np.ndarray],
    titles: Sequence[str],
    marks: Sequence[bool | None],
    columns: int,
    side: float = 1.5,
) -> Plot:
    """A plot with a panel for each picture, and the titles written beneath.

    Everything stands on whole pixels of the page, and a small picture's pixel is a whole
    number of the page's: it looks even.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more; got {columns}")
    least = _longest_word(titles, marks)
    side = max(min(side, (WIDTH + GAP) / columns - GAP), least)
    pictures = [fitted(picture, side) for picture in pictures]
    cell = _pixels(side, pictures, least) * DOT
    columns = max(1, min(columns, int((WIDTH + GAP) / (cell + GAP) + 1e-6)))
    given = (pictures, titles, marks, cell)
    figure = _grid(*given, min(columns, len(pictures)))
    figure.narrower = lambda: _grid(
        *given, max(1, int((NARROW - 2 * EDGE + GAP) / (cell + GAP) + 1e-6))
    )
    return figure


def _grid(pictures: list, titles, marks, cell: float, columns: int) -> Plot:
    """Pictures of a size, so many in a row."""
    texts = wrapped(titles, marks, cell)
    tops = _row_tops(texts, columns, cell)
    width, height = columns * (cell + GAP) - GAP + 2 * EDGE, tops[-1] - GAP + 2 * EDGE
    figure = Plot(figsize=(on_pixels(width), on_pixels(height)))
    everything = zip(pictures, texts, marks, strict=True)
    for number, (picture, lines, mark) in enumerate(everything):
        row, column = divmod(number, columns)
        left, top = EDGE + column * (cell + GAP), EDGE + tops[row]
        panel = place(figure, picture, left, top, cell, cell)
        panel.set_aspect("equal")
        _frame(panel, None if mark is None else MARKS[bool(mark)][1])
        base = figure.get_figheight() - top - cell
        write(figure, lines, mark, on_pixels(left), base - 0.165)
    return figure


def _longest_word(titles: Sequence[str], marks: Sequence[bool | None]) -> float:
    """Inches that no picture falls below, so that no word of a title is broken."""
    return max(
        text_width(word, SIZE) + (0.0 if mark is None else MARK) + DOT
        for title, mark in zip(titles, marks, strict=True)
        for word in [*re.findall(r"[a-z]+", str(title)), ""]
    )


def _pixels(side: float, pictures: list[np.ndarray], least: float = 0.0) -> int:
    """How many pixels a side has: a multiple of small pictures' own, if that fits."""
    pixels = int(side / DOT + 1e-6)
    own = max(max(picture.shape[:2]) for picture in pictures)
    if own > SMALL or own > pixels:
        return pixels
    fits = pixels // own * own
    return fits if fits * DOT >= least else fits + own


def _row_tops(texts: list[list[str]], columns: int, cell: float) -> np.ndarray:
    """Where each row of the grid begins below the top, and where the last one ends."""
    rows = [texts[i : i + columns] for i in range(0, len(texts), columns)]
    below = [
        0.06 + LINE * max(map(len, row)) if any(map(any, row)) else 0 for row in rows
    ]
    return np.cumsum([0.0, *(cell + GAP + space for space in below)])


def _frame(panel, colour: str | None = None) -> None:
    """A thin frame, coloured if the picture is marked; no ticks."""
    panel.set(xticks=[], yticks=[])
    panel.grid(False)
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour or INK, linewidth=1.6 if colour else 0.6)
