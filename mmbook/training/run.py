"""What surrounds the loop: devices, numbers that are looked at, stopping, saving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from math import inf, isfinite
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..models import eval_mode
from ..tokens import IGNORED
from .checkpoints import checkpoints, identity, load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .evaluate import shifts_labels
from .optimizer import learning_rate, make_optimizer
from .order import Batches, ShuffledStream, seed_by, to_device
from .progress import History, progress_bar

_LAG = 20  # steps between two looks at the numbers


class Run:
    """The state of one training run, so that the loop itself stays short."""

    def __init__(self, model, data, config: TrainingConfig, collate, validate):
        _check(model, data, config, validate)
        self.plain, self.config, self.validate = model, config, validate
        self.home = next((p.device for p in model.parameters()), torch.device("cpu"))
        AcceleratorState._reset_state()  # an earlier run may have had another precision
        self.accelerator = Accelerator(mixed_precision=_precision(config.precision))
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        model.to(self.accelerator.device)
        self.optimizer = make_optimizer(model, config)
        self.step, self.history = 0, History()
        self.pending: list[tuple] = []  # steps whose numbers nobody has looked at
        self.best, self.waited = -inf, 0
        self.best_weights: dict[str, Tensor] | None = None
        stream = ShuffledStream(len(data), config, rank, processes)
        batches = Batches(data, collate, stream)
        if config.folder:
            self._take_up(batches)
        self.shifted = config.accumulation * processes > 1 and self._shifts(batches)
        self.loader: Iterator = iter(self._loader(batches))
        self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
        self.compiled = self._compile()
        shown = config.progress if self.accelerator.is_main_process else False
        self.bar = progress_bar(config.steps, self.step, shown)
        self.model.train()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_) -> None:
        """Give the model back as it was, whatever happened."""
        self.bar.close()
        self.loader = iter(())  # its workers end
        for name in ("forward", "_original_forward"):  # accelerate's wrapper
            self.plain.__dict__.pop(name, None)
        if self.compiled:
            self.plain._compiled_call_impl = None
        self.plain.to(self.home).eval()

    def steps_to_go(self) -> range:
        """The steps that are left: none if a run that is taken up had stopped early."""
        return range(self.step, 0 if self.history.stopped_early else self.config.steps)

    def next_parts(self, step: int) -> list[dict]:
        """The batches of a step, on the device; its random numbers begin here."""
        device = self.accelerator.device
        parts = [to_device(part, device) for part in next(self.loader)]
        seed = seed_by(self.config.seed, "step", step, self.accelerator.process_index)
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        return parts

    def loss_of(self, part: dict, count: Tensor) -> Tensor:
        """The model's mean loss of a part; 0 if no label counts."""
        loss = getattr(self.model(**part), "loss", None)
        if not isinstance(loss, Tensor) or loss.ndim:
            name, given = type(self.plain).__name__, ", ".join(part)
            found = f"for {given} that of {name} is {loss}"
            raise TypeError(f"fit needs model(**batch).loss, one number; {found}")
        return torch.where(count > 0, loss, 0.0)

    def synchronised(self, last: bool):
        """Processes exchange gradients once an update, with its last part."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def clip_gradients(self) -> Tensor:
        """Shorten the gradient to the clipping norm; give back its length before."""
        parameters, limit = self.model.parameters(), self.config.clip or inf
        return self.accelerator.clip_grad_norm_(parameters, limit)

    def set_rate(self, step: int) -> float:
        """Set this step's learning rate in every group of parameters."""
        rate = learning_rate(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def note(self, step: int, parts: list[dict], rate: float, *numbers: Tensor) -> None:
        """Remember a step without waiting for it; look at the numbers now and then."""
        stacked = torch.stack([number.float() for number in numbers])
        self.pending.append((step, parts, rate, stacked))
        self.bar.update()
        if len(self.pending) == _LAG:
            self.flush()

    def flush(self) -> None:
        """Fetch the waiting numbers from the device, all at once, and check them."""
        if not self.pending:
            return
        table = torch.stack([numbers for *_, numbers in self.pending])
        table[:, 0] = self.accelerator.reduce(table[:, 0].contiguous(), "sum")
        fp16 = self.accelerator.scaler is not None  # it skips a step without a norm
        for waiting, row in zip(self.pending, table.tolist(), strict=True):
            (step, parts, rate, _), (loss, norm, labels) = waiting, row
            if not (labels and isfinite(loss) and (fp16 or isfinite(norm))):
                self._stop_at(step, parts, loss, norm, labels)
            record = {"step": step, "loss": loss, "gradient_norm": norm}
            self.history.steps.append(record | {"learning_rate": rate})
        self.pending.clear()
        self.bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)

    def _stop_at(self, step: int, parts: list[dict], loss, norm, labels) -> None:
        """Say what is wrong with a step, and keep its batch."""
        kept = "give TrainingConfig a folder to have it kept"
        if self.config.folder:
            name = f"not-finite-step-{step}-process-{self.accelerator.process_index}.pt"
            file = Path(self.config.folder, name)
            torch.save([to_device(part, torch.device("cpu")) for part in parts], file)
            kept = f"torch.load reads it from {file}"
        found = f"the loss of step {step} is {loss}, its gradient norm {norm}"
        if not labels:
            found = f"no label in the batch of step {step}: all are {IGNORED}"
        advice = "lower the learning rate, or clip harder"
        raise FloatingPointError(f"{found}: look at the batch ({kept}), {advice}")

    def stop_here(self, step: int) -> bool:
        """Validate and save if it is time; True if training should end now."""
        self.step, stop = step + 1, False
        if self.validate and self._due(self.config.validate_every):
            stop = self._validate()
        if self.config.folder and (stop or self._due(self.config.save_every)):
            self._save()
        return stop

    def _due(self, every: int | None) -> bool:
        last = self.step == self.config.steps
        return last or (every is not None and self.step % every == 0)

    def finish(self) -> History:
        """Look at the last numbers; go back to the best weights, if some were kept."""
        self.flush()
        if self.best_weights is not None:
            self.plain.load_state_dict(self.best_weights)
        return self.history

    def _validate(self) -> bool:
        self.flush()
        with torch.no_grad(), eval_mode(self.plain), self.accelerator.autocast():
            found = self.validate(self.plain)
        if not isinstance(found, dict):
            raise TypeError(f"validate must return a dict of numbers; got {found!r}")
        numbers = {name: float(value) for name, value in found.items()}
        (numbers,) = broadcast_object_list([numbers])  # one process speaks for all
        self.history.validations.append({"step": self.step, **numbers})
        self.history.stopped_early = self._is_enough(numbers)
        return self.history.stopped_early

    def _is_enough(self, numbers: dict[str, float]) -> bool:
        """Has the metric not improved for ``patience`` validations?"""
        name, patience = self.config.metric, self.config.patience
        if patience is None:
            return False
        if name not in numbers:
            raise ValueError(f"metric is {name!r}, validate gave {', '.join(numbers)}")
        value = numbers[name] if self.config.maximise else -numbers[name]
        self.waited += 1
        if value > self.best:  # never true of nan
            weights = self.plain.state_dict()
            self.best_weights = {k: v.detach().clone() for k, v in weights.items()}
            self.best, self.waited = value, 0
        return self.waited >= patience

    def _take_up(self, batches: Batches) -> None:
        """Go on from the newest checkpoint; save the start, to find early what fails."""
        self.identity = identity(self.plain, batches, self.accelerator.num_processes)
        found = checkpoints(str(self.config.folder))
        self.accelerator.wait_for_everyone()  # all have looked before one writes
        if not found:
            return self._save()
        state = load_checkpoint(found[-1], self.plain, self.optimizer, self.identity)
        self.history = History(**state.pop("history"))
        if scaler := state.pop("scaler"):
            self.accelerator.scaler.load_state_dict(scaler)
        vars(self).update(state)

    def _shifts(self, batches: Batches) -> bool:
        sample = to_device(batches.sample(), self.accelerator.device)
        with self.accelerator.autocast():
            return shifts_labels(self.plain, sample)

    def _save(self) -> None:
        self.flush()
        if self.accelerator.is_main_process:
            names = ("step", "best", "best_weights", "waited", "identity")
            state = {name: getattr(self, name) for name in names}
            scaler, folder = self.accelerator.scaler, str(self.config.folder)
            state["scaler"] = scaler and scaler.state_dict()
            state["history"] = vars(self.history)
            save_checkpoint(folder, self.plain, self.optimizer, state, self.config.keep)
        self.accelerator.wait_for_everyone()

    def _compile(self) -> bool:
        backend = self.config.compile
        if backend == "auto":  # compiling takes about a minute
            cuda = self.accelerator.device.type == "cuda"
            backend = cuda and self.config.steps >= 1000
        if backend:
            self.model.compile(backend="inductor" if backend is True else backend)
        return bool(backend)

    def _loader(self, batches: Batches) -> DataLoader:
        return DataLoader(
            batches,
            batch_size=None,  # each of its items is the batches of a step
            sampler=self.steps_to_go(),
            collate_fn=list,
            num_workers=self.config.workers,
            pin_memory=self.accelerator.device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from others' numbers
        )


def _check(model: nn.Module, data, config: TrainingConfig, validate) -> None:
    """What cannot work is said before the work."""
    if not hasattr(data, "__len__"):
        kind = f"got {type(data).__name__}: list(data) is that, if it fits into memory"
        raise TypeError(f"fit needs data with a length and items by index; {kind}")
    if config.patience is not None and validate is None:
        raise ValueError("patience needs validate: numbers to be patient with")
    coupled = [m for m in model.modules() if getattr(m, "couples_rows", False)]
    if config.accumulation > 1 and coupled:
        what = f"{type(coupled[0]).__name__} compares the examples of a batch"
        raise ValueError(f"the loss of {what}, not of parts: choose accumulation=1")


def _precision(asked: str) -> str:
    if asked != "auto":
        return asked
    cuda = torch.cuda.is_available()
    return "bf16" if cuda and torch.cuda.is_bf16_supported() else "no"
