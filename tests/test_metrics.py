"""Metrics against sacrebleu, and against sums written out by hand."""

import math
import random

import pytest
import torch

from mmbook.metrics import (
    accuracy,
    bleu,
    cider,
    edit_distance,
    retrieval,
    word_error_rate,
    words,
)
from mmbook.world import Scene, Thing, attribute_accuracy, describe, sample_scenes

WORDS = "a big red dog runs over the wet green grass near one small house".split()


def sentences(count, seed, longest=12):
    rng = random.Random(seed)
    return [
        " ".join(rng.choices(WORDS, k=rng.randint(4, longest))) for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_bleu_equals_sacrebleu(seed):
    sacrebleu = pytest.importorskip("sacrebleu")
    said = sentences(20, seed)
    columns = [sentences(20, 100 + seed + k) for k in range(3)]
    expected = sacrebleu.corpus_bleu(said, columns, tokenize="none").score
    ours = bleu(said, list(zip(*columns, strict=True)))
    assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "said, truth", [("a b c d", "a b x y"), ("a b c d e f", "a c e b d f")]
)
def test_bleu_without_a_match_of_some_order_equals_sacrebleu(said, truth):
    sacrebleu = pytest.importorskip("sacrebleu")
    expected = sacrebleu.corpus_bleu([said], [[truth]], tokenize="none").score
    assert bleu([said], [[truth]]) == pytest.approx(expected, abs=1e-9)


def test_bleu_takes_references_of_unequal_number():
    sacrebleu = pytest.importorskip("sacrebleu")
    said, groups = sentences(3, 0), [sentences(k, k) for k in (1, 2, 3)]
    columns = [[g[k] if k < len(g) else None for g in groups] for k in range(3)]
    expected = sacrebleu.corpus_bleu(said, columns, tokenize="none").score
    assert bleu(said, groups) == pytest.approx(expected, abs=1e-9)


PUNCTUATED = [
    'A man, "well-known" for 3.5 tricks, jumps!',
    "Don't walk (or run) on Main St. at 10,000 feet - it's a red-hot 5-star road.",
    "a dog . and a cat , both [brown] / black & white",
    "It costs $5.00; that's 100% of {all} we have: nothing_else...",
]


def test_words_equal_those_of_sacrebleu():
    tokenizer = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a")
    for text in PUNCTUATED:
        assert words(text) == tokenizer.Tokenizer13a()(text.lower()).split()


def test_bleu_of_punctuated_text_equals_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    truths = [text.replace("a ", "the ").replace("!", ".") for text in PUNCTUATED]
    expected = sacrebleu.corpus_bleu(PUNCTUATED, [truths], lowercase=True).score
    ours = bleu(PUNCTUATED, [[text] for text in truths])
    assert 10 < expected < 90 and ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_bleu_of_other_orders_equals_sacrebleu(order):
    metrics = pytest.importorskip("sacrebleu.metrics")
    said, truth = sentences(9, 1), sentences(9, 2)
    peer = metrics.BLEU(max_ngram_order=order, tokenize="none")
    expected = peer.corpus_score(said, [truth]).score
    ours = bleu(said, [[text] for text in truth], max_order=order)
    assert ours == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "said, truth",
    [
        (["a red dog"], ["a red dog"]),  # no 4-gram at all
        (["", "a red dog on the grass"], ["a dog", "a red dog on the wet grass"]),
        (["x y z w"], ["a b c d"]),
        ([""], ["a b c d"]),
    ],
)
def test_bleu_of_short_and_empty_text_equals_sacrebleu(said, truth):
    sacrebleu = pytest.importorskip("sacrebleu")
    expected = sacrebleu.corpus_bleu(said, [truth], tokenize="none").score
    ours = bleu(said, [[text] for text in truth])
    assert ours == pytest.approx(expected, abs=1e-9)


