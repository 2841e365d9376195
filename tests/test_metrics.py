"""Metrics against sacrebleu, against a sum written out by hand, and against mutations."""

import math
import random

import pytest
import torch

from mmbook.data.language import describe
from mmbook.data.scenes import sample_scenes
from mmbook.metrics import accuracy, attribute_accuracy, bleu, cider

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
    # n = 2: said {the red, red house}, truth {the green, green house}: nothing in common.
    second = (1 / 2 + 0 + 0 + 0) / 4
    assert cider(said, references) == pytest.approx(10 * (first + second) / 2)


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
    assert attribute_accuracy(["blah"], scenes)["parsed"] == 0.0


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
