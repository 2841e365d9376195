"""The world stays as it is: pre-trained weights and printed numbers rest on it.

If one of these fails, the same seed no longer gives the same scenes, pixels, sentences
or token numbers. Then every chapter and every weight of the book has to be made again.
"""

import hashlib
import json

import numpy as np
import pytest

from mmbook.world import STYLES, describe, render, sample_scenes, scene_tokenizer

KINDS = ("seen", "held-out", "all")


def mark(value):
    """A short name for a json value: it changes if anything in it does."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def plain(scene):
    return [[t.shape, t.colour, t.size, t.x, t.y] for t in scene.things]


def test_scenes():
    sets = [sample_scenes(50, 7, objects=(1, 2, 3), pairs=kind) for kind in KINDS]
    assert mark([[plain(s) for s in scenes] for scenes in sets]) == "82e8ae1bdb8165da"


def test_sentences():
    scenes = sample_scenes(50, 7, pairs="all")
    said = [describe(s, style, n) for style in STYLES for n, s in enumerate(scenes)]
    assert mark(said) == "5f69bc533300e5ea"


def test_token_numbers():
    vocabulary = scene_tokenizer(["yes", "no"]).get_vocab()
    ordered = sorted(vocabulary.items(), key=lambda item: item[1])
    assert mark(ordered) == "e32111e5cd2dbb5f" and len(ordered) == 45


@pytest.mark.parametrize(
    ("noise", "projected", "total"),
    [(0, 15.61636, 143707.2015), (0.02, 17.69989, 143586.1111)],
)
def test_pixels(noise, projected, total):
    """Two sums over all pixels: unlike a hash they forgive another processor's last bit."""
    scenes = sample_scenes(50, 7, objects=(1, 2, 3), pairs="all")[:24]
    pixels = render(scenes, 48, noise, seed=3).double().numpy().ravel()
    weights = np.cos(np.arange(pixels.size) * 1.7)
    assert pixels @ weights == pytest.approx(projected, abs=1e-3)
    assert pixels.sum() == pytest.approx(total, abs=1e-2)
