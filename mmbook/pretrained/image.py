"""Pre-trained image encoders of transformers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..encoders.image import check_image
from ..tokens import Tokens
from .base import Pretrained, load_processor, own_folder, read_config


class PretrainedImageEncoder(Pretrained):
    """A pre-trained image model: each place of its last map, or each patch, is a token.

    Convolutional models (MobileNetV2, ResNet, ConvNeXt) give their last map, row by
    row; vision transformers give their patches, without the summary token. Thus N =
    rows × columns, always. Pictures of another size are resized (shorter side) and the
    middle is cropped; those of the right size are taken as they are.

    Parameters
    ----------
    config, width, trainable : see :class:`Pretrained`.
    size : of the pictures that the model wants, in pixels.
    mean, std : of each colour, by which pictures in [0, 1] are normalised.
    bicubic : resize so; otherwise bilinear.
    """

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

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, 3, H, W) in [0, 1], or kept features (B, N, C) → tokens (B, N, D).

        ``mask`` (B, N) tells which tokens are real; None means all.
        """
        features = self._kept(image) if image.ndim == 3 else self.features(image)
        return Tokens(self.project(features), mask)

    def features(self, image: Tensor) -> Tensor:
        """What the model says before projection: (B, 3, H, W) → (B, N, C)."""
        check_image(image)
        return self._run((self._resized(image) - self.mean) / self.std)

    def _run(self, pixels: Tensor) -> Tensor:
        out = self.model(pixels).last_hidden_state
        if out.ndim == 4:
            return out.flatten(2).transpose(1, 2)  # (B, C, H, W) → (B, N, C)
        patch = getattr(self.model.config, "patch_size", None)
        patches = (self.size // patch) ** 2 if patch else out.shape[1]
        return out[:, max(0, out.shape[1] - patches) :]  # summary tokens come first

    def _resized(self, image: Tensor) -> Tensor:
        high, wide = image.shape[-2:]
        if (high, wide) == (self.size, self.size):
            return image
        scale = self.size / min(high, wide)
        sides = [max(self.size, round(side * scale)) for side in (high, wide)]
        image = F.interpolate(image, sides, mode=self.interpolation, antialias=True)
        top, left = ((side - self.size) // 2 for side in sides)
        image = image[..., top : top + self.size, left : left + self.size]
        return image.clamp(0, 1)  # bicubic overshoots

    @torch.no_grad()
    def _measure(self) -> int:
        return self._run(torch.zeros(1, 3, self.size, self.size)).shape[-1]

    @classmethod
    def from_pretrained(cls, name_or_folder, width=None, trainable=False, **processor):
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        ``size``, ``mean``, ``std`` and ``bicubic`` are read from the checkpoint's
        ``preprocessor_config.json``; those given here come first.
        """
        name = own_folder(name_or_folder)
        if not read_config(name).get("class"):
            processor = load_processor(name, processor)
        return super().from_pretrained(name, width, trainable, **processor)
