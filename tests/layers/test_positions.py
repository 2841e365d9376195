"""Sinusoidal positions equal their formulas in every order."""

import math

import pytest
import torch

from mmbook.layers import sinusoids


def test_interleaved_sinusoids_equal_the_formula():
    waves = sinusoids(torch.arange(7), 6)
    for n in range(7):
        for i in range(3):
            angle = n / 10_000 ** (2 * i / 6)
            wanted = [math.sin(angle), math.cos(angle)]
            assert waves[n, 2 * i : 2 * i + 2].tolist() == pytest.approx(wanted)
    assert sinusoids(torch.arange(3), 5).shape == (3, 5)


def test_halves_are_the_same_numbers_in_another_order():
    places = torch.tensor([3, 0, 11])
    turns, halves = sinusoids(places, 8), sinusoids(places, 8, "halves")
    assert torch.equal(halves, torch.cat([turns[:, ::2], turns[:, 1::2]], 1))
    assert halves.dtype == torch.float64


def test_whispers_frequencies_end_at_one_in_ten_thousand():
    table = sinusoids(torch.arange(50), 8, "whisper")
    assert table.dtype == torch.float32
    for n, k in (0, 0), (7, 2), (49, 3):
        angle = n / 10_000 ** (k / 3)
        assert table[n, k].item() == pytest.approx(math.sin(angle), abs=1e-5)
        assert table[n, 4 + k].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_places_need_not_be_whole_numbers():
    assert torch.allclose(
        sinusoids(torch.tensor([0.5]), 4)[0, :2],
        torch.tensor([math.sin(0.5), math.cos(0.5)], dtype=torch.float64),
    )


@pytest.mark.parametrize("order", ["halves", "whisper"])
@pytest.mark.parametrize("width", [2, 7])
def test_an_order_of_halves_needs_an_even_width(order, width):
    with pytest.raises(ValueError, match=f"even and at least 4; got {width}"):
        sinusoids(torch.arange(3), width, order)


def test_an_unknown_order_is_named():
    with pytest.raises(ValueError, match="halves or whisper; got 'vaswani'"):
        sinusoids(torch.arange(3), 4, "vaswani")
