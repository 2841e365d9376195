"""Strips of pictures, clips that play, and where a model looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .style import INK, MARKS, STYLE, WIDTH, Plot, styled
from .text import wrap

_SIZE = 8.5  # of captions, in points
_LINE, _MARK, _GAP = 0.145, 0.15, 0.15  # a line, a ✓, between pictures, in inches
_DOT = 1 / STYLE["savefig.dpi"]  # a pixel of the file, in inches


@styled
def show_images(
    images: Tensor | Sequence[Tensor],
    titles: Sequence[str] | None = None,
    right: Sequence[bool | None] | None = None,
    columns: int = 6,
    side: float = 1.45,
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
    pictures = [_picture(image) for image in images]
    titles = _one_each("titles", titles, pictures, "")
    right = _one_each("right", right, pictures, None)
    figure, axes = _picture_grid(pictures, titles, right, columns, side)
    for panel, picture, mark in zip(axes, pictures, right, strict=True):
        panel.imshow(picture, interpolation=_interpolation(picture))
        _frame(panel, None if mark is None else MARKS[bool(mark)][1])
    return figure


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
    strips = [_strip(clip) for clip in clips]
    titles = _one_each("titles", titles, strips, "")
    right = _one_each("right", right, strips, None)
    scale = _scale(strips, side)
    width = max(strip.shape[1] for strip in strips) * scale + 0.04
    texts = _wrapped(titles, right, width)
    above = 0.065 + _LINE * max(map(len, texts)) if any(titles) else 0.0
    row = above + max(strip.shape[0] for strip in strips) * scale + 0.08
    figure = Plot(figsize=(_on_pixels(width), _on_pixels(row * len(strips))))
    figure.image_format = "png"
    width, height = figure.get_size_inches()
    for number, (strip, lines) in enumerate(zip(strips, texts, strict=True)):
        rows, columns = (length * scale for length in strip.shape[:2])
        top = height - number * row - above
        base = _on_pixels(top - rows)
        box = (0.02 / width, base / height, columns / width, rows / height)
        panel = figure.add_axes(box)
        panel.imshow(strip, interpolation="nearest", aspect="auto")
        panel.axis("off")
        first = top + 0.055 + _LINE * (len(lines) - 1)
        _caption(figure, lines, right[number], 0.02, first)
    return figure


def _scale(strips: list[np.ndarray], side: float) -> float:
    """Inches for a pixel of the strips: they fit, on whole pixels of the file."""
    high, longest = (max(strip.shape[axis] for strip in strips) for axis in (0, 1))
    scale = min(int(side / _DOT) / high, int((WIDTH - 0.04) / _DOT) / longest)
    return (int(scale) or scale) * _DOT


def _strip(clip: Tensor) -> np.ndarray:
    """(F, 3, H, W) → (H, F · W + gaps, 4): frames beside each other, gaps see-through."""
    clip = torch.as_tensor(clip)
    if clip.ndim != 4 or not len(clip):
        raise ValueError(
            "a clip must be (F, 3, H, W) with one frame or more, float in [0, 1] or "
            f"uint8; got {tuple(clip.shape)}"
        )
    frames = [
        np.pad(_picture(x), ((0, 0), (0, 0), (0, 1)), constant_values=1) for x in clip
    ]
    gap = np.zeros(
        (frames[0].shape[0], max(1, frames[0].shape[1] // 24), 4), np.float32
    )
    pieces = [piece for frame in frames for piece in (frame, gap)]
    return np.concatenate(pieces[:-1], axis=1)


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
    picture, maps = _picture(image), torch.as_tensor(maps).float().cpu()
    if maps.ndim != 3 or not len(maps) or len(maps) != len(words):
        raise ValueError(
            f"maps must be (L, h, w) with one map for each of the {len(words)} words; got "
            f"{tuple(maps.shape)}"
        )
    brightness = _brightness(maps, picture.shape[:2], shared)
    pictures = [picture, *(_dimmed(picture, each) for each in brightness)]
    titles, marks = ["the picture", *words], [None] * len(pictures)
    figure, axes = _picture_grid(pictures, titles, marks, columns)
    for panel, shown in zip(axes, pictures, strict=True):
        panel.imshow(shown, interpolation=_interpolation(picture))
        _frame(panel)
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


def _picture(image: Tensor) -> np.ndarray:
    """(3, H, W) tensor → (H, W, 3) array in [0, 1]."""
    image = torch.as_tensor(image).detach().cpu()
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(
            "a picture must be (3, H, W), float in [0, 1] or uint8; got "
            f"{tuple(image.shape)}"
        )
    if image.dtype == torch.uint8:
        image = image / 255
    if image.numel() and image.max() > 16:
        raise ValueError(
            f"a picture must be float in [0, 1] or uint8; got {image.dtype} up to "
            f"{image.max():g}: divide it by 255"
        )
    return image.float().clamp(0, 1).permute(1, 2, 0).numpy()


def _interpolation(picture: np.ndarray) -> str:
    """Show the pixels of small pictures; draw photographs smoothly."""
    return "nearest" if max(picture.shape[:2]) <= 96 else "antialiased"


def _one_each(name: str, given: Sequence | None, pictures: list, default) -> list:
    """``given`` as a list, as long as there are pictures."""
    if not pictures:
        raise ValueError("no pictures to show: images is empty")
    given = [default] * len(pictures) if given is None else list(given)
    if len(given) != len(pictures):
        raise ValueError(
            f"{name} must be as many as the images; got {len(given)} for {len(pictures)}"
        )
    return given


def _picture_grid(
    pictures: list[np.ndarray],
    titles: Sequence[str],
    marks: Sequence[bool | None],
    columns: int,
    side: float = 1.45,
) -> tuple[Plot, list]:
    """A plot with a panel for each picture, and the titles written beneath.

    Everything stands on whole pixels of the file, and a small picture's pixel is a whole
    number of the file's: it looks even, and the file stays small.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more; got {columns}")
    shown = min(columns, len(titles))
    cell = _pixels(min(side, (WIDTH + _GAP) / columns - _GAP), pictures) * _DOT
    texts = _wrapped(titles, marks, cell)
    tops = _row_tops(texts, shown, cell)
    width, height = shown * (cell + _GAP) - _GAP + 0.04, tops[-1] - _GAP + 0.06
    figure, axes = Plot(figsize=(_on_pixels(width), _on_pixels(height))), []
    figure.image_format = "png"
    width, height = figure.get_size_inches()
    for number, (lines, mark) in enumerate(zip(texts, marks, strict=True)):
        row, column = divmod(number, shown)
        left = _on_pixels(0.02 + column * (cell + _GAP))
        base = _on_pixels(height - 0.02 - tops[row] - cell)
        box = (left / width, base / height, cell / width, cell / height)
        axes.append(figure.add_axes(box))
        _caption(figure, lines, mark, left, base - 0.165)
    return figure, axes