def test_bleu_splits_as_it_is_told():
    said, truth = "A dog.", "a dog ."
    assert bleu([said], [[truth]], max_order=2) == pytest.approx(100)
    assert bleu([said], [[truth]], max_order=2, tokenise=str.split) == 0
    assert bleu(["一只红狗"], [["一只红狗"]], tokenise=list) == pytest.approx(100)


def test_bleu_of_the_references_themselves_is_100():
    said = sentences(5, 1)
    assert bleu(said, [[text] for text in said]) == pytest.approx(100)


def test_cider_written_out():
    """Two pictures, one reference each; every number below is from the formula.

    "the" is in both pictures' references, so it weighs log(2/2) = 0; every other n-gram
    is in one and weighs log(2/1) = log 2, which cancels in the cosine.
    """
    references = [["the red dog"], ["the green house"]]
    said = ["the red dog", "the red house"]
    # picture 1: a perfect sentence of three words. Orders 1, 2, 3 give cosine 1; there
    # is no 4-gram, which gives 0.
    first = (1 + 1 + 1 + 0) / 4
    # picture 2, n = 1: said {red, house}, truth {green, house}: 1 / (√2 √2);
    # n = 2: said {the red, red house}, truth {the green, green house}: none shared.
    second = (1 / 2 + 0 + 0 + 0) / 4
    assert cider(said, references) == pytest.approx(10 * (first + second) / 2)


def naive_cider(said, references):
    """The formula of the paper, one loop for each of its sums; σ = 6."""

    def grams(text, n):
        w = text.split()
        return [tuple(w[i : i + n]) for i in range(len(w) - n + 1)]

    def weight(gram, text):
        with_it = 0
        for group in references:
            if any(gram in grams(reference, len(gram)) for reference in group):
                with_it += 1
        count = grams(text, len(gram)).count(gram)
        return count * (math.log(len(references)) - math.log(max(1, with_it)))

    total = 0
    for c, group in zip(said, references, strict=True):
        for n in range(1, 5):
            for s in group:
                dot = 0
                for g in set(grams(c, n)) | set(grams(s, n)):
                    dot += min(weight(g, c), weight(g, s)) * weight(g, s)
                square_c = sum(weight(g, c) ** 2 for g in set(grams(c, n)))
                square_s = sum(weight(g, s) ** 2 for g in set(grams(s, n)))
                gap = len(c.split()) - len(s.split())
                if square_c * square_s > 0:
                    cosine = dot / math.sqrt(square_c * square_s)
                    part = 10 * math.exp(-(gap**2) / (2 * 6 * 6)) * cosine
                    total += part / 4 / len(group) / len(said)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_cider_equals_the_formula(seed):
    groups = [sentences(k, 10 * seed + k, longest=16) for k in (1, 2, 3, 5, 2)]
    said = [group[0].replace("red", "wet wet") for group in groups[:3]]
    said += sentences(2, seed)
    expected = naive_cider(said, groups)
    assert expected > 1 and cider(said, groups) == pytest.approx(expected, abs=1e-9)


def test_cider_of_one_picture_is_zero():
    assert cider(["a red dog runs"], [["a red dog runs"]]) == 0


def test_cider_weighs_rare_words_more():
    groups = [["a dog"], ["a cat"], ["a dog"], ["a bird"]]
    rare = cider(["x", "a cat", "x", "x"], groups)
    usual = cider(["a dog", "x", "x", "x"], groups)
    assert rare == pytest.approx(usual)  # one weight cancels in the cosine …
    groups = [["dog cat"], ["cat"], ["cat"], ["bird"]]
    rare = cider(["dog", "x", "x", "x"], groups)
    usual = cider(["cat", "x", "x", "x"], groups)
    assert rare > 2 * usual  # … two are compared


def test_cider_clips_repeated_words_and_punishes_length():
    references = [["the red dog"], ["the green house"]]
    # n = 1: said {red: 3, dog: 0…} → counts clipped to 1: 1·1 / (3 · √2)
    # other orders: "red red" is unknown. Length: 3 and 3.
    expected = 10 * (1 / (3 * math.sqrt(2)) / 4 + 0) / 2
    assert cider(["red red red", "x y z"], references) == pytest.approx(expected)
    shorter = cider(["the red dog", "x"], references)
    longer = cider(["the red dog the", "x"], references)
    assert longer < shorter


