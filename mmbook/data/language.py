"""Sentences about scenes, and the way back: from a sentence to its facts.

The grammar is small and unambiguous on purpose. What it says can be parsed again, so
"is this caption true of this scene" has an exact answer, whoever wrote the caption:

    sentence  = [opening] thing [relation thing]
              | relation thing "there is" thing
              | thing "and" relation "it" thing
              | thing "and" thing
    thing     = "a" [size] [colour] (shape | "thing")
    opening   = "there is" | "the picture shows" | "one can see"
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

from .scenes import COLOURS, SHAPES, SIZES, Scene, Thing

STYLES = ("canonical", "varied", "partial")
SYNONYMS = {"large": "big", "little": "small"}
OPENINGS = ("there is", "the picture shows", "one can see")
RELATION_WORDS = {
    "left of": "left of",
    "to the left of": "left of",
    "right of": "right of",
    "to the right of": "right of",
    "above": "above",
    "over": "above",
    "below": "below",
    "under": "below",
}
OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}
SPECIAL_TOKENS = {
    "pad_token": "[pad]",
    "bos_token": "[start]",
    "eos_token": "[end]",
    "unk_token": "[unknown]",
}


@dataclass(frozen=True)
class Description:
    """What a sentence says of one thing; None where it says nothing."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None

    def fits(self, thing: Thing) -> bool:
        """Is everything that is said true of this thing?"""
        return all(
            said is None or said == true
            for said, true in (
                (self.shape, thing.shape),
                (self.colour, thing.colour),
                (self.size, thing.size),
            )
        )

    @property
    def full(self) -> bool:
        """Are shape, colour and size all said?"""
        return None not in (self.shape, self.colour, self.size)


@dataclass(frozen=True)
class Facts:
    """What a sentence says: its things, and how the first lies to the second."""

    things: tuple[Description, ...]
    relation: str | None = None

    def true_of(self, scene: Scene) -> bool:
        """Can the described things be found in the scene, each another one?"""
        return any(self._holds(scene, found) for found in self._matches(scene))

    def complete_for(self, scene: Scene) -> bool:
        """True, and nothing left out: all things, all attributes, the relation."""
        everything = len(self.things) == len(scene.things) and all(
            thing.full for thing in self.things
        )
        related = len(scene.things) == 1 or self.relation is not None
        return everything and related and self.true_of(scene)

    def _matches(self, scene: Scene) -> Iterable[tuple[int, ...]]:
        for found in permutations(range(len(scene.things)), len(self.things)):
            pairs = zip(self.things, found, strict=True)
            if all(said.fits(scene.things[i]) for said, i in pairs):
                yield found

    def _holds(self, scene: Scene, found: tuple[int, ...]) -> bool:
        return self.relation is None or scene.relation(*found[:2]) == self.relation


def describe(scene: Scene, style: str = "canonical", seed: int = 0) -> str:
    """Say what a scene of one or two things shows.

    Parameters
    ----------
    style : ``"canonical"`` says everything in one fixed way, the left or upper thing
        first: "a big red circle above a small blue star". ``"varied"`` says everything
        in one of several ways. ``"partial"`` leaves things or attributes out, as the
        alternative texts of the web do; what it says is true.
    seed : of the choices in the two latter styles.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}; got {style!r}")
    if not 1 <= len(scene.things) <= 2:
        raise ValueError(
            f"scenes of one or two things can be described; got {len(scene.things)}"
        )
    if style == "canonical":
        return _canonical(scene)
    rng = random.Random(f"{style} {seed}")
    return _varied(scene, rng, partial=style == "partial")


def parse(text: str) -> Facts:
    """Turn a sentence of the grammar back into its facts.

    Raises
    ------
    ValueError
        If the sentence is not one of the grammar; says at which word.
    """
    return _Parser(text).sentence()


def is_true(text: str, scene: Scene) -> bool:
    """Is all that the sentence says true of the scene? False if it says nothing clear."""
    facts = _facts_or_none(text)
    return facts is not None and facts.true_of(scene)


def is_complete(text: str, scene: Scene) -> bool:
    """Is the sentence true, and does it leave nothing out?"""
    facts = _facts_or_none(text)
    return facts is not None and facts.complete_for(scene)


def vocabulary() -> list[str]:
    """Every word that the grammar can say, sorted."""
    phrases = [*SHAPES, *COLOURS, *SIZES, *OPENINGS, *RELATION_WORDS, *SYNONYMS]
    words = {word for phrase in phrases for word in phrase.split()}
    return sorted(words | {"a", "an", "and", "it", "thing"})


def scene_tokenizer(extra_words: Iterable[str] = ()):
    """A fast tokenizer of transformers with one token per word of the grammar.

    ``extra_words`` are put behind the grammar's own (answers of a question task, say).
    Capital letters make no difference.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL_TOKENS.values(), *vocabulary()]
    extra = dict.fromkeys(word.lower() for word in extra_words)
    words += [word for word in extra if word not in words]
    ids = {word: index for index, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL_TOKENS["unk_token"]))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, **SPECIAL_TOKENS)


