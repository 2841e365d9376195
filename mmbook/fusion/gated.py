"""Gated fusion (门控融合): a learned gate says how much of each modality passes."""

import torch
from torch import Tensor, nn

from ..tokens import Tokens
from .base import Fusion


class Gated(Fusion):
    r"""A weighted sum whose weights depend on all modalities: (B, 1, D).

    $$z = \sum_m g_m \odot \tanh(\bar x_m), \qquad
    g = \mathrm{softmax}_m\big(W [\bar x_1; \bar x_2; \dots] + b\big)$$

    One gate for each modality and each of the D numbers, shut if it is missing. For
    two: the unit of Arevalo et al. 2017, https://arxiv.org/abs/1702.01992. Chapter 2.5.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        self.gate = nn.Linear(len(widths) * width, len(widths) * width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        passed = self.gates(vectors) * vectors.values.tanh()  # (B, modalities, D)
        return Tokens(passed.sum(1, keepdim=True), vectors.mask.any(1, keepdim=True))

    def gates(self, vectors: Tokens) -> Tensor:
        """How far each gate is open for :meth:`vectors`, 0 to 1: (B, modalities, D)."""
        scores = self.gate(vectors.values.flatten(1))  # (B, modalities · D)
        scores = scores.unflatten(1, (-1, self.width))
        real = vectors.mask[..., None]
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~real, lowest).softmax(1) * real
