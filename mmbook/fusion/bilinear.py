"""Bilinear fusion (双线性融合): every number of one times every number of the other."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion


class Bilinear(Fusion):
    r"""All products of two mean vectors, through a full tensor: (B, 1, D).

    $$z_k = \mathrm{norm}\Big(\sum_{i, j} W_{ijk}\, \tilde x_i\, \tilde y_j\Big)_k,
    \qquad \tilde x = (\bar x; 1), \quad \tilde y = (\bar y; 1)$$

    The 1 behind each vector keeps the vectors themselves beside their products, after
    Zadeh et al. 2017, https://arxiv.org/abs/1707.07250. The tensor has $(D + 1)^2 D$
    numbers: this grows with the cube of D, and :class:`.LowRankTensor` is the way out.

    Each pair of modalities has a tensor of its own, and the pairs are added. A fusion
    of a single modality multiplies it with itself (Lin et al. 2015,
    https://arxiv.org/abs/1504.07889).

    A missing modality is the vector $(0, \dots, 0, 1)$: its products vanish, and what
    the others say by themselves stays.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        count = len(widths)
        self.pairs = list(combinations(range(count), 2)) or [(0, 0)]
        shape = (len(self.pairs), width + 1, width + 1, width)
        self.weight = nn.Parameter(torch.randn(shape) / (width + 1))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        fused = self.multiply(F.pad(vectors.values, (0, 1), value=1.0))
        return Tokens(self.norm(fused)[:, None], vectors.mask.any(1, keepdim=True))

    def multiply(self, x: Tensor) -> Tensor:
        """Vectors with their 1, (B, modalities, D + 1) → sum over pairs (B, D)."""
        left, right = (x[:, list(side)] for side in zip(*self.pairs, strict=True))
        outer = torch.einsum("bpi,bpj->bpij", left, right)
        return torch.einsum("bpij,pijk->bk", outer, self.weight)
