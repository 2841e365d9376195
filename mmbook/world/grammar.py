"""A grammar (语法) as templates: it writes sentences and reads them back."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cached_property
from itertools import product

from .facts import Description, Facts, in_order
from .scenes import COLOURS, SHAPES, SIZES, Scene, Thing

_SLOT = re.compile(r"\{([ab])(?:\.(\w+))?\}")


class Form:
    """One form of a sentence: ``{a}`` and ``{b.dative}`` are places for names.

    Parameters
    ----------
    text : words with spaces between them, and the places of the names, which stand in
        the nominative if nothing else is said.
    relation : how a lies to b, if the sentence says it.
    """

    def __init__(self, text: str, relation: str | None = None):
        self.text, self.relation = text, relation
        self.cases = {slot: case or "nominative" for slot, case in _SLOT.findall(text)}
        self.words = _SLOT.sub(" ", text).split()

    def fill(self, names: dict[str, dict[str, str]]) -> str:
        """The sentence with these names, each given in all cases."""
        return _SLOT.sub(lambda m: names[m[1]][self.cases[m[1]]], self.text)

    def pattern(self, clean: Callable[[str], str], space: str) -> re.Pattern:
        """What finds the names in a sentence of this form."""
        parts = [clean(part) for part in re.split(r"\{.*?\}", self.text)]
        slots = [f"(?P<{slot}>.+?)" for slot in self.cases]  # in order of the text
        mixed = [re.escape(parts[0])]
        for slot, part in zip(slots, parts[1:], strict=True):
            mixed += [slot, re.escape(part)]
        return re.compile(space.join(piece for piece in mixed if piece))


class Grammar:
    """A language: says what a scene shows, and parses what is said.

    Parameters
    ----------
    language : its English name.
    names : gives the ways to name a thing, each one in all cases; the canonical first.
    forms : of sentences; the first with a number of things and a relation is canonical.
    spaced : are words written with spaces between them?
    """

    def __init__(
        self,
        language: str,
        names: Callable[[Description], list[dict[str, str]]],
        forms: list[Form],
        spaced: bool,
    ):
        self.language, self.names, self.forms = language, names, forms
        self.space = " " if spaced else ""

    def say(self, scene: Scene, style: str, rng: random.Random) -> str:
        """A sentence about a scene of one or two things."""
        if style == "canonical":
            things, relation = in_order(scene)
            names = [self.names(_all_of(thing))[0] for thing in things]
            return self._fill(self._fitting(len(things), relation)[0], names)
        partial = style == "partial"
        order = rng.sample(range(len(scene.things)), len(scene.things))
        if partial and len(order) == 2 and rng.random() < 0.4:
            order = order[:1]
        shown = [scene.things[i] for i in order]
        said = [_some_of(t, rng) if partial else _all_of(t) for t in shown]
        silent = len(order) == 1 or (partial and rng.random() < 0.3)
        relation = None if silent else scene.relation(*order)
        form = rng.choice(self._fitting(len(order), relation))
        return self._fill(form, [rng.choice(self.names(what)) for what in said])

    def parse(self, text: str) -> Facts:
        """Turn a sentence of the language back into its facts.

        Raises
        ------
        ValueError
            If it is not a correct sentence of the grammar; says what is not.
        """
        cleaned, reasons = self._clean(text), []
        for form, pattern in self._patterns:
            match = pattern.fullmatch(cleaned)
            if match is None:
                continue
            cases = form.cases
            found = [self._table[cases[s]].get(match[s]) for s in sorted(cases)]
            said = tuple(what for what in found if what is not None)
            if len(said) == len(found):
                return Facts(said, form.relation)
            wrong = sorted(cases)[found.index(None)]
            case = f" in the {cases[wrong]}" if len(self._table) > 1 else ""
            reasons.append(f"{match[wrong]!r} names nothing{case}")
        reason = reasons[0] if reasons else "it is empty"
        raise ValueError(f"cannot parse {text!r} as {self.language}: {reason}")

    @property
    def words(self) -> list[str]:
        """Every word that the grammar can say, sorted."""
        said = {word for form in self.forms for word in form.words}
        for what in _everything():
            for name in self.names(what):
                said |= {word for text in name.values() for word in text.split()}
        return sorted(said)

    def _fill(self, form: Form, names: list[dict[str, str]]) -> str:
        text = form.fill(dict(zip("ab", names, strict=False)))
        return text if self.space else text.replace(" ", "")

    def _fitting(self, number: int, relation: str | None) -> list[Form]:
        return [
            form
            for form in self.forms
            if len(form.cases) == number and form.relation == relation
        ]

    def _clean(self, text: str) -> str:
        """Small letters, one space or none between words, no full stop or comma."""
        return self.space.join(re.sub(r"[,.，。]", " ", text.lower()).split())

    @cached_property
    def _patterns(self) -> list[tuple[Form, re.Pattern]]:
        """The forms with the most fixed words first: they give the best reasons."""
        forms = sorted(self.forms, key=lambda form: -len(form.words))
        return [(form, form.pattern(self._clean, self.space)) for form in forms]

    @cached_property
    def _table(self) -> dict[str, dict[str, Description]]:
        """For each case, from names to what they say."""
        table: dict[str, dict[str, Description]] = {}
        for what in _everything():
            for name in self.names(what):
                for case, text in name.items():
                    table.setdefault(case, {})[self._clean(text)] = what
        return table


def _all_of(thing: Thing) -> Description:
    return Description(thing.shape, thing.colour, thing.size)


def _some_of(thing: Thing, rng: random.Random) -> Description:
    """Leave attributes out, as often as in English."""
    size, colour, shape = (rng.random() < share for share in (0.4, 0.7, 0.7))
    return Description(
        thing.shape if shape else None,
        thing.colour if colour else None,
        thing.size if size else None,
    )


def _everything() -> list[Description]:
    """All that can be said of one thing."""
    kinds = ((*known, None) for known in (SHAPES, COLOURS, SIZES))
    return [Description(*said) for said in product(*kinds)]
