"""Check cells (自动检查) of the exercises: what is right, what is wrong, and a hint.

    with check("1.1.2", "Fuse two bits") as it:
        it.close("the information of a", information_a, 0.0)
        it.true("both bits are used", loss < 0.1, hint="Look at what the head sees.")

A check never raises for a wrong answer; it says what it found. What a student has not
written yet is ``...``, and the check says so instead of a traceback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

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
        if isinstance(error, _NotYet) or "ellipsis" in str(error):
            self.open = True  # the ... of the stub is still there
        elif isinstance(error, Exception):
            said = f"{type(error).__name__}: {error}"
            self.wrong.append(("the check could not run to its end", said))
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

    def true(self, what: str, condition: Any, hint: str = "") -> None:
        """The condition must hold."""
        self._note(what, bool(_given(condition)), hint)

    def equal(self, what: str, got: Any, expected: Any, hint: str = "") -> None:
        """The answer must be exactly this; what came is told, what was expected is not."""
        got = _given(got)
        self._note(what, got == expected, _said(got, hint))

    def close(
        self, what: str, got: Any, expected: float, within: float = 1e-3, hint: str = ""
    ) -> None:
        """The answer must be this number, up to ``within``."""
        number = float(_given(got))
        right = math.isfinite(number) and abs(number - expected) <= within
        self._note(what, right, _said(f"{number:.4g}", hint))

    def prediction(self, what: str, guess: Any, truth: float, unit: str = "") -> None:
        """A guess made before running. Any guess is right; how far off it was is told."""
        guess = float(_given(guess))
        gap = abs(guess - truth)
        self.right.append(
            f"{what}: you guessed {guess:.4g}{unit}, it is {truth:.4g}{unit} "
            f"({gap:.2g} apart)"
        )

    def choice(
        self, what: str, answer: str, right: str, because: Mapping[str, str]
    ) -> None:
        """One of several answers; each wrong one explains itself.

        Parameters
        ----------
        because : for each possible answer, why it is right or wrong.
        """
        answer = str(_given(answer)).strip().lower()
        if answer not in because:
            self._note(what, False, f"answer with one of {', '.join(because)}")
        elif answer == right:
            self.right.append(f"{what}: {because[answer]}")
        else:
            self._note(what, False, because[answer])

    def _note(self, what: str, right: bool, why: str) -> None:
        if right:
            self.right.append(what)
        else:
            self.wrong.append((what, why))


class _NotYet(Exception):
    pass


def _given(value: Any) -> Any:
    """The student's value, unless it is still the ``...`` of the stub."""
    if value is ... or value is None:
        raise _NotYet
    return value


def _said(got: Any, hint: str) -> str:
    return f"got {got}" + (f". {hint}" if hint else "")
