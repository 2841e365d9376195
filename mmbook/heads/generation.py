"""A transformer decoder that looks at the tokens (生成头)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers.attention import DecoderCache
from ..layers.block import Block
from ..layers.words import TextEmbedding
from ..tokens import Tokens, check_width
from .decoder import Decoder


class GenerationHead(Decoder):
    """A transformer decoder that attends to the tokens (生成头).

    It is a language model first: without tokens it skips its cross-attention and is one.
    So it can be pre-trained on text alone, or take over the weights of a BERT, and learn
    to look later. Chapter 5.2 does both.

    Parameters
    ----------
    vocabulary_size, width, layers, heads, max_length : V, D, blocks, heads, longest L.
    start, end, pad, smoothing : see :class:`Decoder`.
    context_width : width of the tokens it looks at; None makes a pure language model.
    norm_first, transform : pre-norm, or post-norm as in BERT; and one more layer before
        the logits, as BERT has.
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
                "this decoder has no cross-attention for the tokens it was given: make "
                "it with context_width=…, or take with_context(…) of it"
            )
        seen = {}
        if tokens is not None:
            check_width(tokens, self.context_width)
            seen = {"context": tokens.values, "context_mask": tokens.mask}
        x = self.embedding(ids, cache.length if cache else 0)
        for number, block in enumerate(self.blocks):
            own, other = None, None
            if cache:
                own, other = cache.own[number], cache.context[number]
            x = block(x, causal=True, cache=own, context_cache=other, **seen)
        x = self.transform(self.norm(x))
        return F.linear(x, self.embedding.word.weight, self.bias)

    def new_cache(self, capacity: int) -> DecoderCache:
        """An empty cache for ``capacity`` words."""
        return DecoderCache(len(self.blocks), min(capacity, self.max_length))

    def with_context(self, context_width: int, **changes) -> GenerationHead:
        """A copy of this language model with new cross-attention, for such tokens.

        Its other weights stay; ``changes`` are further arguments that shall differ.
        """
        arguments = self._arguments | {"context_width": context_width} | changes
        head = type(self)(**arguments)
        head.load_state_dict(self.state_dict(), strict=False)
        return head

    def zero_cross_attention(self) -> None:
        """Set the output of each cross-attention to zero.

        A pre-norm decoder then says what it said as a language model, whatever it is
        shown, until training changes these weights.
        """
        for name, parameter in self.named_parameters():
            if ".cross.out." in name:
                nn.init.zeros_(parameter)
