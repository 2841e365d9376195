"""Sentences with words that mean two things, and pictures that say which (歧义词).

A picture shows two objects of :mod:`mmbook.world.icons`. An English sentence speaks of
one or of both of them, by names such as "bat" or "crane", which German and Chinese
translate in two ways. The sentence alone says nothing about the sense, and the picture
alone does not say what the sentence is about. Chapter 6.6.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .icons import icon
from .languages import _CHINESE_COLOURS, _CHINESE_PLACES, _GERMAN_COLOURS
from .languages import _GERMAN_ENDINGS as _WITHOUT_FEMININE
from .scenes import COLOURS

SENSES = {  # of each icon: German noun, gender, Chinese measure word, Chinese noun
    "bat, animal": ("Fledermaus", "feminine", "只", "蝙蝠"),
    "bat, club": ("Schläger", "masculine", "根", "球棒"),
    "crane, bird": ("Kranich", "masculine", "只", "鹤"),
    "crane, machine": ("Kran", "masculine", "台", "起重机"),
    "seal, animal": ("Robbe", "feminine", "只", "海豹"),
    "seal, stamp": ("Stempel", "masculine", "枚", "印章"),
    "nail, metal": ("Nagel", "masculine", "颗", "钉子"),
    "nail, finger": ("Fingernagel", "masculine", "片", "指甲"),
    "spring, coil": ("Feder", "feminine", "根", "弹簧"),
    "spring, water": ("Quelle", "feminine", "眼", "泉"),
    "palm, tree": ("Palme", "feminine", "棵", "棕榈树"),
    "palm, hand": ("Handfläche", "feminine", "只", "手掌"),
    "key, door": ("Schlüssel", "masculine", "把", "钥匙"),
    "key, keyboard": ("Taste", "feminine", "个", "按键"),
    "pipe, smoking": ("Pfeife", "feminine", "支", "烟斗"),
    "pipe, tube": ("Rohr", "neuter", "根", "管子"),
    "bow, weapon": ("Bogen", "masculine", "张", "弓"),
    "bow, ribbon": ("Schleife", "feminine", "个", "蝴蝶结"),
    "bank, money": ("Bank", "feminine", "家", "银行"),
    "bank, river": ("Ufer", "neuter", "段", "河岸"),
    "mouse, animal": ("Maus", "feminine", "只", "老鼠"),
    "mouse, device": ("Maus", "feminine", "个", "鼠标"),
    "trunk, elephant": ("Rüssel", "masculine", "条", "象鼻"),
    "trunk, tree": ("Baumstamm", "masculine", "根", "树干"),
}
FORMS = ("there is", "do you see", "relation")
RADIUS = 0.2  # of an icon, as a share of the picture's side
_APART = 0.46  # between the middles of two icons
_ENDINGS = {
    **_WITHOUT_FEMININE,
    "feminine": {
        "nominative": ("eine", "e"),
        "accusative": ("eine", "e"),
        "dative": ("einer", "en"),
    },
}
_GERMAN_PLACES = {
    "left of": "links von",
    "right of": "rechts von",
    "above": "über",
    "below": "unter",
}
_GROUND = 0.93


@dataclass(frozen=True)
class Meant:
    """An object of a picture: its sense (a name of an icon), colour and place."""

    sense: str
    colour: str
    x: float
    y: float

    @property
    def word(self) -> str:
        """Its English name, which has another sense as well."""
        return self.sense.split(",")[0]

    def name(self, language: str, case: str = "nominative") -> str:
        """What it is called: "an orange bat", in German by case, in Chinese in words."""
        german, gender, measure, chinese = SENSES[self.sense]
        if language == "en":
            article = "an" if self.colour[0] in "aeiou" else "a"
            return f"{article} {self.colour} {self.word}"
        if language == "de":
            article, ending = _ENDINGS[gender][case]
            return f"{article} {_GERMAN_COLOURS[self.colour]}{ending} {german}"
        return f"一 {measure} {_CHINESE_COLOURS[self.colour]} 的 {chinese}"


@dataclass(frozen=True)
class Utterance:
    """Two objects, and what is said of them: one of ``FORMS``.

    The first object is the one that is spoken of, or the subject of the relation.
    """

    things: tuple[Meant, Meant]
    form: str

    @property
    def relation(self) -> str:
        """How the first object lies to the second."""
        a, b = self.things
        if abs(a.x - b.x) > abs(a.y - b.y):
            return "left of" if a.x < b.x else "right of"
        return "above" if a.y < b.y else "below"

    @property
    def said(self) -> tuple[Meant, ...]:
        """The objects that the sentence names."""
        return self.things if self.form == "relation" else self.things[:1]

    def sentence(self, language: str) -> str:
        """The sentence in ``"en"``, ``"de"`` or ``"zh"`` (words apart)."""
        if language not in ("en", "de", "zh"):
            raise ValueError(f"language must be en, de or zh; got {language!r}")
        a, b = self.things
        if self.form == "relation":
            return _related(a, b, self.relation, language)
        return {
            ("there is", "en"): f"there is {a.name('en')}",
            ("there is", "de"): f"da ist {a.name('de')}",
            ("there is", "zh"): f"这里 有 {a.name('zh')}",
            ("do you see", "en"): f"do you see {a.name('en')} ?",
            ("do you see", "de"): f"siehst du {a.name('de', 'accusative')} ?",
            ("do you see", "zh"): f"你 看到 {a.name('zh')} 吗 ？",
        }[self.form, language]

    def other_sense(self) -> Utterance:
        """The same English sentence and places, each object in its other sense."""
        return replace(self, things=(_other(self.things[0]), _other(self.things[1])))


def _related(a: Meant, b: Meant, relation: str, language: str) -> str:
    if language == "en":
        return f"{a.name('en')} is {relation} {b.name('en')}"
    if language == "de":
        return f"{a.name('de')} ist {_GERMAN_PLACES[relation]} {b.name('de', 'dative')}"
    place = _CHINESE_PLACES[relation][0]
    return f"{a.name('zh')} 在 {b.name('zh')} 的 {place}"


def _other(thing: Meant) -> Meant:
    both = [sense for sense in SENSES if sense.split(",")[0] == thing.word]
    return replace(thing, sense=both[both[0] == thing.sense])


def sample_utterances(count: int, seed: int) -> list[Utterance]:
    """Draw pictures and sentences at random; the same seed gives the same ones.

    The two objects have different English names and colours; senses, colours, places and
    forms are drawn independently, so no other word of a sentence tells the sense.
    """
    rng = random.Random(f"utterances {seed}")
    words = list(dict.fromkeys(sense.split(",")[0] for sense in SENSES))
    return [_utterance(rng, words) for _ in range(count)]


def _utterance(rng: random.Random, words: list[str]) -> Utterance:
    senses = [
        rng.choice([s for s in SENSES if s.split(",")[0] == word])
        for word in rng.sample(words, 2)
    ]
    colours = rng.sample(tuple(COLOURS), 2)
    while True:
        places = [[rng.uniform(RADIUS, 1 - RADIUS) for _ in "xy"] for _ in senses]
        dx, dy = (abs(a - b) for a, b in zip(*places, strict=True))
        if max(dx, dy) > _APART and abs(dx - dy) > 0.1:
            break
    first, second = (
        Meant(sense, colour, *place)
        for sense, colour, place in zip(senses, colours, places, strict=True)
    )
    return Utterance((first, second), rng.choice(FORMS))


def render_utterances(
    utterances: Sequence[Utterance], size: int = 48, noise: float = 0.02, seed: int = 0
) -> Tensor:
    """Paint the objects of some utterances: (B, 3, H, W) float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    canvas = np.full((len(utterances), 3, size, size), _GROUND, dtype=np.float32)
    for picture, utterance in zip(canvas, utterances, strict=True):
        for thing in utterance.things:
            _stamp(picture, thing, rng.normal(0, 0.03, 3) if noise else np.zeros(3))
    canvas += noise * rng.standard_normal(canvas[:, :1].shape, dtype=np.float32)
    return torch.from_numpy(canvas.clip(0, 1))


