"""Losses (损失函数). Each is a mean over what counts; padding never counts."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from .tokens import IGNORED


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.0,
    items: Tensor | int | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Mean negative log-likelihood of the labels (交叉熵). Chapter 4.2.

    $$\mathcal{L} = -\frac{1}{n} \sum_{t:\, y_t \neq -100} w_{y_t} \log p(y_t)$$

    Parameters
    ----------
    logits : (…, V); ``logits[…, t, :]`` predicts ``labels[…, t]``: nothing is shifted.
    labels : (…,) class or token numbers, of which −100 does not count; or soft targets
        (…, V), the probability of each class. If none counts, loss and gradient are 0.
    smoothing : share of the probability spread evenly over all classes.
    items : divide the sum by this number instead of n, to add up the losses of several
        parts of one batch: ``(labels != -100).sum()`` of the whole batch.
    weight : (V,) of each class. n counts labels, not weights, so that parts add up.
    """
    soft = labels.is_floating_point()
    if labels.shape != (logits.shape if soft else logits.shape[:-1]):
        raise ValueError(
            f"logits {tuple(logits.shape)} must be the labels' shape with the classes "
            f"behind, or that of soft targets; the labels are {tuple(labels.shape)}"
        )
    rows = logits.flatten(0, -2)
    rows = rows if rows.dtype == torch.float64 else rows.float()  # bf16 has few digits
    total = F.cross_entropy(
        rows,
        labels.flatten(0, -2).to(rows.dtype) if soft else labels.flatten(),
        None if weight is None else weight.to(rows),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
    if items is None:
        items = (labels != IGNORED).sum().clamp(min=1)
    return total / items * (labels.shape[-1] if soft else 1)  # items counts all entries


def contrastive(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    groups: Tensor | None = None,
) -> Tensor:
    r"""Symmetric InfoNCE (对比损失): row i of one belongs to row i of the other.

    $$\mathcal{L} = -\frac{1}{2B} \sum_i \left( \log \mathrm{softmax}_j(s_{ij})_i
    + \log \mathrm{softmax}_j(s_{ji})_i \right),\quad s_{ij} = \text{scale}\; a_i^\top b_j$$

    Radford et al. 2021, https://arxiv.org/abs/2103.00020; chapters 2.7 and 4.3. Rows of
    all processes are compared with each other (:func:`gather_rows`).

    Parameters
    ----------
    first, second : (B, D), each row of length one.
    scale : 1 / temperature.
    groups : (B,) numbers; rows of one group (equal captions) are no negatives.
    """
    first, second, _, hidden = _pairs(first, second, groups)
    scores = (scale * first @ second.T).masked_fill(hidden, -torch.inf)  # (B, B)
    truth = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(scores, truth) + F.cross_entropy(scores.T, truth)) / 2


def sigmoid_contrastive(
    first: Tensor,
    second: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    groups: Tensor | None = None,
) -> Tensor:
    r"""Each of the B × B pairs on its own: does it belong together? (成对 sigmoid 损失)

    $$\mathcal{L} = -\frac{1}{B} \sum_{i,j} \log \sigma\big(z_{ij}\,
    (\text{scale}\; a_i^\top b_j + \text{bias})\big),\quad z_{ij} = \pm 1$$

    with $z_{ij} = 1$ for $i = j$. Zhai et al. 2023, https://arxiv.org/abs/2303.15343;
    chapters 2.7 and 4.3.

    Parameters
    ----------
    first, second, groups : as for :func:`contrastive`.
    scale, bias : learned; SigLIP starts them at 10 and −10.
    """
    first, second, right, hidden = _pairs(first, second, groups)
    scores = scale * first @ second.T + bias  # (B, B)
    losses = -F.logsigmoid(torch.where(right, scores, -scores))
    return losses.masked_fill(hidden, 0).sum() / len(first)


def _pairs(first: Tensor, second: Tensor, groups: Tensor | None) -> tuple[Tensor, ...]:
    """All rows of both; which pairs (B, B) are right, and which are neither."""
    fits = first.ndim == 2 and first.shape == second.shape
    if not fits or (groups is not None and groups.shape != first.shape[:1]):
        given = [tuple(x.shape) for x in (first, second, groups) if x is not None]
        raise ValueError(f"embeddings must be (B, D), and groups (B,); got {given}")
    first, second = gather_rows(first), gather_rows(second)
    right = torch.eye(len(first), dtype=torch.bool, device=first.device)
    if groups is None:
        return first, second, right, torch.zeros_like(right)
    groups = gather_rows(groups)
    return first, second, right, (groups[:, None] == groups) & ~right


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (B, …) of all processes, with their gradients: (B · processes, …).

    Each process then computes the loss of all rows, and its gradients are those of one
    process that holds them all. Every process must call this, with rows of one shape.
    In one process, and without gradients (each validates by itself), nothing changes.
    """
    several = distributed.is_available() and distributed.is_initialized()
    return _GatherRows.apply(rows) if several and torch.is_grad_enabled() else rows


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """The sum of what the losses of all processes say of the rows of this one."""
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def hard_negatives(scores: Tensor, same: Tensor | None = None) -> Tensor:
    """The wrong column that each row likes best (难负样本): numbers (B,).

    Row i and column i belong together, so column i is never chosen. A picture–text
    matching loss that is shown these learns what tells similar pictures apart: Li et al.
    2021, https://arxiv.org/abs/2107.07651; chapter 2.7.

    Parameters
    ----------
    scores : (B, B), larger is closer.
    same : (B, B) bool, other pairs that are right (two pictures with one caption).
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores must be (B, B); got {tuple(scores.shape)}")
    check_no_nan(scores, "scores")
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    same = right if same is None else same
    if same.shape != scores.shape or same.dtype != torch.bool:
        raise ValueError(
            f"same must be bool {tuple(scores.shape)}, like the scores; got "
            f"{same.dtype} {tuple(same.shape)}"
        )
    right = right | same
    if right.all(1).any():
        row = int(right.all(1).nonzero()[0])
        raise ValueError(f"row {row} has no wrong column to choose: all belong to it")
    scores = scores * 1.0  # also of whole numbers
    lowest = torch.finfo(scores.dtype).min  # above the −∞ of right ones
    return scores.clamp(min=lowest).masked_fill(right, -torch.inf).argmax(1)


def check_no_nan(values: Tensor, name: str) -> None:
    """Raise ValueError if a value is NaN: it has no place in any order."""
    if values.isnan().any():
        rows = int(values.flatten(1).isnan().any(1).sum())
        raise ValueError(
            f"{name} hold NaN in {rows} of {len(values)} rows, and NaN has no rank: look "
            "for what made it (training that diverged, a division by zero)"
        )
