"""Metrics (评价指标): what a caption is worth.

Exact for scenes, where a caption can be parsed and compared with the truth; BLEU and
CIDEr for free text, where it can only be compared with what people wrote."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_PUNCTUATION = "".join(c for c in string.punctuation if c not in "'-.,")


_SPLITS = (  # in this order
    (re.compile(f"([{re.escape(_PUNCTUATION)}])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest logit is the label's. logits (B, C), labels (B,)."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            "accuracy needs logits (B, C) and labels (B,) of at least one example; got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    return (logits.argmax(-1) == labels).float().mean().item()


def retrieval(scores: Tensor, truth: Tensor | None = None) -> dict[str, float]:
    """How well each row finds its own among the columns (检索): R@1, R@5, R@10, median rank.

    R@k (召回率) is the share of rows of which a true column is among the k best; the rank
    of the best true column is 1 if nothing scores higher. A tie costs the row half of
    those that tie: where all scores are equal, the rank is the middle one.

    Parameters
    ----------
    scores : (Q, K), larger is closer.
    truth : (Q, K) bool, which columns are right; None: column i for row i.
    """
    if truth is None and (scores.ndim != 2 or scores.shape[0] != scores.shape[1]):
        raise ValueError(
            "scores must be square, (Q, Q), if no truth says which columns are right; "
            f"got {tuple(scores.shape)}"
        )
    if truth is None:
        truth = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    if truth.shape != scores.shape or truth.dtype != torch.bool:
        raise ValueError(
            f"truth must be bool {tuple(scores.shape)}, like the scores; got "
            f"{truth.dtype} {tuple(truth.shape)}"
        )
    if not truth.any(1).all():
        raise ValueError("each row needs at least one true column")
    best = scores.masked_fill(~truth, -torch.inf).amax(1, keepdim=True)
    above = ((scores > best) & ~truth).sum(1)
    ties = ((scores == best) & ~truth).sum(1)
    ranks = 1 + above + ties / 2
    return {
        **{f"R@{k}": (ranks <= k).float().mean().item() for k in (1, 5, 10)},
        "median rank": ranks.median().item(),
    }


def words(text: str) -> list[str]:
    """Words and marks in lower case, split as the ``13a`` tokeniser of sacrebleu does.

    Marks stand alone, except within numbers (3.5) and words (don't, well-known).
    HTML entities (``&amp;``) are not decoded.
    Captions that are split already come out as they are. For languages without spaces
    between words give the metrics ``tokenise=list``: each character is a word.
    """
    text = f" {text.lower()} "
    for pattern, replacement in _SPLITS:
        text = pattern.sub(replacement, text)
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

    $p_n$ is the share of the hypotheses' n-grams that stand in a reference, each
    counted at most as often as in the reference that has it most often; $c$ and $r$ are
    the lengths of the hypotheses and of the references closest to them. An order
    without a match counts as half a match, the next as a quarter (sacrebleu's ``exp``).
    Equals ``sacrebleu --tokenize 13a --lowercase``; with ``tokenise=str.split``,
    ``--tokenize none``.

    Parameters
    ----------
    hypotheses, references : one sentence, and the list of what people wrote, a picture;
        the lists may differ in length.
    max_order : the longest n-grams that count.
    tokenise : from a sentence to its words.
    """
    _check_references(hypotheses, references)
    matched, possible = [0] * max_order, [0] * max_order
    said_length = true_length = 0
    for hypothesis, group in zip(hypotheses, references, strict=True):
        said = tokenise(hypothesis)
        truths = [tokenise(reference) for reference in group]
        said_length += len(said)
        true_length += min((abs(len(t) - len(said)), len(t)) for t in truths)[1]
        for n in range(1, max_order + 1):
            matched[n - 1] += _matches(said, truths, n)
            possible[n - 1] += max(0, len(said) - n + 1)
    if not matched[0] or not all(possible):
        return 0.0
    logs, halved = 0.0, 1.0
    for hit, all_of_them in zip(matched, possible, strict=True):
        if not hit:
            halved *= 2
            hit = 1 / halved
        logs += math.log(hit / all_of_them) / max_order
    brevity = min(0.0, 1 - true_length / said_length)
    return 100 * math.exp(brevity + logs)


def _matches(said: list[str], truths: list[list[str]], n: int) -> int:
    """How many n-grams stand in a reference, each at most as often as there."""
    most = Counter()
    for truth in truths:
        most |= _ngrams(truth, n)
    return sum((_ngrams(said, n) & most).values())


def cider(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenise: Callable[[str], list[str]] = words,
) -> float:
    r"""CIDEr-D, often between 0 and 2, at most 10 (Vedantam et al. 2015).

    https://arxiv.org/abs/1411.5726. Each sentence is a vector $g^n$ of its n-grams'
    counts, weighted by how few pictures' references have them (tf-idf). A hypothesis
    $c$ is compared with each reference $s$:

    $$\mathrm{CIDEr}_n(c, s) = 10\, e^{-(l_c - l_s)^2 / 2\sigma^2}\,
    \frac{\min(g^n(c), g^n(s)) \cdot g^n(s)}{\|g^n(c)\|\,\|g^n(s)\|}$$

    with $\sigma = 6$ for the lengths in words; the score is the mean over references,
    over n = 1…4 and over pictures. As in the authors' own programme, counts are not
    divided by the sentence's length.

    The rarity of n-grams is counted on ``references`` themselves, so scores of other
    test sets cannot be compared. With a single picture every n-gram is in all pictures,
    its weight is zero, and so is the score. Sentences of fewer than four words cannot
    reach 10: they have no n-grams of the longer orders.
    """
    _check_references(hypotheses, references)
    groups = [[tokenise(reference) for reference in group] for group in references]
    rarity = _rarity(groups)
    total = 0.0
    for hypothesis, group in zip(hypotheses, groups, strict=True):
        said = _weighted(tokenise(hypothesis), rarity)
        total += sum(_alike(said, _weighted(t, rarity)) for t in group) / len(group)
    return 10 * total / len(hypotheses)


def _rarity(groups: list[list[list[str]]]) -> Callable[[tuple], float]:
    """log(pictures / pictures whose references have the n-gram, or 1 if none has)."""
    seen = Counter()
    for group in groups:
        seen.update({g for t in group for n in range(1, 5) for g in _ngrams(t, n)})
    return lambda gram: math.log(len(groups) / max(1, seen[gram]))


def _weighted(sentence: list[str], rarity: Callable) -> tuple[int, list[dict], list]:
    """The sentence's length; per order its tf-idf vector, and the vector's length."""
    vectors = [
        {gram: count * rarity(gram) for gram, count in _ngrams(sentence, n).items()}
        for n in range(1, 5)
    ]
    return len(sentence), vectors, [math.hypot(*v.values()) for v in vectors]


def _alike(said: tuple, truth: tuple) -> float:
    """Mean over n of the clipped cosines, less for differing lengths."""
    score = 0.0
    for a, norm_a, b, norm_b in zip(*said[1:], *truth[1:], strict=True):
        if norm_a and norm_b:
            shared = sum(min(a[g], b[g]) * b[g] for g in a.keys() & b.keys())
            score += shared / (norm_a * norm_b)
    return score / 4 * math.exp(-((said[0] - truth[0]) ** 2) / (2 * 6**2))


def _ngrams(sentence: list[str], n: int) -> Counter:
    return Counter(zip(*(sentence[i:] for i in range(n)), strict=False))


def edit_distance(said: Sequence, truth: Sequence) -> int:
    """Fewest insertions, deletions and replacements from one to the other (编辑距离).

    Levenshtein 1965, by rows: ``row[j]`` is the distance of what was read so far from
    the first j of ``truth``. Chapter 2.3.
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
    r"""Wrong words for each word of the truth (词错误率): 0 is perfect, above 1 is possible.

    $$\mathrm{WER} = \frac{\text{replaced} + \text{left out} + \text{put in}}
    {\text{words of the truth}}$$

    with the fewest such changes, summed over all sentences. With ``tokenise=list`` it is
    the character error rate. Equals ``jiwer.wer``. Chapter 2.3.

    Parameters
    ----------
    hypotheses, references : what was recognised and what was said, a sentence each.
    tokenise : from a sentence to its words.

    Raises
    ------
    ValueError
        If there are not as many of both, or the truth has no word at all.
    """
    check_pairs(hypotheses, references, "hypotheses", "references")
    pairs = [
        (tokenise(said), tokenise(truth))
        for said, truth in zip(hypotheses, references, strict=True)
    ]
    total = sum(len(truth) for _, truth in pairs)
    if not total:
        raise ValueError("the references have no words: nothing can be counted")
    return sum(edit_distance(said, truth) for said, truth in pairs) / total


def _check_references(hypotheses, references) -> None:
    check_pairs(hypotheses, references, "hypotheses", "lists of references")
    for number, group in enumerate(references):
        if isinstance(group, str) or not group:
            raise ValueError(
                "each hypothesis needs a list of references; number "
                f"{number} has {group!r}"
            )


def check_pairs(first, second, name: str, other: str) -> None:
    if not len(first) or len(first) != len(second):
        raise ValueError(
            f"as many {name} as {other} are needed, at least one; got {len(first)} and "
            f"{len(second)}"
        )
