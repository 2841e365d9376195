"""The training loop of the book (训练循环), from one CPU core to many GPUs.

Three properties are held by tests: one batch gives the gradient of its k parts, on one
process or two, also when sentences have different lengths; a run that was killed goes on
as if nothing had happened, bit for bit; a step never waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.utils.data import Dataset

from .config import TrainingConfig
from .evaluate import count_labels
from .history import History
from .order import preserved_random_state
from .run import Run


def fit(
    model: nn.Module,
    data: Dataset,
    config: TrainingConfig | None = None,
    collate: Callable | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> History:
    """Train a model: the loop of chapter 5.2.

    All random numbers of a run come from ``config.seed``; the caller's go on as if ``fit``
    had drawn none. Batch norm in training mode sees each part of a batch by itself, so
    with it parts are not quite the same as one batch.

    Parameters
    ----------
    model : any module whose ``model(**batch)`` has a ``.loss`` that is a mean over the
        labels of the batch: ours, or one of transformers. It is trained in place;
        afterwards it is in eval mode, and on the device on which it was before.
    data : anything with a length and items by index.
    collate : turns a list of its items into a batch; :class:`mmbook.data.Collate`.
    validate : given the model (in eval mode, without gradients), returns numbers, as
        :func:`evaluate` does. Of several processes, the first one's numbers count.

    Raises
    ------
    FloatingPointError
        If a loss or gradient is not finite; the batch is saved beside the checkpoints.
    """
    config = replace(config or TrainingConfig())  # which checks it once more
    with preserved_random_state(), Run(model, data, config, collate, validate) as run:
        for step in run.steps_to_go():
            parts = run.next_parts(step)
            counts = [count_labels(part, run.shifted) for part in parts]
            total = run.accelerator.reduce(sum(counts), "sum")
            loss = torch.zeros(())
            for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
                with run.synchronised(last=number == len(parts) - 1):
                    share = run.loss_of(part, count) * (count / total)
                    run.accelerator.backward(share * run.accelerator.num_processes)
                loss = loss + share.detach()
            norm = run.clip_gradients()
            rate = run.set_rate(step)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            run.note(step, parts, rate, loss, norm, total)
            if run.stop_here(step):
                break
        return run.finish()
