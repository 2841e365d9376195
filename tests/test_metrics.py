"""Metrics against sacrebleu, and against sums written out by hand."""

import math
import random

import pytest
import torch

from mmbook.metrics import (
    accuracy,
    bleu,
    bootstrap,
    cider,
    confusion,
    edit_distance,
    f1,
    perplexity,
    retrieval,
    word_error_rate,
    words,
)
from mmbook.samples import photographs
from mmbook.tokens import IGNORED
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


@pytest.mark.parametrize(
    ("text", "expected"),  # what COCO's own tokeniser gives, a Java program
    [
        (PUNCTUATED[0], "a man well-known for 3.5 tricks jumps"),
        (
            "It's 10,000 feet - at a red-hot 5-star St.",
            "it 's 10,000 feet at a red-hot 5-star st.",
        ),
        (
            "A dog's ear; the dogs' bowl: they've GONE.",
            "a dog 's ear the dogs bowl they 've gone",
        ),
        ("one 's hand , won't, cannot", "one 's hand wo n't can not"),
        (
            "$5.00 and 100% of a black&white -- dog",
            "$ 5.00 and 100 % of a black & white dog",
        ),
        (
            "Mr. Smith at 3:30 p.m. in the U.S. border",
            "mr. smith at 3:30 p.m. in the u.s. border",
        ),
        ("he said:\"go\", -black- 'hello'", "he said go black hello"),
        ("“curly” ‘quotes’ man’s dash — end", "curly quotes man 's dash end"),
        ("one/two and 1/2 cup, e.g. tea", "one/two and 1/2 cup e.g. tea"),
        ("", ""),
    ],
)
def test_words_equal_those_of_coco(text, expected):
    assert words(text) == expected.split()


def test_punctuation_changes_no_score():
    said = [f"{text} dog" for text in sentences(6, 0)]
    groups = [[f"{text} dog"] for text in sentences(6, 1)]
    marked = [f"{text.capitalize()}." for text in said]
    spaced = [[f"{text} ."] for (text,) in groups]
    assert bleu(marked, spaced) == bleu(said, groups) > 0
    assert cider(marked, spaced) == cider(said, groups) > 0


def test_the_scores_of_the_photographs_are_those_of_cocos_program():
    """The first caption of each against the other four; theirs by pycocoevalcap 1.2."""
    groups = photographs().references
    said, references = [g[0] for g in groups], [g[1:] for g in groups]
    assert bleu(said, references) == pytest.approx(24.871885425, abs=1e-6)
    assert cider(said, references) == pytest.approx(1.133208312596, abs=1e-9)


def test_bleu_of_punctuated_text_equals_sacrebleu_with_its_tokeniser():
    sacrebleu = pytest.importorskip("sacrebleu")
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    split, truths = Tokenizer13a(), [text.replace("a ", "the ") for text in PUNCTUATED]
    expected = sacrebleu.corpus_bleu(PUNCTUATED, [truths], lowercase=True).score
    ours = bleu(
        PUNCTUATED,
        [[text] for text in truths],
        tokenise=lambda text: split(text.lower()).split(),
    )
    assert 10 < expected < 99 and ours == pytest.approx(expected, abs=1e-9)


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
    said, truth = "A dog.", "a dog"
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


SAID = torch.tensor([[2.0, 1, 0], [0, 1, 0], [3, 1, 0], [0, 9, 0], [0, 1, 0]])
TRUE = torch.tensor([0, 1, 1, 1, IGNORED])


def test_accuracy_is_the_share_of_labels_that_were_said():
    assert accuracy(SAID, TRUE) == 0.75


