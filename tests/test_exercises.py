"""Each exercise: the stub must fail its check and the solution must pass it.

The notebooks are executed once, by ``make exercises``, and again
by nbval, which compares what each check says. Here we look at what the committed ones say,
that they are what the sources make, and that wrong solutions are refused.
"""

import symtable

import pytest

from mmbook.notebook import exercises as check

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
tools = pytest.importorskip("exercises", reason="needs the extra lab: nbclient")

SOURCES = [tools.read(path) for path in tools.sources()]
EACH = [pytest.param(source, id=source.path.stem) for source in SOURCES]


@pytest.mark.parametrize("source", EACH)
def test_no_stub_passes_its_check_and_every_solution_does(source):
    student, solutions = (nbformat.read(path, 4) for path in tools.outputs(source))
    assert tools.solved(student) == set()
    assert tools.solved(solutions) == {e.number for e in source.exercises}


@pytest.mark.parametrize("source", EACH)
def test_what_a_check_says_is_compared_when_the_notebooks_run_again(source):
    checks = [exercise.parts["check"] for exercise in source.exercises]
    for path in tools.outputs(source):
        cells = nbformat.read(path, 4).cells
        found = [c for c in cells if c.source in checks and c.cell_type == "code"]
        assert len(found) == len(checks)
        assert all("nbval-check-output" in cell.metadata.tags for cell in found)


def defined(code: str) -> set[str]:
    """The names that a piece of code makes."""
    symbols = symtable.symtable(code, "code", "exec").get_symbols()
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def used(code: str) -> set[str]:
    """The names that a piece of code takes from outside, its functions included."""
    tables, found = [symtable.symtable(code, "code", "exec")], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        inside = table.get_type() != "module"
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or not inside)
        }
    return found - defined(code)


@pytest.mark.parametrize("source", EACH)
def test_an_exercise_needs_no_earlier_one(source):
    """So a stub fails for its own sake, not because one before it is still empty."""
    shared = defined("\n".join(source.shared))
    earlier = set()
    for exercise in source.exercises:
        stub, solution, check = (exercise.parts[part] for part in tools.CODE)
        assert not used(f"{stub}\n{check}") & (earlier - shared), exercise.number
        earlier |= defined(f"{solution}\n{check}")


WITH_WRONG = [case for case in EACH if any(e.wrong for e in case.values[0].exercises)]


def test_the_chapters_of_the_second_edition_have_misconceptions():
    chapters = {case.id[:2] for case in WITH_WRONG}
    assert {case.id[:2] for case in EACH} <= chapters


@pytest.mark.parametrize("source", WITH_WRONG)
def test_three_misconceptions_are_written_for_each_exercise(source):
    few = {e.number: len(e.wrong) for e in source.exercises if len(e.wrong) < 3}
    assert few == {}


@pytest.mark.slow
@pytest.mark.parametrize("source", WITH_WRONG)
def test_a_check_takes_the_solution_and_refuses_misconceptions(source):
    names = {"__name__": "__main__"}
    run("\n".join(source.shared), names)
    before = dict(names)

    def passes(exercise, code: str) -> bool:
        names.clear()
        names.update(before)
        run(code, names)  # an error here would be no misconception
        run(exercise.parts["check"], names)
        return check.RESULTS[exercise.number]

    for exercise in source.exercises:
        assert passes(exercise, exercise.parts["solution"]), exercise.number
        for misconception, code in exercise.wrong.items():
            where = f"{exercise.number} passes with: {misconception}"
            assert not passes(exercise, code), where


def run(code: str, names: dict) -> None:
    """Run the code of a cell among these names."""
    exec(compile(code, "exercise", "exec"), names)


def test_an_exercise_that_needs_an_earlier_one_is_seen():
    assert used("def f(x):\n    y = x + a\n    return g(y)\nb = f(1)") == {"a", "g"}
    assert defined("import c\ndef f(x): y = x\nz = 1\nfor i in z: pass") == set("cfzi")


@pytest.mark.parametrize("source", EACH)
def test_a_chapter_has_the_exercises_it_should(source):
    kinds = [exercise.kind for exercise in source.exercises]
    assert 3 <= len(kinds) <= 6
    assert "warm-up" in kinds and "predict" in kinds and "open" in kinds
    for exercise in source.exercises:
        hint = exercise.parts["hint"]
        lines = [line.strip() for line in exercise.parts["solution"].splitlines()]
        assert not any(len(line) > 15 and line in hint for line in lines)


@pytest.mark.parametrize("source", EACH)
def test_the_notebooks_are_what_the_source_makes(source):
    for path, notebook in tools.outputs(source).items():
        assert tools.is_current(path, notebook), f"{path.name}: run `make exercises`"


@pytest.mark.parametrize(
    "text, message",
    [
        ("# %% exercise 1 hard Title\n", "line 1: write '# %% exercise"),
        ("# %% stub\nx = 1\n", "line 1: a stub before"),
        ("# %% exercise 1 core T\n# %% stub\nx = 1\n", "exercise 1 has no solution"),
        ("# %% wrong\nx = 1\n", "line 1: a wrong before"),
        ("# %% exercise 1 core T\n# %% wrong\nx = 1\n", "what somebody believes"),
        ("# %% riddle\n", "unknown cell 'riddle'"),
        ("# %% [markdown]\n# only text\n", "has no exercise"),
    ],
)
def test_a_malformed_source_is_refused(tmp_path, text, message):
    path = tmp_path / "x.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        tools.read(path)


@pytest.mark.parametrize(
    "folder, said, mistake",
    [
        ("", "✓ a\nExercise 1.1.1 is solved.\n", "the stub of 1.1.1 passes its check"),
        ("solutions", "✗ a\n", "the solution of 1.1.1 fails its check"),
        ("", "✗ a\n", None),
        ("solutions", "✓ a\nExercise 1.1.1 is solved.\n", None),
    ],
)
def test_a_stub_that_passes_or_a_solution_that_fails_is_refused(folder, said, mistake):
    output = nbformat.v4.new_output("stream", text=said)
    cell = nbformat.v4.new_code_cell("with check(…)", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    path = tools.FOLDER / folder / "11_x.ipynb"
    source = tools.Source(path, [], [tools.Exercise("1.1.1", "core", "", "")])
    assert tools.mistakes(source, path, notebook) == ([mistake] if mistake else [])
