"""Set the address of the repository everywhere: python tools/publish.py owner/name

It stands in ``pyproject.toml``; this rewrites it there and in all that must equal it:
the set-up cells, the site's configuration with its Colab buttons, the citation, README.
"""

import re
import sys
from pathlib import Path

from setup_cell import ROOT, address

FILES = ("pyproject.toml", "_config.yml", "CITATION.cff", "README.md")


def places() -> list[Path]:
    """Every file that may name the address."""
    chapters = ROOT / "chapters"
    texts = [
        *chapters.rglob("*.ipynb"),
        *chapters.rglob("*.md"),
        *chapters.rglob("*.py"),
    ]
    return [ROOT / name for name in FILES] + sorted(texts)


def main() -> None:
    """Replace the old address by the new one."""
    if len(sys.argv) != 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.exit("usage: make publish REPO=owner/name")
    old, new = address().removeprefix("https://github.com/"), sys.argv[1]
    changed = 0
    for path in places():
        text = path.read_text(encoding="utf-8")
        if old in text:
            path.write_text(text.replace(old, new), encoding="utf-8")
            changed += 1
    print(f"{old} → {new} in {changed} files")


if __name__ == "__main__":
    main()
