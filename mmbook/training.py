"""The training loop of the book (训练循环), from one CPU core to many GPUs.

:func:`fit` is the loop; read it first. Device, precision and several processes are the
business of ``accelerate``. What surrounds the loop stands below it: the order of the
data, the optimiser, the schedule, early stopping, checkpoints, the history.

Three properties are held by tests: one batch gives the gradient of its k parts, on one
process or two, also when sentences have different lengths; a run that was killed goes on
as if nothing had happened, bit for bit; a step never waits for the device.
"""

from __future__ import annotations

import builtins
import json
import math
import os
import random
import re
import shutil
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from .configuration import load_weights, write_folder
from .data.batching import IGNORED


@dataclass
class TrainingConfig:
    """All that a run needs to know; every field is a json value.

    Parameters
    ----------
    steps : number of updates.
    batch_size : examples that one process puts through the model at once.
    accumulation : parts of that size which make one update together (梯度累积).
    optimizer : ``"adamw"`` or ``"sgd"`` (with momentum 0.9).
    learning_rate : the highest one, after warm-up.
    rates : factors on it for parameters whose names begin so, e.g.
        ``{"encoders.": 0.1}``; the longest beginning counts.
    weight_decay : for the weights of linear and convolutional layers only.
    warmup : share of the steps in which the rate rises from zero.
    schedule : ``"cosine"`` down to zero, or ``"constant"``.
    clip : the largest norm of the gradient; None does not clip.
    precision : ``"auto"`` is bf16 on a GPU that has it, else float32.
    compile : ``"auto"`` compiles on a GPU if there are a thousand steps or more, since
        compiling takes about a minute; True, False, or the name of a backend.
    validate_every, patience, metric, maximise : when to validate; stop after so many
        validations in which ``metric`` did not improve, and go back to the best weights.
        ``patience=None`` never stops early.
    folder, save_every, keep : where checkpoints go, how often, how many stay.
    workers : processes that prepare batches; 0 prepares them in this one.
    seed : of the order of the data and of dropout.
    progress : None shows a bar where somebody watches.
    """

    steps: int = 1000
    batch_size: int = 64
    accumulation: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "cosine"
    clip: float | None = 1.0
    precision: str = "auto"
    compile: bool | str = "auto"
    validate_every: int | None = None
    patience: int | None = None
    metric: str = "loss"
    maximise: bool = False
    folder: str | None = None
    save_every: int | None = None
    keep: int = 2
    workers: int = 0
    seed: int = 0
    progress: bool | None = None

    def __post_init__(self):
        for name in ("steps", "batch_size", "accumulation", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")
        for name, known in (
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "constant")),
            ("precision", ("auto", "no", "bf16", "fp16")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got "
                    f"{getattr(self, name)!r}"
                )
        if self.save_every and not self.folder:
            raise ValueError("save_every needs a folder to save into")
        if self.patience is not None and not self.validate_every:
            raise ValueError("patience needs validate_every: how often to look")
        if not 0 <= self.warmup <= 1:
            raise ValueError(
                f"warmup is a share of the steps, from 0 to 1; got {self.warmup}"
            )


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
    with _Run(model, data, config, collate, validate) as run:
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


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The rate of a step: linear warm-up, then constant or half a cosine (余弦退火)."""
    warmup = max(1, round(config.warmup * config.steps)) if config.warmup else 0
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW or SGD, with decay only where it belongs.

    Weight decay pulls the matrices of linear and convolutional layers towards zero. Norms,
    biases, embeddings and positions are left alone: zero is no natural place for them.
    Each parameter group keeps its factor on the learning rate as ``group["factor"]``.
    """
    _check_rates(model, config.rates)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    decayed = _decayed(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if id(parameter) in decayed else 0.0
            groups.setdefault((decay, _factor(name, config.rates)), []).append(
                parameter
            )
    if not groups:
        raise ValueError("nothing to train: no parameter requires a gradient")
    options = [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=config.learning_rate, momentum=0.9)
    return torch.optim.AdamW(
        options, lr=config.learning_rate, betas=(0.9, 0.98), fused=_can_fuse(options)
    )


class ShuffledStream(Sampler):
    """Which examples make which batch: shuffled epochs, behind each other, for ever.

    The order is a function of the seed and the step alone, so a run can be taken up at
    any step, and several processes share each batch without talking. Every batch is
    full; the last one of an epoch is filled up from the next.
    """

    def __init__(
        self, length: int, config: TrainingConfig, start=0, rank=0, processes=1
    ):
        if length < 1:
            raise ValueError("no data to train on: the dataset is empty")
        self.length, self.config = length, config
        self.start, self.rank, self.processes = start, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        size, parts = self.config.batch_size, self.config.accumulation
        together = size * parts * self.processes
        epoch, order = None, []
        for step in range(self.start, self.config.steps):
            for part in range(parts):
                first = step * together + (part * self.processes + self.rank) * size
                batch = []
                for place in range(first, first + size):
                    if place // self.length != epoch:
                        epoch = place // self.length
                        order = self._order(epoch)
                    batch.append(order[place % self.length])
                yield batch

    def _order(self, epoch: int) -> list[int]:
        rng = np.random.default_rng((self.config.seed, epoch))
        return rng.permutation(self.length).tolist()


@dataclass
class History:
    """What was measured: one record a step, one a validation. It plots itself."""

    steps: list[dict[str, float]] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[float]:
        """One quantity over the steps, e.g. ``history["loss"]``."""
        return [record[name] for record in self.steps]

    def plot(self):
        """Loss, learning rate and validation metrics over the steps."""
        from .plots import plot_history

        return plot_history(self)

    def __repr__(self) -> str:
        if not self.steps:
            return "History of no steps"
        last = self.steps[-1]
        text = f"History of {last['step'] + 1} steps, last loss {last['loss']:.4f}"
        if self.validations:
            numbers = self.validations[-1].items()
            text += "; last validation " + ", ".join(
                f"{name} {value:.4f}" for name, value in numbers if name != "step"
            )
        return text


class _Run:
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

    def __enter__(self) -> _Run:
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


def _decayed(model: nn.Module) -> set[int]:
    """Identities of the parameters that weight decay may touch."""
    spared = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    return {
        id(parameter)
        for name, parameter in model.named_parameters()
        if name.endswith("weight")
        and parameter.ndim >= 2
        and id(parameter) not in spared
    }


def _check_rates(model: nn.Module, rates: dict[str, float]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for start in rates:
        if not any(name.startswith(start) for name in names):
            known = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(
                f"rates names {start!r}, but no parameter begins so; they begin with "
                f"{', '.join(known)}"
            )


def _factor(name: str, rates: dict[str, float]) -> float:
    matches = [start for start in rates if name.startswith(start)]
    return rates[max(matches, key=len)] if matches else 1.0


def _can_fuse(groups: list[dict]) -> bool:
    kinds = {
        (p.device.type, p.is_floating_point()) for g in groups for p in g["params"]
    }
    return len(kinds) == 1 and kinds <= {("cuda", True), ("cpu", True)}


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


# ------------------------------------------------------------------- checkpoints


def save_checkpoint(run: _Run) -> None:
    """Write all that the run needs to go on; a reader sees all of it or none.

    A folder ``step-00000100`` with the weights, the optimiser and the random states as
    safetensors, and the rest as json. Only the newest ``keep`` folders stay. Every
    process calls this, for its random state; the first one writes.
    """
    states = gather_object([_random_state()])
    if run.accelerator.is_main_process:
        _write_checkpoint(run, states)
    run.accelerator.wait_for_everyone()


def _write_checkpoint(run: _Run, random_states: list[tuple[dict, dict]]) -> None:
    folder = Path(run.config.folder) / f"step-{run.step:08d}"

    def write(target: Path):
        _save_weights(run.plain, target / "model.safetensors")
        tensors, scalars = _optimizer_tensors(run.optimizer)
        save_file(tensors, str(target / "optimizer.safetensors"))
        by_process = {
            f"{process}.{name}": value
            for process, (tensors, _) in enumerate(random_states)
            for name, value in tensors.items()
        }
        save_file(by_process, str(target / "random.safetensors"))
        if run.best_weights is not None:
            best = {k: v.clone().contiguous() for k, v in run.best_weights.items()}
            save_file(best, str(target / "best.safetensors"))
        state = {
            "step": run.step,
            "config": asdict(run.config),
            "optimizer": scalars,
            "random": [numbers for _, numbers in random_states],
            "history": asdict(run.history),
            "best": run.best,
            "waited": run.waited,
        }
        (target / "state.json").write_text(json.dumps(state), encoding="utf-8")

    if not folder.exists():
        write_folder(folder, write, fresh=True)
    for old in checkpoints(run.config.folder)[: -run.config.keep]:
        _remove(old)
    for half in folder.parent.glob(".step-*"):  # left by a run that was killed
        shutil.rmtree(half, ignore_errors=True)


def checkpoints(folder: str | os.PathLike) -> list[Path]:
    """The complete checkpoints in a folder, oldest first."""
    found = Path(folder).glob("step-*") if Path(folder).is_dir() else []
    return sorted(path for path in found if re.fullmatch(r"step-\d{8}", path.name))


def resume(run: _Run) -> None:
    """Take up the newest checkpoint of the run's folder, if there is one.

    Raises
    ------
    ValueError
        If a file is damaged, or the checkpoint belongs to another configuration.
    """
    found = checkpoints(run.config.folder) if run.config.folder else []
    if not found:
        return
    folder = found[-1]
    state = _read_state(folder, run.config, run.accelerator.num_processes)
    load_weights(run.plain, folder / "model.safetensors")
    tensors = _read_tensors(folder / "optimizer.safetensors")
    _restore_optimizer(run.optimizer, tensors, state["optimizer"])
    process = run.accelerator.process_index
    tensors = _read_tensors(folder / "random.safetensors")
    _restore_random(tensors, f"{process}.", state["random"][process])
    run.step, run.history = state["step"], History(**state["history"])
    run.best, run.waited = state["best"], state["waited"]
    if (folder / "best.safetensors").is_file():
        run.best_weights = _read_tensors(folder / "best.safetensors")


# What may differ between a run and its continuation: it does not change the result.
_FREE = {
    "folder",
    "save_every",
    "keep",
    "workers",
    "progress",
    "compile",
    "validate_every",
}


def _read_state(folder: Path, config: TrainingConfig, processes: int) -> dict:
    file = folder / "state.json"
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"checkpoint file {file} is damaged or cut off ({error}): delete the folder "
            "to go on from the one before"
        ) from error
    if len(state["random"]) != processes:
        raise ValueError(
            f"checkpoint {folder} was written by {len(state['random'])} processes; now "
            f"there are {processes}, which would see the data in another order"
        )
    saved, now = state["config"], asdict(config)
    differing = [k for k in now if k not in _FREE and saved.get(k) != now[k]]
    if differing:
        changes = ", ".join(f"{k}: {saved.get(k)!r} → {now[k]!r}" for k in differing)
        raise ValueError(
            f"checkpoint {folder} belongs to another configuration ({changes}): give a "
            "new folder, or the old values"
        )
    return state


def _read_tensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(file))
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"checkpoint file {file} is damaged or cut off ({error}): delete the folder "
            "to go on from the one before"
        ) from error


