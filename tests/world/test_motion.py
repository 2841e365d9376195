"""Moving scenes: clips, sentences about them, data sets and batches."""

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, permutations, product

import pytest
import torch

from mmbook.data import Collate, stack_videos
from mmbook.world import (
    COLOURS,
    HELD_OUT,
    MOTIONS,
    SHAPES,
    SIZES,
    Description,
    Facts,
    MovingScenes,
    Scene,
    Thing,
    describe,
    describe_motion,
    is_complete,
    is_true,
    motion_words,
    parse,
    render,
    render_video,
    sample_moving_scenes,
    sample_scenes,
    scene_tokenizer,
)

SCENES = sample_moving_scenes(300, 0, pairs="all")
DIRECTIONS = {
    "moves left": (-1, 0),
    "moves right": (1, 0),
    "moves up": (0, -1),
    "moves down": (0, 1),
}


def moving(motion, shape="circle", size="big", x=0.5, y=0.5):
    return Scene((Thing(shape, "black", size, x, y, motion),))


def ink(clip):
    """How dark each frame is, and where: (F,), and (F, 2) as x and y in [0, 1]."""
    dark = (0.93 - clip[:, 0]).clamp(min=0)  # (F, H, W)
    places = (torch.arange(clip.shape[-1]) + 0.5) / clip.shape[-1]
    total = dark.sum((1, 2))
    centre = torch.stack([(dark * places).sum((1, 2)), (dark.mT * places).sum((1, 2))])
    return total, (centre / total).T


# -------------------------------------------------------------------------- scenes


def test_a_seed_gives_the_same_scenes_again():
    assert sample_moving_scenes(50, 0, pairs="all") == SCENES[:50]
    assert sample_moving_scenes(50, 1, pairs="all") != SCENES[:50]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_leaves_the_picture_or_touches_another_thing(seed):
    for scene in sample_moving_scenes(150, seed, objects=(2,)):
        for k in range(101):
            moments = [thing.at(k / 100) for thing in scene.things]
            for x, y, radius, _ in moments:
                assert radius - 1e-9 <= min(x, y) and max(x, y) <= 1 - radius + 1e-9
            for a, b in combinations(moments, 2):
                assert math.dist(a[:2], b[:2]) > a.radius + b.radius + 0.04


def test_relations_are_clear_in_the_first_frame():
    met = set()
    for scene in sample_moving_scenes(200, 0, objects=(2,)):
        a, b = scene.things
        assert abs(abs(a.x - b.x) - abs(a.y - b.y)) > 0.05
        assert is_complete(describe(scene), scene)
        met.add(scene.relation())
    assert len(met) == 4


def test_motions_and_sizes_are_equally_likely():
    things = [t for s in sample_moving_scenes(3000, 0) for t in s.things]
    counts = Counter((t.motion, t.size) for t in things)
    expected = len(things) / 16  # about 280, deviation 17
    assert set(counts) == set(product(MOTIONS, SIZES))
    assert all(abs(count - expected) < 75 for count in counts.values())


def test_held_out_pairs_and_chosen_motions():
    def looks(pairs):
        scenes = sample_moving_scenes(200, 0, pairs=pairs)
        return {(t.colour, t.shape) for s in scenes for t in s.things}

    assert not looks("seen") & HELD_OUT and looks("held-out") == HELD_OUT
    some = sample_moving_scenes(100, 0, motions=("grows", "stays"))
    assert {t.motion for s in some for t in s.things} == {"grows", "stays"}


def test_things_of_pictures_have_no_motion():
    assert all(t.motion is None for s in sample_scenes(50, 0) for t in s.things)
    still = Thing("star", "red", "big", 0.3, 0.5)
    assert still.at(0) == still.at(1) == (0.3, 0.5, 0.20, True)
    assert still == Thing("star", "red", "big", 0.3, 0.5, None)
    assert still != replace(still, motion="stays")


