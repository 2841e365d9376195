"""Chinese and German: correct sentences, exact facts, and tokens that spell them."""

from dataclasses import replace
from itertools import product

import pytest

from mmbook.data import Collate
from mmbook.world import (
    COLOURS,
    LANGUAGES,
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

SCENES = sample_scenes(300, seed=0, pairs="all")
OTHERS = ("zh", "de")
CIRCLE = Thing("circle", "red", "big", 0.5, 0.3)
STAR = Thing("star", "blue", "small", 0.45, 0.8)
SQUARE = Thing("square", "orange", "big", 0.2, 0.7)


def is_chinese(text):
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


# -------------------------------------------------------------- what a native reads


@pytest.mark.parametrize(
    ("things", "chinese", "german"),
    [
        (
            (CIRCLE, STAR),
            "一个大的红色圆形在一颗小的蓝色五角星的上方",
            "ein großer roter Kreis über einem kleinen blauen Stern",
        ),
        (
            (CIRCLE, SQUARE),
            "一个大的红色圆形在一个大的橙色正方形的上方",
            "ein großer roter Kreis über einem großen orangefarbenen Quadrat",
        ),
        (
            (STAR, SQUARE),
            "一个大的橙色正方形在一颗小的蓝色五角星的左边",
            "ein großes orangefarbenes Quadrat links von einem kleinen blauen Stern",
        ),
        ((STAR,), "一颗小的蓝色五角星", "ein kleiner blauer Stern"),
    ],
)
def test_canonical_sentences(things, chinese, german):
    for order in (things, things[::-1]):
        assert describe(Scene(order), language="zh") == chinese
        assert describe(Scene(order), language="de") == german


@pytest.mark.parametrize(
    ("language", "text", "relation"),
    [
        ("zh", "可以看到一个红色的大圆形在一颗小的蓝色五角星的上面。", "above"),
        ("zh", "一颗五角星的右侧有一个红色图形", "right of"),
        ("zh", "图中有一个圆形，它的左边有一个黑色的大圆环", "right of"),
        ("zh", "一个圆形 和 一个三角形", None),
        ("zh", "一个五角星和一颗小五角星", None),  # both measure words are right
        ("de", "Es gibt einen großen roten Kreis über einem blauen Stern.", "above"),
        ("de", "das Bild zeigt ein rotes Quadrat rechts von einem Ding", "right of"),
        ("de", "unter einem gelben Dreieck ist ein schwarzer Ring", "below"),
        ("de", "ein grünes Kreuz und links davon ein violetter Ring", "right of"),
        ("de", "ein Kreis und ein Dreieck", None),
    ],
)
def test_forms_of_sentences(language, text, relation):
    facts = parse(text, language)
    assert len(facts.things) == 2 and facts.relation == relation


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("zh", "一颗圆形在一个圆环的上方", "'一颗圆形' names nothing"),
        ("zh", "一个大红色圆形", "names nothing"),  # bright red, not big
        ("zh", "大的红色圆形", "names nothing"),  # no measure word
        ("de", "eine rote Kreis", "'eine rote kreis' names nothing in the nomin"),
        ("de", "ein großes roter Kreis", "names nothing in the nominative"),
        ("de", "ein Kreis über ein Stern", "'ein stern' names nothing in the dative"),
        ("de", "man sieht ein roter Kreis", "'ein roter kreis' .* in the accusative"),
        (
            "de",
            "ein Kreis neben einem Stern",
            "cannot parse .* as German: 'ein kreis n",
        ),
        ("zh", "a big red circle", "as Chinese"),
        ("de", " ", "as German: it is empty"),
    ],
)
def test_wrong_grammar_does_not_parse_and_says_why(language, text, words):
    with pytest.raises(ValueError, match=words):
        parse(text, language)
    assert not is_true(text, Scene((CIRCLE, STAR)), language)


