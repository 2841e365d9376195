"""Pre-trained text encoders of transformers."""

from __future__ import annotations

from torch import Tensor
from transformers import (
    AutoTokenizer,
)

from ..layers.words import check_ids
from ..tokens import Tokens
from .base import Pretrained


class PretrainedTextEncoder(Pretrained):
    """A pre-trained text model (BERT, MiniLM, …): each word piece is a token."""

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """ids (B, L), mask (B, L) → tokens (B, L, D); or kept features (B, L, C)."""
        if ids.is_floating_point():
            return Tokens(self.project(self._kept(ids)), mask)
        check_ids(ids, getattr(self.model.config, "max_position_embeddings", 10**9))
        attended = None if mask is None else mask.long()
        out = self.model(input_ids=ids, attention_mask=attended).last_hidden_state
        return Tokens(self.project(out), mask)

    @staticmethod
    def tokenizer(name_or_folder):
        """The fast tokenizer that belongs to a checkpoint."""
        return AutoTokenizer.from_pretrained(name_or_folder)

    def _measure(self) -> int:
        return self.model.config.hidden_size
