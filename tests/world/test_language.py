"""Sentences and their way back: what is said can be parsed, and judged exactly."""

from dataclasses import replace
from itertools import product

import pytest

from mmbook.world import (
    COLOURS,
    SHAPES,
    SIZES,
    STYLES,
    Description,
    Facts,
    Scene,
    Thing,
    describe,
    is_complete,
    is_true,
    parse,
    sample_scenes,
    scene_tokenizer,
    vocabulary,
)
from mmbook.world.english import OPENINGS, RELATION_WORDS, SYNONYMS

SCENES = sample_scenes(300, seed=0, pairs="all")
STAR = Thing("star", "red", "big", 0.3, 0.5)
RING = Thing("ring", "orange", "small", 0.8, 0.4)


def as_described(thing):
    return Description(thing.shape, thing.colour, thing.size)


# ----------------------------------------------------------------- there and back


def test_canonical_says_all_in_one_way():
    text = "a big red star left of a small orange ring"
    assert describe(Scene((STAR, RING))) == describe(Scene((RING, STAR))) == text
    assert describe(Scene((RING,))) == "a small orange ring"
    low = replace(STAR, x=0.7, y=0.9)
    text = "a small orange ring above a big red star"
    assert describe(Scene((low, RING))) == describe(Scene((RING, low))) == text


@pytest.mark.parametrize("style", STYLES)
def test_what_is_said_is_true_and_parses(style):
    for number, scene in enumerate(SCENES):
        text = describe(scene, style, seed=number)
        assert is_true(text, scene), text
        assert is_complete(text, scene) or style == "partial", text


@pytest.mark.parametrize("style", ["canonical", "varied"])
def test_describe_and_parse_are_inverse(style):
    for number, scene in enumerate(SCENES):
        facts = parse(describe(scene, style, seed=number))
        order = [as_described(thing) for thing in scene.things]
        if len(order) == 1:
            assert facts == Facts(tuple(order))
        elif facts.things == tuple(order):
            assert facts.relation == scene.relation(0, 1)
        else:
            assert facts.things == tuple(order[::-1])
            assert facts.relation == scene.relation(1, 0)


def test_partial_leaves_each_kind_of_fact_out_sometimes():
    facts = [parse(describe(s, "partial", n)) for n, s in enumerate(SCENES)]
    things = [thing for fact in facts for thing in fact.things]
    for name in ("shape", "colour", "size"):
        said = sum(getattr(thing, name) is not None for thing in things) / len(things)
        assert 0.3 < said < 0.8
    texts = [describe(scene, "partial", n) for n, scene in enumerate(SCENES)]
    assert any("an orange" in text for text in texts)
    assert not any(f"a {c}" in t for t in texts for c in COLOURS if c[0] in "aeiou")
    pairs = [f for f, s in zip(facts, SCENES, strict=True) if len(s.things) == 2]
    assert any(len(fact.things) == 1 for fact in pairs)
    assert any(len(f.things) == 2 and f.relation is None for f in pairs)


def test_the_seed_decides_and_variety_is_real():
    scene = Scene((STAR, RING))
    said = [describe(scene, "varied", seed) for seed in range(400)]
    assert said == [describe(scene, "varied", seed) for seed in range(400)]
    assert len(set(said)) > 60
    for phrase in (*OPENINGS, *SYNONYMS, "and", "to the left of"):
        assert any(phrase in text for text in said), phrase


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("a star", (("star", None, None), None)),
        ("One can see an orange thing.", ((None, "orange", None), None)),
        ("a large ring", (("ring", None, "big"), None)),
        ("A star, and a ring", (("star", None, None), ("ring", None, None))),
    ],
)
def test_parse_takes_what_people_write(text, facts):
    things = tuple(Description(*fact) for fact in facts if fact)
    assert parse(text) == Facts(things)


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("a star above a ring", "above"),
        ("over a ring there is a star", "above"),
        ("a star and under it a ring", "above"),
        ("a star to the right of a ring", "right of"),
        ("left of a ring there is a star", "left of"),
        ("there is a star and left of it a ring", "right of"),
    ],
)
def test_every_order_of_words_means_the_same_relation(text, relation):
    star, ring = Description("star"), Description("ring")
    assert parse(text) == Facts((star, ring), relation)


# --------------------------------------------------------------------- true or not


