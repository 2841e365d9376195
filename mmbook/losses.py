"""Losses (损失函数). Each is a mean over what counts; padding never counts."""

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
    r"""Mean negative log-likelihood of the labels (交叉熵). Chapter 4.3.

    $$\mathcal{L} = -\frac{1}{n} \sum_{t:\, y_t \neq -100} w_{y_t} \log p(y_t)$$

    ``logits[…, t, :]`` (…, V) predicts ``labels[…, t]``, nothing is shifted: numbers
    (…,), or soft targets (…, V). If none counts, loss and gradient are 0. ``weight``
    (V,) is w; ``items``, for n, are the labels of a larger batch.
    """
    soft = labels.is_floating_point()
    if labels.shape != (logits.shape if soft else logits.shape[:-1]):
        given = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"logits (…, V) need labels (…,) or (…, V); got {given}")
    x = logits.flatten(0, -2)
    x = x if x.dtype == torch.float64 else x.float()  # bf16 has few digits
    y = labels.flatten(0, -2).to(x.dtype) if soft else labels.flatten()
    weight = None if weight is None else weight.to(x)
    total = F.cross_entropy(
        x, y, weight, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    if items is None:
        items = (labels != IGNORED).sum().clamp(min=1)
    return total / items * (labels.shape[-1] if soft else 1)  # items counts all entries


def contrastive(
    first: Tensor, second: Tensor, scale: Tensor | float, groups: Tensor | None = None
) -> Tensor:
    r"""Symmetric InfoNCE (对比损失): row i of one belongs to row i of the other.

    $$\mathcal{L} = -\frac{1}{2B} \sum_i \left( \log \mathrm{softmax}_j(s_{ij})_i
    + \log \mathrm{softmax}_j(s_{ji})_i \right),\quad s_{ij} = \text{scale}\; a_i^\top b_j$$

    Both are (B, D), of length one; ``scale`` is 1 / temperature. Of all processes, rows
    of one number in ``groups`` (B,) are no negatives. Radford et al. 2021,
    https://arxiv.org/abs/2103.00020; chapters 2.7 and 4.4.
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

    with 1 for $i = j$; arguments as for :func:`contrastive`. SigLIP (Zhai et al. 2023,
    https://arxiv.org/abs/2303.15343) learns ``scale`` and ``bias``. Chapters 2.7, 4.4.
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

    Every process must call this, with rows of one shape, and computes the loss of all
    rows. In one process, and without gradients, nothing changes. Chapter 4.4.
    """
    several = distributed.is_available() and distributed.is_initialized()
    if not (several and torch.is_grad_enabled()):
        return rows
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(rows))


def hard_negatives(scores: Tensor, same: Tensor | None = None) -> Tensor:
    """The wrong column that each row likes best (难负样本): numbers (B,). Chapter 2.7.

    Of ``scores`` (B, B); right are i for row i, and what is true in ``same`` (B, B). Li
    et al. 2021, https://arxiv.org/abs/2107.07651.
    """
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    same = right if same is None else same
    if not scores.shape == right.shape == same.shape or same.dtype != torch.bool:
        given = f"{tuple(scores.shape)} and {same.dtype} {tuple(same.shape)}"
        raise ValueError(f"scores (B, B) and same (B, B) bool are needed; got {given}")
    check_no_nan(scores, "scores")
    right = right | same
    if right.all(1).any():
        row = int(right.all(1).nonzero()[0])
        raise ValueError(f"row {row} has no wrong column to choose: all belong to it")
    scores = scores * 1.0  # also of whole numbers
    lowest = torch.finfo(scores.dtype).min  # above the −∞ of right ones
    return scores.clamp(min=lowest).masked_fill(right, -torch.inf).argmax(1)


