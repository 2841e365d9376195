"""Losses (损失函数). Each is a mean over what counts; padding never counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .tokens import IGNORED


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    smoothing: float = 0.0,
    items: Tensor | int | None = None,
) -> Tensor:
    r"""Mean negative log-likelihood of the labels (交叉熵).

    $$\mathcal{L} = -\frac{1}{n} \sum_{t:\, y_t \neq -100} \log p(y_t)$$

    Parameters
    ----------
    logits : (…, V); ``logits[…, t, :]`` predicts ``labels[…, t]``: nothing is shifted.
    labels : (…,) class or token numbers; −100 does not count.
    smoothing : share of the probability spread evenly over all classes.
    items : divide the sum by this number instead of n. Whoever adds up the losses of
        several parts of one batch passes the count of the whole batch.
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} must be the labels' shape with the classes "
            f"behind; the labels are {tuple(labels.shape)}"
        )
    rows = logits.flatten(0, -2)
    total = F.cross_entropy(
        rows if rows.dtype == torch.float64 else rows.float(),  # bf16 has few digits
        labels.flatten(),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
        reduction="sum",
    )
    if items is None:
        items = (labels != IGNORED).sum().clamp(min=1)
    return total / items


def contrastive(first: Tensor, second: Tensor, scale: Tensor | float) -> Tensor:
    r"""Symmetric InfoNCE (对比损失): row i of one belongs to row i of the other.

    $$\mathcal{L} = -\frac{1}{2B} \sum_i \left( \log \mathrm{softmax}_j(s_{ij})_i
    + \log \mathrm{softmax}_j(s_{ji})_i \right),\quad s_{ij} = \text{scale}\; a_i^\top b_j$$

    Radford et al. 2021, https://arxiv.org/abs/2103.00020.

    Parameters
    ----------
    first, second : (B, D), each row of length one.
    scale : 1 / temperature.
    """
    _check_pairs(first, second)
    scores = scale * first @ second.T  # (B, B)
    truth = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(scores, truth) + F.cross_entropy(scores.T, truth)) / 2


def sigmoid_contrastive(
    first: Tensor, second: Tensor, scale: Tensor | float, bias: Tensor | float
) -> Tensor:
    r"""Each of the B × B pairs on its own: does it belong together? (成对 sigmoid 损失)

    $$\mathcal{L} = -\frac{1}{B} \sum_{i,j} \log \sigma\big(z_{ij}\,
    (\text{scale}\; a_i^\top b_j + \text{bias})\big),\quad z_{ij} = \pm 1$$

    with $z_{ij} = 1$ for $i = j$. No pair needs to know of the others, so a batch can be
    computed in pieces. Zhai et al. 2023, https://arxiv.org/abs/2303.15343.

    Parameters
    ----------
    first, second : (B, D), each row of length one.
    scale, bias : learned; SigLIP starts them at 10 and −10.
    """
    _check_pairs(first, second)
    scores = scale * first @ second.T + bias  # (B, B)
    belongs = 2 * torch.eye(len(first), device=scores.device, dtype=scores.dtype) - 1
    return -F.logsigmoid(belongs * scores).sum() / len(first)


def hard_negatives(scores: Tensor, same: Tensor | None = None) -> Tensor:
    """The wrong column that each row likes best (难负样本): numbers (B,).

    Row i and column i belong together, so column i is never chosen; nor is any other that
    ``same`` marks. A picture–text matching loss that is shown these learns what tells
    near things apart: Li et al. 2021, https://arxiv.org/abs/2107.07651; chapter 2.7.

    Parameters
    ----------
    scores : (B, B), larger is closer.
    same : (B, B) bool, pairs that are right though they were not drawn together (two
        pictures with one caption); None: only the diagonal is right.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a row has no wrong column at all.
    """
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
        raise ValueError(f"scores must be (B, B); got {tuple(scores.shape)}")
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    if same is not None:
        if same.shape != scores.shape or same.dtype != torch.bool:
            raise ValueError(
                f"same must be bool {tuple(scores.shape)}, like the scores; got "
                f"{same.dtype} {tuple(same.shape)}"
            )
        right = right | same
    if right.all(1).any():
        row = int(right.all(1).nonzero()[0])
        raise ValueError(f"row {row} has no wrong column to choose: all belong to it")
    return scores.masked_fill(right, -torch.inf).argmax(1)


def _check_pairs(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            "both embeddings must be (B, D); got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
