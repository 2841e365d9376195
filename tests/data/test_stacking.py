"""Items of different lengths become one tensor and a mask."""

import numpy as np
import pytest
import torch

from mmbook.data import stack_audio, stack_images, stack_videos
from mmbook.data.stacking import stack_features, stack_labels


def test_float_pictures_stay_and_bytes_are_scaled():
    floats = [torch.rand(3, 4, 4), torch.rand(3, 4, 4)]
    assert torch.equal(stack_images(floats), torch.stack(floats))
    bright = stack_images([torch.full((3, 2, 2), 255, dtype=torch.uint8)])
    assert torch.equal(bright, torch.ones(1, 3, 2, 2))
    assert torch.equal(stack_images([bright[0].numpy()]), bright)


def test_features_of_half_precision_become_float():
    stacked = stack_images([torch.rand(5, 7).half()] * 2)
    assert stacked.shape == (2, 5, 7) and stacked.dtype == torch.float32


def test_pictures_of_several_shapes_are_named():
    with pytest.raises(ValueError, match=r"one shape; got.*\(3, 4, 4\).*\(3, 5, 5\)"):
        stack_images([torch.zeros(3, s, s) for s in (4, 5)])


def test_clips_of_several_lengths_are_filled_up():
    clips = [torch.full((n, 3, 2, 2), 255, dtype=torch.uint8) for n in (2, 3)]
    stacked, mask = stack_videos(clips)
    assert stacked.shape == (2, 3, 3, 2, 2) and stacked[0, :2].eq(1).all()
    assert not stacked[0, 2].any() and mask.tolist() == [
        [True, True, False],
        [True] * 3,
    ]
    assert stack_videos(clips[:1])[1] is None


@pytest.mark.parametrize("shape", [(3, 4, 4), (0, 3, 4, 4)])
def test_a_clip_without_frames_is_named(shape):
    with pytest.raises(ValueError, match=r"one frame or more.*got"):
        stack_videos([torch.zeros(shape)])


def test_features_of_sounds_are_padded_by_token():
    features = [torch.rand(4, 7), torch.rand(2, 7)]
    values, mask = stack_audio(features)
    assert values.shape == (2, 4, 7) and mask.sum(1).tolist() == [4, 2]
    assert torch.equal(values[1, :2], features[1]) and not values[1, 2:].any()
    same, real = stack_features(features)
    assert torch.equal(same, values) and torch.equal(real, mask)


def test_features_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"tokens of one batch.*\[\(1,\), \(1, 7\)\]"):
        stack_features([torch.rand(4, 7), torch.rand(7)])
    with pytest.raises(ValueError, match=r"one shape; got \[\(1, 7\), \(1, 8\)\]"):
        stack_features([torch.rand(4, 7), torch.rand(4, 8)])


def test_sounds_of_numpy_are_taken():
    values, mask = stack_audio([np.ones(3, np.float64), np.ones(2, np.float32)])
    assert values.dtype == torch.float32 and mask.sum(1).tolist() == [3, 2]


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (torch.zeros(5, dtype=torch.int16), r"int16: divide .* 32768"),
    ],
)
def test_sounds_that_are_none_are_named(wave, words):
    with pytest.raises(ValueError, match=words):
        stack_audio([wave])


@pytest.mark.parametrize(
    ("labels", "expected", "kind"),
    [
        ([2, 0], [2, 0], torch.long),
        ([np.int32(2), np.int64(0)], [2, 0], torch.long),
        ([torch.tensor(2), torch.tensor(0, dtype=torch.uint8)], [2, 0], torch.long),
        ([True, False], [1, 0], torch.long),
        ([0.5, np.float64(2)], [0.5, 2.0], torch.float32),
        ([[1, 0], np.array([0, 1])], [[1, 0], [0, 1]], torch.long),
    ],
)
def test_labels_of_any_kind_of_number_are_taken(labels, expected, kind):
    stacked = stack_labels(labels)
    assert stacked.tolist() == expected and stacked.dtype == kind


@pytest.mark.parametrize("labels", [["cat", "dog"], [None, 1], [[1, 0], [1, 0, 1]]])
def test_labels_that_are_no_numbers_are_named(labels):
    with pytest.raises(
        ValueError, match=r"labels must be class numbers.*number the cl"
    ):
        stack_labels(labels)
