"""Moods: three independent signs, what they say and show, and what can be known."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from mmbook.data import Collate, train_tokenizer
from mmbook.world import (
    MODALITIES,
    Moods,
    best_accuracy,
    draw_face,
    hear,
    mood_words,
    sample_people,
)
from mmbook.world.moods import BLAME, PRAISE

MANY = sample_people(4000, seed=0)


def test_signs_are_independent_and_the_majority_decides():
    counts = Counter(person.signs for person in MANY)
    assert len(counts) == 8 and min(counts.values()) > 400
    for person in MANY:
        assert person.glad == (sum(person.signs) >= 2)
        assert person.ironic == (person.signs[0] != person.glad)
    assert 0.22 < sum(person.ironic for person in MANY) / len(MANY) < 0.28


def test_the_words_have_the_sign_of_the_text_negation_included():
    negated = 0
    for person in MANY:
        words = person.sentence.split()
        assert set(words) <= set(mood_words())
        praises = bool(set(words) & set(PRAISE))
        assert praises != bool(set(words) & set(BLAME))
        turned = "not" in words or "no" in words
        negated += turned
        assert (praises != turned) == person.signs[0]
    assert 0.2 < negated / len(MANY) < 0.3
    assert not any("a awful" in person.sentence for person in MANY)


def test_only_the_mouth_and_the_brows_differ_between_two_moods():
    person = replace(MANY[0], strength=1.0)
    glad = draw_face(replace(person, signs=(True, True, True)), noise=0)
    sad = draw_face(replace(person, signs=(True, False, True)), noise=0)
    other = draw_face(replace(person, signs=(False, True, False)), noise=0)
    assert torch.equal(glad, other)
    changed = (glad - sad).abs().amax(0).amax(1) > 0.05  # rows
    assert changed[8:16].any() and changed[28:40].any()  # brows, mouth
    assert not changed[:6].any() and not changed[42:].any()


def test_a_glad_voice_is_higher_and_shorter_than_the_same_voice_displeased():
    for person in MANY[:5]:
        person = replace(person, strength=1.0)
        glad = hear(replace(person, signs=(False, False, True)))
        sad = hear(replace(person, signs=(False, False, False)))
        assert glad.shape == sad.shape
        assert _seconds(glad) < _seconds(sad)
        assert torch.equal(glad, hear(replace(person, signs=(True, True, True))))


def _seconds(wave):
    return int((wave.abs() > 0.05).nonzero()[-1])


def test_voices_of_the_test_are_others():
    names = [
        {person.voice.name for person in sample_people(300, 0, split)}
        for split in ("train", "validation", "test")
    ]
    assert all(not a & b for a, b in combinations(names, 2))


def test_what_can_be_known_by_counting_people():
    """The best answer for each pattern of known signs, on 4,000 people."""
    assert best_accuracy(()) == 0.5 and best_accuracy(MODALITIES) == 1
    for size in (1, 2):
        for known in combinations(MODALITIES, size):
            places = [MODALITIES.index(name) for name in known]
            groups = Counter((tuple(p.signs[i] for i in places), p.glad) for p in MANY)
            best = sum(
                max(groups[key, True], groups[key, False])
                for key in {key for key, _ in groups}
            )
            assert best_accuracy(known) == 0.75
            assert abs(best / len(MANY) - 0.75) < 0.03
    with pytest.raises(ValueError, match="'smell'"):
        best_accuracy(("smell",))


@pytest.mark.parametrize("target", ["mood", "irony"])
def test_items_go_into_a_batch(target):
    data = Moods(MANY[:6], target)
    words = train_tokenizer(data.texts, 300)
    batch = Collate(words)([data[i] for i in range(6)])
    assert batch["image"].shape == (6, 3, 48, 48)
    assert batch["audio"].shape == (6, 12_800)
    chosen = [p.glad if target == "mood" else p.ironic for p in MANY[:6]]
    assert batch["labels"].tolist() == chosen


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="list is empty"):
        Moods([])
    with pytest.raises(ValueError, match="mood or irony; got 'joy'"):
        Moods(MANY[:1], "joy")