def test_confusion_counts_what_was_taken_for_what():
    assert confusion(SAID, TRUE).tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_f1_is_the_mean_over_the_classes_that_occur():
    """Class 0: precision 1/2, recall 1; class 1: precision 1, recall 2/3."""
    assert f1(SAID, TRUE) == pytest.approx((2 / 3 + 4 / 5) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_f1_equals_that_of_sklearn(seed):
    metrics = pytest.importorskip("sklearn.metrics", reason="an optional check")
    torch.manual_seed(seed)
    logits, labels = torch.randn(40, 6), torch.randint(0, 5, (40,))
    expected = metrics.f1_score(labels, logits.argmax(1), average="macro")
    assert f1(logits, labels) == pytest.approx(expected)
    table = metrics.confusion_matrix(labels, logits.argmax(1), labels=range(6))
    assert confusion(logits, labels).tolist() == table.tolist()


def test_perplexity_is_the_number_of_words_that_a_guess_hesitates_among():
    labels = torch.tensor([[3, 4, IGNORED]])
    assert perplexity(torch.zeros(1, 3, 50), labels) == pytest.approx(50)
    sure = torch.full((1, 3, 50), -100.0).scatter(2, labels.clamp(0)[..., None], 0.0)
    assert perplexity(sure, labels) == pytest.approx(1)


def test_logits_that_are_nan_or_do_not_fit_have_no_accuracy():
    for metric in (accuracy, confusion, f1):
        with pytest.raises(ValueError, match="logits hold NaN in 1 of 2 rows"):
            metric(torch.tensor([[0.0, math.nan], [0, 1]]), torch.tensor([0, 0]))
        with pytest.raises(ValueError, match=r"got \(2,\) and \(2,\)"):
            metric(torch.zeros(2), torch.zeros(2))
        with pytest.raises(ValueError, match=r"at least one example.* 0 to count"):
            metric(torch.zeros(2, 3), torch.full((2,), IGNORED))


def test_a_bootstrap_interval_is_that_of_the_normal_law():
    values = (torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.8).float()
    low, high = bootstrap(values)
    middle, half = values.mean().item(), 1.96 * values.std().item() / 20
    assert low == pytest.approx(middle - half, abs=0.01)
    assert high == pytest.approx(middle + half, abs=0.01)
    narrow = bootstrap(values, level=0.5)
    assert low < narrow[0] < middle < narrow[1] < high
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)


def test_a_paired_difference_is_surer_than_two_intervals():
    first, second = torch.ones(400), torch.ones(400)
    first[:60], second[:80] = 0, 0  # the second fails on 20 examples more
    assert bootstrap(first)[0] < bootstrap(second)[1]
    assert bootstrap(first - second)[0] > 0
    assert bootstrap(first - second.flip(0))[0] < 0  # fails elsewhere


def test_a_bootstrap_needs_values():
    for values in (torch.zeros(0), torch.zeros(2, 2)):
        with pytest.raises(ValueError, match=r"values must be \(N,\), at least one"):
            bootstrap(values)


TEXTS = [bleu, cider, word_error_rate, attribute_accuracy]


@pytest.mark.parametrize("metric", TEXTS)
def test_empty_and_unequal_sets_are_refused(metric):
    with pytest.raises(ValueError, match=r"at least one.*got 0 and 0"):
        metric([], [])
    with pytest.raises(ValueError, match="got 2 and 1"):
        metric(["a", "b"], [["a"]])


@pytest.mark.parametrize("metric", TEXTS)
def test_a_string_is_no_list_of_sentences(metric):
    for said, truth in (("abc", "abc"), (["abc"], "abc"), ("abc", [["abc"]])):
        with pytest.raises(TypeError, match=r"lists are needed, not one string.*'abc'"):
            metric(said, truth)
    with pytest.raises(
        TypeError, match=r"a list of sentences is needed; got .'a', None"
    ):
        metric(["a", None], [["a"], ["a"]])


def test_references_are_lists_of_sentences():
    for metric in (bleu, cider):
        with pytest.raises(TypeError, match="lists are needed, not one string"):
            metric(["abc"], ["abc"])
        with pytest.raises(ValueError, match="at least one"):
            metric(["abc"], [[]])
        with pytest.raises(TypeError, match=r"list of sentences.*3"):
            metric(["abc"], [[3]])
    with pytest.raises(TypeError, match="list of sentences"):
        word_error_rate(["abc"], [["abc"]])


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


