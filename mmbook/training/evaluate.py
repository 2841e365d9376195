"""A model on a whole dataset: what it answers, and how well."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..models import eval_mode
from ..tokens import IGNORED
from .order import to_device


@torch.no_grad()
def predict(
    model: nn.Module,
    data,
    collate: Callable | None = None,
    batch_size: int = 64,
    what: str = "logits",
) -> Tensor | dict[str, Tensor]:
    """Logits, or ``what`` else, of all items, on the CPU: (items, …). Chapter 3.2."""
    with eval_mode(model):
        batches = _batches(model, data, collate, batch_size)
        return _joined([getattr(model(**batch), what) for batch in batches])


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data,
    collate: Callable | None = None,
    batch_size: int = 64,
    **metrics: Callable[[Tensor, Tensor], float],
) -> dict[str, float]:
    """The mean loss over a dataset, and each metric of logits, labels. Chapter 1.2.

    A loss that compares the examples of a batch is the mean over batches of this size.
    """
    losses: list[Tensor] = []
    counts: list[Tensor] = []
    answers = []
    with eval_mode(model):
        for batch in _batches(model, data, collate, batch_size):
            output = model(**batch)
            if output.loss is None:
                raise ValueError(f"no loss: are labels among {', '.join(batch)}?")
            if not counts:
                shifted = len(data) > batch_size and shifts_labels(model, batch)
            counts.append(count_labels(batch, shifted))
            losses.append(torch.where(counts[-1] > 0, output.loss, 0.0) * counts[-1])
            if metrics:
                answers.append({"logits": output.logits, "labels": batch["labels"]})
    found = {"loss": float(sum(losses) / sum(counts))}
    if metrics:
        logits, labels = _joined(answers).values()
        found |= {name: float(of(logits, labels)) for name, of in metrics.items()}
    return found


def count_labels(batch: dict, shifted: bool = False) -> Tensor:
    """How many labels a loss is the mean of; the examples, if there are no labels."""
    labels = batch.get("labels")
    if labels is None or labels.is_floating_point():
        first = next(value for value in batch.values() if isinstance(value, Tensor))
        return first.new_full((), len(first), dtype=torch.float32)
    return ((labels[:, 1:] if shifted else labels) != IGNORED).sum().float()


@torch.no_grad()
def shifts_labels(model: nn.Module, batch: dict) -> bool:
    """Is the first label of each row left out, as in causal transformers? Tried out."""
    labels = batch.get("labels")
    if labels is None or labels.ndim < 2 or labels.is_floating_point():
        return False
    first = torch.full_like(labels, IGNORED)
    first[:, 0] = labels.max().clamp(min=0)
    with eval_mode(model):
        loss = model(**{**batch, "labels": first}).loss
    return loss is not None and not loss > 0  # 0 or nan


def _batches(model: nn.Module, data, collate, batch_size: int) -> Iterator[dict]:
    """The data in order, on the device of the model."""
    if not len(data):
        raise ValueError("no data to look at: the dataset is empty")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    own = torch.Generator()  # a loader draws a number, even if nothing is shuffled
    for batch in DataLoader(data, batch_size, collate_fn=collate, generator=own):
        yield to_device(batch, device)


def _joined(parts: list) -> Any:
    """Tensors, or dicts of them, one behind the other, on the CPU."""
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        one, other, *_ = shapes
        raise ValueError(f"items of some batches are {one}, of others {other}: pad all")
    return torch.cat([part.cpu() for part in parts])
