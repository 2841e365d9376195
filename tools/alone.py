"""Run every notebook as Colab does: alone in an empty folder, with the package only.

    python tools/alone.py [NOTEBOOK …]        (all, if none is named)

As many run side by side as there are cores, up to four, chapters first. The package is built as a wheel and unpacked somewhere else, each notebook is copied into a
folder of its own, and nbval runs it there. So a notebook that reads a file of the
repository fails, and so does a package that lacks one of its own files.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
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


def surroundings(site: Path, threads: int) -> dict[str, str]:
    """The environment: the package from its wheel, no real data, no switch."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MMBOOK_")}
    own = {"CI": "true", "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    return {**kept, **own, "OMP_NUM_THREADS": str(threads)}


def check(copy: Path, environment: dict[str, str]) -> bool:
    """Run one notebook and say what came out; True if all was well."""
    command = (sys.executable, "-m", "pytest", *NBVAL, "--rootdir", copy.parent, copy)
    done = subprocess.run(
        command,
        cwd=copy.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = done.stdout.strip().split("\n")[-1]
    name = copy.parent.relative_to(copy.parents[2])
    print(f"{name}: {last}" if done.returncode == 0 else done.stdout, flush=True)
    return done.returncode == 0


def main() -> int:
    """Run what was asked for; the exit status is 1 if anything failed."""
    asked = [Path(name) for name in sys.argv[1:]] or notebooks()
    chapters_first = sorted(asked, key=lambda path: "exercises" in path.parts)
    cores = os.cpu_count() or 1
    side_by_side = min(4, cores)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = surroundings(installed_package(folder), cores // side_by_side)
        copies = copied_alone(chapters_first, folder / "notebooks")
        with ThreadPoolExecutor(side_by_side) as pool:
            fine = list(pool.map(lambda copy: check(copy, environment), copies))
    failed = [copy.stem for copy, well in zip(copies, fine, strict=True) if not well]
    print(f"{len(fine) - len(failed)} notebooks passed, {len(failed)} failed", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
