"""Saving and loading as the ecosystem does: a json config beside safetensors weights.

Every part of the book is a :class:`Configured` module: it remembers its arguments, so a
folder with ``config.json`` and ``model.safetensors`` is enough to make it again.
"""

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

_CLASSES: dict[str, type[Configured]] = {}


class Configured(nn.Module):
    """A module that knows how it was made, and can be saved and loaded.

    Subclasses write an ordinary ``__init__`` whose arguments are json values or other
    configured modules (also in lists and dicts). Each has a name of its own.
    """

    _arguments: dict

    def __init__(self):
        super().__init__()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        known = _CLASSES.setdefault(cls.__name__, cls)
        mine, its = (f"{c.__module__}.{c.__qualname__}" for c in (cls, known))
        if mine != its:  # a notebook's cell may define the same class again
            raise TypeError(
                f"a config knows a class by its name alone: give {mine} another one "
                f"than that of {its}"
            )
        _CLASSES[cls.__name__] = cls
        cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]

    def to_config(self) -> dict:
        """The class name and the arguments, as json values.

        An argument that is a module is written as it is now: it may have been replaced.
        """
        modules = {
            name: self._modules[name]
            for name, value in self._arguments.items()
            if name in self._modules and isinstance(value, Configured | dict | None)
        }
        return {"class": type(self).__name__, **_to_json(self._arguments | modules)}

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
        module = build(_read_config(folder / "config.json"))
        if not isinstance(module, cls):
            raise ValueError(
                f"{folder} holds a {type(module).__name__}, not a {cls.__name__}: "
                f"load it with {type(module).__name__}.from_pretrained"
            )
        load_weights(module, folder / "model.safetensors")
        return module.eval()


def build(config: dict) -> Configured:
    """Make the module that a config describes, with new weights."""
    name, given = config.get("class"), dict(config)
    if name not in _CLASSES:
        raise ValueError(
            f"config names the class {name!r}, which is not known here; import the "
            f"module that defines it first. Known: {', '.join(sorted(_CLASSES))}"
        )
    del given["class"]
    return _CLASSES[name](**_from_json(given))


def find_folder(name_or_folder: str | os.PathLike, needs: str) -> Path:
    """A local folder, a part of the book's own (``mmbook/…``), or a name on the hub."""
    folder, weights = Path(name_or_folder), Path(__file__).parent / "weights"
    if str(name_or_folder).startswith("mmbook/") and not folder.is_dir():
        folder = weights / folder.name
    if folder.is_dir():
        _finish(folder)
        if not (folder / needs).is_file():
            raise FileNotFoundError(f"{folder} has no {needs}: is it a saved model?")
        return folder
    if folder.is_absolute() or str(name_or_folder).count("/") != 1:
        own = sorted(f"mmbook/{f.parent.name}" for f in weights.glob("*/config.json"))
        raise FileNotFoundError(
            f"no folder {str(name_or_folder)!r}; give a folder with {needs}, the name of "
            "a model on the hub (owner/name), or of one that comes with the book "
            f"({', '.join(own) or 'there are none'})"
        )
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(name_or_folder)))


def _read_config(file: Path) -> dict:
    config = None
    with contextlib.suppress(ValueError):  # not json, or not even text
        config = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError(f"{file} is damaged or cut off: fetch or save it again")
    return config


def load_weights(module: nn.Module, file: str | os.PathLike) -> None:
    """Read safetensors into a module; say clearly what is damaged or does not fit."""
    try:
        with reading(Path(file)):
            load_model(module, str(file))
    except RuntimeError as error:
        raise ValueError(f"the weights in {file} do not fit: {error}") from error


@contextlib.contextmanager
def reading(file: Path):
    """Say clearly if the safetensors that are read inside are absent or damaged."""
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}")
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"{file} is damaged or cut off ({file.stat().st_size:,} bytes; {error}): "
            "fetch or save it again"
        ) from error


def write_folder(folder: str | os.PathLike, write: Callable[[Path], None]) -> Path:
    """Write files so that a reader sees all of them or none; other files stay.

    ``write`` fills a hidden draft, which becomes the new folder in one step. In an old
    one it becomes ``.complete``, and its files then replace the older ones; if that is
    interrupted, the next reader or writer goes on with it.
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
