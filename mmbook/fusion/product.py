"""Product (逐元素乘积): multiply the mean vectors of the modalities."""

from __future__ import annotations

from functools import reduce

import torch
from torch import nn

from ..tokens import Tokens
from .base import Fusion


class Product(Fusion):
    r"""The modalities' mean vectors, projected and multiplied: (B, 1, D).

    $$z = \mathrm{norm}\Big(\prod_m (W_m \bar x_m + b_m)\Big)$$

    The product is taken number by number (Hadamard product). Kim et al. 2017,
    https://arxiv.org/abs/1610.04325, show that for two modalities it is a bilinear form
    of low rank. Products of small numbers are smaller still, so a layer norm follows.

    A missing modality drops out of the product: its factor is one.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors, real = zip(*self.means(tokens), strict=True)
        factors = [x + ~there for x, there in zip(vectors, real, strict=True)]
        product = reduce(torch.mul, factors)[:, None]  # 0 + 1 where there is nothing
        return Tokens(self.norm(product), reduce(torch.logical_or, real))
