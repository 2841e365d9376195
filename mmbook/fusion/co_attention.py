"""Co-attention (协同注意力): every modality asks all the others."""

from __future__ import annotations

from torch import nn

from ..layers.block import Block
from ..tokens import Tokens
from .base import AttentionFusion


class CoAttention(AttentionFusion):
    r"""All tokens, each enriched by the other modalities: (B, N₁ + N₂ + …, D).

    $$x_m \leftarrow \mathrm{block}_m\big(x_m,\ \text{context} = [x_k]_{k \neq m}\big)$$

    per layer, for all modalities at once: self-attention, cross-attention to the others
    as they were before the layer, feed-forward. Each modality has weights of its own.
    ViLBERT (Lu et al. 2019, https://arxiv.org/abs/1908.02265), for any number of
    modalities. Compare :class:`.CrossAttention`, where only the first one asks.

    A missing modality is neither asked nor asks. One that is alone passes through its
    self-attention and feed-forward layers.
    """

    def layer(self, heads: int, dropout: float) -> nn.Module:
        """A block for each modality, with cross-attention to the others."""

        def block():
            return Block(self.width, heads, context_width=self.width, dropout=dropout)

        return nn.ModuleDict({name: block() for name in self.modalities})

    def forward(self, tokens: dict[str, Tokens]) -> Tokens:
        """Any subset of the modalities → one sequence."""
        parts = self.aligned(tokens)
        for blocks in self.blocks:
            parts = {name: _ask(blocks[name], name, parts) for name in parts}
        joined = Tokens.concatenate(list(parts.values()))
        return Tokens(self.norm(joined.values), joined.mask)


def _ask(block: Block, name: str, parts: dict[str, Tokens]) -> Tokens:
    """One modality's tokens, after they have looked at those of the others."""
    own = parts[name]
    others = [part for other, part in parts.items() if other != name]
    if not others:
        return Tokens(block(own.values, own.mask), own.mask)
    context = Tokens.concatenate(others)
    x = block(own.values, own.mask, context=context.values, context_mask=context.mask)
    return Tokens(x, own.mask)
