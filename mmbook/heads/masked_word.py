"""Which word stands here? (掩码语言模型头)"""

from torch import Tensor, nn

from ..losses import cross_entropy
from ..saving import Configured
from ..tokens import Tokens, check_width


class MaskedWordHead(Configured):
    """Which word stands here? asked at each token (掩码语言模型头), as BERT does.

    Labels are −100 where nothing was asked: :func:`mmbook.data.mask_words` makes them.
    Devlin et al. 2019, https://arxiv.org/abs/1810.04805; chapter 2.1.
    """

    def __init__(self, width: int, vocabulary_size: int, eps: float = 1e-5):
        super().__init__()
        self.width = width
        self.transform = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=eps)
        )
        self.words = nn.Linear(width, vocabulary_size)

    def forward(self, tokens: Tokens, labels: Tensor | None = None, items=None):
        """Logits (B, L, V), and the mean loss over the labels (B, L) that are not −100."""
        check_width(tokens, self.width)
        logits = self.words(self.transform(tokens.values))
        if labels is None:
            return logits, None
        return logits, cross_entropy(logits, labels, items=items)
