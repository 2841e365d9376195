"""Items of different lengths become one tensor and a mask."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Pictures (3, H, W), uint8 or float, or features → a float batch. Chapter 5.2."""
    images = _same_shapes("images", images)
    stacked = torch.stack(images)
    return stacked.float() / 255 if stacked.dtype == torch.uint8 else stacked.float()


def stack_videos(videos: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Clips (F, 3, H, W) or features → batch, mask if some are shorter. Chapter 2.4."""
    videos = [torch.as_tensor(video) for video in videos]
    for video in videos:
        if video.ndim not in (2, 4) or not len(video):
            rule = "a video must be (F, 3, H, W), one frame or more"
            raise ValueError(f"{rule}; got {tuple(video.shape)}")
    _same_shapes("frames", [video[0] for video in videos])
    floats = [v.float() / (255 if v.dtype == torch.uint8 else 1) for v in videos]
    stacked, mask = _padded(floats)
    return stacked, None if mask.all() else mask


def stack_audio(waves: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sound (S,) or features (N, C) → (B, S), silence at the end, mask. Chapter 2.3."""
    waves = [torch.as_tensor(wave) for wave in waves]
    for wave in waves:
        if not wave.is_floating_point():
            raise ValueError(f"audio must be float; got {wave.dtype}: divide by 32768")
    return _padded(waves)


def stack_features(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Outputs (N, C) of a frozen encoder to one batch (B, N, C) and its mask (B, N)."""
    features = [torch.as_tensor(values) for values in features]
    _same_shapes("tokens", [values[:1] for values in features])
    return _padded(features)


def stack_labels(labels: Sequence) -> Tensor:
    """Class numbers (B,) long; or other numbers or arrays of one shape, float."""
    try:
        values = torch.stack([torch.as_tensor(label) for label in labels])
    except (TypeError, ValueError, RuntimeError) as error:
        rule = "labels must be class numbers, or numbers of one shape"
        given = f"{labels[0]!r}: number the classes first ({error})"
        raise ValueError(f"{rule}; got {given}") from error
    return values.float() if values.is_floating_point() else values.long()


def _same_shapes(name: str, values: Sequence[Tensor]) -> list[Tensor]:
    """The values as tensors; a ValueError if their shapes differ."""
    values = [torch.as_tensor(value) for value in values]
    shapes = sorted({tuple(value.shape) for value in values})
    if len(shapes) != 1:
        raise ValueError(f"{name} of one batch must have one shape; got {shapes}")
    return values


def _padded(values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Zeros behind the shorter ones: (B, longest, …) float, and a mask."""
    lengths = torch.tensor([len(value) for value in values])
    stacked = nn.utils.rnn.pad_sequence(list(values), batch_first=True).float()
    return stacked, torch.arange(stacked.shape[1]) < lengths[:, None]
