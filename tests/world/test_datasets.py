"""Scenes as data sets: items that models are trained on."""

import pytest
import torch

from mmbook.world import (
    CaptionedScenes,
    describe,
    is_complete,
    render,
    sample_scenes,
)


def test_captioned_scenes_hold_pictures_and_true_captions():
    scenes = sample_scenes(5, 0)
    data = CaptionedScenes(scenes, style="varied", size=32)
    item = data[3]
    assert len(data) == 5 and data.scenes == scenes
    assert item["image"].shape == (3, 32, 32) and item["image"].dtype == torch.uint8
    assert item["index"] == 3 and is_complete(item["caption"], scenes[3])
    clean = CaptionedScenes(scenes, noise=0, size=32)[3]["image"].float() / 255
    assert (clean - render([scenes[3]], 32, 0)[0]).abs().max() < 1 / 255


def test_captioned_scenes_are_the_same_for_the_same_seed():
    scenes = sample_scenes(300, 0)  # more than are rendered at once
    first, again = (CaptionedScenes(scenes, "varied", size=8, seed=1) for _ in range(2))
    other = CaptionedScenes(scenes, "varied", size=8, seed=2)
    assert torch.equal(first.images, again.images) and first.captions == again.captions
    assert not torch.equal(first.images, other.images)
    assert first.captions != other.captions
    assert describe(scenes[299]) == CaptionedScenes(scenes, size=8)[299]["caption"]


def test_no_scenes_are_an_error():
    with pytest.raises(ValueError, match="no scenes"):
        CaptionedScenes([])
