"""Matching: neither modality alone says anything about the answer."""

from collections import Counter

import pytest
import torch

from mmbook.world import COLOURS, SHAPES, Matching, is_true, parse

DATA = Matching(24_000, seed=0, size=4)
PICTURES = [(scene.things[0].colour, scene.things[0].shape) for scene in DATA.scenes]
SENTENCES = [(f.colour, f.shape) for f in (parse(t).things[0] for t in DATA.texts)]


def test_a_label_is_the_truth():
    for number in range(2000):
        assert is_true(DATA.texts[number], DATA.scenes[number]) == DATA.labels[number]


def test_half_of_the_sentences_are_true():
    assert sum(DATA.labels) == len(DATA) // 2
    assert sum(Matching(7, seed=1, size=4).labels) == 3
    assert abs(sum(DATA.labels[::2]) - 6000) < 300  # wherever it stands in the list


@pytest.mark.parametrize("seen", [PICTURES, SENTENCES], ids=["picture", "sentence"])
def test_one_modality_alone_says_nothing(seen):
    """All 96 cells of pair × answer are equally likely: χ² has mean 95, deviation 14."""
    cells = Counter(zip(seen, DATA.labels, strict=True))
    assert len(cells) == len(COLOURS) * len(SHAPES) * 2
    expected = len(DATA) / len(cells)
    chi_squared = sum((count - expected) ** 2 / expected for count in cells.values())
    assert chi_squared < 95 + 5 * 14


def test_both_modalities_together_say_all():
    answers = {}
    for pair in zip(PICTURES, SENTENCES, DATA.labels, strict=True):
        answers.setdefault(pair[:2], set()).add(pair[2])
    assert all(len(answer) == 1 for answer in answers.values())


def test_false_sentences_are_wrong_in_each_way_equally_often():
    ways = Counter(
        (seen[0] == said[0], seen[1] == said[1])
        for seen, said, label in zip(PICTURES, SENTENCES, DATA.labels, strict=True)
        if label == 0
    )
    assert set(ways) == {(True, False), (False, True), (False, False)}
    assert all(abs(count / 12_000 - 1 / 3) < 0.02 for count in ways.values())


def test_items_and_seeds():
    first, again, other = (Matching(20, seed) for seed in (1, 1, 2))
    item = first[4]
    assert set(item) == {"image", "text", "label"}
    assert item["image"].shape == (3, 48, 48) and item["image"].dtype == torch.uint8
    assert first.texts == again.texts and torch.equal(first.images, again.images)
    assert first.texts != other.texts
    assert all(text.startswith("an ") == ("orange" in text) for text in first.texts)


def test_an_empty_task_is_named():
    with pytest.raises(ValueError, match="count must be 1 or more; got 0"):
        Matching(0, seed=0)
