"""People who say what they think, or the opposite: text, face and voice (情感).

Each of three modalities gives one sign of a mood, glad or displeased: the words, the face
(mouth and brows), the tone of voice (pitch, pace and melody beside the speaker's own).
The signs are drawn independently, and the mood is that of the majority. So each sign
alone is right in three of four cases, and so are any two; only all three decide. If the
words are outvoted, what is said is ironic. Chapter 6.7.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset

from .speech import speak
from .voices import Voice, sample_voices

MODALITIES = ("text", "image", "audio")
TOPICS = ("film", "meal", "trip", "song", "game", "book", "concert", "view")
PRAISE = ("lovely", "great", "wonderful", "brilliant", "charming", "perfect")
BLAME = ("awful", "terrible", "boring", "dreadful", "horrible", "poor")
PHRASE = "there it is"  # what every voice says: its words say nothing about the mood
RATE, SECONDS = 8_000, 1.6
_FINE = 4  # faces are drawn so many times as large, and then averaged
_GROUND = 0.93
_SKINS = (
    (0.98, 0.85, 0.70),
    (0.87, 0.67, 0.49),
    (0.62, 0.43, 0.30),
    (0.42, 0.28, 0.20),
)


@dataclass(frozen=True)
class Person:
    """One person at one moment: a sign in each modality, and how it looks and sounds.

    ``signs`` are those of text, image and audio, in this order: True is glad.
    """

    signs: tuple[bool, bool, bool]
    sentence: str
    skin: int
    tilt: float
    strength: float
    voice: Voice
    seed: int

    @property
    def glad(self) -> bool:
        """The mood: what two of three signs say."""
        return sum(self.signs) >= 2

    @property
    def ironic(self) -> bool:
        """Do the words say the opposite of the mood?"""
        return self.signs[0] != self.glad


def sample_people(count: int, seed: int, split: str = "train") -> list[Person]:
    """Draw people at random; the same seed gives the same ones.

    Parameters
    ----------
    count : number of people.
    split : whose voices they have, see :func:`mmbook.world.sample_voices`.
    """
    rng = random.Random(f"people {seed} {split}")
    voices = sample_voices(200, split)
    return [_person(rng, voices) for _ in range(count)]


def _person(rng: random.Random, voices: Sequence[Voice]) -> Person:
    signs = (rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.5)
    return Person(
        signs,
        _sentence(signs[0], rng),
        rng.randrange(len(_SKINS)),
        rng.uniform(-1, 1),
        rng.uniform(0.5, 1),
        rng.choice(voices),
        rng.randrange(2**31),
    )


def _sentence(glad: bool, rng: random.Random) -> str:
    """A sentence of this polarity; one of four negates a word of the other one."""
    topic, negated = rng.choice(TOPICS), rng.random() < 0.25
    word = rng.choice(PRAISE if glad != negated else BLAME)
    if negated:
        return rng.choice(
            (f"the {topic} was not {word}", f"that was no {word} {topic}")
        )
    article = "an" if word[0] in "aeiou" else "a"
    return rng.choice((f"the {topic} was {word}", f"what {article} {word} {topic}"))


def mood_words() -> list[str]:
    """Every word of the sentences, for a tokenizer."""
    words = "the was not that no what a an".split()
    return sorted({*words, *TOPICS, *PRAISE, *BLAME})


def draw_face(person: Person, size: int = 48, noise: float = 0.02) -> Tensor:
    """The person's face, (3, H, W) float32 in [0, 1]."""
    rng = np.random.default_rng(person.seed)
    sheet = Image.new("RGB", (size * _FINE,) * 2, (round(_GROUND * 255),) * 3)
    pen, side = ImageDraw.Draw(sheet), size * _FINE
    middle = np.array([0.5 + 0.04 * person.tilt, 0.5 + 0.03 * rng.uniform(-1, 1)])
    skin = tuple(round(255 * part) for part in _SKINS[person.skin])
    _ellipse(pen, middle, (0.34, 0.42), side, skin)
    bend = (1 if person.signs[1] else -1) * person.strength
    for way in (-1, 1):
        eye = middle + np.array([0.14 * way, -0.1])
        _ellipse(pen, eye, (0.045, 0.05), side, (30, 30, 35))
        inner, outer = (eye + np.array([0.07 * end * way, -0.11]) for end in (-1, 1))
        inner[1] += 0.05 * max(-bend, 0)  # frowning brows come down towards the nose
        _line(pen, [inner, outer], side, 0.03)
    x = np.linspace(-0.16, 0.16, 13)
    y = 0.2 + 0.09 * bend * (0.5 - (x / 0.16) ** 2)
    _line(pen, list(middle + np.stack([x, y], 1)), side, 0.035, (150, 30, 40))
    fine = np.asarray(sheet, dtype=np.float32) / 255
    face = fine.reshape(size, _FINE, size, _FINE, 3).mean((1, 3)).transpose(2, 0, 1)
    face = face + noise * rng.standard_normal((1, size, size))
    return torch.from_numpy(face.clip(0, 1).astype(np.float32))