def _facts_or_none(text: str) -> Facts | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _canonical(scene: Scene) -> str:
    things = scene.things
    if len(things) == 1:
        return _name(things[0])
    relation = scene.relation()
    if relation in ("right of", "below"):
        things, relation = things[::-1], OPPOSITE[relation]
    return f"{_name(things[0])} {relation} {_name(things[1])}"


def _name(thing: Thing) -> str:
    return f"a {thing.size} {thing.colour} {thing.shape}"


def _varied(scene: Scene, rng: random.Random, partial: bool) -> str:
    order = rng.sample(range(len(scene.things)), len(scene.things))
    if partial and len(order) == 2 and rng.random() < 0.4:
        order = order[:1]
    names = [_varied_name(scene.things[i], rng, partial) for i in order]
    if len(order) == 1:
        return rng.choice(["", *(f"{o} " for o in OPENINGS)]) + names[0]
    first, second = names
    if partial and rng.random() < 0.3:
        return f"{first} and {second}"
    there = _varied_relation(scene.relation(*order), rng)
    back = _varied_relation(scene.relation(*order[::-1]), rng)
    return rng.choice(
        [
            f"{first} {there} {second}",
            f"{rng.choice(OPENINGS)} {first} {there} {second}",
            f"{there} {second} there is {first}",
            f"{first} and {back} it {second}",
        ]
    )


def _varied_name(thing: Thing, rng: random.Random, partial: bool) -> str:
    size = rng.choice([thing.size, {"big": "large", "small": "little"}[thing.size]])
    said = [True] * 3
    if partial:
        said = [rng.random() < 0.4, rng.random() < 0.7, rng.random() < 0.7]
    words = [size] * said[0] + [thing.colour] * said[1]
    words += [thing.shape if said[2] else "thing"]
    return " ".join(["an" if words[0] == "orange" else "a", *words])


def _varied_relation(relation: str, rng: random.Random) -> str:
    return rng.choice(
        [said for said, meant in RELATION_WORDS.items() if meant == relation]
    )


class _Parser:
    """Recursive descent over the words of one sentence."""

    def __init__(self, text: str):
        self.text = text
        self.words = text.lower().replace(",", " ").replace(".", " ").split()
        self.at = 0

    def sentence(self) -> Facts:
        relation = self._relation()
        if relation is not None:  # above B there is A
            second = self._thing()
            self._expect("there is")
            facts = Facts((self._thing(), second), relation)
        else:
            any(self._take(opening) for opening in OPENINGS)
            facts = self._rest(self._thing())
        if self.at < len(self.words):
            self._fail("the end of the sentence")
        return facts

    def _rest(self, first: Description) -> Facts:
        if self._take("and"):
            relation = self._relation()
            if relation is not None:  # A and below it B
                self._expect("it")
                return Facts((first, self._thing()), OPPOSITE[relation])
            return Facts((first, self._thing()))
        relation = self._relation()
        if relation is None:
            return Facts((first,))
        return Facts((first, self._thing()), relation)

    def _thing(self) -> Description:
        if not (self._take("a") or self._take("an")):
            self._fail('"a"')
        size = self._one_of(SIZES)
        colour = self._one_of(COLOURS)
        shape = self._one_of(SHAPES)
        if shape is None and not self._take("thing"):
            self._fail("a shape")
        return Description(shape, colour, size)

    def _one_of(self, known: Iterable[str]) -> str | None:
        if self.at < len(self.words):
            word = self.words[self.at]
            word = SYNONYMS.get(word, word)
            if word in known:
                self.at += 1
                return word
        return None

    def _relation(self) -> str | None:
        for said in sorted(RELATION_WORDS, key=len, reverse=True):
            if self._take(said):
                return RELATION_WORDS[said]
        return None

    def _take(self, phrase: str) -> bool:
        wanted = phrase.split()
        if self.words[self.at : self.at + len(wanted)] == wanted:
            self.at += len(wanted)
            return True
        return False

    def _expect(self, phrase: str) -> None:
        if not self._take(phrase):
            self._fail(f'"{phrase}"')

    def _fail(self, wanted: str) -> None:
        found = self.words[self.at] if self.at < len(self.words) else "the end"
        raise ValueError(
            f"cannot parse {self.text!r}: expected {wanted} at word {self.at + 1}, "
            f"found {found!r}"
        )
