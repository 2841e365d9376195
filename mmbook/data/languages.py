"""The world in Chinese and German (中文, 德语), and the way back to the facts.

A language is a table here: how a thing is named, in each grammatical case, and the forms
that a sentence can take. A sentence is parsed by trying the forms and looking the names
up. So what parses is also correct: a wrong gender, case or measure word does not.

    forms = a | opening a | a relation b | opening a relation b
          | relation b "is" a | a "and" relation "it" b | a "and" b
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cached_property
from itertools import product

from .facts import OPPOSITE, Description, Facts, in_order
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
        things = [scene.things[i] for i in order]
        said = [_some_of(t, rng) if partial else _all_of(t) for t in things]
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
            if None not in found:
                return Facts(tuple(found), form.relation)
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


# ------------------------------------------------------------------------- Chinese

_CHINESE_NOUNS = {  # the measure words (量词) that it takes, the usual first; the noun
    "circle": ("个", "圆形"),
    "square": ("个", "正方形"),
    "triangle": ("个", "三角形"),
    "star": ("颗个", "五角星"),
    "cross": ("个", "十字"),
    "ring": ("个", "圆环"),
    None: ("个", "图形"),
}
_CHINESE_COLOURS = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "cyan": "青色",
    "blue": "蓝色",
    "purple": "紫色",
    "black": "黑色",
}
_CHINESE_SIZES = {"big": "大", "small": "小"}
_CHINESE_PLACES = {
    "left of": ("左边", "左侧"),
    "right of": ("右边", "右侧"),
    "above": ("上方", "上面"),
    "below": ("下方", "下面"),
}


def _chinese_names(said: Description) -> list[dict[str, str]]:
    """ "一个大的红色圆形" or "一个红色的大圆形"; never "大红色", which is bright red."""
    measures, noun = _CHINESE_NOUNS[said.shape]
    size = _CHINESE_SIZES.get(said.size)
    colour = _CHINESE_COLOURS.get(said.colour)
    if size and colour:
        looks = [f"{size} 的 {colour}", f"{colour} 的 {size}"]
    elif size or colour:
        looks = [f"{size or colour} 的", size or colour]
    else:
        looks = [""]
    return [
        {"nominative": f"一 {measure} {look} {noun}"}
        for measure in measures
        for look in looks
    ]


def _chinese_forms() -> list[Form]:
    there_is = ("图中 有", "画面上 有", "可以 看到")
    forms = [Form("{a}"), Form("{a} 和 {b}")]
    forms += [Form(f"{start} {{a}}") for start in there_is]
    forms += [Form(f"{start} {{a}} 和 {{b}}") for start in there_is]
    for relation, places in _CHINESE_PLACES.items():
        for place in places:
            forms += [
                Form(f"{{a}} 在 {{b}} 的 {place}", relation),
                Form(f"{{a}} 在 {{b}} {place}", relation),
                Form(f"图中 {{a}} 在 {{b}} 的 {place}", relation),
                Form(f"可以 看到 {{a}} 在 {{b}} 的 {place}", relation),
                Form(f"{{b}} 的 {place} 有 {{a}}", relation),
            ]
            forms += [
                Form(f"{start} {{a}} ， 它 的 {place} 有 {{b}}", OPPOSITE[relation])
                for start in there_is
            ]
    return forms


CHINESE = Grammar("Chinese", _chinese_names, _chinese_forms(), spaced=False)


# -------------------------------------------------------------------------- German

_GERMAN_NOUNS = {  # the noun, its gender
    "circle": ("Kreis", "masculine"),
    "square": ("Quadrat", "neuter"),
    "triangle": ("Dreieck", "neuter"),
    "star": ("Stern", "masculine"),
    "cross": ("Kreuz", "neuter"),
    "ring": ("Ring", "masculine"),
    None: ("Ding", "neuter"),
}
_GERMAN_COLOURS = {
    "red": "rot",
    "orange": "orangefarben",  # "orange" itself takes no endings
    "yellow": "gelb",
    "green": "grün",
    "cyan": "türkisfarben",
    "blue": "blau",
    "purple": "violett",
    "black": "schwarz",
}
_GERMAN_SIZES = {"big": "groß", "small": "klein"}
_GERMAN_ENDINGS = {  # the article, and the ending of each adjective behind it
    "masculine": {
        "nominative": ("ein", "er"),
        "accusative": ("einen", "en"),
        "dative": ("einem", "en"),
    },
    "neuter": {
        "nominative": ("ein", "es"),
        "accusative": ("ein", "es"),
        "dative": ("einem", "en"),
    },
}
_GERMAN_RELATIONS = {  # all of them want the dative; and how they point back to a thing
    "left of": (("links von",), "links davon"),
    "right of": (("rechts von",), "rechts davon"),
    "above": (("über", "oberhalb von"), "darüber"),
    "below": (("unter", "unterhalb von"), "darunter"),
}


def _german_names(said: Description) -> list[dict[str, str]]:
    noun, gender = _GERMAN_NOUNS[said.shape]
    stems = [_GERMAN_SIZES.get(said.size), _GERMAN_COLOURS.get(said.colour)]
    names = {}
    for case, (article, ending) in _GERMAN_ENDINGS[gender].items():
        adjectives = [stem + ending for stem in stems if stem]
        names[case] = " ".join([article, *adjectives, noun])
    return [names]


def _german_forms() -> list[Form]:
    openings = ("es gibt {a.accusative}", "das Bild zeigt {a.accusative}")
    openings += ("man sieht {a.accusative}", "zu sehen ist {a}")
    forms = [Form("{a}"), Form("{a} und {b}"), *map(Form, openings)]
    for relation, (said, back) in _GERMAN_RELATIONS.items():
        for there in said:
            starts = ("{a}", *openings)
            forms += [
                Form(f"{start} {there} {{b.dative}}", relation) for start in starts
            ]
            forms.append(Form(f"{there} {{b.dative}} ist {{a}}", relation))
        forms.append(Form(f"{{a}} und {back} {{b}}", OPPOSITE[relation]))
    return forms


GERMAN = Grammar("German", _german_names, _german_forms(), spaced=True)
GRAMMARS = {"zh": CHINESE, "de": GERMAN}