def _stamp(picture: np.ndarray, thing: Meant, tint: np.ndarray) -> None:
    """Put an object on a picture (3, H, W)."""
    size = picture.shape[-1]
    side = round(2 * RADIUS * size)
    top, left = (
        min(max(round(place * size - side / 2), 0), size - side)
        for place in (thing.y, thing.x)
    )
    covered = icon(thing.sense, side)
    part = picture[:, top : top + side, left : left + side]
    colour = (np.array(COLOURS[thing.colour]) + tint).astype(np.float32)
    part += covered * (colour[:, None, None] - part)


class AmbiguousPictures(Dataset):
    """Pictures with an English sentence and its translation (带图翻译).

    Items are ``{"image": (3, H, W) uint8, "text": str, "caption": str, "index": int}``:
    the caption is the translation.

    Parameters
    ----------
    utterances : from :func:`sample_utterances`; kept as ``.utterances``.
    language : of the translation, ``"de"`` or ``"zh"``.
    size, noise, seed : of the pictures.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        language: str = "de",
        size: int = 48,
        noise: float = 0.02,
        seed: int = 0,
    ):
        if not utterances:
            raise ValueError("no utterances: the list is empty")
        if language not in ("de", "zh"):
            raise ValueError(f"language must be de or zh; got {language!r}")
        self.utterances, self.language = list(utterances), language
        self.texts = [u.sentence("en") for u in utterances]
        self.captions = [u.sentence(language) for u in utterances]
        painted = render_utterances(self.utterances, size, noise, seed)
        self.images = (painted * 255).round().byte()

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> dict:
        return {
            "image": self.images[index],
            "text": self.texts[index],
            "caption": self.captions[index],
            "index": int(index),
        }

    @property
    def references(self) -> list[list[str]]:
        """The true translation of each sentence: here one."""
        return [[caption] for caption in self.captions]

    def pixels(self, number: int) -> Tensor:
        """One picture, (3, H, W) uint8."""
        return self.images[number]


def sense_accuracy(
    translations: Sequence[str], utterances: Sequence[Utterance], language: str
) -> float:
    """Share of ambiguous words whose right translation stands in the sentence.

    A word counts if its two senses have two names in this language: an English mouse is
    a "Maus" in German in both senses.
    """
    if len(translations) != len(utterances):
        raise ValueError(
            f"{len(translations)} translations for {len(utterances)} utterances"
        )
    noun = 0 if language == "de" else 3
    right = []
    for text, utterance in zip(translations, utterances, strict=True):
        for thing in utterance.said:
            true, false = (SENSES[t.sense][noun] for t in (thing, _other(thing)))
            if true != false:
                right.append(_says(text, true) and not _says(text, false))
    return sum(right) / len(right)


def _says(text: str, noun: str) -> bool:
    """Is a noun in a sentence? Chinese is also written without spaces."""
    return noun in (text.split() if noun.isascii() or noun[0].isupper() else text)


def ambiguous_words() -> list[str]:
    """Every word of the sentences in the three languages, for a tokenizer."""
    sentences = [
        Utterance((Meant(sense, colour, *place), Meant(sense, colour, 0.5, 0.5)), form)
        for sense in SENSES
        for colour in COLOURS
        for place in ((0.2, 0.5), (0.8, 0.5), (0.5, 0.2), (0.5, 0.8))
        for form in FORMS
    ]
    texts = [s.sentence(language) for s in sentences for language in ("en", "de", "zh")]
    return sorted({word for text in texts for word in text.split()})
