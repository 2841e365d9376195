"""Items of different lengths become one tensor and a mask."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Pictures (3, H, W) uint8 or float, or features (N, C), to one float batch."""
    images = _same_shapes("images", images)
    stacked = torch.stack(images)
    return stacked.float() / 255 if stacked.dtype == torch.uint8 else stacked.float()


def stack_videos(videos: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Clips (F, 3, H, W) uint8 or float to one float batch (B, F, 3, H, W).

    Shorter clips are filled up with zeros; the mask (B, F) is True for real frames. It is
    None if nothing was filled up. Features (N, C) are treated in the same way.
    """
    videos = [torch.as_tensor(video) for video in videos]
    for video in videos:
        if video.ndim not in (2, 4) or not len(video):
            raise ValueError(
                "a video must be (F, 3, H, W) with one frame or more, or features "
                f"(N, C); got {tuple(video.shape)}"
            )
    _same_shapes("frames", [video[0] for video in videos])
    floats = [v.float() / (255 if v.dtype == torch.uint8 else 1) for v in videos]
    stacked, mask = _padded(floats)
    return stacked, None if mask.all() else mask


def stack_audio(
    waves: Sequence[Tensor], pad_to: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sounds (S,) of any length, or features (N, C), to one batch and its mask.

    Shorter ones are filled up with zeros, which is silence. Returns (B, S) float and
    (B, S) bool, True where the sound is real. One longer than ``pad_to`` is a ValueError.
    """
    waves = [torch.as_tensor(wave) for wave in waves]
    for wave in waves:
        if not wave.is_floating_point():
            raise ValueError(
                f"audio must be float in [−1, 1]; got {wave.dtype}: divide it by its "
                "largest value, 32768 for int16"
            )
        if wave.ndim not in (1, 2) or not len(wave):
            raise ValueError(
                "audio must be a waveform (S,) of one channel, or features (N, C); got "
                f"{tuple(wave.shape)}"
            )
    return _padded(waves, pad_to)


def stack_features(
    features: Sequence[Tensor], pad_to: int | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs (N, C) of a frozen encoder to one batch (B, N, C) and its mask (B, N)."""
    features = [torch.as_tensor(values) for values in features]
    _same_shapes("tokens", [values[:1] for values in features])
    return _padded(features, pad_to)


def stack_labels(labels: Sequence) -> Tensor:
    """Class numbers (B,) long; or other numbers or arrays of one shape, float."""
    try:
        values = torch.stack([torch.as_tensor(label) for label in labels])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"labels must be class numbers, or numbers of one shape; got {labels[0]!r}: "
            f"number the classes first ({error})"
        ) from error
    return values.float() if values.is_floating_point() else values.long()


def _same_shapes(name: str, values: Sequence[Tensor]) -> list[Tensor]:
    """The values as tensors; a ValueError if their shapes differ."""
    values = [torch.as_tensor(value) for value in values]
    shapes = sorted({tuple(value.shape) for value in values})
    if len(shapes) != 1:
        raise ValueError(f"{name} of one batch must have one shape; got {shapes}")
    return values


def _padded(
    values: Sequence[Tensor], pad_to: int | None = None
) -> tuple[Tensor, Tensor]:
    """Zeros behind the shorter ones: (B, longest or ``pad_to``, …) float, and a mask."""
    lengths = torch.tensor([len(value) for value in values])
    stacked = nn.utils.rnn.pad_sequence(list(values), batch_first=True).float()
    missing = (pad_to or stacked.shape[1]) - stacked.shape[1]
    if missing < 0:
        raise ValueError(
            f"a length of {stacked.shape[1]} is more than the {pad_to} to pad to: cut "
            "the longest ones, or pad to more"
        )
    silence = stacked.new_zeros(len(stacked), missing, *stacked.shape[2:])
    stacked = torch.cat([stacked, silence], dim=1)
    return stacked, torch.arange(stacked.shape[1]) < lengths[:, None]
