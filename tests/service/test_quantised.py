"""Quantised weights: PyTorch's numbers, a quarter or an eighth of the size."""

import pytest
import torch
from torch import nn

from mmbook.generation import generate
from mmbook.service.quantised import QuantisedLinear, quantised, size_of


def as_pytorch_does(weight, bits, group):
    """The same by PyTorch's own operator, with its symmetric scale per channel."""
    most = 2 ** (bits - 1) - 1
    rows = weight.detach().reshape(-1, group)  # each group is a channel
    scale, zero = rows.abs().amax(1) / most, torch.zeros(len(rows), dtype=torch.int32)
    found = torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, -most, most)
    return found.reshape(weight.shape)


@pytest.mark.parametrize("bits, group", [(8, None), (8, 16), (4, None), (4, 32)])
def test_the_weights_are_those_of_pytorch(bits, group):
    torch.manual_seed(0)
    linear = nn.Linear(64, 24)
    found = QuantisedLinear(linear, bits, group)
    expected = as_pytorch_does(linear.weight, bits, group or 64)
    torch.testing.assert_close(found.weight, expected, rtol=0, atol=1e-6)
    x = torch.randn(3, 5, 64)
    plain = nn.functional.linear(x, expected, linear.bias)
    torch.testing.assert_close(found(x), plain)


@pytest.mark.parametrize("bits, group", [(8, None), (4, 16)])
def test_no_weight_moves_by_more_than_half_a_step(bits, group):
    linear = nn.Linear(32, 16, bias=False)
    found = QuantisedLinear(linear, bits, group)
    step = found.scale.repeat_interleave(found.group, 1)
    assert ((found.weight - linear.weight).abs() <= 0.5001 * step).all()


def test_smaller_groups_and_more_bits_are_closer():
    torch.manual_seed(1)
    linear = nn.Linear(128, 64)

    def error(*how):
        return (QuantisedLinear(linear, *how).weight - linear.weight).square().mean()

    assert error(8) < error(4, 16) < error(4, 64) < error(4)


def test_a_model_is_copied_and_its_linear_layers_shrink(model, scenes):
    small, smaller = quantised(model, 8), quantised(model, 4, group=16)
    replaced = [m for m in small.modules() if isinstance(m, QuantisedLinear)]
    assert len(replaced) == sum(type(m) is nn.Linear for m in model.modules()) > 0
    linear = sum(m.weight.numel() for m in model.modules() if type(m) is nn.Linear)
    assert size_of(small) < size_of(model) - 2.5 * linear
    assert size_of(smaller) < size_of(small)
    batch = {"image": scenes.images[:16] / 255}
    same = (generate(small, batch) == generate(model, batch)).all(1)
    assert same.float().mean() > 0.7


def test_an_untouched_zero_row_stays_zero():
    linear = nn.Linear(8, 2)
    with torch.no_grad():
        linear.weight[0] = 0
    assert QuantisedLinear(linear, 4, 4).weight[0].tolist() == [0.0] * 8


@pytest.mark.parametrize("bits, group, inside", [(3, None, 8), (4, 3, 8), (8, None, 7)])
def test_what_does_not_fit_is_refused(bits, group, inside):
    with pytest.raises(ValueError, match="bits must be 4 or 8"):
        QuantisedLinear(nn.Linear(inside, 2), bits, group)
