"""What every decoder (解码器) of the book does: words from tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ..data.sentences import end_token, start_token
from ..fusion.transformer_xl import Memory
from ..losses import cross_entropy
from ..saving import Configured
from ..tokens import IGNORED, Tokens


class Decoder(Configured):
    """What the heads that write a sentence word by word share (解码器). Chapter 5.2.

    Labels are the sentence itself, ended by ``end``, −100 at padding. The words that the
    decoder reads are those labels moved right by one behind ``start``; this is the only
    shift, so ``logits[:, t]`` predicts ``labels[:, t]``. Without tokens a decoder is a
    language model. ``smoothing``: see :func:`mmbook.losses.cross_entropy`.
    """

    def __init__(
        self,
        max_length: int = 64,
        start: int = 1,
        end: int = 2,
        pad: int = 0,
        smoothing: float = 0.0,
    ):
        super().__init__()
        self.max_length, self.smoothing = max_length, smoothing
        self.start, self.end, self.pad = start, end, pad

    @classmethod
    def for_tokenizer(cls, tokenizer, **settings: Any) -> Self:
        """A head with a tokenizer's vocabulary, and its start, end and padding token."""
        pad = tokenizer.pad_token_id
        if pad is None:
            raise ValueError(
                "the tokenizer has no padding token; set one, for example "
                "tokenizer.pad_token = tokenizer.eos_token"
            )
        start, end = start_token(tokenizer), end_token(tokenizer)
        special = {"start": start, "end": end, "pad": pad}
        return cls(**{"vocabulary_size": len(tokenizer), **special, **settings})

    def forward(self, tokens: Tokens | None, labels: Tensor | None = None, items=None):
        """Logits (B, L, V) and the mean loss per real label.

        Without labels: the logits of the first word, (B, 1, V).
        """
        if labels is None:
            if tokens is None:
                raise ValueError(
                    "a generation head needs tokens or labels; got neither"
                )
            first = torch.full((len(tokens), 1), self.start, device=tokens.mask.device)
            return self.decode(first, tokens), None
        rows = len(labels) if tokens is None else len(tokens)
        if labels.ndim != 2 or len(labels) != rows:
            raise ValueError(
                f"labels must be (B, L) token numbers with B = {rows}; got "
                f"{tuple(labels.shape)}"
            )
        logits = self.decode(self.shifted(labels), tokens)
        return logits, cross_entropy(logits, labels, self.smoothing, items)

    def decode(self, ids: Tensor, tokens: Tokens | None, cache=None) -> Tensor:
        """Logits (B, L, V) of the word that follows each of ``ids`` (B, L).

        With a cache, ``ids`` are the new words only; what was computed for the earlier
        ones is taken from it.
        """
        raise NotImplementedError

    def new_cache(self, capacity: int) -> Any:
        """An empty cache for ``capacity`` words."""
        return StreamCache()

    def shifted(self, labels: Tensor) -> Tensor:
        """What the decoder reads: ``start``, then the labels but the last one."""
        read = labels.new_full(labels.shape, self.start)
        read[:, 1:] = labels[:, :-1]
        return read.masked_fill(read == IGNORED, self.pad)


@dataclass
class StreamCache:
    """What entered each layer of a decoder without keys and values, after some words."""

    memory: Memory | None = None
    length: int = 0

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        if self.memory is not None:
            states = tuple(state[rows] for state in self.memory.states)
            self.memory = Memory(states, self.memory.mask[rows])
