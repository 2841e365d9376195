"""A transformer decoder that looks at the tokens (生成头)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers.attention import DecoderCache
from ..layers.block import Block
from ..layers.words import TextEmbedding
from ..tokens import Tokens
from .decoder import Decoder


class GenerationHead(Decoder):
    """A decoder that says a sentence word by word, looking at the tokens (生成头).

    It is a language model first: without tokens it skips its cross-attention and is one.
    So it can be pre-trained on text alone, or take over the weights of a BERT, and learn
    to look later. Chapter 5.2 does both.

    What its labels are, and what it reads: see :class:`Decoder`.

    Parameters
    ----------
    vocabulary_size, width, layers, heads, max_length : V, D, blocks, heads, longest L.
    start, end, pad : token numbers.
    context_width : width of the tokens it looks at; None makes a pure language model.
    norm_first : pre-norm (ours) or post-norm (BERT).
    transform : one more layer before the logits, as BERT has.
    smoothing : of the labels, see :func:`mmbook.losses.cross_entropy`.
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
        self.width = width
        self.embedding = TextEmbedding(
            vocabulary_size, width, max_length, not norm_first, dropout, eps
        )
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, context_width, dropout, norm_first, eps)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps) if norm_first else nn.Identity()
        self.transform = nn.Identity()
        if transform:
            self.transform = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=eps)
            )
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: DecoderCache | None = None
    ) -> Tensor:
        """Logits (B, L, V) of the word that follows each of ``ids`` (B, L).

        With a cache, ``ids`` are the new words only; keys and values of the earlier ones,
        and of the tokens, are taken from it.
        """
        if tokens is not None and any(block.cross is None for block in self.blocks):
            raise ValueError(
                "this decoder has no eyes for the tokens it was given: make it with "
                "context_width=…, or take with_context(…) of it"
            )
        x = self.embedding(ids, cache.length if cache else 0)
        context = tokens.values if tokens is not None else None
        context_mask = tokens.mask if tokens is not None else None
        for number, block in enumerate(self.blocks):
            x = block(
                x,
                causal=True,
                context=context,
                context_mask=context_mask,
                cache=cache.own[number] if cache else None,
                context_cache=cache.context[number] if cache else None,
            )
        return F.linear(
            self.transform(self.norm(x)), self.embedding.word.weight, self.bias
        )

    def new_cache(self, capacity: int) -> DecoderCache:
        """An empty cache for ``capacity`` words."""
        return DecoderCache(len(self.blocks), min(capacity, self.max_length))

    def with_context(
        self, context_width: int, closed: bool = False, **changes
    ) -> GenerationHead:
        """A copy of this language model with new eyes, for tokens of that width.

        What it knows of words stays. ``closed``: see :meth:`close_eyes`; ``changes`` are arguments that shall differ.
        """
        arguments = self._arguments | {"context_width": context_width} | changes
        head = type(self)(**arguments)
        head.load_state_dict(self.state_dict(), strict=False)
        if closed:
            head.close_eyes()
        return head

    def close_eyes(self) -> None:
        """Set the output of each cross-attention to zero.

        A pre-norm decoder then says what it said as a language model, whatever it is
        shown, until training opens the eyes again.
        """
        for block in self.blocks:
            if block.cross is not None:
                nn.init.zeros_(block.cross.out.weight)
                nn.init.zeros_(block.cross.out.bias)
