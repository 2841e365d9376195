"""Checks of a derivation: is the gradient on the page the gradient of the function?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def numerical_gradient(
    function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-6
) -> Tensor:
    """The gradient by central differences (数值梯度), as a check of a derived one.

    ``(f(x + h eᵢ) - f(x - h eᵢ)) / 2h`` for each number of ``x``. Its error is about
    ``h² |f‴| / 6`` by the curve and ``1e-16 |f| / h`` by rounding, so expect nine or ten
    right digits of functions near 1. In float32 the difference of two near values has no
    digits left, so float64 is required. It calls the function twice for each number: it
    is for checks, not for training. Chapter 4.1.

    Parameters
    ----------
    function : takes a tensor of the shape of ``x``, returns one float64 number.
    x : any shape, float64; it is not changed.
    step : h.

    Returns
    -------
    As ``x``.
    """
    if x.dtype != torch.float64:
        raise ValueError(f"x must be float64; got {x.dtype}: write x.double()")
    if not step > 0:
        raise ValueError(f"step must be above 0; got {step}")
    x = x.detach()
    gradient = torch.zeros(x.numel(), dtype=x.dtype, device=x.device)
    for place in range(x.numel()):
        up, down = x.flatten().clone(), x.flatten().clone()
        up[place] += step
        down[place] -= step
        width = up[place] - down[place]  # 2h as the machine rounds it
        rise = _value(function, up.view(x.shape)) - _value(function, down.view(x.shape))
        gradient[place] = rise / width
    return gradient.view(x.shape)


def agree(function: Callable[[Tensor], Tensor], x: Tensor, by_hand: Tensor) -> bool:
    """Is a derived gradient that of autograd and that of finite differences?

    To 1e-10 and to 1e-7, which float64 allows for functions near 1. Chapter 4.4.

    Parameters
    ----------
    function : takes a tensor of the shape of ``x``, returns one float64 number.
    x : any shape, float64; it is not changed.
    by_hand : the gradient as it was derived, of the shape of ``x``.
    """
    x = x.detach().clone().requires_grad_()
    (automatic,) = torch.autograd.grad(function(x), x)
    steps, by_hand = numerical_gradient(function, x), by_hand.to(x)
    if by_hand.shape != x.shape:
        raise ValueError(
            f"by_hand must be {tuple(x.shape)}; got {tuple(by_hand.shape)}"
        )
    return bool(
        torch.allclose(by_hand, automatic, rtol=0, atol=1e-10)
        and torch.allclose(by_hand, steps, rtol=0, atol=1e-7)
    )


def _value(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The value of a function, if a difference can be taken of it."""
    value = torch.as_tensor(function(x)).detach()
    if value.numel() != 1:
        raise ValueError(
            f"the function must return one number; got shape {tuple(value.shape)}"
        )
    if value.dtype != torch.float64:
        raise ValueError(
            f"the function must return float64; got {value.dtype}: are its own weights "
            "and data float64, too? A model becomes so by model.double()"
        )
    if not value.isfinite():
        raise ValueError(f"the function's value must be finite; got {value.item()}")
    return value.reshape(())
