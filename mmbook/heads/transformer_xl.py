"""A decoder in which picture and words are one stream (Transformer-XL 生成头)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.transformer_xl import TransformerXL
from ..layers.words import check_ids
from ..tokens import Tokens, check_width
from .decoder import Decoder, StreamCache


class TransformerXLGenerationHead(Decoder):
    """Picture and words are one stream that looks back (Transformer-XL 生成头).

    A :class:`mmbook.fusion.TransformerXL` reads the tokens and then the words, and there
    are logits on top of the words. The same layers mix the tokens with each other and
    tell the words about them; there is no cross-attention. While words are made one by
    one, the picture and the words so far are its memory. Chapter 3.2.

    Parameters
    ----------
    vocabulary_size, context_width : V, and the width of the tokens it looks at.
    width, layers, heads, max_length : D, number of blocks, number of heads, longest L.
    memory : the most tokens and words that it keeps while it writes.
    start, end, pad, smoothing : see :class:`Decoder`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        context_width: int,
        width: int = 96,
        layers: int = 2,
        heads: int = 4,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        memory: int = 1024,
        dropout: float = 0.0,
        smoothing: float = 0.0,
    ):
        super().__init__(max_length, start, end, pad, smoothing)
        self.word = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        widths = {"context": context_width, "text": width}
        self.stream = TransformerXL(widths, width, layers, heads, memory, dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: StreamCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        memory = cache.memory if cache else None
        check_ids(ids, self.max_length - (cache.length if cache else 0))
        parts = {"text": Tokens(self.word(ids))}
        if tokens is not None and memory is None:  # the picture comes first, once
            parts["context"] = self._checked(tokens)
        out, memory = self.stream.stream(parts, memory)
        if cache is not None:
            cache.keep(memory, ids.shape[1])
        words = _behind(out, parts.get("context"), ids.shape[1])  # (B, L, D)
        return F.linear(words, self.word.weight, self.bias)

    def new_cache(self, capacity: int) -> StreamCache:
        """An empty cache; it grows with each word."""
        return StreamCache()

    def _checked(self, tokens: Tokens) -> Tokens:
        check_width(tokens, self.stream.project["context"].in_features)
        needed = tokens.values.shape[1] + self.max_length
        if needed > self.stream.memory:
            raise ValueError(
                f"a memory of {self.stream.memory} does not hold "
                f"{tokens.values.shape[1]} tokens and {self.max_length} words: make the "
                f"head with memory={needed}"
            )
        return tokens


def _behind(stream: Tokens, context: Tokens | None, words: int) -> Tensor:
    """The last tokens of a stream, which stand behind the real ones of a context."""
    if context is None:
        return stream.values
    first = context.mask.sum(1, keepdim=True)  # (B, 1): padding stands at the very end
    places = first + torch.arange(words, device=first.device)  # (B, L)
    index = places[..., None].expand(-1, -1, stream.width)
    return stream.values.gather(1, index)
