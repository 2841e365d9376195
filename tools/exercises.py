"""Make exercise notebooks and solutions from their one source.

    python tools/exercises.py            build all
    python tools/exercises.py 6.1        those of a chapter
    python tools/exercises.py --check    only tell whether they are up to date

A source is a Python file in ``chapters/exercises/sources`` in cells:

    # %% [markdown]                       text: title and introduction
    # %% shared                           code that all exercises use
    # %% exercise 1.1.1 warm-up Title     text: the task (warm-up, predict, core or open)
    # %% stub                             what the student gets; ... where work is due
    # %% solution                         one way to do it
    # %% wrong What somebody believes     a wrong one that the check must refuse; see below
    # %% check                            a ``with check(…) as it:`` block
    # %% hint                             text: helps without giving it away
    # %% remark                           text: what to learn from the solution

Text cells are comments. From each source two notebooks are made and executed: the
student's, ``chapters/exercises/NAME.ipynb``, without solutions, and
``chapters/exercises/solutions/NAME.ipynb``, where the solutions are folded. A stub that
passes its check is refused, and so is a solution that fails it. The wrong solutions, at
least three to an exercise, are in neither notebook: each embodies a misconception, and a
test runs them against the check.
"""

import argparse
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from book import ROOT, chosen, number
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from normalise import complaints, normalised
from setup_cell import needed, setup_cell

FOLDER = ROOT / "chapters/exercises"
SOURCES = FOLDER / "sources"
KINDS = {"warm-up": "热身", "predict": "预测", "core": "核心", "open": "开放"}
CODE = ("stub", "solution", "check")
PARTS = (*CODE, "hint", "remark")
CELL = re.compile(r"^# %% ?(.*)$", re.MULTILINE)
SOLVED = re.compile(r"^Exercise (\S+) is solved\.$", re.MULTILINE)  # what a check says


@dataclass
class Exercise:
    """One exercise: its number, kind, title, and its parts by name."""

    number: str
    kind: str
    title: str
    task: str
    parts: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)  # by misconception


@dataclass
class Source:
    """A parsed source: what stands before the exercises, and the exercises."""

    path: Path
    intro: list[tuple[str, str]]
    exercises: list[Exercise]

    @property
    def shared(self) -> list[str]:
        """The code that all exercises use."""
        return [text for kind, text in self.intro if kind == "code"]

    @property
    def codes(self) -> list[str]:
        """All code that the two notebooks hold."""
        parts = [part for exercise in self.exercises for part in exercise.parts.items()]
        return self.shared + [text for kind, text in parts if kind in CODE]


def sources() -> list[Path]:
    """All sources, in the order of the chapters."""
    return sorted(SOURCES.glob("*.py"), key=number)


def read(path: Path) -> Source:
    """Parse a source; a mistake is reported with its line."""
    text = path.read_text(encoding="utf-8")
    source = Source(path, [], [])
    marks = list(CELL.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : following.start() if following else len(text)].strip(
            "\n"
        )
        where = f"{path.name}, line {text[: mark.start()].count(chr(10)) + 1}"
        _add(source, mark.group(1).strip(), body, where)
    for exercise in source.exercises:
        missing = [part for part in PARTS[:4] if part not in exercise.parts]
        if missing:
            raise ValueError(
                f"{path.name}: exercise {exercise.number} has no {missing[0]}"
            )
    if not source.exercises:
        raise ValueError(f"{path.name} has no exercise")
    return source


def _add(source: Source, head: str, body: str, where: str) -> None:
    word, _, rest = head.partition(" ")
    if word == "[markdown]":
        source.intro.append(("text", _text(body)))
    elif word == "shared":
        source.intro.append(("code", body))
    elif word == "exercise":
        found = re.fullmatch(r"(\S+) (\S+) (.+)", rest)
        if not found or found.group(2) not in KINDS:
            raise ValueError(
                f"{where}: write '# %% exercise NUMBER KIND Title' with a kind of "
                f"{', '.join(KINDS)}; got {head!r}"
            )
        source.exercises.append(Exercise(*found.groups(), _text(body)))
    elif word in (*PARTS, "wrong"):
        if not source.exercises:
            raise ValueError(f"{where}: a {word} before the first exercise")
        if word == "wrong":
            _add_wrong(source.exercises[-1], rest, body, where)
            return
        text = body if word in CODE else _text(body)
        source.exercises[-1].parts[word] = text
    else:
        raise ValueError(
            f"{where}: unknown cell {head!r}; there are [markdown], shared, exercise, "
            f"{', '.join(PARTS)}, wrong"
        )


