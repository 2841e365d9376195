"""Items of different lengths become one tensor and a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Pictures (3, H, W) uint8 or float, or kept features (N, C), to one float batch."""
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise ValueError(
            f"images of one batch must have one shape; got {sorted(shapes)}: resize them"
        )
    stacked = torch.stack(list(images))
    if stacked.dtype == torch.uint8:
        return stacked.float() / 255
    return stacked.float()


def stack_videos(videos: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Clips (F, 3, H, W) uint8 or float to one float batch (B, F, 3, H, W).

    Shorter clips are filled up with zeros; the mask (B, F) is True for real frames. It is
    None if nothing was filled up. Kept features (N, C) are treated in the same way.
    """
    for video in videos:
        if video.ndim not in (2, 4) or not len(video):
            raise ValueError(
                "a video must be (F, 3, H, W) with one frame or more, or kept features "
                f"(N, C); got {tuple(video.shape)}"
            )
    shapes = {tuple(video.shape[1:]) for video in videos}
    if len(shapes) != 1:
        raise ValueError(
            f"frames of one batch must have one shape; got {sorted(shapes)}: resize them"
        )
    lengths = torch.tensor([len(video) for video in videos])
    floats = [v.float() / (255 if v.dtype == torch.uint8 else 1) for v in videos]
    stacked = nn.utils.rnn.pad_sequence(floats, batch_first=True)
    mask = torch.arange(stacked.shape[1]) < lengths[:, None]  # (B, F)
    return stacked, None if mask.all() else mask


def stack_audio(
    waves: Sequence[Tensor], pad_to: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sounds (S,) of any length, or kept features (N, C), to one batch and its mask.

    Shorter ones are filled up with zeros, which is silence. Gives back (B, S) float and
    (B, S) bool, True where the sound is real.

    Raises
    ------
    ValueError
        If a sound is not float, has no samples, or is longer than ``pad_to``.
    """
    for wave in waves:
        _check_wave(wave)
    lengths = torch.tensor([len(wave) for wave in waves])
    longest = int(lengths.max())
    if pad_to is not None and longest > pad_to:
        raise ValueError(
            f"a sound of {longest} samples is longer than the {pad_to} to pad to: cut "
            "it, or pad to more"
        )
    stacked = nn.utils.rnn.pad_sequence(list(waves), batch_first=True).float()
    places = torch.arange(pad_to or longest)
    missing = stacked.new_zeros(len(waves), len(places) - longest, *stacked.shape[2:])
    return torch.cat([stacked, missing], dim=1), places < lengths[:, None]


def _check_wave(wave: Tensor) -> None:
    if not wave.is_floating_point():
        raise ValueError(
            f"audio must be float in [−1, 1]; got {wave.dtype}: divide it by its "
            "largest value, 32768 for int16"
        )
    if wave.ndim not in (1, 2) or not len(wave):
        raise ValueError(
            "audio must be a waveform (S,) of one channel, or kept features (N, C); "
            f"got {tuple(wave.shape)}"
        )
