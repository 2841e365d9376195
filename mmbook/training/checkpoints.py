"""Checkpoints (检查点): a run that was killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors.torch import save_file
from torch import Tensor, nn

from ..saving import load_weights, write_folder
from .config import TrainingConfig
from .history import History


def save_checkpoint(run) -> None:
    """Write all that the run needs to go on; a reader sees all of it or none.

    A folder ``step-00000100`` with the weights, the optimiser and the random states as
    safetensors, and the rest as json. Only the newest ``keep`` folders stay. Every
    process calls this, for its random state; the first one writes.
    """
    states = gather_object([_random_state()])
    if run.accelerator.is_main_process:
        _write_checkpoint(run, states)
    run.accelerator.wait_for_everyone()


def _write_checkpoint(run, random_states: list[tuple[dict, dict]]) -> None:
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


def resume(run) -> None:
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
