"""Co-attention (协同注意力): every modality asks all the others."""

from torch import nn

from ..layers.block import Block
from ..tokens import Tokens
from .base import AttentionFusion


class CoAttention(AttentionFusion):
    r"""All tokens, each enriched by the other modalities: (B, N₁ + N₂ + …, D).

    $$x_m \leftarrow \mathrm{block}_m\big(x_m,\ \text{context} = [x_k]_{k \neq m}\big)$$

    per layer, for all modalities at once, each with its own weights: ViLBERT (Lu et al.
    2019, https://arxiv.org/abs/1908.02265), for any number of modalities. Chapter 2.5.
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
            asked = dict(parts)  # as they were before the layer
            for name, own in asked.items():
                others = [part for other, part in asked.items() if other != name]
                seen = {}
                if others:
                    context = Tokens.concatenate(others)
                    seen = {"context": context.values, "context_mask": context.mask}
                x = blocks[name](own.values, own.mask, **seen)  # type: ignore[index]
                parts[name] = Tokens(x, own.mask)
        joined = Tokens.concatenate(list(parts.values()))
        return Tokens(self.norm(joined.values), joined.mask)
