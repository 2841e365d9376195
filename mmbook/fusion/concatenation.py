"""Concatenation (拼接): put the sequences behind each other and let a later layer mix."""

from torch import nn

from ..tokens import Tokens
from .base import Fusion


class Concatenation(Fusion):
    """All tokens of all modalities, one sequence (B, N₁ + N₂ + …, D). Chapter 1.1."""

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one sequence."""
        joined = Tokens.concatenate(list(self.aligned(tokens).values()))
        return Tokens(self.norm(joined.values), joined.mask)
