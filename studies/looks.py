"""Looking at a model at equal distances while it is trained."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

LOOKS = 4  # points of a curve after the first


def looking(model: nn.Module, steps: int, look: Callable[[int], None]) -> None:
    """Before each quarter of ``steps`` but the first, call ``look(step)``.

    The model is in training mode again afterwards. What ``look`` does with the model is
    not counted as a step.
    """
    done, busy = 0, False
    every = max(1, steps // LOOKS)

    def before(module: nn.Module, given) -> None:
        nonlocal done, busy
        if busy:
            return
        if done and done % every == 0 and done < steps:
            busy = True
            look(done)
            module.train()
            busy = False
        done += 1

    model.register_forward_pre_hook(before)
