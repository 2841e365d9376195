"""Tokens: what every encoder returns and every fusion takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100  # the label that no loss counts; the convention of PyTorch


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of sequences of vectors, and which of them are real.

    A picture becomes one token per patch, a sentence one per word, a sound one per
    moment. After that nobody asks any more what they were. Derived in chapter 1.1.

    Parameters
    ----------
    values : (B, N, D) float
    mask : (B, N) bool, True where the token is real, False where it is padding.
        None means that all are real.

    Raises
    ------
    ValueError
        If the shapes do not fit or the mask is not boolean.
    """

    values: Tensor
    mask: Tensor | None = None

    def __post_init__(self):
        if self.values.ndim != 3:
            raise ValueError(
                "token values must be (B, N, D) = batch, tokens, width; got "
                f"{tuple(self.values.shape)}"
            )
        if self.mask is None:
            mask = self.values.new_ones(self.values.shape[:2], dtype=torch.bool)
            object.__setattr__(self, "mask", mask)
        if self.mask.dtype != torch.bool:
            raise ValueError(
                f"a token mask must be bool (True = real); got {self.mask.dtype}: "
                "write mask.bool()"
            )
        if self.mask.shape != self.values.shape[:2]:
            raise ValueError(
                f"token mask must be (B, N) = {tuple(self.values.shape[:2])}, like the "
                f"values; got {tuple(self.mask.shape)}"
            )

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
        widths = {part.width for part in parts}
        if len(widths) != 1:
            raise ValueError(
                f"tokens of one width can be concatenated; got widths {sorted(widths)}"
                if parts
                else "nothing to concatenate: no tokens were given"
            )
        rows = {len(part) for part in parts}
        if len(rows) != 1:
            raise ValueError(f"tokens of one batch size are needed; got {sorted(rows)}")
        values = torch.cat([part.values for part in parts], dim=1)
        return Tokens(values, torch.cat([part.mask for part in parts], dim=1))


def check_width(tokens: Tokens, width: int, reader: str = "this head") -> None:
    """Raise ValueError if the tokens are not of the width that a reader takes."""
    if tokens.width != width:
        raise ValueError(f"{reader} takes tokens of width {width}; got {tokens.width}")