def _pixels(side: float, pictures: list[np.ndarray]) -> int:
    """How many pixels a side has: a multiple of small pictures' own, if that fits."""
    pixels = int(side / _DOT)
    own = max(max(picture.shape[:2]) for picture in pictures)
    return pixels // own * own if own <= 96 and own <= pixels else pixels


def _on_pixels(inches: float) -> float:
    return round(inches / _DOT) * _DOT


def _wrapped(titles: Sequence[str], marks: Sequence[bool | None], width: float) -> list:
    """The lines of each title; a mark before it takes room."""
    return [
        wrap(title, width - (0.0 if mark is None else _MARK), _SIZE)
        for title, mark in zip(titles, marks, strict=True)
    ]


def _row_tops(texts: list[list[str]], columns: int, cell: float) -> np.ndarray:
    """Where each row of the grid begins below the top, and where the last one ends."""
    rows = [texts[i : i + columns] for i in range(0, len(texts), columns)]
    below = [
        0.06 + _LINE * max(map(len, row)) if any(map(any, row)) else 0 for row in rows
    ]
    return np.cumsum([0.0, *(cell + _GAP + space for space in below)])


def _caption(figure, lines: list[str], mark: bool | None, x: float, y: float) -> None:
    """Lines of text from (x, y) downwards, in inches; ✓ or ✗ before the first."""
    width, height = figure.get_size_inches()
    if mark is not None:
        sign, colour = MARKS[bool(mark)]
        figure.text(x / width, y / height, sign, size=_SIZE, color=colour)
        x += _MARK
    for number, words in enumerate(lines):
        figure.text(x / width, (y - number * _LINE) / height, words, size=_SIZE)


def _frame(panel, colour: str | None = None) -> None:
    """A thin frame, coloured if the picture is marked; no ticks."""
    panel.set(xticks=[], yticks=[])
    panel.grid(False)
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour or INK, linewidth=1.6 if colour else 0.6)