def test_every_name_is_right_in_every_german_case():
    """Written down again, from the endings of a grammar book."""
    nouns = {"circle": "Kreis", "star": "Stern", "ring": "Ring"}
    neuter = {"square": "Quadrat", "triangle": "Dreieck", "cross": "Kreuz"}
    for shape, size in product(SHAPES, SIZES):
        scene = Scene((Thing(shape, "red", size, 0.5, 0.5), replace(STAR, y=0.1)))
        stem = {"big": "groß", "small": "klein"}[size]
        noun = (nouns | neuter)[shape]
        end = "es" if shape in neuter else "er"
        alone = describe(Scene(scene.things[:1]), language="de")
        assert alone == f"ein {stem}{end} rot{end} {noun}"
        below = describe(scene, language="de").split(" über ")[1]
        assert below == f"einem {stem}en roten {noun}"
        article, end = ("ein", "es") if shape in neuter else ("einen", "en")
        seen = f"man sieht {article} {stem}{end} rot{end} {noun}"
        assert is_complete(seen, Scene(scene.things[:1]), "de")


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(("language", "style"), list(product(LANGUAGES, STYLES)))
def test_what_is_said_is_true_and_mostly_complete(language, style):
    for number, scene in enumerate(SCENES):
        text = describe(scene, style, number, language)
        assert is_true(text, scene, language), text
        assert is_complete(text, scene, language) or style == "partial", text


def changed(scene):
    """Every scene that differs in one attribute of one thing, or in the relation."""
    for number, thing in enumerate(scene.things):
        for name, known in ("shape", SHAPES), ("colour", COLOURS), ("size", SIZES):
            for value in set(known) - {getattr(thing, name)}:
                things = list(scene.things)
                things[number] = replace(thing, **{name: value})
                yield Scene(tuple(things))
    if len(scene.things) == 2:
        places = [(t.x, t.y) for t in scene.things]
        swapped = zip(scene.things, places[::-1], strict=True)
        yield Scene(tuple(replace(t, x=x, y=y) for t, (x, y) in swapped))
        yield Scene(tuple(replace(t, x=t.y, y=t.x) for t in scene.things))


@pytest.mark.parametrize(("language", "style"), product(OTHERS, STYLES[:2]))
def test_a_changed_scene_makes_it_false(language, style):
    checked = 0
    for number, scene in enumerate(SCENES):
        facts = parse(describe(scene, style, number, language), language)
        for other in changed(scene):
            assert not facts.true_of(other), (facts, other)
            checked += 1
    assert checked > 5000


def test_canonical_sentences_say_the_same_in_all_languages():
    for scene in SCENES:
        facts = {parse(describe(scene, language=name), name) for name in LANGUAGES}
        assert len(facts) == 1


def test_a_free_translation_means_the_same():
    turned = 0
    for number, scene in enumerate(SCENES):
        english = parse(describe(scene, "varied", number))
        for language in OTHERS:
            facts = parse(describe(scene, "varied", number + 7, language), language)
            assert facts.means(english) and english.means(facts)
            turned += facts != english
    assert turned > 50
    a, b = Description("star"), Description("ring")
    assert Facts((a, b), "above").means(Facts((b, a), "below"))
    assert Facts((a, b)).means(Facts((b, a)))
    for other in (Facts((b, a), "above"), Facts((a, b), "left of"), Facts((a, b))):
        assert not Facts((a, b), "above").means(other)


@pytest.mark.parametrize("language", OTHERS)
def test_variety_is_real_and_the_seed_decides(language):
    scene = Scene((CIRCLE, STAR))
    said = [describe(scene, "varied", seed, language) for seed in range(300)]
    assert said == [describe(scene, "varied", seed, language) for seed in range(300)]
    assert len(set(said)) >= 20
    partial = [describe(scene, "partial", seed, language) for seed in range(300)]
    facts = [parse(text, language) for text in partial]
    assert any(len(fact.things) == 1 for fact in facts)
    assert any(len(fact.things) == 2 and fact.relation is None for fact in facts)
    for name in ("shape", "colour", "size"):
        told = [getattr(thing, name) for fact in facts for thing in fact.things]
        assert 0.3 < 1 - told.count(None) / len(told) < 0.8


