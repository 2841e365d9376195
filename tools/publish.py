"""Set the address of the repository everywhere: python tools/publish.py owner/name

It stands in ``pyproject.toml``; this rewrites it there and in all that must equal it:
the set-up cells, the site's configuration with its Colab buttons, the citation, README.
"""

import os
import re
import sys
from pathlib import Path

import book
from setup_cell import address

TEXTS = {".md", ".ipynb", ".py", ".toml", ".yml", ".cff", ".txt", ".json"}
BUILT = re.compile(r"_build|build|dist|.*\.egg-info|\.(?!github$).+")
OURS = re.compile(  # what can only be followed by the address of this repository
    r"(?:git\+|git clone |url: \"?|code: \"?|Repository = \")"
    r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?(?![\w.-])"
)


def places() -> list[Path]:
    """Every text of the repository, for any may name the address."""
    found = []
    for folder, inside, files in os.walk(book.ROOT):
        inside[:] = sorted(name for name in inside if not BUILT.fullmatch(name))
        found += [Path(folder, name) for name in sorted(files)]
    return [path for path in found if path.suffix in TEXTS]


def addresses() -> dict[str, list[str]]:
    """Each address that is given as this repository's, and the files that give it."""
    found = {}
    for path in places():
        for name in set(OURS.findall(path.read_text(encoding="utf-8"))):
            found.setdefault(name, []).append(path.name)
    return found


def moved(text: str, old: str, new: str) -> str:
    """The text with another address, and with the folder that cloning it makes."""
    (_, folder), (_, new_folder) = old.split("/"), new.split("/")
    ours = rf"(?<=github\.com/){re.escape(old)}(?![\w-])"
    enter = rf"({ours}(?:\.git)? && cd ){re.escape(folder)}(?![\w-])"
    text = re.sub(enter, rf"\g<1>{new_folder}", text)
    return re.sub(ours, new, text)


def main() -> None:
    """Replace the old address by the new one."""
    if len(sys.argv) != 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", sys.argv[1]):
        sys.exit("usage: make publish REPO=owner/name")
    old, new = address().removeprefix("https://github.com/"), sys.argv[1]
    changed = 0
    for path in places():
        text = path.read_text(encoding="utf-8")
        if (instead := moved(text, old, new)) != text:
            path.write_text(instead, encoding="utf-8", newline="\n")
            changed += 1
    print(f"{old} → {new} in {changed} files")


if __name__ == "__main__":
    main()
