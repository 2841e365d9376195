"""Run every notebook as Colab does: alone in an empty folder, with the package only.

    python tools/alone.py [CHAPTER or NOTEBOOK …]        (all, if none is named)

As many run side by side as there are cores, up to four, chapters first. The package is
built as a wheel and unpacked somewhere else, each notebook is copied into a folder of its
own, and nbval runs it there. Its kernel sees what the set-up cell installs: the package
with the extras that the cell names and what these need. So a notebook that reads a file
of the repository fails, and so does one whose set-up cell forgets an extra, and a package
that lacks one of its own files.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

import nbformat
from book import ROOT, chosen, notebooks, project
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setup_cell import code_cells, named

NEEDED = ("mmbook", "pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT")
NBVAL = ("-q", "--nbval-lax", "--nbval-cell-timeout=600", "--nbval-kernel-name=alone")
KERNEL = ("ipykernel", "pip")  # is there wherever a notebook runs


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


def installed_with(extras: frozenset[str]) -> set[str]:
    """The distributions that come with the package and these extras, and with a kernel."""
    ours = project()["project"]
    optional = ours["optional-dependencies"]
    waiting = [*ours["dependencies"], *KERNEL]
    waiting += [requirement for extra in extras for requirement in optional[extra]]
    found = set()
    while waiting:
        requirement = Requirement(waiting.pop())
        for extra in requirement.extras or {""}:
            one = (canonicalize_name(requirement.name), extra)
            if one not in found and _holds(requirement, ""):
                found.add(one)
                waiting += _required_by(*one)
    return {name for name, _ in found}


def _holds(requirement: Requirement, extra: str) -> bool:
    return not requirement.marker or requirement.marker.evaluate({"extra": extra})


def _required_by(name: str, extra: str) -> list[str]:
    """What a distribution that is installed requires here."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    held = [line for line in lines if _holds(Requirement(line), extra)]
    return [line.partition(";")[0] for line in held]


@cache
def hidden(extras: frozenset[str] = frozenset()) -> frozenset[str]:
    """The modules that are installed here but do not come with these extras."""
    there = installed_with(extras) | {"mmbook"}
    return frozenset(
        module
        for module, brought_by in metadata.packages_distributions().items()
        if not there & {canonicalize_name(name) for name in brought_by}
    )


def guard(extras: frozenset[str], folder: Path) -> Path:
    """A folder that hides, from a Python that has it on its path, what is not installed."""
    place = folder / "-".join(["guard", *sorted(extras)])
    if not place.exists():
        place.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("hiding.py"), place / "sitecustomize.py")
        text = json.dumps(sorted(hidden(extras)))
        (place / "hidden.json").write_text(text, encoding="utf-8")
    return place


def kernel(copy: Path, site: Path, folder: Path) -> Path:
    """The description of a kernel that sees what the notebook's set-up cell installs."""
    notebook = nbformat.read(copy, as_version=4)
    asked = frozenset(named(code_cells(notebook)[0].source))
    place = copy.parent / "jupyter" / "kernels" / "alone"
    place.mkdir(parents=True)
    path = os.pathsep.join(map(str, (guard(asked, folder), site)))
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": start, "display_name": "alone", "env": {"PYTHONPATH": path}}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return place.parents[1]


def copied_alone(paths: list[Path], folder: Path) -> list[Path]:
    """Each notebook in a folder where nothing else is."""
    copies = []
    for path in paths:
        place = folder / "-".join(path.resolve().relative_to(ROOT).parts[1:-1])
        place = place / path.stem
        place.mkdir(parents=True)
        copies.append(shutil.copy(path, place / path.name))
    return copies


def surroundings(threads: int) -> dict[str, str]:
    """The environment: no real data, no switch."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MMBOOK_")}
    own = {"CI": "true", "PYTHONSAFEPATH": "1"}
    return {**kept, **own, "OMP_NUM_THREADS": str(threads)}


def check(copy: Path, described: Path, environment: dict[str, str]) -> bool:
    """Run one notebook and say what came out; True if all was well."""
    command = (sys.executable, "-m", "pytest", *NBVAL, "--rootdir", copy.parent, copy)
    done = subprocess.run(
        command,
        cwd=copy.parent,
        env={**environment, "JUPYTER_PATH": str(described)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    last = done.stdout.strip().split("\n")[-1]
    name = copy.parent.relative_to(copy.parents[2])
    print(f"{name}: {last}" if done.returncode == 0 else done.stdout, flush=True)
    return done.returncode == 0


def asked(names: list[str]) -> list[Path]:
    """The notebooks that were asked for, chapters first because they take longest."""
    files = [Path(name) for name in names if name.endswith(".ipynb")]
    others = [name for name in names if not name.endswith(".ipynb")]
    found = files + (chosen(notebooks(), others) if others or not files else [])
    return sorted(found, key=lambda path: "exercises" in path.resolve().parts)


def main() -> int:
    """Run what was asked for; the exit status is 1 if anything failed."""
    cores = os.cpu_count() or 1
    side_by_side = min(4, cores)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = installed_package(folder)
        copies = copied_alone(asked(sys.argv[1:]), folder / "notebooks")
        kernels = [kernel(copy, site, folder) for copy in copies]
        environment = surroundings(cores // side_by_side)
        with ThreadPoolExecutor(side_by_side) as pool:
            fine = list(
                pool.map(lambda c, k: check(c, k, environment), copies, kernels)
            )
    failed = [copy.stem for copy, well in zip(copies, fine, strict=True) if not well]
    print(f"{len(fine) - len(failed)} notebooks passed, {len(failed)} failed", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
