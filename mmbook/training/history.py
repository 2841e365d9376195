"""What was measured in each step."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """One record a step, one a validation; ``plots.plot_history`` draws it."""

    steps: list[dict[str, float]] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)
    stopped_early: bool = False

    def __getitem__(self, name: str) -> list[float]:
        """One quantity over the steps, e.g. ``history["loss"]``."""
        return [record[name] for record in self.steps]

    def __repr__(self) -> str:
        if not self.steps:
            return "History of no steps"
        text = f"History of {len(self.steps)} steps, last loss {self['loss'][-1]:.4f}"
        last = dict(self.validations[-1] if self.validations else {}, step=None)
        numbers = [f"{name} {x:.4f}" for name, x in last.items() if x is not None]
        return text + ("; last validation " + ", ".join(numbers) if numbers else "")
