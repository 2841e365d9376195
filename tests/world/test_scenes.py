"""The world: seeds, held-out pairs, no overlaps, relations without doubt."""

import math
from collections import Counter
from itertools import combinations, product

import pytest

from mmbook.world import COLOURS, HELD_OUT, SHAPES, Scene, Thing, sample_scenes


def looks(scenes):
    return [(thing.colour, thing.shape) for scene in scenes for thing in scene.things]


def test_a_seed_gives_the_same_scenes_again():
    first, again, other = (sample_scenes(50, seed) for seed in (3, 3, 4))
    assert first == again and first != other
    assert sample_scenes(20, 3) == first[:20]


def test_held_out_pairs_are_never_seen():
    seen = set(looks(sample_scenes(3000, 0, pairs="seen")))
    assert not seen & HELD_OUT
    assert seen == set(product(COLOURS, SHAPES)) - HELD_OUT
    assert set(looks(sample_scenes(300, 0, pairs="held-out"))) == HELD_OUT
    assert set(looks(sample_scenes(3000, 0, pairs="all"))) == set(
        product(COLOURS, SHAPES)
    )


def test_held_out_pairs_leave_each_colour_and_shape_to_be_learnt():
    assert Counter(shape for _, shape in HELD_OUT) == dict.fromkeys(SHAPES, 1)
    assert max(Counter(colour for colour, _ in HELD_OUT).values()) == 1


def test_numbers_of_things_and_sizes_are_equally_likely():
    scenes = sample_scenes(4000, 0, objects=(1, 2))
    counts = Counter(len(scene.things) for scene in scenes)
    assert set(counts) == {1, 2} and abs(counts[1] - 2000) < 130  # 4 deviations
    sizes = Counter(thing.size for scene in scenes for thing in scene.things)
    assert abs(sizes["big"] / sizes.total() - 0.5) < 0.03


@pytest.mark.parametrize("objects", [(2,), (3,)])
def test_things_lie_inside_apart_and_differ(objects):
    for scene in sample_scenes(200, 0, objects=objects):
        assert len(set(looks([scene]))) == len(scene.things) == objects[0]
        for thing in scene.things:
            assert thing.radius <= thing.x <= 1 - thing.radius
            assert thing.radius <= thing.y <= 1 - thing.radius
        for a, b in combinations(scene.things, 2):
            assert math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius + 0.05


def test_relations_are_clear_and_turn_around():
    opposite = {"left of": "right of", "above": "below"}
    opposite |= {value: key for key, value in opposite.items()}
    met = set()
    for scene in sample_scenes(300, 0, objects=(2,)):
        a, b = scene.things
        relation = scene.relation()
        met.add(relation)
        gap = {
            "left of": b.x - a.x,
            "right of": a.x - b.x,
            "above": b.y - a.y,
            "below": a.y - b.y,
        }
        assert max(gap, key=gap.get) == relation
        assert sorted(gap.values())[-1] - sorted(gap.values())[-2] > 0.05
        assert scene.relation(1, 0) == opposite[relation]
    assert met == set(opposite)


def test_y_grows_downwards():
    high, low = (Thing("star", "red", "big", 0.5, y) for y in (0.2, 0.8))
    assert Scene((high, low)).relation() == "above"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hexagon", "red", "big", 0.5, 0.5), "shape must be one of circle.*'hexagon'"),
        (("star", "pink", "big", 0.5, 0.5), "colour must be one of red.*'pink'"),
        (("star", "red", "huge", 0.5, 0.5), "size must be one of big.*'huge'"),
        (("star", "red", "big", 1.5, 0.5), r"x and y must be in \[0, 1\]; got 1.5"),
    ],
)
def test_things_that_do_not_exist(arguments, words):
    with pytest.raises(ValueError, match=words):
        Thing(*arguments)


def test_wrong_requests_are_named():
    with pytest.raises(ValueError, match=r"pairs must be one of seen.*'unseen'"):
        sample_scenes(1, 0, pairs="unseen")
    for objects in ((), (0, 1), (4,)):
        with pytest.raises(ValueError, match="numbers from 1 to 3"):
            sample_scenes(1, 0, objects=objects)
