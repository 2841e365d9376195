"""What every decoder (解码器) of the book does: words from tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fusion.transformer_xl import Memory
from ..losses import cross_entropy
from ..saving import Configured
from ..tokens import IGNORED, Tokens


class Decoder(Configured):
    """What the heads that say a sentence word by word share (解码器).

    Labels are the sentence itself, ended by ``end``, −100 at padding. The words that the
    decoder reads are those labels moved right by one behind ``start``; this is the only
    shift, so ``logits[:, t]`` predicts ``labels[:, t]``. Without tokens a decoder is a
    language model.

    A subclass writes :meth:`decode` and :meth:`new_cache`; ``generate`` of
    :mod:`mmbook.generation` needs nothing else.

    Parameters
    ----------
    max_length, start, end, pad : longest L, and three token numbers.
    smoothing : of the labels, see :func:`mmbook.losses.cross_entropy`.
    """

    def __init__(
        self, max_length: int, start: int, end: int, pad: int, smoothing: float
    ):
        super().__init__()
        self.max_length, self.smoothing = max_length, smoothing
        self.start, self.end, self.pad = start, end, pad

    def forward(self, tokens: Tokens | None, labels: Tensor | None = None, items=None):
        """Logits (B, L, V) and the mean loss per real label.

        Without labels: the logits of the first word, (B, 1, V).
        """
        if labels is None:
            if tokens is None:
                raise ValueError(
                    "a generation head needs tokens or labels; got neither"
                )
            first = torch.full(
                (len(tokens), 1), self.start, device=tokens.values.device
            )
            return self.decode(first, tokens), None
        self._check(tokens, labels)
        logits = self.decode(self.shifted(labels), tokens)
        return logits, cross_entropy(logits, labels, self.smoothing, items)

    def decode(self, ids: Tensor, tokens: Tokens | None, cache=None) -> Tensor:
        """Logits (B, L, V) of the word that follows each of ``ids`` (B, L).

        With a cache, ``ids`` are the new words only; what was computed for the earlier
        ones is taken from it.
        """
        raise NotImplementedError

    def new_cache(self, capacity: int):
        """An empty cache for ``capacity`` words."""
        raise NotImplementedError

    def shifted(self, labels: Tensor) -> Tensor:
        """What the decoder reads: ``start``, then the labels but the last one."""
        read = labels.new_full(labels.shape, self.start)
        read[:, 1:] = labels[:, :-1]
        return read.masked_fill(read == IGNORED, self.pad)

    def _check(self, tokens: Tokens | None, labels: Tensor) -> None:
        rows = len(labels) if tokens is None else len(tokens)
        if labels.ndim != 2 or len(labels) != rows:
            raise ValueError(
                f"labels must be (B, L) token numbers with B = {rows}; got "
                f"{tuple(labels.shape)}"
            )


@dataclass
class StreamCache:
    """What entered each layer, for decoders that keep no keys and values.

    ``memory`` is None before the first word; ``length`` is the number of words so far.
    """

    memory: Memory | None = None
    length: int = 0

    def keep(self, memory: Memory, words: int) -> None:
        """The memory after so many more words."""
        self.memory, self.length = memory, self.length + words

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        states = tuple(state[rows] for state in self.memory.states)
        self.memory = Memory(states, self.memory.mask[rows])
