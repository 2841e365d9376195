"""The world of the book: scenes of a few coloured shapes (场景).

A scene is the one thing behind all modalities: it renders to a picture and reads out as
a sentence, so every task has data that is free, exactly labelled and of any size.
Some pairs of colour and shape are held out of training: they measure whether a model
can put together what it has only seen apart.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import combinations, product

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = {  # red, green, blue in [0, 1]
    "red": (0.86, 0.15, 0.16),
    "orange": (0.96, 0.55, 0.10),
    "yellow": (0.95, 0.85, 0.20),
    "green": (0.18, 0.60, 0.24),
    "cyan": (0.20, 0.75, 0.80),
    "blue": (0.16, 0.32, 0.80),
    "purple": (0.53, 0.22, 0.67),
    "black": (0.13, 0.13, 0.15),
}
SIZES = {"big": 0.20, "small": 0.11}  # radius, as a share of the picture's side
HELD_OUT = frozenset(  # each shape once, six of the colours
    {
        ("red", "star"),
        ("yellow", "circle"),
        ("green", "triangle"),
        ("blue", "cross"),
        ("purple", "square"),
        ("orange", "ring"),
    }
)
RELATIONS = ("left of", "right of", "above", "below")
_GAP = 0.06  # free space between two things, and between two distances that decide


@dataclass(frozen=True)
class Thing:
    """One object: its shape, colour, size, and where its centre is.

    ``x`` grows to the right and ``y`` downwards, both in [0, 1] of the picture's side.
    """

    shape: str
    colour: str
    size: str
    x: float
    y: float

    def __post_init__(self):
        for name, known in ("shape", SHAPES), ("colour", COLOURS), ("size", SIZES):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got "
                    f"{getattr(self, name)!r}"
                )
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise ValueError(f"x and y must be in [0, 1]; got {self.x}, {self.y}")

    @property
    def radius(self) -> float:
        """Half its extent, as a share of the picture's side."""
        return SIZES[self.size]


@dataclass(frozen=True)
class Scene:
    """A handful of things."""

    things: tuple[Thing, ...]

    def relation(self, first: int = 0, second: int = 1) -> str:
        """How ``first`` lies to ``second``: along the axis on which they differ more."""
        a, b = self.things[first], self.things[second]
        if abs(a.x - b.x) > abs(a.y - b.y):
            return "left of" if a.x < b.x else "right of"
        return "above" if a.y < b.y else "below"


def sample_scenes(
    count: int,
    seed: int,
    objects: tuple[int, ...] = (1, 2),
    pairs: str = "seen",
) -> list[Scene]:
    """Draw scenes at random; the same seed gives the same scenes.

    Parameters
    ----------
    count : number of scenes.
    objects : how many things a scene may have, 1 to 3; each is equally likely.
    pairs : which pairs of colour and shape may occur. ``"seen"`` leaves out
        ``HELD_OUT`` (training); in ``"held-out"`` scenes every thing is one of them
        (the hardest test); ``"all"`` takes any.
    """
    pools = {
        "seen": sorted(set(product(COLOURS, SHAPES)) - HELD_OUT),
        "held-out": sorted(HELD_OUT),
        "all": sorted(product(COLOURS, SHAPES)),
    }
    if pairs not in pools:
        raise ValueError(f"pairs must be one of {', '.join(pools)}; got {pairs!r}")
    if not objects or min(objects) < 1 or max(objects) > 3:
        raise ValueError(f"objects must name numbers from 1 to 3; got {objects}")
    rng = random.Random(f"scenes {seed}")
    return [_draw(rng, rng.choice(objects), pools[pairs]) for _ in range(count)]


def _draw(rng: random.Random, number: int, pool: list[tuple[str, str]]) -> Scene:
    looks = rng.sample(pool, number)
    sizes = [rng.choice(tuple(SIZES)) for _ in looks]
    while True:
        things = tuple(
            Thing(shape, colour, size, *_place(rng, SIZES[size]))
            for (colour, shape), size in zip(looks, sizes, strict=True)
        )
        if all(_apart(a, b) for a, b in combinations(things, 2)):
            return Scene(things)


def _place(rng: random.Random, radius: float) -> tuple[float, float]:
    return rng.uniform(radius, 1 - radius), rng.uniform(radius, 1 - radius)


def _apart(a: Thing, b: Thing) -> bool:
    """Do the two neither touch, nor lie on a diagonal where no relation is clear?"""
    dx, dy = abs(a.x - b.x), abs(a.y - b.y)
    far = math.hypot(dx, dy) > a.radius + b.radius + _GAP
    return far and abs(dx - dy) > _GAP