def test_wrong_requests_are_named():
    with pytest.raises(ValueError, match=r"motion must be one of moves left.*'flies'"):
        Thing("star", "red", "big", 0.3, 0.5, "flies")
    for objects in ((), (3,), (0, 1)):
        with pytest.raises(ValueError, match="numbers 1 or 2"):
            sample_moving_scenes(1, 0, objects=objects)
    for motions in ((), ("flies",)):
        with pytest.raises(ValueError, match="motions must be some of moves left"):
            sample_moving_scenes(1, 0, motions=motions)
    with pytest.raises(ValueError, match="pairs must be one of seen"):
        sample_moving_scenes(1, 0, pairs="unseen")


# --------------------------------------------------------------------------- clips


def test_the_first_frame_is_the_picture():
    clips = render_video(SCENES[:40], 6, 32, noise=0)
    assert clips.shape == (40, 6, 3, 32, 32) and clips.dtype == torch.float32
    assert torch.equal(clips[:, 0], render(SCENES[:40], 32, noise=0))
    assert torch.equal(render_video(SCENES[:9], 1, 32)[:, 0], render(SCENES[:9], 32))


def test_many_clips_at_once_equal_each_frame_of_each_alone():
    """A slow twin: every moment as a scene of its own, painted by ``render``."""
    movers = [s for s in SCENES if {t.motion for t in s.things} <= set(DIRECTIONS)][:12]
    clips = render_video(movers, 5, 32, noise=0)
    for clip, scene in zip(clips, movers, strict=True):
        for k, frame in enumerate(clip):
            things = tuple(
                replace(t, x=t.at(k / 4).x, y=t.at(k / 4).y) for t in scene.things
            )
            alone = render([Scene(things)], 32, noise=0)[0]
            torch.testing.assert_close(frame, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("motion", DIRECTIONS)
def test_what_moves_goes_a_quarter_of_the_way_evenly(motion):
    clip = render_video([moving(motion)], 6, 60, noise=0)[0]
    total, centre = ink(clip)
    steps = centre.diff(dim=0) / (0.25 / 5)  # (F − 1, 2)
    expected = torch.tensor(DIRECTIONS[motion], dtype=torch.float32).expand(5, 2)
    torch.testing.assert_close(steps, expected, rtol=0, atol=0.02)
    assert (total - total[0]).abs().max() < 0.01 * total[0]


@pytest.mark.parametrize(("motion", "ratio"), [("grows", 0.25), ("shrinks", 0.15)])
def test_what_grows_or_shrinks_does_so_about_its_centre(motion, ratio):
    total, centre = ink(render_video([moving(motion)], 5, 60, noise=0)[0])
    side = total.sqrt() / total[0].sqrt()
    torch.testing.assert_close(
        side, torch.linspace(1, ratio / 0.2, 5), rtol=0, atol=0.01
    )
    assert (centre - 0.5).abs().max() < 0.002


@pytest.mark.parametrize(
    ("frames", "seen"), [(4, "1001"), (5, "10101"), (8, "10011001"), (16, None)]
)
def test_what_blinks_is_dark_twice(frames, seen):
    clip = render_video([moving("blinks")], frames, 24, noise=0)[0]
    shown = [bool(total > 0) for total in ink(clip)[0]]
    assert "".join(str(int(s)) for s in shown) == seen or frames == 16
    changes = sum(a != b for a, b in pairwise(shown))
    assert changes == (2 if frames == 4 else 4) and shown[0] and shown[-1]


def test_what_stays_stays():
    clip = render_video([moving("stays")], 4, 24, noise=0)[0]
    assert torch.equal(clip[0], clip[3])


def test_noise_is_new_in_each_frame_and_light_is_not():
    still = [moving("stays")] * 60
    clips, clean = render_video(still, 4, noise=0.02), render_video(still, 4, noise=0)
    grain = (clips - clean)[:, :, 0, :8, :8].flatten(2)  # a corner: background only
    light = grain.mean(2)  # (B, F): the brightness that a frame has
    assert (light.std(1) < 0.01).all() and 0.012 < light.mean(1).std() < 0.03
    grain = grain - light[..., None]
    assert grain.std().item() == pytest.approx(0.02, rel=0.05)
    alike = (grain[:, 0] * grain[:, 1]).mean() / grain.var()
    assert abs(alike) < 0.1
    inside = clips[:, :, :, 20:28, 20:28].mean((3, 4))  # (B, F, 3): the tint
    assert inside.std(1).max() < 0.01 < inside.mean(1).std(0).min()


def test_the_seed_decides_and_wrong_requests_are_named():
    few = SCENES[:3]
    assert torch.equal(render_video(few, 3, 16), render_video(few, 3, 16))
    assert not torch.equal(render_video(few, 3, 16), render_video(few, 3, 16, seed=1))
    with pytest.raises(ValueError, match="no scenes to render"):
        render_video([])
    with pytest.raises(ValueError, match="frames must be 1 or more; got 0"):
        render_video(few, 0)


# ----------------------------------------------------------------------- sentences


def test_describe_motion_says_all_in_one_way():
    circle = Thing("circle", "red", "big", 0.3, 0.4, "moves left")
    star = Thing("star", "blue", "small", 0.8, 0.45, "blinks")
    text = "a big red circle moves left and a small blue star blinks"
    for things in permutations((circle, star)):
        assert describe_motion(Scene(things)) == text
    assert describe_motion(Scene((star,))) == "a small blue star blinks"
    assert parse(text).things[1] == Description("star", "blue", "small", "blinks")


def test_describe_motion_and_parse_are_inverse():
    for scene in SCENES:
        text = describe_motion(scene)
        facts = parse(text)
        described = {
            Description(t.shape, t.colour, t.size, t.motion) for t in scene.things
        }
        assert set(facts.things) == described and facts.relation is None
        assert facts.complete_for(scene, motion=True) and facts.true_of(scene)
        assert is_complete(text, scene, motion=True)
        assert facts.complete_for(scene) == (len(scene.things) == 1)
        assert not is_complete(describe(scene), scene, motion=True)


def test_any_single_wrong_fact_makes_it_false():
    attributes = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "motion": MOTIONS}
    checked = 0
    for scene in SCENES:
        facts = parse(describe_motion(scene))
        for number, thing in enumerate(scene.things):
            for name, known in attributes.items():
                for value in set(known) - {getattr(thing, name)}:
                    things = list(scene.things)
                    things[number] = replace(thing, **{name: value})
                    assert not facts.true_of(Scene(tuple(things)))
                    checked += 1
    assert checked > 5000


