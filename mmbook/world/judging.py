"""Is a caption right about its scene? Exact, because a caption can be parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from ..data.sentences import check_texts
from .facts import Facts
from .language import parse
from .scenes import Scene


def attribute_accuracy(captions: Sequence[str], scenes: Sequence[Scene]) -> dict:
    """How many captions are right about their scene: shares in [0, 1] of the captions.

    ``exact`` is true, and leaves nothing out; ``true`` says nothing wrong; ``parsed`` is a
    sentence of the grammar at all. ``shapes``, ``colours``, ``sizes``: this attribute is
    right for all objects, in any order. ``relations``: how two objects lie to each other
    is said, and rightly (either reading counts where the sentence leaves open which
    object is which), or there is one object and no relation is said. Chapter 5.2.
    """
    check_texts(captions, scenes)
    rows = [_judge(text, scene) for text, scene in zip(captions, scenes, strict=True)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _judge(text: str, scene: Scene) -> dict[str, bool]:
    try:
        facts = parse(text)
    except ValueError:
        names = "exact", "true", "parsed", "shapes", "colours", "sizes", "relations"
        return dict.fromkeys(names, False)
    row = {
        "exact": facts.complete_for(scene),
        "true": facts.true_of(scene),
        "parsed": True,
    }
    for name in ("shape", "colour", "size"):
        said = Counter(getattr(thing, name) for thing in facts.things)
        row[f"{name}s"] = said == Counter(getattr(t, name) for t in scene.things)
    return {**row, "relations": _relation_is_right(facts, scene)}


def _relation_is_right(facts: Facts, scene: Scene) -> bool:
    """Does the relation hold between the objects that are most like the two named?"""
    if len(scene.things) < 2 or facts.relation is None:
        return len(scene.things) < 2 and facts.relation is None
    alike = {
        pair: sum(
            getattr(said, name) == getattr(scene.things[i], name)
            for said, i in zip(facts.things, pair, strict=True)
            for name in ("shape", "colour", "size")
        )
        for pair in permutations(range(len(scene.things)), 2)
    }
    best = max(alike.values())
    return any(
        scene.relation(*pair) == facts.relation
        for pair, number in alike.items()
        if number == best
    )
