"""A transformer decoder that looks at the tokens (生成头)."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Block, DecoderCache, TextEmbedding
from ..tokens import Tokens, check_width
from .decoder import Decoder


class GenerationHead(Decoder):
    """A transformer decoder that attends to the tokens (生成头). Chapter 5.2.

    Without tokens, or a ``context_width`` of them, it is a language model: it can be
    pre-trained on text alone, or take over a BERT's weights (not ``norm_first``, and
    with a ``transform`` before the logits), and learn to look later.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        context_width: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.0,
        norm_first: bool = True,
        eps: float = 1e-5,
        transform: bool = False,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        self.width, self.context_width = width, context_width
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, not norm_first, dropout, eps
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, context_width, dropout, norm_first, eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps) if norm_first else nn.Identity()
        self.transform = nn.Sequential()
        if transform:
            inner, norm = nn.Linear(width, width), nn.LayerNorm(width, eps=eps)
            self.transform = nn.Sequential(inner, nn.GELU(), norm)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        return [self.embedding, *self.blocks]

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        if tokens is not None and self.context_width is None:
            raise ValueError(
                "no cross-attention for these tokens: give a context_width"
            )
        seen: dict[str, Any] = {}
        if tokens is not None:
            check_width(tokens, self.context_width)
            seen = {"context": tokens.values, "context_mask": tokens.mask}
        x = self.embedding(ids, cache.length if cache else 0)
        for number, block in enumerate(self.blocks):
            if cache:
                own, other = cache.own[number], cache.context[number]
                seen |= {"cache": own, "context_cache": other}
            x = block(x, causal=True, **seen)
        x = self.transform(self.norm(x))
        return F.linear(x, self.embedding.word.weight, self.bias)

    def new_cache(self, capacity: int) -> DecoderCache:
        """An empty cache for ``capacity`` words."""
        return DecoderCache(len(self.blocks), min(capacity, self.max_length))

    def with_context(self, context_width: int, **changes) -> Self:
        """A copy with new cross-attention for such tokens, and other arguments changed."""
        arguments = self._arguments | {"context_width": context_width} | changes
        head = type(self)(**arguments)
        head.load_state_dict(self.state_dict(), strict=False)
        return head

    def zero_cross_attention(self) -> None:
        """Zero each cross-attention's output: it speaks as before, until it learns."""
        for name, parameter in self.named_parameters():
            if ".cross.out." in name:
                nn.init.zeros_(parameter)
