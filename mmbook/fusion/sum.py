"""Sum (求和): add the mean vectors of the modalities."""

from functools import reduce

import torch

from ..tokens import Tokens
from .base import Fusion


class Sum(Fusion):
    r"""The modalities' mean vectors, projected and added: (B, 1, D). Chapter 2.5.

    $$z = \sum_m (W_m \bar x_m + b_m)$$

    Without a layer norm, on purpose: to divide by the spread of the *sum* relates its
    parts. A baseline of Kiela et al. 2018, https://arxiv.org/abs/1802.02892.
    """

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        total = reduce(torch.add, vectors.values.unbind(1))[:, None]
        return Tokens(total, vectors.mask.any(1, keepdim=True))
