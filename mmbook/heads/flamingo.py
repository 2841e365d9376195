"""Gated cross-attention (门控交叉注意力): a language model that looks between its layers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fusion.gated_cross_attention import GatedLayer
from ..layers.words import check_ids
from ..tokens import Tokens, check_width
from .gpt import GPT, PrefixCache


class FlamingoHead(GPT):
    """A language model with a :class:`.GatedLayer` before each layer. Chapter 2.9.

    Without tokens, or with the gates at 0, it is the :class:`GPT` whose weights it
    holds. The tokens, ``context_width`` wide, take no place among its words. Alayrac et
    al. 2022, https://arxiv.org/abs/2204.14198.
    """

    def __init__(
        self, vocabulary_size: int, context_width: int, width: int = 96, **settings: Any
    ):
        super().__init__(vocabulary_size, width, **settings)
        self.context_width = context_width
        heads = settings.get("heads", 4)  # as in a GPT
        new = [GatedLayer(width, heads, context_width) for _ in self.blocks]
        self.looks = nn.ModuleList(new)

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: PrefixCache | None = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        before = cache.length if cache else 0
        check_ids(ids, self.max_length - before)
        places = torch.arange(before, before + ids.shape[1], device=ids.device)[None]
        x = self.word(ids)
        for n, (look, block) in enumerate(zip(self.looks, self.blocks, strict=True)):
            if tokens is not None:
                check_width(tokens, self.context_width)
                x = look(x, tokens, cache.context[n] if cache else None)
            x = block(x, None, places, cache.own[n] if cache else None)
        return F.linear(self.norm(x), self.word.weight)
