"""Numerical gradients: right where calculus is, and clear about what they need."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmbook.notebook.gradients import agree, numerical_gradient


def autograd(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


def drawn(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x**3).sum(),
        lambda x: x.logsumexp(0).sum(),
        lambda x: F.cross_entropy(x, torch.tensor([0, 3, 1])),
        lambda x: x.tanh().prod(),
    ],
)
def test_it_equals_autograd(function):
    x = drawn(3, 4)
    torch.testing.assert_close(
        numerical_gradient(function, x), autograd(function, x), rtol=1e-8, atol=1e-8
    )


def test_it_equals_autograd_through_a_model_and_leaves_x_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.LayerNorm(5), nn.Linear(5, 2))
    model.double()
    x = drawn(3, 4).t().contiguous().t().requires_grad_()  # not contiguous
    before = x.detach().clone()
    (true,) = torch.autograd.grad(model(x).square().mean(), x)
    got = numerical_gradient(lambda x: model(x).square().mean(), x)
    torch.testing.assert_close(got, true, rtol=1e-7, atol=1e-9)
    assert torch.equal(x, before) and not got.requires_grad


def test_it_finds_a_wrong_gradient():
    x = drawn(5)
    found = numerical_gradient(lambda x: (x**2).sum() / 2, x)
    assert not torch.allclose(found, 2 * x)


def test_the_function_may_change_its_input():
    x = drawn(3)
    got = numerical_gradient(lambda x: x.mul_(x).sum(), x)
    torch.testing.assert_close(got, 2 * x, rtol=1e-8, atol=1e-8)


def test_a_single_number_and_no_number():
    x = torch.tensor(0.7, dtype=torch.float64)
    assert abs(numerical_gradient(torch.sin, x) - math.cos(0.7)) < 1e-9
    assert numerical_gradient(lambda x: x.sum(), drawn(0)).shape == (0,)


def test_the_error_falls_with_the_square_of_the_step():
    x = torch.tensor(0.7, dtype=torch.float64)
    gaps = [
        abs(numerical_gradient(torch.exp, x, step) - x.exp()) for step in (1e-2, 1e-3)
    ]
    assert 90 < gaps[0] / gaps[1] < 110


@pytest.mark.parametrize(
    "function, x, step, message",
    [
        (torch.sum, torch.zeros(2), 1e-6, "x must be float64; got torch.float32"),
        (lambda x: x, drawn(2), 1e-6, r"one number; got shape \(2,\)"),
        (lambda x: x.float().sum(), drawn(2), 1e-6, "must return float64"),
        (lambda x: (x - x).sum().log(), drawn(2), 1e-6, "must be finite; got -inf"),
        (torch.sum, drawn(2), 0.0, "step must be above 0; got 0.0"),
    ],
)
def test_what_is_wrong_is_named(function, x, step, message):
    with pytest.raises(ValueError, match=message):
        numerical_gradient(function, x, step)


def test_a_derived_gradient_must_be_right_in_each_place():
    x = torch.randn(5, dtype=torch.float64)
    y = x.clone()
    assert agree(lambda x: x.logsumexp(0), x, x.softmax(0))
    assert torch.equal(x, y) and not x.requires_grad
    for place in range(5):
        wrong = x.softmax(0)
        wrong[place] += 1e-6
        assert not agree(lambda x: x.logsumexp(0), x, wrong)
    with pytest.raises(ValueError, match=r"by_hand must be \(5,\); got \(\)"):
        agree(lambda x: x.logsumexp(0), x, torch.tensor(1.0))


def test_a_gradient_that_autograd_hides_is_noticed():
    """Differences see what detach() takes out of autograd's reach."""
    x = torch.tensor([0.3, 0.7], dtype=torch.float64)
    assert not agree(lambda x: (x * x.detach()).sum(), x, x)
    assert not agree(lambda x: (x * x.detach()).sum(), x, 2 * x)