def _ellipse(pen, middle, radii, side: int, colour) -> None:
    (x, y), (wide, tall) = middle * side, (radii[0] * side, radii[1] * side)
    pen.ellipse([x - wide, y - tall, x + wide, y + tall], fill=colour)


def _line(pen, points, side: int, width: float, colour=(30, 30, 35)) -> None:
    places = [tuple(float(v) for v in point * side) for point in points]
    pen.line(places, fill=colour, width=round(width * side), joint="curve")


def hear(person: Person) -> Tensor:
    """The person's voice, (S,) float32: glad is higher, faster and more melodious."""
    way = (1 if person.signs[2] else -1) * person.strength
    voice = replace(
        person.voice,
        pitch=float(np.clip(person.voice.pitch * 1.25**way, 50, 500)),
        pace=person.voice.pace * 1.2**way,
        melody=float(np.clip(person.voice.melody + 0.2 * way, 0, 0.8)),
    )
    wave = speak(PHRASE, voice, RATE, seed=person.seed)
    whole = torch.zeros(round(RATE * SECONDS))
    whole[: len(wave)] = wave[: len(whole)]
    return whole


class Moods(Dataset):
    """People with a sentence, a face and a voice, and their mood (多模态情感分析).

    Items are ``{"text": str, "image": (3, H, W) uint8, "audio": (S,) int16, "label"}``
    with label 1 for glad and 0 for displeased; with ``target="irony"`` 1 for ironic.

    Parameters
    ----------
    people : from :func:`sample_people`; kept as ``.people``.
    target : ``"mood"`` or ``"irony"``.
    """

    def __init__(self, people: Sequence[Person], target: str = "mood"):
        if not people:
            raise ValueError("no people: the list is empty")
        if target not in ("mood", "irony"):
            raise ValueError(f"target must be mood or irony; got {target!r}")
        self.people, self.target = list(people), target
        self.texts = [person.sentence for person in people]
        self.images = torch.stack([draw_face(person) for person in people])
        self.images = (self.images * 255).round().byte()
        self.waves = torch.stack([hear(person) for person in people])
        self.waves = (self.waves * 32767).round().to(torch.int16)
        chosen = [p.glad if target == "mood" else p.ironic for p in people]
        self.labels = [int(each) for each in chosen]

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, index: int) -> dict:
        return {
            "text": self.texts[index],
            "image": self.images[index],
            "audio": self.waves[index].float() / 32767,
            "label": self.labels[index],
        }

    def pixels(self, number: int) -> Tensor:
        """One face, (3, H, W) uint8."""
        return self.images[number]


@lru_cache
def best_accuracy(modalities: tuple[str, ...]) -> float:
    """The share that nobody can surpass who knows these modalities alone, exactly.

    Of the eight equally likely triples of signs, those with equal known signs cannot be
    told apart; the best answer for them is their more frequent mood.
    """
    if unknown := set(modalities) - set(MODALITIES):
        raise ValueError(f"modalities are {MODALITIES}; got {sorted(unknown)}")
    places = [MODALITIES.index(name) for name in modalities]
    groups: dict[tuple, list[bool]] = {}
    for number in range(8):
        signs = [bool(number >> bit & 1) for bit in range(3)]
        key = tuple(signs[place] for place in places)
        groups.setdefault(key, []).append(sum(signs) >= 2)
    return sum(max(sum(m), len(m) - sum(m)) for m in groups.values()) / 8
