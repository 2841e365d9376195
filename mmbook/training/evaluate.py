"""A model on a whole dataset: what it answers, and how well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..tokens import IGNORED
from .order import to_device


def predict(
    model: nn.Module,
    data,
    collate: Callable | None = None,
    batch_size: int = 64,
    what: str = "logits",
) -> Tensor | dict[str, Tensor]:
    """The logits for each item of a dataset, in order, on the CPU: (items, …).

    ``what`` is another name of the model's output: its ``embeddings`` are a dict.
    """
    with eval_mode(model):
        batches = _batches(model, data, collate, batch_size)
        return _joined([getattr(model(**batch), what) for batch in batches])


def evaluate(
    model: nn.Module,
    data,
    collate: Callable | None = None,
    batch_size: int = 64,
    **metrics: Callable[[Tensor, Tensor], float],
) -> dict[str, float]:
    """The mean loss over a dataset, and each metric of its logits and labels.

    ``evaluate(model, test, collate, accuracy=metrics.accuracy)`` gives ``loss`` and
    ``accuracy``, as :func:`fit` wants it from ``validate``. A loss that compares the
    examples of a batch is the mean over batches of this size.
    """
    losses: list[Tensor] = []
    counts: list[Tensor] = []
    logits, labels = [], []
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
                logits.append(output.logits)
                labels.append(batch["labels"])
    found = {"loss": float(sum(losses) / sum(counts))}
    for name, metric in metrics.items():
        found[name] = float(metric(_joined(logits), _joined(labels)))
    return found


def count_labels(batch: dict, shifted: bool = False) -> Tensor:
    """How many labels a loss is the mean of; the examples, if there are no labels.

    ``shifted``: the first label of each row is left out, see :func:`shifts_labels`.
    """
    labels = batch.get("labels")
    if labels is None or labels.is_floating_point():
        first = next(value for value in batch.values() if isinstance(value, Tensor))
        return first.new_full((), len(first), dtype=torch.float32)
    return ((labels[:, 1:] if shifted else labels) != IGNORED).sum().float()


def shifts_labels(model: nn.Module, batch: dict) -> bool:
    """Is the first label of each row left out, as in causal models of transformers?

    They predict each word from those before it, so nothing predicts the first one. It is
    tried out: if only first labels count, their loss is a mean over nothing.
    """
    labels = batch.get("labels")
    if labels is None or labels.ndim < 2 or labels.is_floating_point():
        return False
    first = torch.full_like(labels, IGNORED)
    first[:, 0] = labels.max().clamp(min=0)
    with eval_mode(model):
        loss = model(**{**batch, "labels": first}).loss
    return loss is not None and not loss > 0  # 0 or nan


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; afterwards each part is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


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
        raise ValueError(
            f"the items of some batches are {shapes.pop()}, of others {shapes.pop()}: let "
            "collate pad all to one length"
        )
    return torch.cat([part.cpu() for part in parts])