def test_unknown_languages_are_named():
    for wrong in (describe, is_complete, is_true):
        arguments = (SCENES[0],) if wrong is describe else ("a star", SCENES[0])
        with pytest.raises(ValueError, match="one of en, zh, de; got 'fr'"):
            wrong(*arguments, language="fr")
    for wrong in (vocabulary, lambda name: parse("une étoile", name)):
        with pytest.raises(ValueError, match="one of en, zh, de; got 'fr'"):
            wrong("fr")
    with pytest.raises(ValueError, match="one of en, zh, de, all; got 'fr'"):
        scene_tokenizer(language="fr")


# ---------------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("language", OTHERS)
def test_the_vocabulary_covers_the_grammar_and_nothing_is_idle(language):
    tokenizer, said = scene_tokenizer(language=language), set()
    for number, style in product(range(4), STYLES):
        for index, scene in enumerate(SCENES):
            text = describe(scene, style, 1000 * number + index, language)
            said |= set(tokenizer.tokenize(text))
    assert said == set(vocabulary(language))
    assert len(tokenizer) == len(said) + 4 and tokenizer.pad_token_id == 0


@pytest.mark.parametrize(
    ("alone", "language"), [(True, "zh"), (True, "de"), *product([False], LANGUAGES)]
)
def test_tokenizers_spell_every_sentence_and_back(alone, language):
    tokenizer = scene_tokenizer(language=language if alone else "all")
    for number, scene in enumerate(SCENES[:100]):
        text = describe(scene, "varied", number, language)
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text
        ended = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, 0, 0]
        assert tokenizer.decode(ended, skip_special_tokens=True) == text


def test_chinese_is_cut_into_its_longest_words():
    tokenizer = scene_tokenizer(["五", "红"], language="zh")
    pieces = tokenizer.tokenize("一颗小的红色五角星，五红")
    assert pieces == ["一", "颗", "小", "的", "红色", "五角星", "，", "五", "红"]
    assert tokenizer.tokenize("一个猫") == ["一", "个", "[unknown]"]


def test_one_vocabulary_for_all_languages_keeps_the_english_numbers():
    joint, english = scene_tokenizer(["yes"], language="all"), scene_tokenizer()
    known = joint.get_vocab()
    assert english.get_vocab().items() <= known.items()
    assert set(vocabulary("zh")) | set(vocabulary("de")) <= set(known)
    assert known["ring"] != known["Ring"]
    last = sorted(known, key=known.get)[-4:]
    assert last == ["[en]", "[zh]", "[de]", "yes"] and len(set(known.values())) == len(
        known
    )
    mixed = "[zh] a big red ring"
    assert joint.decode(joint(mixed)["input_ids"]) == mixed


@pytest.mark.parametrize("language", [*OTHERS, "all"])
def test_tokenizers_survive_saving(language, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = scene_tokenizer(language=language)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = describe(SCENES[0], language=language if language != "all" else "zh")
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.decode(again(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("language", "text", "unknown"),
    [
        ("zh", "一个红色的猫", "'猫'"),
        ("de", "ein großer Hund und ein Kreis", "'Hund'"),
        ("all", "[de] a Big ring", "'Big'"),
    ],
)
def test_unknown_words_are_named_in_every_language(language, text, unknown):
    with pytest.raises(ValueError, match=f"unknown words {unknown} in"):
        Collate(scene_tokenizer(language=language))([{"caption": text}])


def test_extra_words_must_be_a_list():
    with pytest.raises(ValueError, match="list of words; got 'zh'"):
        scene_tokenizer("zh")


def test_only_chinese_is_written_in_chinese():
    for scene in SCENES[:20]:
        assert is_chinese(describe(scene, language="zh"))
        assert not is_chinese(describe(scene, language="de"))
