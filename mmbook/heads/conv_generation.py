"""A convolutional decoder (卷积生成头)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from ..fusion.multimodal_convolution import WindowLayer
from ..fusion.transformer_xl import Memory
from ..layers import TextEmbedding
from ..tokens import Tokens, check_width
from .decoder import Decoder, StreamCache


class ConvGenerationHead(Decoder):
    """Each word from a window of the words before it, and the picture (卷积生成头).

    A causal :class:`mmbook.fusion.MultimodalConvolution` with logits on top: a word
    depends on layers · (window - 1) earlier ones, and on the mean of the tokens.
    Gehring et al. 2017, https://arxiv.org/abs/1705.03122; chapter 3.2.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_width: int,
        width: int = 96,
        layers: int = 4,
        window: int = 4,
        dropout: float = 0.0,
        **sentence,
    ):
        super().__init__(**sentence)
        at_least_one(layers=layers, window=window)
        self.window = window
        self.embedding = TextEmbedding(
            vocabulary_size, width, self.max_length, dropout=dropout
        )
        self.look = nn.Linear(context_width, width)
        self.lines = nn.ModuleList(
            WindowLayer(width, window, True, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.embedding, *self.lines]

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        past = cache or StreamCache()
        x = self.embedding(ids, past.length)  # (B, L, D)
        seen = torch.zeros_like(x[:, 0])
        if tokens is not None:  # rows of padding alone stay at zero
            check_width(tokens, self.look.in_features)
            seen = self.look(tokens.pooled()) * tokens.mask.any(1, keepdim=True)
        memory, entered = past.memory or Memory.empty(len(self.lines), x), []
        for layer, before in zip(self.lines, memory.states, strict=True):
            entered.append(x)
            line = Tokens(torch.cat([before, x], dim=1))
            x = layer(line, seen).values[:, -ids.shape[1] :]
        if cache is not None:
            real = torch.ones_like(ids, dtype=torch.bool)
            cache.memory = memory.followed_by(entered, real, self.window - 1)
            cache.length += ids.shape[1]
        return F.linear(self.norm(x), self.embedding.word.weight, self.bias)