def _add_wrong(exercise: Exercise, misconception: str, body: str, where: str) -> None:
    if not misconception or misconception in exercise.wrong:
        raise ValueError(
            f"{where}: write '# %% wrong' and what somebody believes, each thing once; "
            f"got {misconception!r}"
        )
    exercise.wrong[misconception] = body


def _text(body: str) -> str:
    return re.sub(r"^# ?", "", body, flags=re.MULTILINE)


def student(source: Source) -> nbformat.NotebookNode:
    """The notebook with stubs."""
    cells = _opening(source)
    for exercise in source.exercises:
        cells.append(new_markdown_cell(_heading(exercise) + exercise.task))
        cells.append(new_code_cell(exercise.parts["stub"]))
        cells.append(_check(exercise))
        hint = exercise.parts["hint"]
        cells.append(
            new_markdown_cell(
                f"<details><summary>Hint (提示)</summary>\n\n{hint}\n\n</details>"
            )
        )
    return new_notebook(cells=cells)


def solutions(source: Source) -> nbformat.NotebookNode:
    """The notebook with solutions, folded on the site."""
    cells = _opening(source)
    first, _, rest = cells[0].source.partition("\n")
    cells[0].source = (
        f"{first.replace('Exercises', 'Solutions')}\n{rest}\n\nThe solutions are folded. Try "
        f"first: the exercises are [here](../{source.path.stem}.ipynb)."
    )
    cells[0].source = (
        cells[0]
        .source.replace("](../", "](../../")
        .replace(f"](../../{source.path.stem}", f"](../{source.path.stem}")
    )
    for exercise in source.exercises:
        cells.append(new_markdown_cell(_heading(exercise) + exercise.task))
        folded = {"tags": ["hide-input"]}
        cells.append(new_code_cell(exercise.parts["solution"], metadata=folded))
        cells.append(_check(exercise))
        if "remark" in exercise.parts:
            cells.append(new_markdown_cell(exercise.parts["remark"]))
    return new_notebook(cells=cells)


def _opening(source: Source) -> list:
    cells = []
    for place, (kind, text) in enumerate(source.intro):
        make = new_markdown_cell if kind == "text" else new_code_cell
        cells.append(make(text))
        if place == 0:
            cells.append(new_code_cell(setup_cell(needed(source.codes))))
    return cells


def _check(exercise: Exercise):
    tags = {"tags": ["nbval-check-output"]}
    return new_code_cell(exercise.parts["check"], metadata=tags)


def _heading(exercise: Exercise) -> str:
    kind = f"*{exercise.kind}* ({KINDS[exercise.kind]})"
    return f"## {exercise.number} {exercise.title}\n\n{kind}\n\n"


def outputs(source: Source) -> dict[Path, nbformat.NotebookNode]:
    """Both notebooks of a source, by where they belong."""
    name = f"{source.path.stem}.ipynb"
    return {
        FOLDER / name: student(source),
        FOLDER / "solutions" / name: solutions(source),
    }


def is_current(path: Path, notebook: nbformat.NotebookNode) -> bool:
    """Does the file hold these cells?"""
    if not path.is_file():
        return False
    there = nbformat.read(path, as_version=4)
    return _what_counts(there) == _what_counts(notebook)


def _what_counts(notebook) -> list[tuple]:
    return [
        (cell.cell_type, cell.source.strip("\n"), cell.metadata.get("tags", []))
        for cell in notebook.cells
    ]


def solved(notebook) -> set[str]:
    """The numbers of the exercises that an executed notebook solves."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return set(SOLVED.findall("\n".join(o.get("text", "") for o in outputs)))


def mistakes(source: Source, path: Path, notebook) -> list[str]:
    """Stubs that pass their check, or solutions that fail it."""
    numbers = {exercise.number for exercise in source.exercises}
    if path.parent == FOLDER:
        return [f"the stub of {x} passes its check" for x in sorted(solved(notebook))]
    failed = sorted(numbers - solved(notebook))
    return [f"the solution of {x} fails its check" for x in failed]


def build(source: Source, path: Path, notebook: nbformat.NotebookNode) -> None:
    """Execute a notebook and write it in normal form."""
    os.environ["CI"] = "true"
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    text = normalised(nbformat.writes(notebook))
    if problems := complaints(text) + mistakes(source, path, notebook):
        sys.exit(f"{path.name}: " + "; ".join(problems))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    print(f"made {path.relative_to(ROOT)}", flush=True)


def main() -> int:
    """Build or check all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("chapters", nargs="*", help="numbers, or words of a name")
    given = parser.parse_args()
    stale = 0
    for path in chosen(sources(), given.chapters):
        source = read(path)
        for target, notebook in outputs(source).items():
            if not given.check:
                build(source, target, notebook)
            elif not is_current(target, notebook):
                print(f"{target.relative_to(ROOT)} is not what {path.name} makes")
                stale += 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
