"""Checks of exercises: right, wrong, not attempted, and what a student forgot."""

import numpy as np
import pytest
import torch

from mmbook.notebook import exercises
from mmbook.notebook.exercises import check


def report(block):
    """Does the check pass, and what does it say?"""
    with check("0.0.0", "a test") as it:
        block(it)
    return it.passed, it.report()


def test_right_answers_pass():
    def block(it):
        it.equal("three", 3, 3)
        it.close("a third", 0.3333, 1 / 3)
        it.true("is large", 5 > 3)
        assert it.answer("text") == "text"

    passed, said = report(block)
    assert passed and said.count("✓") == 3 and "solved" in said
    assert exercises.RESULTS["0.0.0"]


def test_wrong_answers_are_told_with_a_hint_but_without_the_answer():
    passed, said = report(lambda it: it.equal("the width", 4, 96, hint="Count again."))
    assert not passed and "✗ the width" in said and "got 4. Count again." in said
    assert "96" not in said


ASKED = {
    "true": lambda it, value: it.true("x", value),
    "equal": lambda it, value: it.equal("x", value, 1),
    "close": lambda it, value: it.close("x", value, 1.0),
    "prediction": lambda it, value: it.prediction("x", value, 0.5),
    "choice": lambda it, value: it.choice("x", value, "a", {"a": "yes"}),
    "answer": lambda it, value: it.answer(value),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_still_the_ellipsis_of_the_stub_is_not_attempted(asked):
    passed, said = report(lambda it: ASKED[asked](it, ...))
    assert not passed and "not attempted yet" in said and "✗" not in said


@pytest.mark.parametrize("asked", ASKED)
def test_none_is_an_answer_whose_return_was_forgotten(asked):
    passed, said = report(lambda it: ASKED[asked](it, None))
    assert not passed and "not attempted" not in said
    assert said.count("✗") == 1 and "is a `return` missing?" in said


def test_none_may_be_the_right_answer():
    assert report(lambda it: it.equal("no step", None, None))[0]
    assert not report(lambda it: it.equal("no step", 3, None))[0]
    assert "not attempted" in report(lambda it: it.equal("no step", ..., None))[1]


def test_an_error_that_speaks_of_an_ellipsis_is_an_error():
    def block(it):
        raise ValueError("the text ends with an ellipsis")

    passed, said = report(block)
    assert not passed and "not attempted" not in said
    assert "ValueError: the text ends with an ellipsis" in said


def test_an_error_of_unfinished_code_says_what_may_lie_behind_it():
    said = report(lambda it: it.true("large", (lambda: ...)() > 3))[1]
    assert "TypeError" in said and "Is a ... still in your code?" in said
    said = report(lambda it: it.equal("width", (lambda: None)().shape, 3))[1]
    assert "AttributeError" in said and "Is a `return` missing?" in said


def test_an_exception_in_the_check_becomes_a_line():
    passed, said = report(lambda it: it.equal("x", [][3], 1))
    assert not passed and "IndexError" in said


def test_stopping_the_kernel_is_no_answer():
    with pytest.raises(KeyboardInterrupt), check("0.0.0"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "got, expected, right",
    [
        (torch.tensor([1, 2]), torch.tensor([1, 2]), True),
        (torch.tensor([1, 2]), [1, 2], True),
        (np.array([[1.0, 2.0]]), [[1, 2]], True),
        (torch.tensor([1, 3]), torch.tensor([1, 2]), False),
        (torch.ones(2, 3), torch.ones(3, 2), False),
        (torch.ones(2, 3), 1, False),
        (torch.tensor(3), 3, True),
        (torch.tensor([1, 2]), "text", False),
        ([torch.ones(2), 5], [torch.ones(2), 5], True),
        ([torch.ones(2), 5], [torch.zeros(2), 5], False),
        ((3, 4), [3, 4], False),
        (np.array(["a", "b"]).tolist(), ["a", "b"], True),
    ],
)
def test_arrays_are_equal_if_shapes_and_numbers_are(got, expected, right):
    passed, said = report(lambda it: it.equal("x", got, expected))
    assert passed == right and "could not run" not in said


def test_a_wrong_array_is_told_with_its_shape():
    said = report(lambda it: it.equal("x", torch.tensor([[1, 2]]), torch.ones(3)))[1]
    assert "got an array of shape (1, 2): [[1, 2]]" in said
    said = report(lambda it: it.equal("x", torch.rand(100, 100), 5))[1]
    assert "got an array of shape (100, 100)" in said and len(said) < 200


def test_many_numbers_where_one_is_needed_are_told_as_such():
    for block in (
        lambda it: it.close("x", torch.ones(3), 1.0),
        lambda it: it.prediction("x", torch.ones(3), 1.0),
        lambda it: it.close("x", "much", 1.0),
        lambda it: it.true("x", torch.ones(3) > 0),
    ):
        passed, said = report(block)
        assert not passed and "is needed" in said and "could not run" not in said


def test_nan_is_not_close():
    assert not report(lambda it: it.close("n", float("nan"), 1.0))[0]


def test_a_guess_is_never_wrong_but_must_be_made():
    passed, said = report(lambda it: it.prediction("accuracy", 0.9, 0.5))
    assert passed and "you guessed 0.9, it is 0.5 (0.4 apart)" in said


def test_a_wrong_choice_explains_itself():
    because = {"a": "a is too small", "b": "b fits"}
    assert report(lambda it: it.choice("which", "B", "b", because))[0]
    passed, said = report(lambda it: it.choice("which", "a", "b", because))
    assert not passed and "a is too small" in said and "b fits" not in said
    assert "one of a, b" in report(lambda it: it.choice("which", "c", "b", because))[1]
