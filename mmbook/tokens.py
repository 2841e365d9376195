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
    values : (B, N, D) float
    mask : (B, N) bool, True where the token is real, False where it is padding.
        None means that all are real.
    """

    values: Tensor
    mask: Tensor

    def __init__(self, values: Tensor, mask: Tensor | None = None):
        if values.ndim != 3:
            raise ValueError(
                "token values must be (B, N, D) = batch, tokens, width; got "
                f"{tuple(values.shape)}"
            )
        if mask is None:
            mask = values.new_ones(values.shape[:2], dtype=torch.bool)
        if mask.dtype != torch.bool or mask.shape != values.shape[:2]:
            raise ValueError(
                f"a token mask must be bool (True = real), (B, N) = "
                f"{tuple(values.shape[:2])} like the values; got {mask.dtype} "
                f"{tuple(mask.shape)}: numbers become bool with mask.bool()"
            )
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
        if not parts:
            raise ValueError("nothing to concatenate: no tokens were given")
        for name, sizes in (
            ("width", {part.width for part in parts}),
            ("batch size", {len(part) for part in parts}),
        ):
            if len(sizes) > 1:
                raise ValueError(
                    f"tokens of one {name} are needed; got {sorted(sizes)}"
                )
        values = torch.cat([part.values for part in parts], dim=1)
        return Tokens(values, torch.cat([part.mask for part in parts], dim=1))


def check_width(tokens: Tokens, width: int | None, reader: str = "this head") -> None:
    """Raise an error unless these are Tokens of the width that a reader takes."""
    if not isinstance(tokens, Tokens):
        raise TypeError(
            f"{reader} takes Tokens; got a {type(tokens).__name__}: a model of several "
            "encoders needs a fusion before it"
        )
    if tokens.width != width:
        raise ValueError(f"{reader} takes tokens of width {width}; got {tokens.width}")
