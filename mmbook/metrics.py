"""Metrics (评价指标): of answers, of retrieval, of sentences; and how sure they are."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .data.sentences import check_texts
from .losses import check_no_nan, cross_entropy
from .tokens import IGNORED


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest logit is the label's: (B, C), (B,). Chapter 1.2."""
    said, labels = _answers(logits, labels)
    return (said == labels).float().mean().item()


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """How often each class (row) was taken for each (混淆矩阵): (C, C). Chapter 2.2."""
    said, labels = _answers(logits, labels)
    classes = logits.shape[1]
    return (labels * classes + said).bincount(minlength=classes**2).view(classes, -1)


def f1(logits: Tensor, labels: Tensor) -> float:
    """Macro F1: 2 TP / (2 TP + FP + FN) over classes true or predicted. Chapter 2.2."""
    table = confusion(logits, labels).double()
    occurs = table.sum(0) + table.sum(1)  # (C,)
    return (2 * table.diagonal() / occurs)[occurs > 0].mean().item()


def _answers(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest classes and the labels, (B,), where a label is not −100."""
    real = labels != IGNORED
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not real.any():
        rule, count = "logits (B, C), labels (B,), at least one example", real.sum()
        given = f"{tuple(logits.shape)} and {tuple(labels.shape)}, {count} to count"
        raise ValueError(f"{rule}; got {given}")
    check_no_nan(logits, "logits")
    return logits[real].argmax(-1), labels[real]


def perplexity(logits: Tensor, labels: Tensor) -> float:
    """exp of mean cross-entropy (困惑度): 1 if all is known, V at random. Chapter 4.3."""
    return cross_entropy(logits, labels).exp().item()


def bootstrap(
    values: Tensor, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The interval of a mean: percentiles of means of examples drawn again (自助法).

    ``values`` (N,): of examples, or differences of models. Efron 1979; chapter 3.2.
    """
    if values.ndim != 1 or not len(values):
        given = tuple(values.shape)
        raise ValueError(f"values must be (N,), at least one; got {given}")
    values, generator = values.float().cpu(), torch.Generator().manual_seed(seed)
    means = torch.empty(draws)
    for number in range(draws):
        drawn = torch.randint(len(values), values.shape, generator=generator)
        means[number] = values[drawn].mean()
    low, high = means.quantile(torch.tensor([1 - level, 1 + level]) / 2).tolist()
    return low, high


def retrieval(scores: Tensor, truth: Tensor | None = None) -> dict[str, float]:
    """How well each row finds its own column (检索): R@1, R@5, R@10, its rank.

    ``scores`` (Q, K) are larger where it is closer; ``truth`` (Q, K) tells the right
    columns, i for row i if not given. A row has the rank of its best true column; R@k
    (召回率) is the share of rows of rank k or better. Ties are lost. Chapter 2.8.
    """
    if truth is None and scores.shape == (len(scores), len(scores)):
        truth = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    fits = truth is not None and truth.shape == scores.shape and len(scores)
    if truth is None or not fits or truth.dtype != torch.bool or not truth.any(1).all():
        kind = "no truth" if truth is None else f"{truth.dtype} {tuple(truth.shape)}"
        rule = "scores (Q, Q), or (Q, K) and bool truth, one in each row at least"
        raise ValueError(f"{rule}; got {tuple(scores.shape)} and {kind}")
    check_no_nan(scores, "scores")
    best = scores.masked_fill(~truth, -torch.inf).amax(1, keepdim=True)
    ranks = 1.0 + ((scores >= best) & ~truth).sum(1)  # (Q,)
    found = {f"R@{k}": (ranks <= k).float().mean().item() for k in (1, 5, 10)}
    median, mean = ranks.quantile(0.5).item(), ranks.mean().item()
    return found | {"median rank": median, "mean rank": mean}


_RULES = (  # what COCO's tokeniser, that of the Penn Treebank, does to captions
    ("[’‘]", "'"),
    (r"(?<=\w)(n't|'(?:s|m|d|re|ve|ll))\b", r" \1"),  # don't: do n't
    (r"(?<!\w)'(?!(?:s|m|d|re|ve|ll)\b)|'(?!\w)", " "),  # quotation marks
    (r"\b(can|gon|wan|got)(not|na|ta)\b", r"\1 \2"),
    (r"(?<!\w)-+|-+(?!\w)|--+|[–—]", " "),  # dashes, but not in well-known
    (r"[,:](?!\d)|(?<!\d)[,:]|\.\.+|[…;?!\"“”`()\[\]{}]", " "),  # but not in 3:30
    (r"(?<!\b[a-z])(?<!\bst)(?<!\b[md]r)(?<!\bmrs)\.(?!\w)", " "),  # but not in p.m.
    (r"([$%#&*=<>^+~])", r" \1 "),
)


def words(text: str) -> list[str]:
    """Words in lower case without punctuation, as captions are scored. Chapter 5.2."""
    text = text.lower()
    for pattern, replacement in _RULES:
        text = re.sub(pattern, replacement, text)
    return text.split()


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    max_order: int = 4,
    tokenise: Callable[[str], list[str]] = words,
) -> float:
    r"""Corpus BLEU in [0, 100] (Papineni et al. 2002, https://aclanthology.org/P02-1040).

    $$\mathrm{BLEU} = 100\, \min(1, e^{1 - r/c})
    \left(\prod_{n=1}^{4} p_n\right)^{1/4}$$

    For each picture a hypothesis and a list of references. $p_n$ is the share of
    n-grams that stand in a reference, each counted as often as there at most; $c$ and
    $r$ are the lengths of hypotheses and closest references. An order without a match
    counts as half a match, the next as a quarter. Equals COCO's, and sacrebleu's with
    its tokeniser; in languages without spaces ``tokenise=list``. Chapter 5.2.
    """
    matched, possible = [0] * max_order, [0] * max_order
    said_length = true_length = 0
    for said, truths in _tokenised(hypotheses, references, tokenise):
        said_length += len(said)
        true_length += min((abs(len(t) - len(said)), len(t)) for t in truths)[1]
        for n in range(1, max_order + 1):
            most: Counter = Counter()
            for truth in truths:
                most |= _ngrams(truth, n)
            matched[n - 1] += (_ngrams(said, n) & most).total()
            possible[n - 1] += max(0, len(said) - n + 1)
    if not matched[0] or not all(possible):
        return 0.0
    logs, halved = 0.0, 1.0
    for hit, all_of_them in zip(matched, possible, strict=True):
        halved *= 1 if hit else 2
        logs += math.log((hit or 1 / halved) / all_of_them) / max_order
    return 100 * math.exp(min(0.0, 1 - true_length / said_length) + logs)


