"""What every decoder (解码器) of the book does: words from tokens."""

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

    Labels are the sentence, ended by ``end``, −100 at padding. The decoder reads them
    moved right by one behind ``start``, the only shift: ``logits[:, t]`` predicts
    ``labels[:, t]``. Without tokens it is a language model.
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
            hint = "tokenizer.pad_token = tokenizer.eos_token"
            raise ValueError(f"the tokenizer has no padding token: {hint}")
        own = {"vocabulary_size": len(tokenizer), "pad": pad}
        own |= {"start": start_token(tokenizer), "end": end_token(tokenizer)}
        return cls(**own | settings)

    def forward(self, tokens: Tokens | None, labels: Tensor | None = None, items=None):
        """Logits (B, L, V), the mean loss per label; those of the first word without."""
        if labels is None:
            if tokens is None:
                raise ValueError("give this head tokens or labels; got neither")
            first = torch.full((len(tokens), 1), self.start, device=tokens.mask.device)
            return self.decode(first, tokens), None
        rows = len(labels) if tokens is None else len(tokens)
        if labels.ndim != 2 or len(labels) != rows:
            given = tuple(labels.shape)
            raise ValueError(f"labels must be (B, L) with B = {rows}; got {given}")
        logits = self.decode(self.shifted(labels), tokens)
        return logits, cross_entropy(logits, labels, self.smoothing, items)

    def decode(self, ids: Tensor, tokens: Tokens | None, cache=None) -> Tensor:
        """Logits (B, L, V) of the word after each of ``ids``, with a cache the new ones."""
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
