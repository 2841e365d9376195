"""Checkpoints (检查点): a run that was killed goes on as if nothing had happened."""

import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from ..saving import load_weights, write_folder
from .order import Batches


def save_checkpoint(
    folder: str | os.PathLike, model: nn.Module, optimizer, state: dict, keep: int
) -> None:
    """Write ``step-00000100``, all of it or nothing; only the newest ``keep`` stay."""

    def write(draft: Path) -> None:
        save_model(model, str(draft / "model.safetensors"))
        everything = state | {"optimizer": optimizer.state_dict()}
        torch.save(everything, str(draft / "state.pt"))

    target = Path(folder) / f"step-{state['step']:08d}"
    if not target.exists():
        write_folder(target, write)
    for old in checkpoints(folder)[:-keep]:  # hidden first, so no half of one is seen
        os.replace(old, old.with_name(f".{old.name}-old"))
    for hidden in target.parent.glob(".step-*"):  # also left by a run that was killed
        shutil.rmtree(hidden, ignore_errors=True)


def checkpoints(folder: str | os.PathLike) -> list[Path]:
    """The complete checkpoints in a folder, oldest first. Chapter 5.2."""
    found = Path(folder).glob("step-*")
    return sorted(path for path in found if re.fullmatch(r"step-\d{8}", path.name))


def load_checkpoint(folder: Path, model: nn.Module, optimizer, identity: dict) -> dict:
    """Take up weights and optimiser; give back the state that was saved with them."""
    file = folder / "state.pt"
    try:
        state = torch.load(str(file), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, after what is damaged
        how = "delete its folder to go on from the one before"
        raise ValueError(f"{file} is damaged ({error}): {how}") from error
    saved = state["identity"]
    pairs = {key: (saved.get(key), identity.get(key)) for key in saved | identity}
    changes = [f"{key}: {a!r} → {b!r}" for key, (a, b) in pairs.items() if a != b]
    if changes:
        found = ", ".join(changes)
        raise ValueError(f"{folder} is of another run ({found}): give a new folder")
    load_weights(model, folder / "model.safetensors")
    optimizer.load_state_dict(state.pop("optimizer"))
    return state


def identity(model: nn.Module, batches: Batches, processes: int) -> dict[str, object]:
    """What must be the same when a run is taken up: settings, model, some data."""
    found = asdict(batches.stream.config) | {"processes": processes}
    for name in ("folder", "save_every", "keep", "workers", "progress", "compile"):
        del found[name]  # changes nothing
    if found["patience"] is None:
        del found["validate_every"]
    layers = re.sub("0x[0-9a-f]+", "", repr(model))  # without addresses
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    found["layers of the model"] = crc32(layers.encode())
    found["trained parameters"] = f"{len(trained)} ({crc32(str(trained).encode())})"
    found["length of the data"] = len(batches.data)
    first, second = batches.sample(), batches.sample()
    for name, value in first.items():
        if isinstance(value, Tensor) and torch.equal(value, second[name]):
            flat = value.flatten().double()  # weighted, so the order counts, too
            weights = torch.linspace(1, 2, len(flat)).to(flat)
            found[f"{name} of the data"] = f"{flat @ weights:.7g}"
    return found
