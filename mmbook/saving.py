"""Saving and loading as the ecosystem does: a json config beside safetensors weights.

Every part of the book (an encoder, a fusion, a head, a whole model) is a
:class:`Configured` module: it remembers the arguments it was made with, so a folder with
``config.json`` and ``model.safetensors`` is enough to make it again. No pickle is read."""

from __future__ import annotations

import functools
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

_CLASSES: dict[str, type[Configured]] = {}


class Configured(nn.Module):
    """A module that knows how it was made, and can be saved and loaded.

    Subclasses write an ordinary ``__init__`` whose arguments are json values or other
    configured modules (also in lists and dicts); nothing else has to be done.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _CLASSES[cls.__name__] = cls
        cls.__init__ = _remembering(cls.__init__)

    def to_config(self) -> dict:
        """The class name and the arguments, as json values.

        An argument that is a module is written as it is now: it may have been replaced.
        """
        now = {
            key: self._modules.get(key, value)
            if isinstance(value, Configured | dict | None)
            else value
            for key, value in self._arguments.items()
        }
        return {"class": type(self).__name__, **_to_json(now)}

    @classmethod
    def from_config(cls, config: dict) -> Configured:
        """Make the module that ``config`` describes, with new weights."""
        arguments = {key: value for key, value in config.items() if key != "class"}
        return cls(**_from_json(arguments))

    def save_pretrained(self, folder: str | os.PathLike, **_) -> Path:
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
    """Make the module that a config describes; its class is found by name."""
    name = config.get("class")
    if name not in _CLASSES:
        raise ValueError(
            f"config names the class {name!r}, which is not known here; import the "
            f"module that defines it first. Known: {', '.join(sorted(_CLASSES))}"
        )
    return _CLASSES[name].from_config(config)


def find_folder(name_or_folder: str | os.PathLike, needs: str) -> Path:
    """A local folder, a part of the book's own (``mmbook/…``), or a name on the hub."""
    folder = Path(name_or_folder)
    if str(name_or_folder).startswith("mmbook/") and not folder.is_dir():
        folder = Path(__file__).parent / "weights" / folder.name
    if folder.is_dir():
        if not (folder / needs).is_file():
            raise FileNotFoundError(f"{folder} has no {needs}: is it a saved model?")
        return folder
    if folder.is_absolute() or str(name_or_folder).count("/") != 1:
        raise FileNotFoundError(
            f"no folder {str(name_or_folder)!r}; give a folder with {needs}, the name of "
            "a model on the hub (owner/name), or of one that comes with the book "
            f"({', '.join(_own_models()) or 'there are none'})"
        )
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(name_or_folder)))


def _read_config(file: Path) -> dict:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # not json, or not even text
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{file} is damaged or cut off: fetch or save it again")
    return config


def _own_models() -> list[str]:
    folders = (Path(__file__).parent / "weights").glob("*/config.json")
    return sorted(f"mmbook/{file.parent.name}" for file in folders)


def load_weights(module: nn.Module, file: str | os.PathLike) -> None:
    """Read safetensors into a module; say clearly what is damaged or does not fit."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}")
    try:
        load_model(module, str(file))
    except SafetensorError as error:
        raise ValueError(
            f"{file} is damaged or cut off ({file.stat().st_size:,} bytes; {error}): "
            "fetch or save it again"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"the weights in {file} do not fit: {error}") from error


def write_folder(
    folder: str | os.PathLike, write: Callable[[Path], None], fresh: bool = False
) -> Path:
    """Write files so that a reader sees all of them or none.

    ``write`` fills a hidden folder beside ``folder``; its files are flushed to the disk
    and then moved into place by renaming. With ``fresh`` the folder appears in one step
    and must not exist before (checkpoints); otherwise each file replaces its older self.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(draft)
        draft.chmod(0o755)
        for file in draft.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        if fresh or not folder.exists():
            os.replace(draft, folder)
        else:
            for file in draft.iterdir():
                os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _remembering(init: Callable) -> Callable:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapped(self, *args, **kwargs):
        outermost = not hasattr(self, "_arguments")
        if outermost:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            arguments = dict(list(bound.arguments.items())[1:])
            arguments.update(arguments.pop("kwargs", {}))
            if not arguments.get("args"):  # of a class without an __init__ of its own
                arguments.pop("args", None)
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
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{value!r} cannot stand in a config: only json values and modules")


def _from_json(value):
    if isinstance(value, dict):
        if "class" in value:
            return build(value)
        return {key: _from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return value
