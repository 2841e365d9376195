"""What all ways of looking inside share: a model at rest, and checks."""

from __future__ import annotations

from contextlib import contextmanager

from torch import Tensor, nn

from ..heads.generation import GenerationHead
from ..tokens import IGNORED


@contextmanager
def evaluating(model: nn.Module):
    """Dropout off and batch norm at rest; afterwards each part as it was before."""
    training = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, before in training:
            module.training = before


def inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch without its labels."""
    return {name: value for name, value in batch.items() if name != "labels"}


def real(ids: Tensor, end: int) -> Tensor:
    """Which words belong to the sentence: all up to its end token, (B, L) bool."""
    ends = ids == end
    return (ends.cumsum(1) - ends.long() == 0) & (ids != IGNORED)


def check_ids(ids: Tensor, batch: dict[str, Tensor]) -> None:
    """Say what is wrong with the words of a batch, if anything is."""
    rows = {len(value) for value in inputs(batch).values() if isinstance(value, Tensor)}
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
    """The head that says words, if the model has one."""
    head = getattr(model, "head", None)
    if not isinstance(head, GenerationHead) or not hasattr(model, "encode"):
        raise TypeError(
            "this needs a MultimodalModel with a GenerationHead, which says words; got "
            f"{type(model).__name__} with "
            f"{type(head).__name__ if head is not None else 'no head'}"
        )
    return head
