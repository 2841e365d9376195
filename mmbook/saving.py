"""Saving and loading: a json config of arguments beside safetensors weights."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

__all__ = ["Configured", "build", "find_folder"]

_CLASSES: dict[str, type[Configured]] = {}


class Configured(nn.Module):
    """A module that knows its arguments: json values, or such modules. Chapter 5.2."""

    _arguments: dict

    def __init__(self):
        super().__init__()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        known = _CLASSES.setdefault(cls.__name__, cls)
        mine, its = (f"{c.__module__}.{c.__qualname__}" for c in (cls, known))
        if mine != its:  # a notebook's cell may define the same class again
            rule = "a config knows a class by its name alone"
            raise TypeError(f"{rule}: rename {mine}, for this is that of {its}")
        _CLASSES[cls.__name__] = cls
        cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]

    def to_config(self) -> dict:
        """The class name and the arguments, as json values; modules as they are now."""
        given = self._arguments
        parts = [n for n, x in given.items() if isinstance(x, Configured | dict | None)]
        modules = {n: self._modules[n] for n in parts if n in self._modules}
        return {"class": type(self).__name__, **_to_json(given | modules)}

    def save_pretrained(self, folder: str | os.PathLike) -> Path:
        """Write ``config.json`` and ``model.safetensors``; all of it or nothing."""

        def write(target: Path):
            text = json.dumps(self.to_config(), indent=2, ensure_ascii=False)
            (target / "config.json").write_text(text + "\n", encoding="utf-8")
            save_model(self, str(target / "model.safetensors"))

        return write_folder(folder, write)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike) -> Configured:
        """Load what :meth:`save_pretrained` wrote, from a folder or from the hub."""
        folder = find_folder(name_or_folder, needs="config.json")
        file, config = folder / "config.json", None
        with contextlib.suppress(ValueError):  # not json, or not even text
            config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"{file} is damaged or cut off: fetch or save it again")
        module = build(config)
        if not isinstance(module, cls):
            held = type(module).__name__
            raise ValueError(f"{folder} holds a {held}, not a {cls.__name__}")
        load_weights(module, folder / "model.safetensors")
        return module.eval()


def build(config: dict) -> Configured:
    """Make the module that a config describes, with new weights. Chapter 5.2."""
    given = dict(config)
    if (name := given.pop("class", None)) not in _CLASSES:
        known = ", ".join(sorted(_CLASSES))
        raise ValueError(f"no class {name!r}: import its module; known are {known}")
    return _CLASSES[name](**_from_json(given))


def find_folder(name_or_folder: str | os.PathLike, needs: str) -> Path:
    """A local folder, a part of the book (``mmbook/…``), or a hub name. Chapter 3.2."""
    folder = Path(name_or_folder)
    if str(name_or_folder).startswith("mmbook/") and not folder.is_dir():
        folder = Path(__file__).parent / "weights" / folder.name
    if folder.is_dir():
        _finish(folder)
        if not (folder / needs).is_file():
            raise FileNotFoundError(f"{folder} has no {needs}: is it a saved model?")
        return folder
    if folder.is_absolute() or str(name_or_folder).count("/") != 1:
        wanted = f"give one with {needs}, or a name on the hub (owner/name)"
        raise FileNotFoundError(f"no folder {str(name_or_folder)!r}: {wanted}")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(name_or_folder)))


def load_weights(module: nn.Module, file: str | os.PathLike) -> None:
    """Read safetensors into a module."""
    with reading(Path(file)):
        load_model(module, str(file))


@contextlib.contextmanager
def reading(file: Path):
    """Say clearly if safetensors that are read inside are absent, damaged or unfit."""
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}")
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or cut off: {error}") from error
    except RuntimeError as error:
        raise ValueError(f"the weights in {file} do not fit: {error}") from error


def write_folder(folder: str | os.PathLike, write: Callable[[Path], None]) -> Path:
    """Write files so that a reader sees all of them or none; other files stay.

    A hidden draft becomes the folder, or its ``.complete`` part, in one step.
    """
    folder = Path(folder)
    exists = folder.is_dir()
    draft = folder if exists else folder.parent
    draft /= f".{folder.name}-{secrets.token_hex(4)}"
    draft.mkdir(parents=True)
    try:
        write(draft)
        for file in draft.iterdir():
            with file.open("r+b") as handle:  # Windows flushes only what it may write
                os.fsync(handle.fileno())
        _finish(folder)
        os.replace(draft, folder / ".complete" if exists else folder)
        _finish(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _finish(folder: Path) -> None:
    """Let the files of a complete draft replace the older ones of its folder."""
    with contextlib.suppress(FileNotFoundError):  # there is none, or another was faster
        for file in (folder / ".complete").iterdir():
            os.replace(file, folder / file.name)
        (folder / ".complete").rmdir()


def _remembering(init: Callable) -> Callable:
    """An ``__init__`` that remembers the arguments of the class that is made."""
    signature = inspect.signature(init)
    names = {p.kind.name: p.name for p in list(signature.parameters.values())[1:]}
    for kind in names.keys() & {"POSITIONAL_ONLY", "VAR_POSITIONAL"}:
        raise TypeError(f"{init.__qualname__} takes {names[kind]!r} without its name")

    @functools.wraps(init)
    def wrapped(self, *args, **kwargs):
        if not hasattr(self, "_arguments"):
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            arguments = dict(list(bound.arguments.items())[1:])
            arguments |= arguments.pop(names.get("VAR_KEYWORD"), {})
            object.__setattr__(self, "_arguments", arguments)
        init(self, *args, **kwargs)

    return wrapped


def _to_json(value):
    if isinstance(value, Configured):
        return value.to_config()
    if isinstance(value, dict | nn.ModuleDict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{value!r} cannot stand in a config: only json values and modules")


def _from_json(value):
    if isinstance(value, dict) and "class" in value:
        return build(value)
    if isinstance(value, dict):
        return {key: _from_json(item) for key, item in value.items()}
    return [_from_json(item) for item in value] if isinstance(value, list) else value