def cider(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenise: Callable[[str], list[str]] = words,
) -> float:
    r"""CIDEr-D as COCO has it, often 0 to 2, at most 10; arguments as for :func:`bleu`.

    For vectors $g^n$ of n-gram counts, weighted by rarity in ``references`` (tf-idf):

    $$\mathrm{CIDEr}_n(c, s) = 10\, e^{-(l_c - l_s)^2 / 2\sigma^2}\,
    \frac{\min(g^n(c), g^n(s)) \cdot g^n(s)}{\|g^n(c)\|\,\|g^n(s)\|}$$

    with $\sigma = 6$ and lengths in words, mean over references, n = 1…4, pictures
    (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726). Chapter 5.2.
    """
    pairs = _tokenised(hypotheses, references, tokenise)
    seen: Counter = Counter()  # in the references of how many pictures
    for _, truths in pairs:
        seen.update({g for t in truths for n in range(1, 5) for g in _ngrams(t, n)})

    def rarity(gram: tuple) -> float:
        return math.log(len(pairs) / max(1, seen[gram]))

    scores = [sum(_alike(c, s, rarity) for s in ss) / len(ss) for c, ss in pairs]
    return 10 * sum(scores) / len(pairs)


def _alike(said: list[str], truth: list[str], rarity: Callable) -> float:
    """Mean over n of the clipped cosines of tf-idf, less for differing lengths."""
    score = 0.0
    for n in range(1, 5):
        counts = (_ngrams(sentence, n).items() for sentence in (said, truth))
        a, b = ({gram: count * rarity(gram) for gram, count in c} for c in counts)
        norm = math.hypot(*a.values()) * math.hypot(*b.values())
        if norm:
            score += sum(min(a[g], b[g]) * b[g] for g in a if g in b) / norm
    return score / 4 * math.exp(-((len(said) - len(truth)) ** 2) / (2 * 6**2))


def _ngrams(sentence: list[str], n: int) -> Counter:
    return Counter(zip(*(sentence[i:] for i in range(n)), strict=False))


def edit_distance(said: Sequence, truth: Sequence) -> int:
    """Fewest insertions, deletions and replacements from one to the other (编辑距离).

    ``row[j]``: from what was read to ``truth[:j]``. Levenshtein 1965; chapter 2.3.
    """
    row = list(range(len(truth) + 1))
    for number, one in enumerate(said, start=1):
        corner, row[0] = row[0], number
        for j, other in enumerate(truth, start=1):
            replaced = corner + (one != other)
            corner, row[j] = row[j], min(replaced, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def word_error_rate(
    hypotheses: Sequence[str],
    references: Sequence[str],
    tokenise: Callable[[str], list[str]] = str.split,
) -> float:
    """Changed, missing and added words for each word of the references (词错误率).

    Above 1 is possible; ``tokenise=list`` gives the character error rate. Chapter 2.3.
    """
    check_texts(hypotheses, references)
    check_texts(references, hypotheses)
    heard, true = ([tokenise(t) for t in texts] for texts in (hypotheses, references))
    changes, total = sum(map(edit_distance, heard, true)), sum(map(len, true))
    return changes / total if total else math.inf if changes else 0.0


def _tokenised(hypotheses, references, tokenise) -> list[tuple]:
    check_texts(hypotheses, references)
    for group in references:
        check_texts(group, group)
    groups = ([tokenise(text) for text in group] for group in references)
    return list(zip(map(tokenise, hypotheses), groups, strict=True))