def test_cider_is_0_for_unrelated_words_and_10_at_most():
    truth = sentences(6, 3, longest=8)
    groups = [[text] for text in truth]
    assert cider(["q r s t u"] * 6, groups) == 0
    assert 0 < cider(truth, groups) <= 10 + 1e-9


def test_attribute_accuracy_counts_exactly():
    scenes = sample_scenes(40, seed=0)
    right = [describe(scene) for scene in scenes]
    assert set(attribute_accuracy(right, scenes).values()) == {1.0}
    swap = {"big": "small", "small": "big"}
    wrong = [" ".join(swap.get(w, w) for w in text.split()) for text in right[:10]]
    judged = attribute_accuracy(wrong + right[10:], scenes)
    assert judged["exact"] == judged["true"] == pytest.approx(0.75)
    assert judged["colours"] == judged["shapes"] == judged["parsed"] == 1.0


def test_attribute_accuracy_tells_true_from_complete():
    scenes = sample_scenes(1, seed=0, objects=(1,))
    judged = attribute_accuracy([f"a {scenes[0].things[0].shape}"], scenes)
    assert judged["true"] == 1.0 and judged["exact"] == 0.0 and judged["colours"] == 0.0
    assert set(attribute_accuracy(["blah"], scenes).values()) == {0.0}


def thing(shape, colour, x):
    return Thing(shape, colour, "big", x, 0.5)


PAIR = Scene((thing("circle", "red", 0.2), thing("star", "blue", 0.8)))


@pytest.mark.parametrize(
    "text, right",
    [
        ("a big red circle left of a big blue star", True),
        ("a big blue star right of a big red circle", True),
        ("a big red circle right of a big blue star", False),
        (
            "a small red ring left of a blue cross",
            True,
        ),  # the colours tell which is which
        ("a small red ring right of a blue cross", False),
        ("a green ring right of a green ring", True),  # nothing does
        ("a green ring above a green ring", False),
        ("a big red circle and a big blue star", False),
        ("a big red circle", False),
    ],
)
def test_relations_are_judged_apart_from_the_attributes(text, right):
    assert attribute_accuracy([text], [PAIR])["relations"] == right


def test_one_thing_has_no_relation():
    alone = Scene(PAIR.things[:1])
    assert attribute_accuracy(["a big red circle"], [alone])["relations"] == 1
    text = "a big red circle left of a big blue star"
    assert attribute_accuracy([text], [alone])["relations"] == 0


def test_one_wrong_attribute_lowers_its_own_share_only():
    text = "a big red circle left of a big green star"
    judged = attribute_accuracy([text], [PAIR])
    wrong = {name for name, share in judged.items() if share == 0}
    assert wrong == {"exact", "true", "colours"}


def test_accuracy():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 9.0]])
    assert accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.75


@pytest.mark.parametrize("metric", [bleu, cider, attribute_accuracy])
def test_empty_and_unequal_sets_are_refused(metric):
    with pytest.raises(ValueError, match="at least one; got 0 and 0"):
        metric([], [])
    with pytest.raises(ValueError, match="got 2 and 1"):
        metric(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="logits"):
        accuracy(torch.zeros(2), torch.zeros(2))


def test_a_bare_string_is_no_list_of_references():
    with pytest.raises(ValueError, match="list of references; number 0 has 'abc'"):
        bleu(["abc"], ["abc"])


def slowest_distance(said, truth):
    """All ways to edit, straight from the definition."""
    if not said or not truth:
        return len(said) + len(truth)
    return min(
        slowest_distance(said[1:], truth) + 1,
        slowest_distance(said, truth[1:]) + 1,
        slowest_distance(said[1:], truth[1:]) + (said[0] != truth[0]),
    )