def _save_weights(model: nn.Module, file: Path) -> None:
    from safetensors.torch import save_model

    save_model(model, str(file))


def _optimizer_tensors(optimizer) -> tuple[dict[str, Tensor], dict]:
    """The optimiser's state as named tensors, and the rest as json values."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, entries in state["state"].items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }
    return tensors, {"groups": [group["params"] for group in state["param_groups"]]}


def _restore_optimizer(optimizer, tensors: dict[str, Tensor], scalars: dict) -> None:
    fresh = optimizer.state_dict()
    if [group["params"] for group in fresh["param_groups"]] != scalars["groups"]:
        raise ValueError(
            "the checkpoint's parameter groups differ from the model's: another model, or "
            "other parameters are frozen"
        )
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": entries, "param_groups": fresh["param_groups"]})


def _random_state() -> tuple[dict[str, Tensor], dict]:
    """Where this process stands in its random numbers: as tensors, and as json."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    kind, keys, *rest = np.random.get_state()
    return tensors, {"python": random.getstate(), "numpy": [kind, keys.tolist(), *rest]}


def _restore_random(tensors: dict[str, Tensor], process: str, numbers: dict) -> None:
    torch.set_rng_state(tensors[f"{process}cpu"])
    if f"{process}cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[f"{process}cuda"])
    version, state, gauss = numbers["python"]
    random.setstate((version, tuple(state), gauss))
    np.random.set_state(tuple(numbers["numpy"]))


def _remove(folder: Path) -> None:
    """Delete a checkpoint: hide it first, so that no half of one is ever seen."""
    hidden = folder.with_name(f".{folder.name}-old")
    os.replace(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)