def test_empty_sentences_have_word_errors_too():
    assert word_error_rate(["", "a"], ["a b", "a"]) == pytest.approx(2 / 3)
    assert word_error_rate(["a b", "a"], ["", "a"]) == 2  # two words were put in
    assert word_error_rate(["", ""], ["", ""]) == 0
    assert word_error_rate(["a"], [""]) == math.inf


def test_empty_sentences_have_scores_too():
    assert bleu([""], [["a b c d"]]) == bleu(["a b c d"], [[""]]) == 0
    groups = [["a red dog runs"], ["a cat", ""]]
    assert cider(["", ""], groups) == 0
    assert attribute_accuracy([""], [PAIR])["parsed"] == 0


def naive_ranks(scores, truth):
    """By counting, one row after the other: the place of the best true column."""
    ranks = []
    for row, right in zip(scores.tolist(), truth.tolist(), strict=True):
        best = max(s for s, r in zip(row, right, strict=True) if r)
        wrong = [s for s, r in zip(row, right, strict=True) if not r]
        ranks.append(1.0 + sum(s >= best for s in wrong))
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
    middle = ranks.sort().values[14:16].mean()  # of 30
    assert found["median rank"] == pytest.approx(middle.item())
    assert found["mean rank"] == pytest.approx(ranks.mean().item())


def test_retrieval_of_perfect_and_of_reversed_scores():
    found = retrieval(torch.eye(12))
    assert found["R@1"] == found["R@5"] == found["R@10"] == 1
    assert found["median rank"] == found["mean rank"] == 1
    found = retrieval(-torch.eye(12))  # the true one is always last
    assert found["R@1"] == found["R@5"] == found["R@10"] == 0
    assert found["median rank"] == found["mean rank"] == 12


def with_ranks(*ranks):
    """Scores in which the true column of row i has the i-th of these ranks."""
    scores = -torch.rand(len(ranks), 9)
    truth = torch.zeros(len(ranks), 9, dtype=torch.bool)
    for row, rank in enumerate(ranks):
        truth[row, scores[row].argsort(descending=True)[rank - 1]] = True
    return scores, truth


def test_the_median_of_an_even_number_of_ranks_lies_between_two():
    assert retrieval(*with_ranks(1, 2))["median rank"] == 1.5
    found = retrieval(*with_ranks(1, 2, 4, 4))
    assert found["median rank"] == 3 and found["mean rank"] == 2.75
    assert retrieval(*with_ranks(5, 1, 2))["median rank"] == 2


def test_a_model_that_gives_one_score_to_all_finds_nothing():
    found = retrieval(torch.zeros(9, 9))
    assert found["R@1"] == found["R@5"] == 0 and found["R@10"] == 1  # there are 9
    assert found["median rank"] == 9
    nothing = retrieval(torch.full((9, 9), -torch.inf))
    assert nothing == found


@pytest.mark.parametrize("rows", [slice(None), slice(0, None, 2)])
def test_scores_that_are_nan_are_no_ranks(rows):
    scores = torch.eye(20)
    scores[rows] = torch.nan
    with pytest.raises(ValueError, match=r"scores hold NaN in (20|10) of 20 rows"):
        retrieval(scores)


def test_several_true_columns_count_as_one_find():
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 3.0]])
    truth = torch.tensor([[False, True, True], [False, True, True]])
    found = retrieval(scores, truth)
    assert found["R@1"] == 0.5 and found["R@5"] == 1.0
    assert found["median rank"] == 1.5  # true columns may tie with each other


def test_what_retrieval_refuses():
    with pytest.raises(ValueError, match=r"\(Q, Q\).*got \(2, 3\) and no truth"):
        retrieval(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"got \(2, 3\) and torch.float32 \(2, 3\)"):
        retrieval(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"got \(0, 0\)"):
        retrieval(torch.zeros(0, 0))
    with pytest.raises(ValueError, match="one in each row at least"):
        retrieval(torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]))
