"""Check cells (自动检查) of the exercises: what is right, what is wrong, and a hint.

    with check("1.1.2", "Fuse two bits") as it:
        it.close("the information of a", information_a, 0.0)
        it.true("both bits are used", loss < 0.1, hint="Look at what the head sees.")

A check never raises for a wrong answer; it says what it found. What a student has not
written yet is ``...``, and the check says so instead of a traceback. None is an answer, and
hardly ever the right one: a ``return`` was forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

RESULTS: dict[str, bool] = {}  # of all checks so far, by the exercise's number


class check:  # in lower case: it is used like a function, in a with statement
    """The check of one exercise; see the module's text for how it is used.

    Parameters
    ----------
    number, title : of the exercise, as in its heading.
    """

    def __init__(self, number: str, title: str = ""):
        self.number, self.title = number, title
        self.right: list[str] = []
        self.wrong: list[tuple[str, str]] = []
        self.open = False

    def __enter__(self) -> check:
        RESULTS[self.number] = False
        return self

    def __exit__(self, kind, error, trace) -> bool:
        if isinstance(error, _NotAttempted):
            self.open = True  # the ... of the stub is still there
        elif isinstance(error, Exception):
            if not isinstance(error, _NoAnswer):  # that was noted where it was met
                self._note("the check could not run to its end", False, _cause(error))
        elif error is not None:
            return False  # the reader pressed stop
        RESULTS[self.number] = self.passed
        print(self.report())
        return True

    @property
    def passed(self) -> bool:
        """Was everything asked for there, and right?"""
        return bool(self.right) and not self.wrong and not self.open

    def report(self) -> str:
        """The lines that the cell prints."""
        lines = [f"✓ {what}" for what in self.right]
        for what, why in self.wrong:
            lines.append(f"✗ {what}" + (f"\n    {why}" if why else ""))
        if self.open:
            lines.append(
                "○ not attempted yet: replace the ... above, and run both cells"
            )
        elif self.passed:
            lines.append(f"Exercise {self.number} is solved.")
        return "\n".join(lines)

    def answer(self, value: Any) -> Any:
        """What a student's code gave, for checks that compute with it.

        What is still ``...``, or None, ends the check here, with a word about it.
        """
        if not self._answered("there is an answer", value):
            raise _NoAnswer
        return value

    def true(self, what: str, condition: Any, hint: str = "") -> None:
        """The condition must hold."""
        if not self._answered(what, condition):
            return
        values = _tensor(condition)
        if values is not None and values.numel() != 1:
            self._note(what, False, _said(condition, "One truth value is needed."))
        else:
            self._note(what, bool(condition), hint)

    def equal(self, what: str, got: Any, expected: Any, hint: str = "") -> None:
        """The answer must be exactly this; what came is told, what was expected is not.

        Tensors and arrays are equal if their shapes and all their numbers are.
        """
        if got is expected is None or self._answered(what, got):
            self._note(what, _equal(got, expected), _said(got, hint))

    def close(
        self, what: str, got: Any, expected: float, within: float = 1e-3, hint: str = ""
    ) -> None:
        """The answer must be this number, up to ``within``."""
        if self._answered(what, got) and self._one_number(what, got):
            number = float(got)
            right = math.isfinite(number) and abs(number - expected) <= within
            self._note(what, right, _said(f"{number:.4g}", hint))

    def prediction(self, what: str, guess: Any, truth: float, unit: str = "") -> None:
        """A guess made before running. Any guess is right; how far off it was is told."""
        if self._answered(what, guess) and self._one_number(what, guess):
            gap = abs(float(guess) - truth)
            self.right.append(
                f"{what}: you guessed {float(guess):.4g}{unit}, it is {truth:.4g}{unit} "
                f"({gap:.2g} apart)"
            )

    def choice(
        self, what: str, answer: Any, right: str, because: Mapping[str, str]
    ) -> None:
        """One of several answers; each wrong one explains itself.

        Parameters
        ----------
        because : for each possible answer, why it is right or wrong.
        """
        if not self._answered(what, answer):
            return
        answer = str(answer).strip().lower()
        if answer not in because:
            self._note(what, False, f"answer with one of {', '.join(because)}")
        elif answer == right:
            self.right.append(f"{what}: {because[answer]}")
        else:
            self._note(what, False, because[answer])

    def _answered(self, what: str, value: Any) -> bool:
        """Is there an answer? None is noted as wrong; ``...`` ends the check."""
        if value is ...:
            raise _NotAttempted
        if value is None:
            self._note(what, False, "got None: is a `return` missing?")
        return value is not None

    def _one_number(self, what: str, value: Any) -> bool:
        """Can the answer be read as one number? If not, it is noted as wrong."""
        try:
            float(value)
        except (TypeError, ValueError, RuntimeError):
            self._note(what, False, _said(value, "One number is needed."))
            return False
        return True

    def _note(self, what: str, right: bool, why: str) -> None:
        if right:
            self.right.append(what)
        else:
            self.wrong.append((what, why))


class _NotAttempted(Exception):
    """An answer is still the ``...`` of the stub."""


class _NoAnswer(Exception):
    """An answer is None, which was noted."""


def _cause(error: Exception) -> str:
    """The error, and what often lies behind it in an exercise."""
    said = f"{type(error).__name__}: {error}"
    if "NoneType" in said:
        return f"{said}. Is a `return` missing?"
    return f"{said}. Is a ... still in your code?" if "ellipsis" in said else said


def _tensor(value: Any) -> Tensor | None:
    """A tensor or an array as a tensor; None for everything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        return None
    return torch.as_tensor(value) if isinstance(value, Tensor | np.ndarray) else None


def _equal(got: Any, expected: Any) -> bool:
    if isinstance(got, list | tuple) and type(got) is type(expected):
        return len(got) == len(expected) and all(map(_equal, got, expected))
    if _tensor(got) is None and _tensor(expected) is None:
        return bool(got == expected)
    try:
        got, expected = torch.as_tensor(got).cpu(), torch.as_tensor(expected).cpu()
    except (TypeError, ValueError, RuntimeError):
        return False  # the other one is no array of numbers
    return got.shape == expected.shape and bool((got == expected).all())


def _said(got: Any, hint: str) -> str:
    values = _tensor(got)
    if values is not None and values.ndim:
        numbers = f": {values.tolist()}" if values.numel() <= 12 else ""
        got = f"an array of shape {tuple(values.shape)}{numbers}"
    text = str(got)
    text = text if len(text) <= 300 else text[:300] + " …"
    return f"got {text}" + (f". {hint}" if hint else "")
