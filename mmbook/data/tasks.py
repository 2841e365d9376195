"""Tasks on scenes: what a model is asked, and what would be right."""

from __future__ import annotations

import random

from torch.utils.data import Dataset

from .render import render
from .scenes import COLOURS, SHAPES, Thing, sample_scenes


class Matching(Dataset):
    """Is the sentence true of the picture? (图文匹配)

    Each picture shows one thing, each sentence names a colour and a shape. Half of the
    sentences are true; in a false one the colour, the shape or both are wrong. All pairs
    of colour and shape are equally likely in the pictures, in the true sentences and in
    the false ones, so neither the picture alone nor the sentence alone says anything
    about the answer: chapter 1.1 counts it.

    Items are ``{"image", "text", "label"}`` with label 1 for true and 0 for false.

    Parameters
    ----------
    count, seed : how many examples, and which.
    size, noise : of the pictures, see :func:`mmbook.data.render.render`.
    """

    def __init__(self, count: int, seed: int, size: int = 48, noise: float = 0.02):
        if count < 1:
            raise ValueError(f"count must be 1 or more; got {count}")
        rng = random.Random(f"matching {seed}")
        self.scenes = sample_scenes(count, seed, objects=(1,), pairs="all")
        self.labels = [index % 2 for index in range(count)]
        rng.shuffle(self.labels)
        self.texts = [
            _sentence(_said(scene.things[0], label, rng))
            for scene, label in zip(self.scenes, self.labels, strict=True)
        ]
        self.images = (render(self.scenes, size, noise, seed) * 255).round().byte()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {
            "image": self.images[index],
            "text": self.texts[index],
            "label": self.labels[index],
        }


def _said(thing: Thing, label: int, rng: random.Random) -> tuple[str, str]:
    """The colour and the shape that the sentence names."""
    if label == 1:
        return thing.colour, thing.shape
    colour = rng.choice([name for name in COLOURS if name != thing.colour])
    shape = rng.choice([name for name in SHAPES if name != thing.shape])
    return rng.choice([(colour, thing.shape), (thing.colour, shape), (colour, shape)])


def _sentence(said: tuple[str, str]) -> str:
    colour, shape = said
    return f"{'an' if colour == 'orange' else 'a'} {colour} {shape}"
