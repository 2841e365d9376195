"""Each exercise: the stub must fail its check and the solution must pass it."""

import sys
from pathlib import Path

import pytest

from mmbook import exercises
from mmbook.exercises import check

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
tools = pytest.importorskip("exercises", reason="needs the extras lab: nbclient")

SOURCES = [tools.read(path) for path in sorted(tools.SOURCES.glob("*.py"))]
ALL = [
    pytest.param(source, exercise, id=exercise.number)
    for source in SOURCES
    for exercise in source.exercises
]


@pytest.fixture(scope="module")
def started():
    """The shared code of each source, run once."""
    spaces = {}

    def start(source):
        if source.path not in spaces:
            space = {}
            for code in source.shared:
                exec(compile(code, source.path.name, "exec"), space)
            spaces[source.path] = space
        return dict(spaces[source.path])

    return start


def passes(space, source, exercise, part):
    for earlier in source.exercises:
        if earlier is exercise:
            break
        exec(earlier.parts["solution"], space)
    exec(exercise.parts[part], space)
    exec(exercise.parts["check"], space)
    return exercises.RESULTS[exercise.number]


@pytest.mark.parametrize("source, exercise", ALL)
def test_the_stub_fails(source, exercise, started):
    assert not passes(started(source), source, exercise, "stub")


@pytest.mark.parametrize("source, exercise", ALL)
def test_the_solution_passes(source, exercise, started, capsys):
    assert passes(started(source), source, exercise, "solution"), (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.path.stem)
def test_a_chapter_has_the_exercises_it_should(source):
    kinds = [exercise.kind for exercise in source.exercises]
    assert 3 <= len(kinds) <= 6
    assert "warm-up" in kinds and "predict" in kinds and "open" in kinds
    for exercise in source.exercises:
        hint = exercise.parts["hint"]
        lines = [line.strip() for line in exercise.parts["solution"].splitlines()]
        assert not any(len(line) > 15 and line in hint for line in lines)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.path.stem)
def test_the_notebooks_are_what_the_source_makes(source):
    for path, notebook in tools.outputs(source).items():
        assert tools.is_current(path, notebook), f"{path.name}: run `make exercises`"


def report(block):
    with check("0.0.0", "a test") as it:
        block(it)
    return it.passed, it.report()


def test_right_answers_pass():
    def block(it):
        it.equal("three", 3, 3)
        it.close("a third", 0.3333, 1 / 3)
        it.true("is large", 5 > 3)

    passed, said = report(block)
    assert passed and said.count("✓") == 3 and "solved" in said
    assert exercises.RESULTS["0.0.0"]


def test_wrong_answers_are_told_with_a_hint_but_without_the_answer():
    passed, said = report(lambda it: it.equal("the width", 4, 96, hint="Count again."))
    assert not passed and "✗ the width" in said and "got 4. Count again." in said
    assert "96" not in said


def test_what_is_not_attempted_is_no_error():
    passed, said = report(lambda it: it.close("a number", ..., 1.0))
    assert not passed and "not attempted yet" in said and "✗" not in said
    passed, said = report(lambda it: it.true("is large", (lambda: ...)() > 3))
    assert not passed and "not attempted yet" in said and "✗" not in said


def test_an_exception_in_the_check_becomes_a_line():
    passed, said = report(lambda it: it.equal("x", [][3], 1))
    assert not passed and "IndexError" in said


def test_nan_is_not_close():
    assert not report(lambda it: it.close("n", float("nan"), 1.0))[0]


def test_a_guess_is_never_wrong_but_must_be_made():
    passed, said = report(lambda it: it.prediction("accuracy", 0.9, 0.5))
    assert passed and "you guessed 0.9, it is 0.5 (0.4 apart)" in said
    assert not report(lambda it: it.prediction("accuracy", ..., 0.5))[0]


def test_a_wrong_choice_explains_itself():
    because = {"a": "a is too small", "b": "b fits"}
    assert report(lambda it: it.choice("which", "B", "b", because))[0]
    passed, said = report(lambda it: it.choice("which", "a", "b", because))
    assert not passed and "a is too small" in said and "b fits" not in said
    assert "one of a, b" in report(lambda it: it.choice("which", "c", "b", because))[1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("# %% exercise 1 hard Title\n", "line 1: write '# %% exercise"),
        ("# %% stub\nx = 1\n", "line 1: a stub before"),
        ("# %% exercise 1 core T\n# %% stub\nx = 1\n", "exercise 1 has no solution"),
        ("# %% riddle\n", "unknown cell 'riddle'"),
        ("# %% [markdown]\n# only text\n", "has no exercise"),
    ],
)
def test_a_malformed_source_is_refused(tmp_path, text, message):
    path = tmp_path / "x.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        tools.read(path)
