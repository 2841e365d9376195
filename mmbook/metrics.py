"""Metrics (评价指标): what a caption is worth.

Exact for scenes, where a caption can be parsed and compared with the truth; BLEU and
CIDEr for free text, where it can only be compared with what people wrote.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from torch import Tensor

from .data.language import is_complete, is_true, parse
from .data.scenes import Scene


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest logit is the label's. logits (B, C), labels (B,)."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            "accuracy needs logits (B, C) and labels (B,) of at least one example; got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    return (logits.argmax(-1) == labels).float().mean().item()


def attribute_accuracy(captions: Sequence[str], scenes: Sequence[Scene]) -> dict:
    """How many captions are right about their scene.

    Returns
    -------
    dict with shares in [0, 1]: ``exact`` (true, and nothing left out), ``true`` (nothing
    wrong is said), ``parsed`` (a sentence of the grammar at all), and ``shapes``,
    ``colours``, ``sizes``: this attribute is right for all things, in any order.
    """
    _check_pairs(captions, scenes, "captions", "scenes")
    rows = [_judge(text, scene) for text, scene in zip(captions, scenes, strict=True)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _judge(text: str, scene: Scene) -> dict[str, bool]:
    try:
        said = parse(text).things
        parsed = True
    except ValueError:
        said, parsed = (), False
    row = {
        "exact": is_complete(text, scene),
        "true": is_true(text, scene),
        "parsed": parsed,
    }
    for name in ("shape", "colour", "size"):
        found = Counter(getattr(thing, name) for thing in said)
        row[f"{name}s"] = found == Counter(getattr(t, name) for t in scene.things)
    return row


def bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], order: int = 4
) -> float:
    r"""Corpus BLEU in [0, 100] (Papineni et al. 2002, https://aclanthology.org/P02-1040).

    $$\mathrm{BLEU} = 100\, \min(1, e^{1 - r/c})
    \left(\prod_{n=1}^{4} p_n\right)^{1/4}$$

    $p_n$ is the share of the hypotheses' n-grams that stand in a reference, each counted
    at most as often as in the reference that has it most often; $c$ and $r$ are the
    lengths of the hypotheses and of the references closest to them. An order without a
    match counts as half a match, the next as a quarter (sacrebleu's ``exp``). Words are
    what white space separates, in lower case.
    """
    _check_references(hypotheses, references)
    matched, possible = [0] * order, [0] * order
    said_length = true_length = 0
    for hypothesis, group in zip(hypotheses, references, strict=True):
        said = _words(hypothesis)
        truths = [_words(reference) for reference in group]
        said_length += len(said)
        true_length += min((abs(len(t) - len(said)), len(t)) for t in truths)[1]
        for n in range(1, order + 1):
            counts = _ngrams(said, n)
            most = Counter()
            for truth in truths:
                most |= _ngrams(truth, n)
            matched[n - 1] += sum((counts & most).values())
            possible[n - 1] += sum(counts.values())
    if not matched[0] or not all(possible):
        return 0.0
    logs, halved = 0.0, 1.0
    for hit, all_of_them in zip(matched, possible, strict=True):
        if not hit:
            halved *= 2
            hit = 1 / halved
        logs += math.log(hit / all_of_them) / order
    brevity = min(0.0, 1 - true_length / said_length)
    return 100 * math.exp(brevity + logs)


def cider(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    r"""CIDEr-D, usually between 0 and 2, at most 10 (Vedantam et al. 2015).

    https://arxiv.org/abs/1411.5726. Each sentence is a vector of its n-grams' counts,
    weighted by how few pictures' references have them (tf-idf). Per order $n$, a
    hypothesis is compared with each reference by the cosine of the two vectors, its
    counts clipped to the reference's and the result multiplied by
    $e^{-(l_c - l_r)^2 / 2\sigma^2}$ with $\sigma = 6$ for differing lengths; the mean over
    references and over n = 1…4, times 10, is the score.

    The rarity of n-grams is counted on ``references`` themselves, so scores of different
    test sets cannot be compared. With a single picture every n-gram is in all pictures,
    its weight is zero, and so is the score.
    """
    _check_references(hypotheses, references)
    groups = [[_words(reference) for reference in group] for group in references]
    rarity = _rarity(groups)
    total = 0.0
    for hypothesis, group in zip(hypotheses, groups, strict=True):
        said = _words(hypothesis)
        total += sum(_cider_pair(said, truth, rarity) for truth in group) / len(group)
    return 10 * total / len(hypotheses)


def _cider_pair(said: list[str], truth: list[str], rarity: dict) -> float:
    """Mean over n of the clipped cosine of two sentences' tf-idf vectors."""
    score = 0.0
    for n in range(1, 5):
        a = {gram: k * rarity[gram] for gram, k in _ngrams(said, n).items()}
        b = {gram: k * rarity[gram] for gram, k in _ngrams(truth, n).items()}
        lengths = math.hypot(*a.values()) * math.hypot(*b.values())
        if lengths:
            score += sum(min(a[g], b[g]) * b[g] for g in a.keys() & b.keys()) / lengths
    return score / 4 * math.exp(-((len(said) - len(truth)) ** 2) / (2 * 6**2))


def _rarity(groups: list[list[list[str]]]) -> dict[tuple, float]:
    """log(pictures / pictures whose references have the n-gram)."""
    seen = Counter()
    for group in groups:
        seen.update(
            {gram for t in group for n in range(1, 5) for gram in _ngrams(t, n)}
        )
    pictures = math.log(len(groups))
    return defaultdict(
        lambda: pictures, {gram: pictures - math.log(k) for gram, k in seen.items()}
    )


def _words(text: str) -> list[str]:
    return text.lower().split()


def _ngrams(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _check_references(hypotheses, references) -> None:
    _check_pairs(hypotheses, references, "hypotheses", "lists of references")
    for number, group in enumerate(references):
        if isinstance(group, str) or not group:
            raise ValueError(
                f"each hypothesis needs a list of references; number {number} has {group!r}"
            )


def _check_pairs(first, second, name: str, other: str) -> None:
    if not len(first) or len(first) != len(second):
        raise ValueError(
            f"as many {name} as {other} are needed, at least one; got {len(first)} and "
            f"{len(second)}"
        )
