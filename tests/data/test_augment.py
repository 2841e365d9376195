"""Waveforms that were changed: the speed, the pitch and the noise are what was asked."""

import math

import pytest
import torch

from mmbook.data import add_noise, change_speed


def tone(hertz, samples=8_000, rate=8_000):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(samples) / rate)


@pytest.mark.parametrize("factor", [0.8, 0.93, 1.25])
def test_a_faster_sound_is_shorter_and_higher(factor):
    fast = change_speed(tone(400), factor)
    assert fast.dtype == torch.float32
    assert len(fast) == math.ceil(8_000 / factor)
    middle = fast[1_000:5_000]
    loudest = torch.fft.rfft(middle).abs().argmax().item() * 8_000 / 4_000
    assert loudest == pytest.approx(400 * factor, abs=2)


def test_speed_one_changes_nothing():
    wave = tone(300)
    assert torch.equal(change_speed(wave, 1.0), wave)


def test_wrong_speeds_and_shapes_are_named():
    with pytest.raises(ValueError, match=r"0\.5 .* to 2; got 3"):
        change_speed(tone(300), 3)
    with pytest.raises(ValueError, match=r"must be \(S,\); got \(1, 8000\)"):
        change_speed(tone(300)[None], 1.1)


@pytest.mark.parametrize("decibels", [0, 10, 30])
def test_noise_has_the_ratio_that_was_asked_for(decibels):
    generator = torch.Generator().manual_seed(0)
    waves = torch.stack([tone(400, 80_000), 0.1 * tone(300, 80_000)])
    noise = add_noise(waves, decibels, generator) - waves
    ratio = waves.square().mean(-1) / noise.square().mean(-1)
    assert (10 * ratio.log10() - decibels).abs().max() < 0.1


def test_noise_comes_from_the_generator():
    first, second = (
        add_noise(tone(400), 5, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_noise_on_silence_has_a_finite_slope():
    wave = torch.zeros(2, 100, requires_grad=True)
    add_noise(wave, 10).sum().backward()
    assert torch.equal(wave.grad, torch.ones(2, 100))
