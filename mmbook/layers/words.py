"""Token ids become vectors: word plus position."""

import torch
from torch import Tensor, nn


class TextEmbedding(nn.Module):
    """Word plus position (词嵌入与位置嵌入): (B, L) → (B, L, D). Chapter 2.1."""

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        max_length: int,
        norm: bool = False,
        dropout: float = 0.0,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.word = nn.Embedding(vocabulary_size, width)
        self.position = nn.Embedding(max_length, width)
        self.norm = nn.LayerNorm(width, eps=eps) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.word.weight, std=width**-0.5)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        """Embed ids of which the first stands at position ``start``."""
        check_ids(ids, self.position.num_embeddings - start)
        places = torch.arange(start, start + ids.shape[1], device=ids.device)
        return self.dropout(self.norm(self.word(ids) + self.position(places)))


def check_ids(ids: Tensor, longest: int) -> None:
    """Raise ValueError unless these are token ids (B, L) with L ≤ ``longest``."""
    if ids.ndim != 2 or ids.is_floating_point():
        given = f"{(*ids.shape,)} {ids.dtype}"
        raise ValueError(f"text must be token ids (B, L); got {given}")
    if ids.shape[1] > longest:
        given = f"{ids.shape[1]}: cut it by max_length"
        raise ValueError(f"text may have {longest} tokens here; got {given}")