@pytest.mark.parametrize("seed", range(30))
def test_the_edit_distance_is_the_fewest_changes(seed):
    rng = random.Random(seed)
    said, truth = (rng.choices("abc", k=rng.randint(0, 5)) for _ in range(2))
    assert edit_distance(said, truth) == slowest_distance(said, truth)
    assert edit_distance(truth, said) == edit_distance(said, truth)


def test_word_errors_are_counted_over_all_words():
    said = ["a big red circle", "a star", "a small blue blue ring"]
    truth = ["a big red circle", "a black star", "a small blue ring"]
    assert word_error_rate(said, truth) == pytest.approx(2 / 11)
    assert word_error_rate(["a b c"], ["x"]) == 3  # more wrong words than there are
    assert word_error_rate(["abd"], ["abc"], tokenise=list) == pytest.approx(1 / 3)
    assert word_error_rate([""], ["a b"]) == 1


@pytest.mark.parametrize("seed", range(5))
def test_word_errors_equal_those_of_jiwer(seed):
    jiwer = pytest.importorskip("jiwer", reason="an optional check: pip install jiwer")
    said, truth = sentences(20, seed), sentences(20, 50 + seed)
    assert word_error_rate(said, truth) == pytest.approx(jiwer.wer(truth, said))


def test_word_errors_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one; got 0 and 0"):
        word_error_rate([], [])
    with pytest.raises(ValueError, match="no words"):
        word_error_rate(["a"], [""])


def naive_ranks(scores, truth):
    """By counting, one row after the other: the mean place of the best true column."""
    ranks = []
    for row, right in zip(scores.tolist(), truth.tolist(), strict=True):
        best = max(s for s, r in zip(row, right, strict=True) if r)
        wrong = [s for s, r in zip(row, right, strict=True) if not r]
        above = sum(s > best for s in wrong)
        ranks.append(1 + above + sum(s == best for s in wrong) / 2)
    return torch.tensor(ranks)


@pytest.mark.parametrize("seed", range(5))
def test_retrieval_counts_ranks(seed):
    torch.manual_seed(seed)
    scores = torch.randint(0, 40, (30, 50)).float()  # with ties
    truth = torch.rand(30, 50) < 0.05
    truth[torch.arange(30), torch.randint(0, 50, (30,))] = True
    ranks = naive_ranks(scores, truth)
    found = retrieval(scores, truth)
    for k in (1, 5, 10):
        assert found[f"R@{k}"] == pytest.approx((ranks <= k).float().mean().item())
    assert found["median rank"] == pytest.approx(ranks.sort().values[14].item())


def test_retrieval_of_perfect_and_of_reversed_scores():
    scores = torch.eye(12)
    found = retrieval(scores)
    assert found == {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "median rank": 1.0}
    found = retrieval(-scores)  # the true one is always last
    assert found == {"R@1": 0.0, "R@5": 0.0, "R@10": 0.0, "median rank": 12.0}


def test_equal_scores_are_worth_no_more_than_chance():
    found = retrieval(torch.zeros(21, 21))
    assert found["R@1"] == found["R@5"] == found["R@10"] == 0
    assert found["median rank"] == 11  # the middle of 21
    assert retrieval(torch.zeros(19, 19))["R@10"] == 1  # rank 10 of 19


def test_several_true_columns_count_as_one_find():
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 3.0]])
    truth = torch.tensor([[False, True, True], [False, True, True]])
    found = retrieval(scores, truth)
    assert found["R@1"] == 0.5 and found["R@5"] == 1.0
    # true columns that tie with each other cost nothing; the lower median is taken
    assert found["median rank"] == 1.0


def test_what_retrieval_refuses():
    with pytest.raises(ValueError, match=r"square.*got \(2, 3\)"):
        retrieval(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"bool \(2, 3\).*got torch.float32"):
        retrieval(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="at least one true column"):
        retrieval(torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]))
