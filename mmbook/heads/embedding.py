"""One vector for each sequence (嵌入头)."""

from torch import Tensor, nn
from torch.nn import functional as F

from ..saving import Configured
from ..tokens import Tokens, check_width


class EmbeddingHead(Configured):
    """One vector of length one for each row (嵌入头), (B, E). Chapter 2.8."""

    def __init__(self, width: int, embedding: int):
        super().__init__()
        self.project = nn.Linear(width, embedding)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """The embedding; it has no loss of its own (pairs have: ``contrastive``)."""
        check_width(tokens, self.project.in_features)
        return F.normalize(self.project(tokens.pooled()), dim=-1), None
