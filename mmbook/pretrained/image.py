"""Pre-trained image encoders of transformers."""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor

from ..encoders.checks import check_image
from ..tokens import Tokens
from .base import Pretrained, read_processor


class PretrainedImageEncoder(Pretrained):
    """A pre-trained image model: each place of its last map, or each patch, is a token.

    Convolutional models (MobileNetV2, ResNet, ConvNeXt) give their last map, row by
    row; vision transformers their patches, without the summary. Pictures are resized,
    the shorter side to ``size`` pixels, cropped, and normalised. Chapter 2.2.
    """

    tower = "vision_model"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        config: dict,
        width: int | None = None,
        trainable: bool = False,
        size: int = 224,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        bicubic: bool = True,
    ):
        self.size = size
        super().__init__(config, width, trainable)
        self.interpolation = "bicubic" if bicubic else "bilinear"
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def features(self, image: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, 3, H, W) in [0, 1] → (B, N, C); ``mask`` (B, N) is of the tokens."""
        check_image(image)
        return Tokens(self._run(self._normalised(image)), mask)

    def _normalised(self, image: Tensor) -> Tensor:
        if image.shape[-2:] != (self.size, self.size):
            image = _middle(image, 4 * min(image.shape[-2:]))  # no giants of strips
            scale = self.size / min(image.shape[-2:])
            sides = [max(self.size, round(side * scale)) for side in image.shape[-2:]]
            image = F.interpolate(image, sides, mode=self.interpolation, antialias=True)
            image = _middle(image, self.size).clamp(0, 1)  # bicubic overshoots
        return (image - self.mean) / self.std

    def _run(self, pixels: Tensor) -> Tensor:
        out = self.model(pixels).last_hidden_state
        if out.ndim == 4:
            return out.flatten(2).transpose(1, 2)  # (B, C, H, W) → (B, N, C)
        patch = getattr(self.model.config, "patch_size", None)
        patches = (self.size // patch) ** 2 if patch else out.shape[1]
        return out[:, max(0, out.shape[1] - patches) :]  # summary tokens come first

    @torch.no_grad()
    def _measure(self) -> int:
        return self._run(torch.zeros(1, 3, self.size, self.size)).shape[-1]

    @classmethod
    def _read_settings(cls, name: str, given: dict) -> dict:
        if {"size", "mean", "std"} <= given.keys():
            return given
        processor = read_processor(AutoImageProcessor, name, "size=, mean= and std=")
        size = getattr(processor, "crop_size", None) or processor.size
        sides = [getattr(size, side, None) for side in ("height", "shortest_edge")]
        return {
            "size": next(side for side in sides if side),
            "mean": tuple(processor.image_mean),
            "std": tuple(processor.image_std),
            "bicubic": processor.resample == 3,  # PIL's number
        } | given


def _middle(image: Tensor, longest: int) -> Tensor:
    """The middle of a picture, neither side longer than this."""
    high, wide = (min(side, longest) for side in image.shape[-2:])
    top, left = (image.shape[-2] - high) // 2, (image.shape[-1] - wide) // 2
    return image[..., top : top + high, left : left + wide]