def test_a_part_is_true_but_not_complete():
    scene = next(s for s in SCENES if len(s.things) == 2)
    for thing in scene.things:
        for text in (f"a {thing.shape} {thing.motion}", f"a thing {thing.motion}"):
            assert is_true(text, scene) and not is_complete(text, scene, motion=True)
    assert not is_true(f"a {thing.shape} stays", Scene((replace(thing, motion=None),)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a star moves", "end of the sentence at word 3, found 'moves'"),
        ("a star moves left of a ring", "end of the sentence at word 5, found 'of'"),
        ("a star blinks and a ring", "a motion at word 7, found 'the end'"),
        ("there is a star moves left", "end of the sentence at word 5, found 'moves'"),
    ],
)
def test_parse_says_at_which_word_it_failed(text, words):
    with pytest.raises(ValueError, match=words):
        parse(text)


def test_scenes_without_motions_cannot_be_described_so():
    with pytest.raises(ValueError, match=r"must have a motion; got None: sample_mov"):
        describe_motion(sample_scenes(1, 0)[0])
    with pytest.raises(ValueError, match="one or two things"):
        describe_motion(Scene(()))


def test_words_of_motions_stand_behind_and_change_no_number():
    plain, more = scene_tokenizer(), scene_tokenizer(motion_words())
    assert plain.get_vocab().items() <= more.get_vocab().items()
    assert len(more) == len(plain) + len(motion_words()) and len(motion_words()) == 7
    for scene in SCENES[:50]:
        text = describe_motion(scene)
        ids = more(text)["input_ids"]
        assert more.unk_token_id not in ids and more.decode(ids) == text


# ---------------------------------------------------------------- items and batches


