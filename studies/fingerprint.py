"""What a result rests on, as short hashes: a result that is older than that is refused.

A result rests on

- the study's file and the helper files of this folder that it imports. What counts is
  the syntax tree: comments, docstrings and layout may change freely, and so may the
  imports, because what moves within the package stays the same;
- the files that the study names in ``rests_on``, byte by byte: weights that it starts
  from. Made again, they give other results;
- ``RULES``, a number that is raised by hand when the runner changes what a result means
  (how a setting is chosen, what is paired). The runner's own file doesn't count, because
  a better progress line is no reason to repeat hours of training; its tests hold its
  behaviour on a study with a known answer.

The source of the package doesn't count either. It changes every week without a change
of results, and a fingerprint that cries wolf is soon ignored: the tests of the package
hold what its functions compute, and the record holds the versions.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES = 1
_RUNNER = ("runner", "trials", "design", "fingerprint", "keeping", "reporting")


def fingerprint(file: Path, rests_on: Iterable[str] = ()) -> dict[str, str]:
    """Name and hash of all that the result of a study rests on.

    Parameters
    ----------
    file : of the study.
    rests_on : files relative to the repository, in the order in which they are named.
    """
    found = {part.name: source_hash(part) for part in [file, *_helpers(file)]}
    for name in rests_on:
        found[name] = _short((ROOT / name).read_bytes())
    return {**found, "rules": str(RULES)}


def changed(file: Path, recorded: dict[str, str]) -> list[str]:
    """Names of what is no longer as it was when a result was made."""
    rests_on = [name for name in recorded if "/" in name and (ROOT / name).is_file()]
    now = fingerprint(file, rests_on)
    return sorted(n for n in now | recorded if now.get(n) != recorded.get(n))


def studies() -> list[Path]:
    """The files of this folder that declare a study; the others help."""
    return [
        file
        for file in sorted(Path(__file__).parent.glob("*.py"))
        if any(map(is_design, ast.parse(file.read_text(encoding="utf-8")).body))
    ]


def training_hash(file: Path, rests_on: Iterable[str] = ()) -> str:
    """Of all but the ``DESIGN``: as long as it is the same, finished trainings are good.

    So seeds, conditions and arms can be added to a study without repeating the others.
    """
    parts = fingerprint(file, rests_on) | {file.name: source_hash(file, design=False)}
    del parts["rules"]  # say which runs count, not how one is trained
    return _short(json.dumps(parts, sort_keys=True).encode())


def source_hash(file: Path, design: bool = True) -> str:
    """Hash of a file's syntax tree without docstrings and imports, the same on every Python."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if not design:
        tree.body = [node for node in tree.body if not is_design(node)]
    return _short(repr(_plain(tree)).encode())


def is_design(node: ast.stmt) -> bool:
    """Is this the assignment ``DESIGN = …`` of a study?"""
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "DESIGN"
        for target in node.targets
    )


def _plain(node) -> object:
    """A syntax tree as nested tuples; empty fields differ between versions of Python."""
    if isinstance(node, list):
        return [_plain(part) for part in node if not _is_left_out(part)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, _plain(value)) for name, value in ast.iter_fields(node)]
    return type(node).__name__, [(n, v) for n, v in fields if v not in (None, [])]


def _is_left_out(node) -> bool:
    """Is this an import, a docstring, or another string that stands alone?"""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _helpers(file: Path) -> list[Path]:
    """The files beside a study that it imports, directly or through each other."""
    found, waiting = [], [file]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                helper = file.parent / f"{name}.py"
                if name in _RUNNER or helper in found or not helper.is_file():
                    continue
                found.append(helper)
                waiting.append(helper)
    return sorted(found)


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
