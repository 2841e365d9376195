"""Sounds and clips that a page plays, each with its words beside it."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Media:
    """What a notebook shows as HTML; nothing is fetched, the data stand in it."""

    def __init__(self, html: str, words: str):
        self.html, self.words = html, words

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"({self.words})"


def play_sound(waveform: Tensor, rate: int, words: str) -> Media:
    """A player for a sound, with what is heard in it as text (播放声音).

    Chapter 2.3.

    Parameters
    ----------
    waveform : (S,), in [-1, 1]; what is louder is scaled down.
    rate : samples a second.
    words : what is said, or what the sound is; shown beside the player.
    """
    if waveform.ndim != 1 or not len(waveform) or not words.strip():
        raise ValueError(
            "a waveform must be (S,), with words that say what is heard; got "
            f"{tuple(waveform.shape)} and {words!r}"
        )
    data = base64.b64encode(_wav(waveform, rate)).decode()
    return Media(
        '<figure class="sound"><audio controls preload="none" '
        f'src="data:audio/wav;base64,{data}"></audio>'
        f"<figcaption>{escape(words)}</figcaption></figure>",
        f"sound of {len(waveform) / rate:.1f} s: {words}",
    )


def _wav(waveform: Tensor, rate: int) -> bytes:
    """A wav file of 16 bits with one channel."""
    sound = waveform.detach().float().cpu()
    sound = sound / max(1.0, sound.abs().max().item())
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, len(sound), "NONE", "not compressed"))
        file.writeframes((sound * 32767).round().to(torch.int16).numpy().tobytes())
    return buffer.getvalue()


def play_clip(
    frames: Tensor | Sequence[Tensor], words: str, a_second: float = 4, side: int = 192
) -> Media:
    """A clip that plays when the reader opens it, and stops when it is closed (播放短片).

    Chapter 2.4.

    Parameters
    ----------
    frames : (F, 3, H, W), float in [0, 1] or uint8.
    words : what is seen, for those who do not see it; also the name to click on.
    a_second : frames a second.
    side : pixels of the longer side, as shown; small pictures keep sharp edges.
    """
    shown = torch.stack(list(frames))
    if shown.ndim != 4 or shown.shape[1] != 3 or not words.strip():
        raise ValueError(
            "frames must be (F, 3, H, W), with words that say what is seen; got "
            f"{tuple(shown.shape)} and {words!r}"
        )
    height, width = shown.shape[-2:]
    scale = side / max(height, width)
    size = (round(width * scale), round(height * scale))
    data = base64.b64encode(_webp(shown, size, a_second)).decode()
    return Media(
        f'<details class="clip"><summary>Play: {escape(words)}</summary>'
        f'<img loading="lazy" width="{size[0]}" height="{size[1]}" '
        f'alt="{escape(words, quote=True)}" src="data:image/webp;base64,{data}"></details>',
        f"clip of {len(shown)} frames: {words}",
    )


def _webp(frames: Tensor, size: tuple[int, int], a_second: float) -> bytes:
    """An animated picture without loss where the frames are drawings."""
    frames = frames if frames.dtype == torch.uint8 else (frames * 255).round().byte()
    small = max(frames.shape[-2:]) <= 96
    way = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    pictures = [
        Image.fromarray(np.ascontiguousarray(frame.permute(1, 2, 0).cpu())).resize(
            size, way
        )
        for frame in frames
    ]
    buffer = io.BytesIO()
    first, *others = pictures
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=round(1000 / a_second),
        loop=0,
        lossless=small,
        quality=70,
    )
    return buffer.getvalue()
