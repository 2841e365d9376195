"""A convolutional decoder (卷积生成头)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.base import at_least_one
from ..fusion.multimodal_convolution import WindowLayer
from ..fusion.transformer_xl import Memory
from ..layers.words import TextEmbedding
from ..tokens import Tokens, check_width
from .decoder import Decoder, StreamCache


class ConvGenerationHead(Decoder):
    r"""Each word from a window of the words before it, and the picture (卷积生成头).

    The line of words of :class:`mmbook.fusion.MultimodalConvolution` with
    ``causal=True``, and logits on top. A layer looks at ``window - 1`` earlier words, so
    a word depends on $\text{layers} \cdot (\text{window} - 1)$ of them. Of the tokens it
    sees the mean: what there is, not where. Sentences written by convolutions: Gehring et
    al. 2017, https://arxiv.org/abs/1705.03122. Chapter 3.2.

    Parameters
    ----------
    vocabulary_size, context_width : V, and the width of the tokens it looks at.
    width, layers, max_length : D, number of layers, longest L.
    window : words that one layer looks at, the newest included.
    start, end, pad, smoothing : see :class:`Decoder`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_width: int,
        width: int = 96,
        layers: int = 4,
        window: int = 4,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        dropout: float = 0.0,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        at_least_one(layers=layers, window=window)
        self.window = window
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, dropout=dropout
        )
        self.look = nn.Linear(context_width, width)
        self.lines = nn.ModuleList(
            WindowLayer(width, window, True, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        x = self.embedding(ids, cache.length if cache else 0)  # (B, L, D)
        seen = x.new_zeros(len(x), x.shape[-1])
        if tokens is not None:
            seen = self._what_is_there(tokens)  # (B, D)
        memory = cache.memory if cache else None
        memory = memory or Memory.empty(len(self.lines), x)
        entered = []
        for layer, past in zip(self.lines, memory.states, strict=True):
            entered.append(x)
            line = Tokens(torch.cat([past, x], dim=1))
            x = layer(line, seen).values[:, -ids.shape[1] :]
        if cache is not None:
            real = torch.ones_like(ids, dtype=torch.bool)
            memory = memory.followed_by(entered, real, self.window - 1)
            cache.keep(memory, ids.shape[1])
        return F.linear(self.norm(x), self.embedding.word.weight, self.bias)

    def new_cache(self, capacity: int) -> StreamCache:
        """An empty cache; it keeps one window of words, whatever the capacity."""
        return StreamCache()

    def _what_is_there(self, tokens: Tokens) -> Tensor:
        """The mean token (B, D); zero in rows where nothing is real."""
        check_width(tokens, self.look.in_features)
        return self.look(tokens.pooled()) * tokens.mask.any(1, keepdim=True)
