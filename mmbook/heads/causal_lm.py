"""A pre-trained causal language model as the head: tokens stand before its words."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    PreTrainedConfig,
)

from ..layers.words import check_ids
from ..pretrained.base import check_complete, load_whole
from ..tokens import Tokens, check_width
from .decoder import Decoder


class CausalLMHead(Decoder):
    """A causal language model (SmolLM2, Qwen, Llama, …) that reads tokens as words.

    The tokens (B, N, D), D its own width, stand before the embedded words, as in LLaVA
    (Liu et al. 2023, https://arxiv.org/abs/2304.08485): it needs no new layer, only a
    fusion that leads to D (:class:`mmbook.fusion.Projector`). Chapters 1.2 and 5.2.
    """

    model: Any

    def __init__(self, config: dict, max_length: int = 64, start=1, end=2, pad=0):
        super().__init__(max_length, start, end, pad)
        whole = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        self.model = whole.float()
        self.width = self.model.get_input_embeddings().embedding_dim

    @classmethod
    def from_pretrained(cls, name_or_folder, **settings) -> Any:
        """A checkpoint of transformers, or what :meth:`save_pretrained` wrote.

        ``settings``: ``max_length``, and ``start``, ``end``, ``pad`` of the tokenizer.
        """
        name = os.fspath(name_or_folder)
        if not settings and "class" in PreTrainedConfig.get_config_dict(name)[0]:
            return super().from_pretrained(name)
        whole, config, missing = load_whole(AutoModelForCausalLM, name)
        check_complete(name, whole, "", missing)
        head = cls(config, **settings)
        head.model.load_state_dict(whole.state_dict())
        return head

    def layers(self) -> list[nn.Module]:
        """From input to output, for gradual unfreezing and layer-wise rates."""
        stacks = [m for m in self.model.modules() if isinstance(m, nn.ModuleList)]
        return [self.model.get_input_embeddings(), *max(stacks, key=len)]

    def decode(
        self, ids: Tensor, tokens: Tokens | None, cache: "PrefixCache | None" = None
    ) -> Tensor:
        """Logits (B, L, V); see :meth:`Decoder.decode`."""
        cache = cache or PrefixCache(None)
        check_ids(ids, self.max_length - cache.length)
        x = self.model.get_input_embeddings()(ids)
        mask = torch.ones_like(ids, dtype=torch.bool)
        if tokens is not None and cache.length == 0:
            check_width(tokens, self.width)
            x = torch.cat([tokens.values.to(x.dtype), x], 1)  # (B, N + L, D)
            mask = torch.cat([tokens.mask, mask], 1)
        mask = cache.extended(mask)
        place = (mask.cumsum(1) - 1).clamp(min=0)[:, -x.shape[1] :]
        seen = {"attention_mask": mask.long(), "position_ids": place}
        past = {"past_key_values": cache.keys, "use_cache": cache.keys is not None}
        out = self.model(inputs_embeds=x, logits_to_keep=ids.shape[1], **seen, **past)
        cache.length += ids.shape[1]
        return out.logits.float()

    def new_cache(self, capacity: int) -> "PrefixCache":
        """An empty cache."""
        return PrefixCache(DynamicCache())


@dataclass
class PrefixCache:
    """Keys and values of a transformers model, and which tokens before them are real."""

    keys: Any  # a Cache of transformers, or None
    length: int = 0
    mask: Tensor | None = field(default=None, repr=False)

    def extended(self, mask: Tensor) -> Tensor:
        """The mask of all that was read, these tokens included: (B, N)."""
        self.mask = mask if self.mask is None else torch.cat([self.mask, mask], 1)
        return self.mask

    def reorder(self, rows: Tensor, context: bool = True) -> None:
        """Put these rows of the batch into their places (beam search)."""
        if self.keys is not None and self.mask is not None:
            self.keys.reorder_cache(rows)
            self.mask = self.mask[rows]
