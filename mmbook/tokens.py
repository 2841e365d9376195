"""Tokens: what every encoder returns and every fusion takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100  # the label that no loss counts; the convention of PyTorch


@dataclass(frozen=True, eq=False, init=False)
class Tokens:
    """A batch of sequences of vectors, and which of them are real.

    A picture becomes one token per patch, a sentence one per word, a sound one per
    moment. What follows an encoder need not know which it was. Chapter 1.1.

    Parameters
    ----------
    values, mask : (B, N, D) float; (B, N) bool, True where the token is real, False
        where it is padding. None means that all are real.
    """

    values: Tensor
    mask: Tensor

    def __init__(self, values: Tensor, mask: Tensor | None = None):
        if values.ndim != 3:
            raise ValueError(f"token values must be (B, N, D); got {(*values.shape,)}")
        if mask is None:
            mask = values.new_ones(values.shape[:2], dtype=torch.bool)
        if mask.dtype != torch.bool or mask.shape != values.shape[:2]:
            given = f"{mask.dtype} {tuple(mask.shape)}: mask.bool() is True where real"
            raise ValueError(f"a mask must be bool {(*values.shape[:2],)}; got {given}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "mask", mask)

    @property
    def width(self) -> int:
        """D, the length of each token's vector."""
        return self.values.shape[-1]

    def __len__(self) -> int:
        """B, the number of sequences in the batch."""
        return self.values.shape[0]

    def pooled(self) -> Tensor:
        """Mean over the real tokens: (B, D). A row without any is zero."""
        weights = self.mask.unsqueeze(-1).to(self.values.dtype)  # (B, N, 1)
        return (self.values * weights).sum(1) / weights.sum(1).clamp(min=1)

    @staticmethod
    def concatenate(parts: Sequence[Tokens]) -> Tokens:
        """Put sequences of one width behind each other: (B, N₁ + N₂ + …, D)."""
        values = torch.cat([part.values for part in parts], dim=1)
        return Tokens(values, torch.cat([part.mask for part in parts], dim=1))


def check_width(tokens: Tokens, width: int | None, reader: str = "this head") -> None:
    """Raise an error unless these are Tokens of a reader's width. Chapter 2.9."""
    if not isinstance(tokens, Tokens):
        given = type(tokens).__name__
        given = f"{given}: it needs a fusion before"
        raise TypeError(f"{reader} takes Tokens; got a {given}")
    if tokens.width != width:
        raise ValueError(f"{reader} takes tokens of width {width}; got {tokens.width}")
