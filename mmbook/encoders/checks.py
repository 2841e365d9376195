"""What is wrong with the input of an encoder, said before the encoder fails on it."""

import torch
from torch import Tensor


def check_image(image: Tensor, size: int | None = None, name: str = "image") -> None:
    """Pictures must be float (B, 3, H, W), a video (B, F, 3, H, W); H = W = size, if any."""
    shape, video = tuple(image.shape), name == "video"
    if image.ndim != 4 + video or shape[-3] != 3:
        misplaced = 3 in shape[1:] and shape[-3:-2] != (3,)
        hint = ": put the channels right before H and W" if misplaced else ""
        layout = "(B, F, 3, H, W)" if video else "(B, 3, H, W)"
        raise ValueError(f"{name} must be {layout} in [0, 1]; got {shape}{hint}")
    if not image.is_floating_point():
        raise ValueError(f"{name} must be float; got {image.dtype}: divide by 255")
    if size is not None and shape[-2:] != (size, size):
        raise ValueError(
            f"{name} must be {size} pixels high and wide; got {shape[-2]} × {shape[-1]}: "
            "resize and crop it, or take a ConvImageEncoder, which reads any size"
        )


def check_audio(waveform: Tensor, mask: Tensor | None = None) -> None:
    """Sounds must be float (B, S) with one sample or more, and the mask must fit."""
    shape = tuple(waveform.shape)
    if waveform.ndim != 2 or not waveform.shape[1]:
        hint = ": drop the axis of channels" if waveform.ndim == 3 else ""
        raise ValueError(f"audio must be (B, S) in [−1, 1]; got {shape}{hint}")
    if not waveform.is_floating_point():
        raise ValueError(f"audio must be float; got {waveform.dtype}: divide by 32768")
    check_mask(mask, shape, "audio")


def check_mask(mask: Tensor | None, shape: tuple[int, ...], name: str) -> None:
    """A mask must be bool and of this shape."""
    if mask is not None and (mask.dtype != torch.bool or mask.shape != shape):
        given = f"{mask.dtype} {tuple(mask.shape)}"
        raise ValueError(f"mask of {name} must be bool {shape}; got {given}")
