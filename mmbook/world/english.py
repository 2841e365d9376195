"""The world in English, and the way back to the facts.

The grammar is small and unambiguous on purpose, so what it says can be parsed again:

    sentence  = [opening] thing [relation thing]
              | relation thing "there is" thing
              | thing "and" relation "it" thing
              | thing "and" thing
              | thing motion ["and" thing motion]
    thing     = "a" [size] [colour] (shape | "thing")
    opening   = "there is" | "the picture shows" | "one can see"
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import NoReturn

from .facts import OPPOSITE, Description, Facts, in_order
from .scenes import COLOURS, MOTIONS, SHAPES, SIZES, Scene, Thing

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


def words() -> list[str]:
    """Every word that is said of a picture, sorted."""
    phrases = [*SHAPES, *COLOURS, *SIZES, *OPENINGS, *RELATION_WORDS, *SYNONYMS]
    said = {word for phrase in phrases for word in phrase.split()}
    return sorted(said | {"a", "an", "and", "it", "thing"})


def canonical(scene: Scene) -> str:
    """Everything in one fixed way, the left or upper thing first."""
    things, relation = in_order(scene)
    names = [_name(thing) for thing in things]
    return f" {relation} ".join(names)


def moving(scene: Scene) -> str:
    """How each thing moves, the left or upper one first."""
    things, _ = in_order(scene)
    return " and ".join(f"{_name(thing)} {thing.motion}" for thing in things)


def varied(scene: Scene, rng: random.Random, partial: bool) -> str:
    """Everything in one of several ways, or only a part of it."""
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


def _name(thing: Thing) -> str:
    return f"a {thing.size} {thing.colour} {thing.shape}"


def _varied_name(thing: Thing, rng: random.Random, partial: bool) -> str:
    size = rng.choice([thing.size, {"big": "large", "small": "little"}[thing.size]])
    said = [True] * 3
    if partial:
        said = [rng.random() < 0.4, rng.random() < 0.7, rng.random() < 0.7]
    name = [size] * said[0] + [thing.colour] * said[1]
    name += [thing.shape if said[2] else "thing"]
    return " ".join(["an" if name[0] == "orange" else "a", *name])


def _varied_relation(relation: str, rng: random.Random) -> str:
    return rng.choice(
        [said for said, meant in RELATION_WORDS.items() if meant == relation]
    )


class Parser:
    """Recursive descent over the words of one sentence."""

    def __init__(self, text: str):
        self.text = text
        self.words = text.lower().replace(",", " ").replace(".", " ").split()
        self.at = 0

    def sentence(self) -> Facts:
        """The facts of the whole sentence."""
        relation = self._relation()
        if relation is not None:  # above B there is A
            second = self._thing()
            self._expect("there is")
            facts = Facts((self._thing(), second), relation)
        elif any(self._take(opening) for opening in OPENINGS):
            facts = self._rest(self._thing())
        else:
            first = self._thing()
            facts = self._moving(first) or self._rest(first)
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

    def _moving(self, first: Description) -> Facts | None:
        motion = self._motion()
        if motion is None:
            return None
        things = [replace(first, motion=motion)]
        if self._take("and"):
            second = self._thing()
            motion = self._motion() or self._fail("a motion")
            things.append(replace(second, motion=motion))
        return Facts(tuple(things))

    def _motion(self) -> str | None:
        return next((motion for motion in MOTIONS if self._take(motion)), None)

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

    def _fail(self, wanted: str) -> NoReturn:
        found = self.words[self.at] if self.at < len(self.words) else "the end"
        raise ValueError(
            f"cannot parse {self.text!r}: expected {wanted} at word {self.at + 1}, "
            f"found {found!r}"
        )
