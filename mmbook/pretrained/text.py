"""Pre-trained text encoders of transformers."""

from torch import Tensor, nn
from transformers import AutoTokenizer

from ..layers.words import check_ids
from ..tokens import Tokens
from .base import Pretrained


class PretrainedTextEncoder(Pretrained):
    """A pre-trained text model (BERT, …): each word piece is a token. Chapter 2.5."""

    tower = "text_model"

    def features(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """Token ids (B, L), mask (B, L) True = real → (B, L, C)."""
        check_ids(ids, self._longest())
        attended = mask
        if mask is not None:
            attended = mask.long()
            attended[:, 0] |= ~mask.any(1)  # attention to nothing would not be finite
        out = self.model(input_ids=ids, attention_mask=attended)
        return Tokens(out.last_hidden_state, mask)

    def _longest(self) -> int:
        """The most tokens for which there are positions; RoBERTa leaves out the first."""
        longest = [getattr(self.model.config, "max_position_embeddings", 10**9)]
        for name, part in self.model.named_modules():
            if isinstance(part, nn.Embedding) and "position" in name:
                padding = -1 if part.padding_idx is None else part.padding_idx
                offset = max(padding + 1, getattr(part, "offset", 0))
                longest.append(part.num_embeddings - offset)
        return min(longest)

    @staticmethod
    def tokenizer(name_or_folder):
        """The fast tokenizer that belongs to a checkpoint."""
        return AutoTokenizer.from_pretrained(name_or_folder)
