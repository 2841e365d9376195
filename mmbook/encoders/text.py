"""Text encoders, from scratch."""

from torch import Tensor, nn

from ..layers import Block, TextEmbedding
from ..saving import Configured
from ..tokens import Tokens


class TextEncoder(Configured):
    """A transformer that reads a sentence in both directions (文本编码器).

    With its weights, not ``norm_first``, it is BERT (Devlin et al. 2019): chapter 2.1.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 64,
        hidden: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.width = width
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, not norm_first, dropout, eps
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, None, dropout, norm_first, eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps) if norm_first else nn.Identity()

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.embedding, *self.blocks]

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """ids (B, L), mask (B, L) True = real → tokens (B, L, D)."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, mask)
        return Tokens(self.norm(x), mask)