def mutations(facts):
    """Every way to change one fact of a complete description into a false one."""
    for number, thing in enumerate(facts.things):
        for name, known in ("shape", SHAPES), ("colour", COLOURS), ("size", SIZES):
            for value in set(known) - {getattr(thing, name)}:
                changed = list(facts.things)
                changed[number] = replace(thing, **{name: value})
                yield Facts(tuple(changed), facts.relation)
    if facts.relation:
        for relation in set(RELATION_WORDS.values()) - {facts.relation}:
            yield Facts(facts.things, relation)


def say(facts):
    names = [f"a {t.size} {t.colour} {t.shape}" for t in facts.things]
    return f" {facts.relation} ".join(names)


@pytest.mark.parametrize("style", ["canonical", "varied"])
def test_any_single_wrong_fact_makes_it_false(style):
    checked = 0
    for number, scene in enumerate(SCENES[:100]):
        facts = parse(describe(scene, style, seed=number))
        assert is_true(say(facts), scene)
        for wrong in mutations(facts):
            assert not is_true(say(wrong), scene), (say(wrong), scene)
            assert not is_complete(say(wrong), scene)
            checked += 1
    assert checked > 1500


def test_leaving_out_is_true_but_not_complete():
    scene = Scene((STAR, RING))
    for text in (
        "a big red star",
        "a big red star and a small orange ring",
        "a red star left of a small orange ring",
        "a thing left of a thing",
    ):
        assert is_true(text, scene) and not is_complete(text, scene), text


def test_each_described_thing_must_be_another_one():
    assert not is_true("a star and a star", Scene((STAR, RING)))
    assert not is_true("a star and a ring", Scene((STAR,)))
    twins = Scene((STAR, replace(STAR, x=0.9)))
    assert is_true("a star and a star", twins)
    assert is_true("a red star right of a red star", twins)


@pytest.mark.parametrize(
    "text", ["", "   ", "blue", "a very red star", "a star a ring"]
)
def test_nonsense_is_never_true(text):
    assert not is_true(text, Scene((STAR, RING)))
    assert not is_complete(text, Scene((STAR, RING)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ['expected "a" at word 1', "'the end'"]),
        ("a red", ["expected a shape at word 3", "'the end'"]),
        ("a pink star", ["expected a shape at word 2", "'pink'", "'a pink star'"]),
        ("a red star near a ring", ["end of the sentence at word 4", "'near'"]),
        ("above a star is a ring", ['expected "there is" at word 4', "'is'"]),
        ("a star and above a ring", ['expected "it" at word 5', "'a'"]),
    ],
)
def test_parse_says_at_which_word_it_failed(text, words):
    with pytest.raises(ValueError) as error:
        parse(text)
    assert all(word in str(error.value) for word in words), error.value


def test_describe_says_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"style must be one of canonical.*'poetic'"):
        describe(SCENES[0], "poetic")
    with pytest.raises(ValueError, match=r"one or two things.*got 3"):
        describe(Scene((STAR, RING, STAR)))


# ----------------------------------------------------------------------- tokenizer


def test_the_vocabulary_covers_the_grammar_and_nothing_is_idle():
    said = set()
    for number, style in product(range(3), STYLES):
        for index, scene in enumerate(SCENES):
            said |= set(describe(scene, style, seed=1000 * number + index).split())
    assert said == set(vocabulary())


def test_the_tokenizer_spells_every_sentence_and_back():
    tokenizer = scene_tokenizer()
    assert len(tokenizer) == len(vocabulary()) + 4
    for number, scene in enumerate(SCENES[:100]):
        text = describe(scene, "varied", number)
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids and len(ids) == len(text.split())
        assert tokenizer.decode(ids) == text


def test_special_tokens_are_four_different_ones():
    tokenizer = scene_tokenizer()
    ids = [
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
    ]
    assert ids == [0, 1, 2, 3]
    assert tokenizer.decode([1, 5, 2, 0], skip_special_tokens=True) == vocabulary()[1]


def test_extra_words_stand_behind_and_change_no_number():
    plain, more = scene_tokenizer(), scene_tokenizer(["yes", "No", "star", "yes"])
    assert len(more) == len(plain) + 2
    assert more("a star")["input_ids"] == plain("a star")["input_ids"]
    assert more.unk_token_id not in more("yes no Yes NO")["input_ids"]


def test_the_tokenizer_survives_saving(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = scene_tokenizer(["yes"])
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "Yes a big red star"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.eos_token_id == tokenizer.eos_token_id
