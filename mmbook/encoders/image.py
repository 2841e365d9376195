"""Image encoders, from scratch: a convolutional one and a vision transformer."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Block
from ..saving import Configured
from ..tokens import Tokens
from .checks import check_image


class ConvImageEncoder(Configured):
    """A convolutional image encoder (卷积图像编码器): each place of the last map is a token.

    Each stage halves height and width; ``channels`` are those of the stages before the
    last, which has D. One more 3×3 convolution mixes neighbours. Learned positions are
    added: those of ``size`` pixels, interpolated for any other size. Chapter 2.2.
    """

    def __init__(
        self, width: int = 96, size: int = 48, channels: tuple[int, ...] = (32, 64)
    ):
        super().__init__()
        self.width, self.size = width, size
        ends = pairwise((3, *channels, width))
        stages = [layer for pair in ends for layer in _convolution(*pair, stride=2)]
        self.stages = nn.Sequential(*stages, *_convolution(width, width, stride=1))
        side = -(-size // 2 ** (len(channels) + 1))
        self.position = nn.Parameter(0.02 * torch.randn(side * side, width))

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [m for m in self.stages if isinstance(m, nn.Conv2d)]

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, 3, H, W) in [0, 1] → tokens (B, N, D), row by row."""
        check_image(image)
        features = self.stages(image - 0.5)  # (B, D, H / 8, W / 8)
        position = self._positions(*features.shape[2:])
        return Tokens(features.flatten(2).transpose(1, 2) + position, mask)

    def _positions(self, rows: int, columns: int) -> Tensor:
        side = math.isqrt(len(self.position))
        if (rows, columns) == (side, side):
            return self.position
        grid = self.position.T.unflatten(1, (side, side))[None]  # (1, D, side, side)
        grid = F.interpolate(grid, (rows, columns), mode="bilinear")
        return grid[0].flatten(1).T  # (rows · columns, D)


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU()]


class PatchImageEncoder(Configured):
    """A vision transformer (视觉 Transformer): each patch of pixels is a token.

    Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929; ``transformers.ViTModel``
    with the same weights. ``size`` and ``patch`` are sides in pixels. Chapter 2.2.
    """

    def __init__(
        self,
        width: int = 96,
        layers: int = 3,
        heads: int = 4,
        size: int = 48,
        patch: int = 8,
        hidden: int | None = None,
        dropout: float = 0.0,
        eps: float = 1e-12,
    ):
        super().__init__()
        if size % patch:
            raise ValueError(f"patch must divide size; got {patch} and {size}")
        self.width, self.size = width, size
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.summary = nn.Parameter(torch.zeros(1, width))
        places = (size // patch) ** 2 + 1
        self.position = nn.Parameter(0.02 * torch.randn(places, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout=dropout, eps=eps) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps)

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.patches, *self.blocks]

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, 3, H, W) in [0, 1] → tokens (B, 1 + N, D): the summary, then the patches."""
        check_image(image, self.size)
        patches = self.patches(2 * image - 1).flatten(2).transpose(1, 2)  # (B, N, D)
        summary = self.summary.expand(len(image), 1, -1)
        x = torch.cat([summary, patches], dim=1) + self.position
        for block in self.blocks:
            x = block(x, mask)
        return Tokens(self.norm(x), mask)
