"""Projector (投影层): each modality's tokens become words of a language model."""

import torch
from torch import nn
from torch.nn import functional as F

from ..tokens import Tokens
from .base import Fusion


class Projector(Fusion):
    r"""Two linear layers for each modality, whose tokens then stand in one row:

    $$p_m = s \cdot \mathrm{norm}(W_2\, \mathrm{gelu}(W_1\, \mathrm{norm}(x_m))), \qquad
    h = [p_1; p_2; \dots]$$

    LLaVA-1.5's (Liu et al. 2023, https://arxiv.org/abs/2310.03744), with norms, and s,
    ``scale``, the size of the embeddings among which the tokens shall stand. ``grid``:
    a square of n × n tokens is averaged to grid × grid, {modality: grid}. Chapter 2.5.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        scale: float = 1.0,
        grid: dict[str, int] | None = None,
    ):
        super().__init__(widths, width)
        self.grid = grid or {}
        for name, size in widths.items():
            first, second = nn.Linear(size, width), nn.Linear(width, width)
            norm = nn.LayerNorm(width)
            nn.init.constant_(norm.weight, scale)
            self.project[name] = nn.Sequential(
                nn.LayerNorm(size), first, nn.GELU(), second, norm
            )

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → (B, ΣN, D)"""
        merged = {name: self._merged(name, part) for name, part in tokens.items()}
        return Tokens.concatenate(list(self.aligned(merged).values()))

    def _merged(self, name: str, part: Tokens) -> Tokens:
        side = self.grid.get(name)
        if side is None or part.values.shape[1] <= side**2:
            return part
        return merge_tokens(part, side)


def merge_tokens(tokens: Tokens, side: int) -> Tokens:
    """A square of tokens (B, n², C), the real ones averaged to (B, side², C)."""
    n = round(tokens.values.shape[1] ** 0.5)
    if n * n != tokens.values.shape[1]:
        raise ValueError(f"tokens must be a square, n²; got {tokens.values.shape[1]}")
    real = tokens.mask[..., None].to(tokens.values.dtype)
    both = torch.cat([tokens.values * real, real], -1)  # (B, n², C + 1)
    square = both.transpose(1, 2).unflatten(2, (n, n))
    few = F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
    share = few[..., -1:]  # of the tokens of a field, those that are real
    return Tokens(few[..., :-1] / share.clamp(min=1e-6), share[..., 0] > 0)
