"""Bilinear fusion (双线性融合): every number of one times every number of the other."""

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

    The 1 keeps the vectors themselves (Zadeh et al. 2017,
    https://arxiv.org/abs/1707.07250); only it is left of a missing modality. Each pair
    has $(D + 1)^2 D$ numbers; the pairs are added. A single modality is multiplied with
    itself (Lin et al. 2015, https://arxiv.org/abs/1504.07889). Chapter 2.5.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        self.pairs = list(combinations(range(len(widths)), 2)) or [(0, 0)]
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
