"""Execute chapters in place, measure them, and bring them into normal form.

    python tools/run.py                  all chapters
    python tools/run.py 5.2 1.1          these (by number, or a word of the file's name)
    python tools/run.py 6                those of part 6
    python tools/run.py 5.2 --out FILE   into another file (real data stay out of the book)

The measured time and memory go into the chapter's third line and into the site's page of
run times. A chapter that fails is left as it was.
"""

import argparse
import json
import os
import platform
import re
import sys
import threading
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat
import psutil
from book import ROOT, chapters, chosen, number
from nbclient import NotebookClient
from normalise import complaints, normalised

MEASURED = ROOT / "chapters/appendix/run_times.json"
PAGE = ROOT / "chapters/appendix/run_times.md"
LINE = re.compile(r"^\*Run time: .*\*$", re.MULTILINE)
PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "matplotlib")


class PeakMemory(threading.Thread):
    """Watches the memory of this process's children while a notebook runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.running = 0, True

    def run(self):
        """Sample twenty times a second."""
        me = psutil.Process()
        while self.running:
            used = 0
            for child in me.children(recursive=True):
                try:
                    used += child.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, used)
            time.sleep(0.05)


def execute(path: Path) -> tuple[nbformat.NotebookNode, float, float]:
    """Run a notebook in a fresh kernel; seconds and GiB that it took."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["CI"] = "true"  # no progress bars in outputs
    watcher = PeakMemory()
    watcher.start()
    began = time.perf_counter()
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources=where
    ).execute()
    seconds = time.perf_counter() - began
    watcher.running = False
    return notebook, seconds, watcher.peak / 2**30


def state(notebook, seconds: float, memory: float) -> None:
    """Write what was measured into the chapter's first cell."""
    line = f"*Run time: {seconds:.0f} s · peak memory: {memory:.1f} GiB · {hardware()}*"
    first = notebook.cells[0]
    if not LINE.search(first.source):
        sys.exit("the first cell has no line '*Run time: …*' to write the result into")
    first.source = LINE.sub(line, first.source)


def hardware() -> str:
    """The machine in words."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores"


def record(path: Path, notebook, seconds: float, memory: float) -> None:
    """Keep the result for the page of run times, and write the page anew."""
    known = (
        json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    )
    title = re.match(r"# (.*)", notebook.cells[0].source).group(1)
    known[path.relative_to(ROOT / "chapters").as_posix()] = {
        "title": title,
        "seconds": round(seconds),
        "gib": round(memory, 1),
        "hardware": hardware(),
        "date": date.today().isoformat(),
        "versions": {name: version(name).split("+")[0] for name in PACKAGES},
        "python": platform.python_version(),
    }
    text = json.dumps(in_order(known), indent=2, ensure_ascii=False)
    MEASURED.write_text(text + "\n", encoding="utf-8", newline="\n")
    PAGE.write_text(page(known), encoding="utf-8", newline="\n")


def in_order(known: dict) -> dict:
    """The results by chapter: 6.2 stands before 6.10."""
    return dict(sorted(known.items(), key=lambda item: number(Path(item[0]))))


def page(known: dict) -> str:
    """The page of run times."""
    rows = "\n".join(
        f"| [{r['title']}](../{name}) | {r['seconds']} s | {r['gib']:.1f} GiB | "
        f"{r['hardware']} | {r['date']} |"
        for name, r in in_order(known).items()
    )
    sets = {(r["python"], *r["versions"].items()) for r in known.values()}
    versions = "\n".join(
        f"- Python {python}, " + ", ".join(f"{name} {number}" for name, number in rest)
        for python, *rest in sorted(sets)
    )
    total = sum(r["seconds"] for r in known.values())
    return (
        "# Run times and versions\n\n"
        "Each chapter was executed from its first to its last cell in a fresh kernel, by\n"
        "`make run`. The time is by the wall clock; the memory is the kernel's peak.\n\n"
        "| chapter | time | memory | machine | executed on |\n|---|---|---|---|---|\n"
        f"{rows}\n\nTogether: {total} s.\n\n"
        f"The versions in use:\n\n{versions}\n\n"
        "The complete list is in the file `constraints.txt` of the repository.\n"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("--out", type=Path, help="write the result here instead")
    given = parser.parse_args()
    for path in chosen(chapters(), given.chapters):
        print(path.stem, end=" … ", flush=True)
        notebook, seconds, memory = execute(path)
        state(notebook, seconds, memory)
        text = normalised(nbformat.writes(notebook))
        print(f"{seconds:.0f} s, {memory:.1f} GiB", flush=True)
        if problems := complaints(text):
            sys.exit(f"{path}: " + "; ".join(problems))
        (given.out or path).write_text(text, encoding="utf-8", newline="\n")
        if not given.out:
            record(path, notebook, seconds, memory)


if __name__ == "__main__":
    main()
