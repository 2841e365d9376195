"""The world of the book: scenes of a few coloured shapes (场景).

A scene is the one thing behind all modalities: it renders to a picture or, if its things
move (运动), to a clip, and reads out as a sentence. So every task has data that is free,
exactly labelled and of any size.
Some pairs of colour and shape are held out of training: they measure whether a model
can put together what it has only seen apart.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

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
MOTIONS = {  # change of x, y and radius from the first to the last frame of a clip
    "moves left": (-0.25, 0.0, 0.0),
    "moves right": (0.25, 0.0, 0.0),
    "moves up": (0.0, -0.25, 0.0),
    "moves down": (0.0, 0.25, 0.0),
    "grows": (0.0, 0.0, 0.05),
    "shrinks": (0.0, 0.0, -0.05),
    "blinks": (0.0, 0.0, 0.0),
    "stays": (0.0, 0.0, 0.0),
}
_STEPS = 32  # a clip is checked for touching things at so many moments
_GAP = 0.06  # free space between two things, and between two distances that decide


class Moment(NamedTuple):
    """Where a thing is at one moment, how large, and whether it is to be seen."""

    x: float
    y: float
    radius: float
    visible: bool


@dataclass(frozen=True)
class Thing:
    """One object: its shape, colour, size, where its centre is, and how it moves.

    ``x`` grows to the right and ``y`` downwards, both in [0, 1] of the picture's side.
    Place and size are those of the first frame. ``motion`` is one of ``MOTIONS``, or
    None for a thing of a picture, of which nobody says that it moves or stays.
    """

    shape: str
    colour: str
    size: str
    x: float
    y: float
    motion: str | None = None

    def __post_init__(self):
        for name, known in ("shape", SHAPES), ("colour", COLOURS), ("size", SIZES):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got "
                    f"{getattr(self, name)!r}"
                )
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise ValueError(f"x and y must be in [0, 1]; got {self.x}, {self.y}")
        if self.motion is not None and self.motion not in MOTIONS:
            raise ValueError(
                f"motion must be one of {', '.join(MOTIONS)}, or None; got "
                f"{self.motion!r}"
            )

    @property
    def radius(self) -> float:
        """Half its extent, as a share of the picture's side."""
        return SIZES[self.size]

    def at(self, progress: float) -> Moment:
        """Where it is when this share of the clip has passed, from 0 to 1.

        Places and radii change evenly. What blinks is dark twice: from 1/8 to
        3/8 of the clip and from 5/8 to 7/8, which five frames or more show.
        """
        dx, dy, growth = MOTIONS[self.motion or "stays"]
        dark = self.motion == "blinks" and abs(2 * progress % 1 - 0.5) < 0.25
        return Moment(
            self.x + dx * progress,
            self.y + dy * progress,
            self.radius + growth * progress,
            not dark,
        )


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
    pool = _pool(pairs)
    if not objects or min(objects) < 1 or max(objects) > 3:
        raise ValueError(f"objects must name numbers from 1 to 3; got {objects}")
    rng = random.Random(f"scenes {seed}")
    return [_draw(rng, rng.choice(objects), pool) for _ in range(count)]


def sample_moving_scenes(
    count: int,
    seed: int,
    objects: tuple[int, ...] = (1, 2),
    pairs: str = "seen",
    motions: Sequence[str] = tuple(MOTIONS),
) -> list[Scene]:
    """Draw scenes whose things move; the same seed gives the same scenes.

    Nothing leaves the picture or touches another thing while it moves, and in the first
    frame it is clear how two things lie to each other. Each motion is equally likely,
    whatever the sizes and whatever the other thing does.

    Parameters
    ----------
    count, pairs : as in :func:`sample_scenes`.
    objects : how many things a scene may have, 1 or 2; each is equally likely.
    motions : those of ``MOTIONS`` that may occur.
    """
    pool = _pool(pairs)
    if not objects or not set(objects) <= {1, 2}:
        raise ValueError(f"objects must name the numbers 1 or 2; got {objects}")
    if not motions or not set(motions) <= set(MOTIONS):
        raise ValueError(
            f"motions must be some of {', '.join(MOTIONS)}; got {motions!r}"
        )
    rng = random.Random(f"moving scenes {seed}")
    return [_draw(rng, rng.choice(objects), pool, motions) for _ in range(count)]


def _pool(pairs: str) -> list[tuple[str, str]]:
    """The pairs of colour and shape that may occur."""
    pools = {
        "seen": sorted(set(product(COLOURS, SHAPES)) - HELD_OUT),
        "held-out": sorted(HELD_OUT),
        "all": sorted(product(COLOURS, SHAPES)),
    }
    if pairs not in pools:
        raise ValueError(f"pairs must be one of {', '.join(pools)}; got {pairs!r}")
    return pools[pairs]


def _draw(
    rng: random.Random,
    number: int,
    pool: list[tuple[str, str]],
    motions: Sequence[str] | None = None,
) -> Scene:
    looks = rng.sample(pool, number)
    sizes = [rng.choice(tuple(SIZES)) for _ in looks]
    moves = [None if motions is None else rng.choice(motions) for _ in looks]
    while True:
        things = tuple(
            Thing(shape, colour, size, *_place(rng, SIZES[size], motion), motion)
            for (colour, shape), size, motion in zip(looks, sizes, moves, strict=True)
        )
        if all(_apart(a, b) for a, b in combinations(things, 2)):
            return Scene(things)


def _place(
    rng: random.Random, radius: float, motion: str | None
) -> tuple[float, float]:
    """A place from which the motion stays inside the picture."""
    dx, dy, growth = MOTIONS[motion or "stays"]
    widest = radius + max(growth, 0)
    return (
        rng.uniform(widest - min(dx, 0), 1 - widest - max(dx, 0)),
        rng.uniform(widest - min(dy, 0), 1 - widest - max(dy, 0)),
    )


def _apart(a: Thing, b: Thing) -> bool:
    """Do the two never touch, and is their relation clear, not on a diagonal?"""
    if abs(abs(a.x - b.x) - abs(a.y - b.y)) <= _GAP:
        return False
    steps = _STEPS if a.motion or b.motion else 0
    return all(_far(a.at(k / _STEPS), b.at(k / _STEPS)) for k in range(steps + 1))


def _far(a: Moment, b: Moment) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius + _GAP
