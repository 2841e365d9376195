"""Where the book's files are and how they are numbered.

Chapter 6.10 is ``chapters/6-applications/610_slug.ipynb``: one digit for the part, the
rest for the chapter. Its exercises bear the same name, in ``chapters/exercises``.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = re.compile(r"([1-9])([1-9]\d*)_\w+")
NUMBER = re.compile(r"([1-9])\.([1-9]\d*)")


def project() -> dict:
    """What ``pyproject.toml`` says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def number(path: Path) -> tuple[int, int]:
    """Part and chapter of a notebook or of a source of exercises: (6, 10)."""
    found = NAME.fullmatch(path.stem)
    if not found:
        raise ValueError(
            f"{path.name}: a chapter's file is named like 610_slug, the digit of its part, "
            "the number of the chapter, then words"
        )
    return int(found[1]), int(found[2])


def spoken(path: Path) -> str:
    """The number as the title has it: "6.10"."""
    return "{}.{}".format(*number(path))


def notebooks() -> list[Path]:
    """All notebooks of the book: chapters, exercises, solutions, each in its order."""
    found = (ROOT / "chapters").rglob("*.ipynb")
    pages = [path for path in found if ".ipynb_checkpoints" not in path.parts]
    return sorted(pages, key=lambda path: (path.parent, number(path)))


def chapters() -> list[Path]:
    """The notebooks of the chapters, in their order."""
    return [path for path in notebooks() if re.match(r"\d-", path.parent.name)]


def chosen(paths: list[Path], wanted: list[str]) -> list[Path]:
    """Those with a wanted number ("6.1", or "6" for a part) or word; all, if none is wanted."""
    found = [path for path in paths if any(_fits(path, key) for key in wanted)]
    if wanted and not found:
        names = ", ".join(sorted({path.stem for path in paths}))
        sys.exit(f"nothing fits {', '.join(wanted)}; there are {names}")
    return found if wanted else paths


def _fits(path: Path, key: str) -> bool:
    if NUMBER.fullmatch(key):
        return spoken(path) == key
    return str(number(path)[0]) == key if key.isdigit() else key in path.stem