def test_moving_scenes_hold_clips_and_true_captions():
    scenes = SCENES[:40]  # more than are painted at once
    data = MovingScenes(scenes, frames=4, size=16)
    item = data[35]
    assert len(data) == 40 and data.scenes == scenes
    assert item["video"].shape == (4, 3, 16, 16) and item["video"].dtype == torch.uint8
    assert item["index"] == 35 and is_complete(item["caption"], scenes[35], motion=True)
    assert data.references[35] == [item["caption"]]
    assert torch.equal(data.clip(35), item["video"])
    clean = MovingScenes(scenes, 4, 16, noise=0)
    pixels = clean[35]["video"].float() / 255
    assert (pixels - render_video([scenes[35]], 4, 16, 0)[0]).abs().max() < 1 / 255
    again = MovingScenes(scenes, frames=4, size=16)
    assert torch.equal(data.videos, again.videos)
    assert not torch.equal(data.videos, MovingScenes(scenes, 4, 16, seed=1).videos)


def test_motions_are_labels_for_scenes_of_one_thing():
    scenes = sample_moving_scenes(20, 0, objects=(1,))
    data = MovingScenes(scenes, 2, 8, target="motion")
    batch = Collate()([data[i] for i in range(20)])
    assert set(batch) == {"video", "labels"}
    named = [list(MOTIONS)[label] for label in batch["labels"]]
    assert named == [scene.things[0].motion for scene in scenes]
    with pytest.raises(ValueError, match="clear if it shows one thing"):
        MovingScenes(SCENES, target="motion")
    with pytest.raises(ValueError, match="caption or motion; got 'colour'"):
        MovingScenes(scenes, target="colour")
    with pytest.raises(ValueError, match="no scenes"):
        MovingScenes([])


def test_a_batch_of_clips_of_one_length_needs_no_mask():
    data = MovingScenes(SCENES[:6], frames=3, size=16)
    batch = Collate(scene_tokenizer(motion_words()))([data[i] for i in range(6)])
    assert set(batch) == {"video", "labels"}
    assert batch["video"].shape == (6, 3, 3, 16, 16)
    assert torch.equal(batch["video"], data.videos.float() / 255)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float16])
def test_shorter_clips_are_filled_up_behind(kind):
    clips = [torch.ones(n, 3, 4, 4).to(kind) for n in (2, 5, 3)]
    batch = Collate()([{"video": clip, "label": 0} for clip in clips])
    assert batch["video"].shape == (3, 5, 3, 4, 4)
    assert batch["video"].dtype == torch.float32
    assert batch["video_mask"].sum(1).tolist() == [2, 5, 3]
    assert batch["video_mask"][0].tolist() == [True, True, False, False, False]
    value = 1 / 255 if kind == torch.uint8 else 1
    expected = batch["video_mask"][:, :, None, None, None] * torch.tensor(value)
    assert torch.equal(batch["video"], expected.expand_as(batch["video"]))


def test_kept_features_of_clips_stand_in_their_place():
    features = [torch.rand(4, 5).half(), torch.rand(6, 5).half()]
    video, mask = stack_videos(features)
    assert video.shape == (2, 6, 5) and mask.sum(1).tolist() == [4, 6]
    assert torch.equal(video[0, :4], features[0].float())
    assert stack_videos(features[:1])[1] is None


def test_wrong_clips_are_named():
    for shape in ((3, 4, 4), (0, 3, 4, 4)):
        with pytest.raises(ValueError, match=r"must be \(F, 3, H, W\).*got \(\d, "):
            stack_videos([torch.zeros(shape)])
    sizes = [torch.zeros(2, 3, s, s) for s in (4, 5)]
    with pytest.raises(ValueError, match=r"one shape; got.*\(3, 4, 4\).*\(3, 5, 5\)"):
        Collate()([{"video": clip} for clip in sizes])


def test_facts_of_clips_and_of_pictures_are_kept_apart():
    scene = Scene((Thing("star", "red", "big", 0.3, 0.5, "grows"),))
    told = Facts((Description("star", "red", "big", "grows"),))
    assert told.complete_for(scene) and told.complete_for(scene, motion=True)
    silent = Facts((Description("star", "red", "big"),))
    assert silent.complete_for(scene) and not silent.complete_for(scene, motion=True)
