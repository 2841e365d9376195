"""What all methods of this room share: checks of what they are given."""

from __future__ import annotations

from torch import Tensor

from ..heads.generation import GenerationHead
from ..tokens import IGNORED


def without_labels(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch without its labels."""
    return {name: value for name, value in batch.items() if name != "labels"}


def in_sentence(ids: Tensor, end: int) -> Tensor:
    """Which words belong to the sentence: all up to its end token, (B, L) bool."""
    ends = ids == end
    return (ends.cumsum(1) - ends.long() == 0) & (ids != IGNORED)


def check_ids(ids: Tensor, batch: dict[str, Tensor]) -> None:
    """Refuse words that do not fit the batch."""
    values = without_labels(batch).values()
    rows = {len(value) for value in values if isinstance(value, Tensor)}
    if ids.ndim != 2 or ids.is_floating_point() or not ids.shape[1]:
        raise ValueError(
            f"ids must be token numbers (B, L); got {tuple(ids.shape)} {ids.dtype}"
        )
    if rows and rows != {len(ids)}:
        raise ValueError(
            f"ids and batch must have as many rows; got {len(ids)} sentences for "
            f"{', '.join(map(str, sorted(rows)))} examples"
        )


def generation_head(model) -> GenerationHead:
    """The model's generation head."""
    head = getattr(model, "head", None)
    if not isinstance(head, GenerationHead) or not hasattr(model, "encode"):
        raise TypeError(
            "this needs a MultimodalModel with a GenerationHead; got "
            f"{type(model).__name__} with "
            f"{type(head).__name__ if head is not None else 'no head'}"
        )
    return head
