"""The training loop of the book (训练循环), from one CPU core to many GPUs.

:func:`fit` is the loop; read it first. Device, precision and several processes are the
business of ``accelerate``. What surrounds the loop stands below it: the order of the
data, the optimiser, the schedule, early stopping, checkpoints, the history.

Three properties are held by tests: one batch gives the gradient of its k parts, on one
process or two, also when sentences have different lengths; a run that was killed goes on
as if nothing had happened, bit for bit; a step never waits for the device."""

from __future__ import annotations

import builtins
import math
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..tokens import IGNORED
from .checkpoints import resume, save_checkpoint
from .config import TrainingConfig
from .history import History
from .optimizer import learning_rate, make_optimizer
from .order import ShuffledStream


def fit(
    model: nn.Module,
    data: Dataset,
    config: TrainingConfig | None = None,
    collate: Callable | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> History:
    """Train a model: the loop of chapter 5.2.

    Parameters
    ----------
    model : any module whose ``model(**batch)`` has a ``.loss`` that is a mean over the
        labels of the batch: ours, or one of transformers.
    data : a map-style dataset.
    collate : turns a list of its items into a batch; :class:`mmbook.data.Collate`.
    validate : given the model (in eval mode, without gradients), returns numbers. Of
        several processes each asks it, and the first one's numbers count.

    Returns
    -------
    History
        What was measured in each step. The model itself is trained in place. Afterwards
        it is in eval mode, and on the device on which it was before: put it on the GPU
        yourself if it shall stay there.

    Raises
    ------
    FloatingPointError
        If the loss is not finite; the batch is saved beside the checkpoints.
    """
    config = config or TrainingConfig()
    with Run(model, data, config, collate, validate) as run:
        for step in run.steps_to_go():
            parts = next(run.batches)
            counts = [count_labels(part) for part in parts]
            total = run.accelerator.reduce(sum(counts), "sum")
            loss = 0.0
            for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
                with run.synchronised(last=number == len(parts) - 1):
                    share = run.model(**part).loss * (count / total)
                    run.accelerator.backward(share * run.accelerator.num_processes)
                loss = loss + share.detach()
            norm = run.clip_gradients()
            rate = run.set_rate(step)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            run.note(step, parts, loss=loss, gradient_norm=norm, learning_rate=rate)
            if run.stop_here(step):
                break
        return run.finish()


def count_labels(batch: dict) -> Tensor:
    """How many labels a batch counts in its mean; its examples, if it has no labels."""
    labels = batch.get("labels")
    if labels is None:
        first = next(value for value in batch.values() if isinstance(value, Tensor))
        return first.new_full((), len(first), dtype=torch.float32)
    return (labels != IGNORED).sum().float()


class Run:
    """The state of one training run, so that the loop itself stays short."""

    def __init__(self, model, data, config, collate, validate):
        if config.patience is not None and validate is None:
            raise ValueError("patience needs validate: numbers to be patient with")
        self.config, self.validate = config, validate
        self.home = next((p.device for p in model.parameters()), torch.device("cpu"))
        AcceleratorState._reset_state()  # an earlier run may have had another precision
        self.accelerator = Accelerator(mixed_precision=_precision(config.precision))
        self.plain = model  # the model as the caller knows it
        torch.manual_seed(config.seed + self.accelerator.process_index)
        model.to(self.accelerator.device)
        self.optimizer = make_optimizer(model, config)
        self.history, self.step = History(), 0
        self.best, self.best_weights, self.waited = None, None, 0
        self.recent: deque = deque(maxlen=_LAG)
        self.pending: list[dict] = []
        resume(self)
        self.batches = self._prefetched(self._loader(data, collate))
        self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
        self._compile()
        self.bar = _progress_bar(config, self.step, self.accelerator)
        self.model.train()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_) -> None:
        """Give the model back as it was, whatever happened."""
        self.bar.close()
        for name in ("forward", "_original_forward"):  # accelerate's wrapper
            self.plain.__dict__.pop(name, None)
        if self.compiled:
            self.plain._compiled_call_impl = None
        self.plain.to(self.home).eval()

    def steps_to_go(self) -> range:
        """The steps that are left: none if a run that is taken up had stopped early."""
        end = self.step if self.history.stopped_early else self.config.steps
        return range(self.step, end)

    def synchronised(self, last: bool):
        """Processes exchange gradients once an update, with its last part."""
        from contextlib import nullcontext

        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def clip_gradients(self) -> Tensor:
        """Shorten the gradient to the clipping norm; give back its length before."""
        limit = self.config.clip if self.config.clip is not None else float("inf")
        return self.accelerator.clip_grad_norm_(self.model.parameters(), limit)

    def set_rate(self, step: int) -> float:
        """Set this step's learning rate in every group of parameters."""
        rate = learning_rate(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def note(self, step: int, parts: list[dict], **measured) -> None:
        """Remember a step without waiting for it; look at the numbers now and then."""
        self.pending.append({"step": step, **measured})
        self.recent.append((step, parts))
        self.bar.update()
        if len(self.pending) >= _LAG or step + 1 == self.config.steps:
            self.flush()

    def flush(self) -> None:
        """Fetch the waiting numbers from the device, all at once, and check them."""
        if not self.pending:
            return
        names = ("loss", "gradient_norm")
        table = torch.stack(
            [torch.stack([r[n].float() for n in names]) for r in self.pending]
        )
        table[:, 0] = self.accelerator.reduce(table[:, 0].contiguous(), "sum")
        for record, row in zip(self.pending, table.tolist(), strict=True):
            record.update(zip(names, row, strict=True))
            if not math.isfinite(record["loss"]):
                self._not_finite(record)
            self.history.steps.append(record)
        self.pending.clear()
        self.bar.set_postfix_str(f"loss {self.history.steps[-1]['loss']:.3f}")

    def stop_here(self, step: int) -> bool:
        """Validate and save if it is time; True if training should end now."""
        config, stop = self.config, False
        self.step = step + 1
        if self.validate and _due(self.step, config.validate_every, config.steps):
            stop = self._validate()
        if config.folder and (stop or _due(self.step, config.save_every, config.steps)):
            self.flush()
            save_checkpoint(self)
        return stop

    def finish(self) -> History:
        """Look at the last numbers; go back to the best weights, if some were kept."""
        self.flush()
        if self.config.patience is not None and self.best_weights is not None:
            self.plain.load_state_dict(self.best_weights)
        return self.history

    def _validate(self) -> bool:
        self.flush()
        self.plain.eval()
        hook = self.plain.register_forward_pre_hook(self._moved, with_kwargs=True)
        with hook, torch.inference_mode(), self.accelerator.autocast():
            numbers = {k: float(v) for k, v in self.validate(self.plain).items()}
        self.plain.train()
        (numbers,) = broadcast_object_list([numbers])  # one process speaks for all
        self.history.validations.append({"step": self.step, **numbers})
        self.history.stopped_early = self._is_enough(numbers)
        return self.history.stopped_early

    def _moved(self, model, args: tuple, batch: dict) -> tuple[tuple, dict]:
        """What a validation hands to the model, on the device of the model."""
        return args, to_device(batch, self.accelerator.device)

    def _is_enough(self, numbers: dict[str, float]) -> bool:
        """Has the metric not improved for ``patience`` validations?"""
        if self.config.patience is None:
            return False
        if self.config.metric not in numbers:
            raise ValueError(
                f"metric is {self.config.metric!r}, but validate returned "
                f"{', '.join(numbers)}"
            )
        value = numbers[self.config.metric] * (1 if self.config.maximise else -1)
        value = -math.inf if math.isnan(value) else value
        if self.best is None or value > self.best:
            self.best, self.waited = value, 0
            weights = self.plain.state_dict()
            self.best_weights = {k: v.detach().clone() for k, v in weights.items()}
            return False
        self.waited += 1
        return self.waited >= self.config.patience

    def _not_finite(self, record: dict) -> None:
        parts = dict(self.recent).get(record["step"], [])
        saved = "give TrainingConfig a folder to have it kept"
        if self.config.folder:
            name = f"not-finite-step-{record['step']}"
            if self.accelerator.num_processes > 1:
                name += f"-process-{self.accelerator.process_index}"
            file = Path(self.config.folder) / f"{name}.safetensors"
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(_flat(parts), str(file))
            saved = f"it is kept in {file}"
        raise FloatingPointError(
            f"the loss of step {record['step']} is {record['loss']} (gradient norm "
            f"{record['gradient_norm']}, learning rate {record['learning_rate']:.2g}). "
            f"Look at the batch ({saved}), lower the learning rate, or clip harder. "
            "Weights after this step are useless; the last checkpoint is sound."
        )

    def _compile(self) -> None:
        compile = self.config.compile
        if compile == "auto":
            on_gpu = self.accelerator.device.type == "cuda"
            compile = on_gpu and self.config.steps >= _WORTH_COMPILING
        self.compiled = bool(compile)
        if self.compiled:
            backend = compile if isinstance(compile, str) else "inductor"
            self.model.compile(backend=backend)

    def _loader(self, data, collate) -> DataLoader:
        accelerator, config = self.accelerator, self.config
        stream = ShuffledStream(
            len(data),
            config,
            self.step,
            accelerator.process_index,
            accelerator.num_processes,
        )
        return DataLoader(
            data,
            batch_sampler=stream,
            collate_fn=collate,
            num_workers=config.workers,
            pin_memory=accelerator.device.type == "cuda",
            persistent_workers=config.workers > 0,
            generator=torch.Generator(),  # else it would draw from dropout's numbers
        )

    def _prefetched(self, loader: DataLoader) -> Iterator[list[dict]]:
        """Batches on the device, one ahead, in groups of ``accumulation`` parts."""

        def groups():
            parts = []
            for batch in loader:
                parts.append(to_device(batch, self.accelerator.device))
                if len(parts) == self.config.accumulation:
                    yield parts
                    parts = []

        ahead = (
            groups() if self.accelerator.device.type != "cuda" else _one_ahead(groups())
        )
        yield from ahead


def to_device(batch: dict, device: torch.device) -> dict:
    """The batch with its tensors on the device; the copy runs beside the computation."""
    return {
        name: value.to(device, non_blocking=True)
        if isinstance(value, Tensor)
        else value
        for name, value in batch.items()
    }


_WORTH_COMPILING = 1000  # steps


_LAG = 20  # steps between two looks at the numbers


def _one_ahead(iterator: Iterator) -> Iterator:
    held = next(iterator, None)
    while held is not None:
        following = next(iterator, None)
        yield held
        held = following


def _due(step: int, every: int | None, last: int) -> bool:
    return step == last or (bool(every) and step % every == 0)


def _precision(asked: str) -> str:
    if asked != "auto":
        return asked
    cuda = torch.cuda.is_available()
    return "bf16" if cuda and torch.cuda.is_bf16_supported() else "no"


def _flat(parts: list[dict]) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, part in enumerate(parts)
        for name, value in part.items()
        if isinstance(value, Tensor)
    }


def _progress_bar(config: TrainingConfig, start: int, accelerator: Accelerator):
    from tqdm.auto import tqdm

    shown = config.progress
    if shown is None:
        watched = sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")
        shown = watched and not os.environ.get("CI")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm asks for ipywidgets, which are optional
        return tqdm(
            total=config.steps,
            initial=start,
            disable=not (shown and accelerator.is_main_process),
            leave=False,
        )
