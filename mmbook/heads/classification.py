"""Which of the classes? (分类头)"""

import torch
from torch import Tensor, nn

from ..losses import cross_entropy
from ..saving import Configured
from ..tokens import Tokens, check_width


class ClassificationHead(Configured):
    """Mean of the tokens, a hidden layer or none, logits (分类头). Chapter 3.2."""

    def __init__(
        self,
        width: int,
        classes: int,
        hidden: int | None = None,
        dropout: float = 0.0,
        smoothing: float = 0.0,
        class_weights: list[float] | None = None,
    ):
        super().__init__()
        self.width, self.smoothing = width, smoothing
        self.weight = None if class_weights is None else torch.tensor(class_weights)
        inner = [nn.Linear(width, hidden), nn.GELU()] if hidden else []
        last = nn.Linear(hidden or width, classes)
        self.layers = nn.Sequential(*inner, nn.Dropout(dropout), last)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, C), and the cross-entropy with labels (B,) or soft targets (B, C)."""
        check_width(tokens, self.width)
        logits = self.layers(tokens.pooled())
        if labels is None:
            return logits, None
        loss = cross_entropy(logits, labels, self.smoothing, items, self.weight)
        return logits, loss
