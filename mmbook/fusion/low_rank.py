"""Low-rank tensor fusion (低秩张量融合): the full tensor, without ever making it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion, at_least_one


class LowRankTensor(Fusion):
    r"""All products of any number of mean vectors: (B, 1, D). Chapter 2.5.

    $$z = \mathrm{norm}\Big(\sum_{r=1}^{R} \prod_m F_m^{(r)} \tilde x_m\Big),
    \qquad \tilde x_m = (\bar x_m; 1)$$

    with R = ``rank`` (Liu et al. 2018, https://arxiv.org/abs/1806.00064): the tensor of
    :class:`.Bilinear` as $\sum_r F_1^{(r)} \otimes F_2^{(r)} \otimes \dots$,
    $R M (D + 1) D$ numbers instead of $(D + 1)^M D$. Missing: $(0, \dots, 0, 1)$.
    """

    decays = ("factors",)  # weight decay pulls them to zero, as it does a weight

    def __init__(self, widths: dict[str, int], width: int, rank: int = 4):
        super().__init__(widths, width)
        at_least_one(rank=rank)
        shape = (rank, width + 1, width)
        self.factors = nn.ParameterDict(
            {n: nn.Parameter(torch.randn(shape) / (width + 1) ** 0.5) for n in widths}
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        fused = self.multiply(F.pad(vectors.values, (0, 1), value=1.0))
        return Tokens(self.norm(fused)[:, None], vectors.mask.any(1, keepdim=True))

    def multiply(self, x: Tensor) -> Tensor:
        """Vectors with their 1, (B, modalities, D + 1) → (B, D)."""
        factors = torch.stack([self.factors[name] for name in self.modalities])
        terms = torch.einsum("bmi,mrik->bmrk", x, factors)  # each by itself
        return terms.prod(1).sum(1)  # the product over modalities, the sum over ranks
