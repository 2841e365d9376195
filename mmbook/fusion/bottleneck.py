"""Attention bottleneck (注意力瓶颈): the modalities meet in a few shared tokens."""

import torch
from torch import nn

from ..layers.block import Block
from ..tokens import Tokens
from .base import AttentionFusion, at_least_one, repeated


class Bottleneck(AttentionFusion):
    r"""All tokens, then the shared ones where they met: (B, N₁ + N₂ + … + n, D).

    $$[x_m; s_m] \leftarrow \mathrm{block}_m([x_m; s]), \qquad
    s \leftarrow \mathrm{mean}_m\, s_m$$

    per layer. Each modality looks at itself and at the $n$ = ``shared`` tokens $s$
    only: the work grows with the sum of squared lengths. In the first layer these only
    listen, so they are handed on. Nagrani et al. 2021,
    https://arxiv.org/abs/2107.00135. Chapter 2.5.
    """

    def __init__(
        self,
        widths: dict[str, int],
        width: int,
        layers: int = 2,
        heads: int = 4,
        shared: int = 4,
        dropout: float = 0.0,
    ):
        at_least_one(shared=shared)
        super().__init__(widths, width, layers, heads, dropout, queries=shared)

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """A block of self-attention for each modality."""
        width = self.width
        return nn.ModuleDict(
            {name: Block(width, heads, dropout=dropout) for name in self.modalities}
        )

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one sequence, the shared tokens at its end."""
        parts = self.aligned(tokens)
        shared = repeated(self.queries, parts)
        real = torch.stack([part.mask.any(1) for part in parts.values()])
        for blocks in self.blocks:
            heard = []
            for name, part in parts.items():
                both = Tokens.concatenate([part, shared])
                x = blocks[name](both.values, both.mask)  # type: ignore[index]
                own, told = x.tensor_split([part.values.shape[1]], dim=1)
                parts[name] = Tokens(own, part.mask)
                heard.append(told)
            weights = real[..., None, None].to(told.dtype)  # (modalities, B, 1, 1)
            mean = (torch.stack(heard) * weights).sum(0) / weights.sum(0).clamp(min=1)
            shared = Tokens(mean, shared.mask)
        joined = Tokens.concatenate([*parts.values(), shared])
        return Tokens(self.norm(joined.values), joined.mask)
