"""What was measured in each step."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """What was measured: one record a step, one a validation. ``plots.plot_history`` draws it."""

    steps: list[dict[str, float]] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[float]:
        """One quantity over the steps, e.g. ``history["loss"]``."""
        return [record[name] for record in self.steps]

    def __repr__(self) -> str:
        if not self.steps:
            return "History of no steps"
        last = self.steps[-1]
        text = f"History of {last['step'] + 1} steps, last loss {last['loss']:.4f}"
        if self.validations:
            numbers = self.validations[-1].items()
            text += "; last validation " + ", ".join(
                f"{name} {value:.4f}" for name, value in numbers if name != "step"
            )
        return text
