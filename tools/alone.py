"""Run every notebook as Colab does: alone in an empty folder, with the package only.

    python tools/alone.py [NOTEBOOK …]        (all, if none is named)

The package is built as a wheel and unpacked somewhere else, each notebook is copied into a
folder of its own, and nbval runs it there. So a notebook that reads a file of the
repository fails, and so does a package that lacks one of its own files.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from normalise import ROOT, notebooks

NEEDED = ("mmbook", "pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT")
NBVAL = ("-q", "--nbval-lax", "--nbval-cell-timeout=600")


def installed_package(folder: Path) -> Path:
    """The package as it comes out of its wheel, in a folder to put on the path."""
    source, wheels, site = folder / "source", folder / "wheels", folder / "site"
    source.mkdir()
    for name in NEEDED:
        there = ROOT / name
        copy = shutil.copytree if there.is_dir() else shutil.copy
        copy(there, source / name)
    build = ("wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    subprocess.run([*pip, *build, wheels, source], check=True)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def copied_alone(paths: list[Path], folder: Path) -> list[Path]:
    """Each notebook in a folder where nothing else is."""
    copies = []
    for path in paths:
        place = folder / "-".join(path.resolve().relative_to(ROOT).parts[1:-1])
        place = place / path.stem
        place.mkdir(parents=True)
        copies.append(shutil.copy(path, place / path.name))
    return copies


def surroundings(site: Path) -> dict[str, str]:
    """The environment: the package from its wheel, no real data, no switch."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MMBOOK_")}
    return {**kept, "CI": "true", "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}


def main() -> int:
    """Run what was asked for; the exit status is that of the tests."""
    asked = [Path(name) for name in sys.argv[1:]] or notebooks()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = installed_package(folder)
        copies = copied_alone(asked, folder / "notebooks")
        command = [sys.executable, "-m", "pytest", *NBVAL, "--rootdir", folder, *copies]
        return subprocess.run(command, cwd=folder, env=surroundings(site)).returncode


if __name__ == "__main__":
    sys.exit(main())
