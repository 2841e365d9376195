"""In the place of an encoder whose outputs were computed before."""

from torch import Tensor

from ..saving import Configured
from ..tokens import Tokens, check_width


class PrecomputedTokens(Configured):
    """Passes on precomputed features (预计算特征), ``width`` wide or any. Chapter 1.1."""

    def __init__(self, width: int | None = None):
        super().__init__()
        self.width = width

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tokens:
        """(B, N, D), mask (B, N) True = real → the same as tokens."""
        tokens = Tokens(values, mask)
        if self.width is not None:
            check_width(tokens, self.width, "this place of an encoder")
        return tokens
