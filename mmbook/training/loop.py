"""The training loop of the book (训练循环), from one CPU core to many GPUs.

Tests hold: parts add up to one batch; a run that was killed goes on bit for bit.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.utils.data import Dataset

from .config import TrainingConfig
from .evaluate import count_labels
from .order import preserved_random_state
from .progress import History
from .run import Run


def fit(
    model: nn.Module,
    data: Dataset,
    config: TrainingConfig | None = None,
    collate: Callable | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> History:
    """Train a model in place: the loop of chapter 5.2.

    ``model(**batch)`` must have a ``.loss``, a mean over the labels of the batch, as ours
    and those of transformers have. Afterwards the model is in eval mode, on the device on
    which it was. ``data`` has a length and items by index; ``collate`` makes a batch of a
    list of items (:class:`mmbook.data.Collate`). ``validate`` gets the model in eval mode,
    without gradients, and returns numbers by name, as :func:`evaluate` does; of several
    processes, the first one's count.

    All random numbers come from ``config.seed``; the caller's go on as if none had been
    drawn. Batch norm sees each part of a batch by itself, so with it parts are not quite
    one batch. FloatingPointError: loss or gradient not finite; that batch is kept.
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
