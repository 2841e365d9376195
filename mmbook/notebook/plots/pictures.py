"""Strips of pictures, clips that play, and where a model looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .style import INK, MARKS, STYLE, WIDTH, Plot, styled, wrap


@styled
def show_scenes(
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
    titles = _as_many("titles", titles, pictures, "")
    right = _as_many("right", right, pictures, None)
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
    titles = _as_many("titles", titles, strips, "")
    right = _as_many("right", right, strips, None)
    dot, above = 1 / STYLE["savefig.dpi"], 0.21 * any(map(bool, titles))
    longest = max(strip.shape[1] for strip in strips)
    high = max(strip.shape[0] for strip in strips)
    scale = min(int(side / dot) / high, int((WIDTH - 0.04) / dot) / longest)
    scale = int(scale) or scale  # a pixel is a whole number of the file's
    row = above + high * scale * dot + 0.08
    width, height = longest * scale * dot + 0.04, row * len(strips)
    width, height = (round(length / dot) * dot for length in (width, height))
    figure = Plot(figsize=(width, height))
    figure.image_format = "png"
    for number, (strip, title) in enumerate(zip(strips, titles, strict=True)):
        rows, columns = (length * scale * dot for length in strip.shape[:2])
        top = height - number * row - above
        base = round((top - rows) / dot) * dot
        box = (0.02 / width, base / height, columns / width, rows / height)
        panel = figure.add_axes(box)
        panel.imshow(strip, interpolation="nearest", aspect="auto")
        panel.axis("off")
        x, y = 0.02, (top + 0.055) / height
        if right[number] is not None:
            sign, colour = MARKS[bool(right[number])]
            figure.text(x / width, y, sign, size=8.5, color=colour)
            x += 0.15
        figure.text(x / width, y, title, size=8.5)
    return figure


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
    lights = _lights(maps, picture.shape[:2], shared)
    pictures = [picture, *(_lit(picture, light) for light in lights)]
    titles, marks = ["the picture", *words], [None] * len(pictures)
    figure, axes = _picture_grid(pictures, titles, marks, columns)
    for panel, shown in zip(axes, pictures, strict=True):
        panel.imshow(shown, interpolation=_interpolation(picture))
        _frame(panel)
    return figure


def _lights(maps: Tensor, size: tuple[int, int], shared: bool) -> np.ndarray:
    """(L, h, w) → (L, H, W) in [0, 1], smooth."""
    maps = maps.clamp(min=0)
    top = maps.amax() if shared else maps.amax((1, 2), keepdim=True)
    maps = maps / top.clamp(min=1e-12)
    smooth = F.interpolate(maps[:, None], size=size, mode="bilinear")[:, 0]
    return smooth.clamp(0, 1).sqrt().numpy()  # weak light can be seen, too


def _lit(picture: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The picture by the light of a lamp: night where no light falls."""
    night = np.array([0.13, 0.16, 0.27])
    shade = 0.25 * picture + 0.75 * night * picture.mean(-1, keepdims=True)
    return shade + light[..., None] * (picture - shade)


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
    return image.float().clamp(0, 1).permute(1, 2, 0).numpy()


def _interpolation(picture: np.ndarray) -> str:
    """Show the pixels of small pictures; draw photographs smoothly."""
    return "nearest" if max(picture.shape[:2]) <= 96 else "antialiased"


def _as_many(name: str, given: Sequence | None, pictures: list, default) -> list:
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
):
    """A plot with a panel for each picture, and the titles written beneath.

    Everything stands on whole pixels of the file, and a small picture's pixel is a whole
    number of the file's: it looks even, and the file stays small.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more; got {columns}")
    gap, line, size, dot = 0.15, 0.145, 8.5, 1 / STYLE["savefig.dpi"]
    shown = min(columns, len(titles))
    cell = _whole(min(side, (WIDTH + gap) / columns - gap) / dot, pictures) * dot
    indents = [0.15 if mark is not None else 0.0 for mark in marks]
    texts = [wrap(t, cell - i, size) for t, i in zip(titles, indents, strict=True)]
    rows = [texts[i : i + shown] for i in range(0, len(texts), shown)]
    below = [
        0.06 + line * max(map(len, row)) if any(map(any, row)) else 0 for row in rows
    ]
    bottoms = np.cumsum([cell + gap + space for space in below])
    width, height = shown * (cell + gap) - gap + 0.04, bottoms[-1] - gap + 0.06
    width, height = (round(length / dot) * dot for length in (width, height))
    figure, axes = Plot(figsize=(width, height)), []
    figure.image_format = "png"
    for number, lines in enumerate(texts):
        row, column = divmod(number, shown)
        left = round((0.02 + column * (cell + gap)) / dot) * dot
        top = height - 0.02 - (bottoms[row - 1] if row else 0.0)
        base = round((top - cell) / dot) * dot
        box = (left / width, base / height, cell / width, cell / height)
        axes.append(figure.add_axes(box))
        for place, words in enumerate(lines):
            x, y = left + indents[number], base - 0.165 - place * line
            figure.text(x / width, y / height, words, size=size)
        if indents[number]:
            sign, colour = MARKS[bool(marks[number])]
            y = (base - 0.165) / height
            figure.text(left / width, y, sign, size=size, color=colour)
    return figure, axes


def _whole(side: float, pictures: list[np.ndarray]) -> int:
    """A number of pixels up to ``side``, a multiple of small pictures' own."""
    own = max(max(picture.shape[:2]) for picture in pictures)
    return int(side) // own * own if own <= 96 and own <= side else int(side)


def _frame(panel, colour: str | None = None) -> None:
    """A thin frame, coloured if the picture is marked; no ticks."""
    panel.set(xticks=[], yticks=[])
    panel.grid(False)
    for spine in panel.spines.values():
        spine.set(visible=True, color=colour or INK, linewidth=1.6 if colour else 0.6)
