"""What a sentence says, whatever its language: facts that can be held against a scene."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

from .scenes import Scene, Thing

OPPOSITE: dict[str | None, str] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}


@dataclass(frozen=True)
class Description:
    """What a sentence says of one thing; None where it says nothing."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    motion: str | None = None

    def fits(self, thing: Thing) -> bool:
        """Is everything that is said true of this thing?"""
        return all(
            said is None or said == true
            for said, true in (
                (self.shape, thing.shape),
                (self.colour, thing.colour),
                (self.size, thing.size),
                (self.motion, thing.motion),
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

    def complete_for(self, scene: Scene, motion: bool = False) -> bool:
        """True, and nothing left out: all things, all attributes, the relation.

        ``motion=True`` asks for a sentence about a clip: how each thing moves must be
        said, and the relation need not be.
        """
        everything = len(self.things) == len(scene.things) and all(
            thing.full and (thing.motion is not None or not motion)
            for thing in self.things
        )
        related = motion or len(scene.things) == 1 or self.relation is not None
        return everything and related and self.true_of(scene)

    def means(self, other: Facts) -> bool:
        """Do the two say the same? "A above B" is "B below A": for translations."""
        turned = Facts(self.things[::-1], OPPOSITE.get(self.relation))
        return other in (self, turned)

    def _matches(self, scene: Scene) -> Iterable[tuple[int, ...]]:
        for found in permutations(range(len(scene.things)), len(self.things)):
            pairs = zip(self.things, found, strict=True)
            if all(said.fits(scene.things[i]) for said, i in pairs):
                yield found

    def _holds(self, scene: Scene, found: tuple[int, ...]) -> bool:
        return self.relation is None or scene.relation(*found[:2]) == self.relation


def in_order(scene: Scene) -> tuple[tuple[Thing, ...], str | None]:
    """The things, the left or upper one first, and how the first lies to the second."""
    things = scene.things
    if len(things) == 1:
        return things, None
    relation = scene.relation()
    if relation in ("right of", "below"):
        return things[::-1], OPPOSITE[relation]
    return things, relation
