"""Pictures placed on whole pixels of the page, with text beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .describing import listed, sentences, shortened
from .style import MARKS
from .svg import SMALL
from .text import wrap

SIZE = 8.5  # of captions, in points
LINE, MARK = 0.145, 0.15  # a line and a ✓, in inches
DOT = 1 / 96  # a pixel of the page, in inches
GAP, EDGE = 14 * DOT, 3 * DOT  # between pictures, and around them
FINE = 1.5  # pixels of a photograph for one of the page: sharp, and few bytes


def pixels_of(image: Tensor) -> np.ndarray:
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


def fitted(picture: np.ndarray, side: float) -> np.ndarray:
    """A photograph with no more pixels than are shown; a small picture as it is."""
    limit = round(side / DOT * FINE)
    if max(picture.shape[:2]) <= max(SMALL, limit):
        return picture
    shrink = limit / max(picture.shape[:2])
    size = [max(1, round(length * shrink)) for length in picture.shape[1::-1]]
    image = Image.fromarray((picture * 255).round().astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS)) / np.float32(255)


def place(figure, picture, left: float, top: float, width: float, height: float):
    """Draw a picture with its upper left corner there, on whole pixels."""
    across, up = figure.get_size_inches()
    left, base = on_pixels(left), on_pixels(up - top - height)
    box = (left / across, base / up, width / across, height / up)
    panel = figure.add_axes(box)
    panel.imshow(picture, interpolation="none", aspect="auto")
    return panel


def on_pixels(inches: float) -> float:
    return round(inches / DOT) * DOT


def wrapped(titles: Sequence[str], marks: Sequence[bool | None], width: float) -> list:
    """The lines of each title; a mark before it takes room."""
    return [
        wrap(title, width - (0.0 if mark is None else MARK), SIZE)
        for title, mark in zip(titles, marks, strict=True)
    ]


def write(figure, lines: list[str], mark: bool | None, x: float, y: float) -> None:
    """Lines of text from (x, y) downwards, in inches; ✓ or ✗ before the first."""
    width, height = figure.get_size_inches()
    if mark is not None:
        sign, colour = MARKS[bool(mark)]
        figure.text(x / width, y / height, sign, size=SIZE, color=colour)
        x += MARK
    for number, words in enumerate(lines):
        figure.text(x / width, (y - number * LINE) / height, words, size=SIZE)


def one_each(name: str, given: Sequence | None, pictures: list, default) -> list:
    """``given`` as a list, as long as there are pictures."""
    if not pictures:
        raise ValueError("no pictures to show: images is empty")
    given = [default] * len(pictures) if given is None else list(given)
    if len(given) != len(pictures):
        raise ValueError(
            f"{name} must be as many as the images; got {len(given)} for {len(pictures)}"
        )
    return given


def said(count: str, titles: Sequence[str], right: Sequence[bool | None]) -> str:
    """Pictures in words: how many, and what is written at each."""
    signs = {True: " (right)", False: " (wrong)", None: ""}
    texts = [
        " ".join(str(title).split()) + signs[None if mark is None else bool(mark)]
        for title, mark in zip(titles, right, strict=True)
    ]
    times = Counter(text.strip() for text in texts if text.strip())
    texts = [text + (f" ({n} times)" if n > 1 else "") for text, n in times.items()]
    return shortened(sentences([count + (": " + listed(texts) if texts else "")]))
