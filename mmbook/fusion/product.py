"""Product (逐元素乘积): multiply the mean vectors of the modalities."""

from functools import reduce

import torch
from torch import nn

from ..tokens import Tokens
from .base import Fusion


class Product(Fusion):
    r"""The modalities' mean vectors, projected and multiplied: (B, 1, D).

    $$z = \mathrm{norm}\Big(\prod_m (W_m \bar x_m + b_m)\Big)$$

    number by number, with 1 for a missing modality. For two it is a bilinear form of
    low rank (Kim et al. 2017, https://arxiv.org/abs/1610.04325). Chapter 2.5.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        factors = vectors.values + ~vectors.mask[..., None]  # 0 + 1 where nothing is
        product = reduce(torch.mul, factors.unbind(1))[:, None]
        return Tokens(self.norm(product), vectors.mask.any(1, keepdim=True))