def distillation(
    student: Tensor, teacher: Tensor, temperature: float = 1, mask: Tensor | None = None
) -> Tensor:
    r"""Mean KL divergence from a teacher's soft targets (知识蒸馏). Chapter 4.5.

    $$\mathcal{L} = \frac{T^2}{n} \sum_{t,v} q_{tv} \log (q_{tv} / p_{tv})$$

    p and q are softmaxes of logits (…, V) / T; ``mask`` (…) says which rows count. The
    teacher gets no gradient. Hinton et al. 2015, https://arxiv.org/abs/1503.02531.
    """
    _check_shapes("logits (…, V)", student, teacher)
    p, q = ((x / temperature).log_softmax(-1) for x in (student, teacher.detach()))
    each = (q.exp() * (q - p)).sum(-1)[... if mask is None else mask]
    return temperature**2 * each.sum() / max(1, each.numel())


def dpo(now: Tensor, reference: Tensor, beta: float = 0.1) -> Tensor:
    r"""Mean loss of pairs of answers of which one is preferred (直接偏好优化).

    $$\mathcal{L} = -\log \sigma(\beta r^+ - \beta r^-),\quad r = \log \pi - \log \pi_0$$

    Log-probabilities (B, 2) of the preferred answer and the other, each summed over its
    tokens, by the policy $\pi$ and by the reference $\pi_0$, which gets no gradient.
    Rafailov et al. 2023, https://arxiv.org/abs/2305.18290. Chapter 4.5.
    """
    _check_shapes("log-probabilities (B, 2)", now, reference, now[:, :1].expand(-1, 2))
    better, worse = (now - reference.detach()).unbind(1)
    return -F.logsigmoid(beta * (better - worse)).mean()


def grpo(
    now: Tensor,
    old: Tensor,
    rewards: Tensor,
    mask: Tensor,
    clip: float = 0.2,
    beta: float = 0.0,
    reference: Tensor | None = None,
    scale: bool = True,
    length: int | None = None,
) -> Tensor:
    r"""Clipped policy gradient, rewards compared in groups (组相对策略优化). Chapter 4.5.

    $$\mathcal{L} = \frac{1}{BG} \sum_{b,i} \frac{1}{|y_i|} \sum_t \big(-{\min}(\rho A_i,
    \mathrm{clip}(\rho, 1 \pm \epsilon) A_i) + \beta k_3\big),\quad k_3 = e^d - d - 1$$

    Log-probabilities (B, G, L) of the tokens of G answers: ``now``, $\rho$ times ``old``;
    $d$ = reference − now. ``mask`` says which are real. $A$: ``rewards`` (B, G) less the
    group's mean, over its standard deviation if ``scale``; ``length`` is put for $|y|$.
    Shao et al. 2024, https://arxiv.org/abs/2402.03300.
    """
    reference = now if reference is None else reference
    _check_shapes("log-probabilities and mask (B, G, L)", now, old, reference, mask)
    _check_shapes("rewards (B, G)", rewards, now[..., 0])
    if rewards.shape[1] < 2:
        raise ValueError("a group of one answer has nothing to be compared with")
    gap = rewards - rewards.mean(1, keepdim=True)
    gap = gap / (rewards.std(1, keepdim=True) + 1e-4 if scale else 1)
    ratio, gap = (now - old.detach()).exp(), gap[..., None]
    gain = torch.minimum(ratio * gap, ratio.clamp(1 - clip, 1 + clip) * gap)
    behind = reference.detach() - now
    each = (beta * (behind.exp() - behind - 1) - gain).masked_fill(~mask, 0).sum(-1)
    return (each / (length or mask.sum(-1).clamp(min=1))).mean()


def _check_shapes(what: str, *given: Tensor) -> None:
    if len({x.shape for x in given}) > 1:
        raise ValueError(f"{what} must fit; got {[tuple(x.shape) for x in given]}")


def check_no_nan(values: Tensor, name: str) -> None:
    """Raise ValueError if a value is NaN: it has no place in any order. Chapter 2.8."""
    if rows := int(values.flatten(1).isnan().any(1).sum()):
        raise ValueError(f"{name} hold NaN in {rows} of {len(values)} rows: no rank")
