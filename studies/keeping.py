"""Files of a study: finished runs in the work folder, and the result as json.

Each file is written under another name first and then renamed, so that a reader finds
all of it or none, whenever a study is killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from design import Run
from safetensors.torch import load_file, save_file


@dataclass
class Finished:
    """Finished runs in a folder: the record as json, the state as safetensors."""

    folder: Path

    def _path(self, run: Run) -> Path:
        values = [run.arm, run.condition.values, run.setting, run.seed, run.quick]
        key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        words = re.sub(r"\W+", "-", f"{run.arm} {run.condition.name} {run.seed}")
        return self.folder / f"{words[:80]}-{key[:12]}.json"

    def row(self, run: Run) -> dict | None:
        """The record of a run, if it is finished."""
        path = self._path(run)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def keep(self, run: Run, row: dict, state: dict) -> None:
        """Write both; the record comes last, so it never stands without its state."""
        path = self._path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".half")
        save_file({k: v.detach().contiguous() for k, v in state.items()}, str(half))
        os.replace(half, path.with_suffix(".safetensors"))
        write(path, json.dumps(row))

    def state(self, run: Run) -> dict:
        """The tensors that a finished run gave back."""
        return load_file(str(self._path(run).with_suffix(".safetensors")))


def write(path: Path, text: str) -> None:
    """Write a text file, all of it or nothing."""
    half = path.with_suffix(".half")
    half.write_text(text, encoding="utf-8", newline="\n")
    os.replace(half, path)


def rounded(value):
    """The same with four decimals: numbers in lists and dictionaries, too."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def as_lines(record: dict) -> str:
    """A json object with one line for each entry, and for each row of a list of rows."""
    parts = []
    for name, value in record.items():
        text = _json(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(map(_json, value)) + "\n ]"
        parts.append(f"{_json(name)}: {text}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def _json(value) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
