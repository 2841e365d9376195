"""Drift: Hotelling's T² by its formula, and thresholds by the alarms that they raise."""

import pytest
import torch

from mmbook.explain import HotellingT2, alarm_threshold


def drawn(count, seed, shift=0.0):
    """Features of six numbers that depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=torch.Generator().manual_seed(99))
    return torch.randn(count, 6, generator=generator) @ mixing + shift


def test_in_all_directions_it_is_the_formula_with_the_covariance():
    past, new = drawn(400, 0).double(), drawn(50, 1).double()
    moved = new.mean(0) - past.mean(0)
    expected = 50 * moved @ past.T.cov(correction=0).inverse() @ moved
    assert torch.allclose(HotellingT2(past, directions=6)(new), expected)


def test_it_does_not_depend_on_units():
    past, new = drawn(400, 0).double(), drawn(50, 1).double()
    scales = torch.tensor([1.0, 10, 0.1, 5, 1, 1000]).double()
    found = HotellingT2(past, 6)(new)
    assert torch.allclose(HotellingT2(past * scales, 6)(new * scales), found)


def test_without_drift_it_is_on_average_the_number_of_directions():
    statistic = HotellingT2(drawn(20_000, 0), directions=3)
    found = torch.stack([statistic(drawn(50, 1 + seed)) for seed in range(300)])
    assert found.mean().item() == pytest.approx(3, rel=0.15)  # of chi squared


def test_it_grows_with_the_shift_and_with_the_number_of_examples():
    statistic, new = HotellingT2(drawn(400, 0), directions=6), drawn(50, 1)
    assert statistic(new + 1) > 5 * statistic(new)
    same = torch.cat([new, new])
    assert torch.allclose(statistic(same), 2 * statistic(new))


def test_a_threshold_raises_as_many_false_alarms_as_it_should():
    statistic = HotellingT2(drawn(2000, 0), directions=6)
    threshold = alarm_threshold(statistic, drawn(20_000, 1), 40, false_alarms=0.1)
    quiet = torch.stack([statistic(drawn(40, 2 + seed)) for seed in range(400)])
    assert 0.05 < (quiet > threshold).float().mean() < 0.16
    drifted = torch.stack([statistic(drawn(40, seed, shift=1.0)) for seed in range(50)])
    assert (drifted > threshold).float().mean() > 0.9


def test_two_statistics_get_a_threshold_each_and_a_seed_repeats_them():
    def both(new):
        return torch.stack([new.mean(), new.square().sum()])

    found = alarm_threshold(both, drawn(300, 0), 20, draws=50)
    assert found.shape == (2,)
    assert torch.equal(found, alarm_threshold(both, drawn(300, 0), 20, draws=50))
    other = alarm_threshold(both, drawn(300, 0), 20, draws=50, seed=1)
    assert not torch.equal(found, other)


def test_wrong_use_is_explained():
    past = drawn(100, 0)
    for wrong in (past[0], past[:0]):
        with pytest.raises(ValueError, match=r"past must be \(N, D\)"):
            HotellingT2(wrong)
    with pytest.raises(ValueError, match=r"got \(100, 6\) and 7"):
        HotellingT2(past, directions=7)
    flat = past.clone()
    flat[:, 2:] = 1.0
    with pytest.raises(ValueError, match="vary in 3 directions"):
        HotellingT2(flat, directions=3)
    with pytest.raises(ValueError, match=r"new must be \(n, 6\)"):
        HotellingT2(past, 2)(past[:, :5])
    with pytest.raises(ValueError, match="size must be 1 to 100"):
        alarm_threshold(torch.mean, past, 101)
    with pytest.raises(ValueError, match=r"between 0 and 1; got 20 and 1\.0"):
        alarm_threshold(torch.mean, past, 20, false_alarms=1.0)
