"""Vector concatenation (向量拼接): one long vector for each example, then a layer."""

from torch import nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion


class VectorConcatenation(Fusion):
    r"""Mean vectors side by side, through one hidden layer: (B, 1, D). Chapter 2.5.

    $$z = \mathrm{norm}\big(\mathrm{ReLU}(W [\bar x_1; \bar x_2; \dots] + b)\big)$$

    Baltrušaitis et al. 2017, https://arxiv.org/abs/1705.09406. A missing one is zeros.
    """

    def __init__(self, widths: dict[str, int], width: int):
        super().__init__(widths, width)
        self.mix = nn.Linear(len(widths) * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one token."""
        vectors = self.vectors(tokens)
        mixed = F.relu(self.mix(vectors.values.flatten(1)))[:, None]  # (B, 1, D)
        return Tokens(self.norm(mixed), vectors.mask.any(1, keepdim=True))
