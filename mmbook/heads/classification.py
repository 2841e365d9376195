"""Which of the classes? (分类头)"""

from __future__ import annotations

from torch import Tensor, nn

from ..losses import cross_entropy
from ..saving import Configured
from ..tokens import Tokens, check_width


class ClassificationHead(Configured):
    """Mean of the tokens, one hidden layer or none, one logit per class (分类头).

    Parameters
    ----------
    width, classes : D of the tokens, number of classes.
    hidden : width of a hidden layer; None makes the head linear.
    """

    def __init__(
        self, width: int, classes: int, hidden: int | None = None, dropout: float = 0.0
    ):
        super().__init__()
        self.width = width
        inner = [nn.Linear(width, hidden), nn.GELU()] if hidden else []
        last = nn.Linear(hidden or width, classes)
        self.layers = nn.Sequential(*inner, nn.Dropout(dropout), last)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, classes), and the cross-entropy if there are labels (B,)."""
        check_width(tokens, self.width)
        logits = self.layers(tokens.pooled())
        loss = None if labels is None else cross_entropy(logits, labels, items=items)
        return logits, loss
