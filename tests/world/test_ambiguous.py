"""Words with two senses: icons, grammar of three languages, pictures, and judging."""

from collections import Counter

import pytest
import torch

from mmbook.data import Collate
from mmbook.world import (
    ICONS,
    SENSES,
    AmbiguousPictures,
    Meant,
    Utterance,
    ambiguous_words,
    icon,
    render_utterances,
    sample_utterances,
    scene_tokenizer,
    sense_accuracy,
)

MANY = sample_utterances(2000, seed=0)


def test_each_word_has_two_senses_and_each_sense_an_icon():
    assert SENSES.keys() == ICONS.keys()
    assert set(Counter(sense.split(",")[0] for sense in SENSES).values()) == {2}
    for language in (0, 3):
        same = [
            word
            for word in {sense.split(",")[0] for sense in SENSES}
            if len({SENSES[s][language] for s in SENSES if s.split(",")[0] == word}) < 2
        ]
        assert same == (["mouse"] if language == 0 else [])


@pytest.mark.parametrize("name", ICONS)
def test_an_icon_is_seen_and_is_like_no_other(name):
    drawn = torch.from_numpy(icon(name, 19).copy())
    assert 0 <= drawn.min() and drawn.max() == 1 and 0.08 < drawn.mean() < 0.8
    others = [torch.from_numpy(icon(n, 19).copy()) for n in ICONS if n != name]
    assert min((drawn - other).abs().mean() for other in others) > 0.1


def test_an_unknown_icon_is_named():
    with pytest.raises(ValueError, match="'moon'"):
        icon("moon", 19)


def meant(sense, colour="red", x=0.2, y=0.5):
    return Meant(sense, colour, x, y)


@pytest.mark.parametrize(
    "sense, nominative, accusative, dative",
    [
        (
            "bat, club",
            "ein roter Schläger",
            "einen roten Schläger",
            "einem roten Schläger",
        ),
        (
            "bat, animal",
            "eine rote Fledermaus",
            "eine rote Fledermaus",
            "einer roten Fledermaus",
        ),
        ("pipe, tube", "ein rotes Rohr", "ein rotes Rohr", "einem roten Rohr"),
    ],
)
def test_german_bends_article_and_adjective(sense, nominative, accusative, dative):
    thing, other = meant(sense), meant("key, door", "blue", 0.8)
    assert (
        Utterance((thing, other), "there is").sentence("de") == f"da ist {nominative}"
    )
    said = Utterance((thing, other), "do you see").sentence("de")
    assert said == f"siehst du {accusative} ?"
    said = Utterance((other, thing), "relation").sentence("de")
    assert said == f"ein blauer Schlüssel ist rechts von {dative}"


def test_english_and_chinese():
    both = meant("crane, bird", "orange"), meant("key, keyboard", "blue", 0.8)
    said = Utterance(both, "relation")
    assert said.sentence("en") == "an orange crane is left of a blue key"
    assert said.sentence("zh") == "一 只 橙色 的 鹤 在 一 个 蓝色 的 按键 的 左边"
    other = said.other_sense()
    assert other.sentence("en") == said.sentence("en")
    assert other.sentence("zh") == "一 台 橙色 的 起重机 在 一 把 蓝色 的 钥匙 的 左边"
    assert other.other_sense() == said
    with pytest.raises(ValueError, match="'fr'"):
        said.sentence("fr")


def test_nothing_in_the_sentence_tells_the_sense():
    """For each word, colour and form both senses are about equally frequent."""
    seen = Counter(
        (thing.word, key, thing.sense)
        for utterance in MANY
        for thing in utterance.said
        for key in (thing.colour, utterance.form)
    )
    for word, key in {(word, key) for word, key, _ in seen}:
        senses = [sense for sense in SENSES if sense.split(",")[0] == word]
        one, two = (seen[word, key, sense] for sense in senses)
        spread = (one + two) ** 0.5
        assert abs(one - two) < 4.5 * spread, (word, key)


def test_the_picture_does_not_tell_what_is_said():
    """The object that is spoken of is the left one as often as the right one."""
    left = [u.things[0].x < u.things[1].x for u in MANY]
    assert 0.45 < sum(left) / len(left) < 0.55
    assert {u.form for u in MANY} == {"there is", "do you see", "relation"}


def test_objects_do_not_overlap_and_differ():
    for utterance in MANY[:300]:
        a, b = utterance.things
        assert a.word != b.word and a.colour != b.colour
        assert max(abs(a.x - b.x), abs(a.y - b.y)) > 0.4


def test_pictures_show_the_colours_where_the_objects_are():
    from mmbook.world import COLOURS

    few = MANY[:20]
    for image, utterance in zip(render_utterances(few, noise=0), few, strict=True):
        for thing in utterance.things:
            rows, columns = (
                slice(max(int(p * 48) - 10, 0), int(p * 48) + 10)
                for p in (thing.y, thing.x)
            )
            part = image[:, rows, columns].flatten(1)
            colour = torch.tensor(COLOURS[thing.colour])[:, None]
            assert (part - colour).abs().amax(0).min() < 0.02


@pytest.mark.parametrize("language", ["de", "zh"])
def test_a_translation_is_judged_by_its_nouns(language):
    data = AmbiguousPictures(MANY[:200], language)
    assert sense_accuracy(data.captions, data.utterances, language) == 1
    other = [u.other_sense().sentence(language) for u in data.utterances]
    assert sense_accuracy(other, data.utterances, language) == 0
    both = [f"{a} {b}" for a, b in zip(data.captions, other, strict=True)]
    assert sense_accuracy(both, data.utterances, language) == 0
    tight = [caption.replace(" ", "") for caption in data.captions]
    assert language == "de" or sense_accuracy(tight, data.utterances, "zh") == 1
    with pytest.raises(ValueError, match="1 translations for 200"):
        sense_accuracy(["x"], data.utterances, language)


def test_a_tokenizer_reads_all_and_writes_chinese_without_spaces():
    tokenizer = scene_tokenizer(ambiguous_words(), language="all")
    for utterance in MANY[:100]:
        for language in ("en", "de", "zh"):
            ids = tokenizer(utterance.sentence(language))["input_ids"]
            assert tokenizer.unk_token_id not in ids
            back = tokenizer.decode(ids)
            said = utterance.sentence(language)
            assert back == (said.replace(" ", "") if language == "zh" else said)


def test_items_go_into_a_batch():
    data = AmbiguousPictures(MANY[:4])
    batch = Collate(scene_tokenizer(ambiguous_words(), language="all"))(
        [data[i] for i in range(4)]
    )
    assert batch["image"].shape == (4, 3, 48, 48)
    assert batch["text"].shape[0] == batch["labels"].shape[0] == 4
    with pytest.raises(ValueError, match="language must be de or zh; got 'en'"):
        AmbiguousPictures(MANY[:4], "en")
    with pytest.raises(ValueError, match="list is empty"):
        AmbiguousPictures([])
