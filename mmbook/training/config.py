"""All that a training run needs to know."""

import operator
import os
from dataclasses import dataclass, field

_OPTIONAL = ("validate_every", "patience", "save_every", "clip")
_POSITIVE = ("learning_rate", "clip")  # 0 itself is too little
_LEAST = {  # the least of whole numbers and of real ones
    **dict.fromkeys(("steps", "batch_size", "accumulation", "keep", *_OPTIONAL[:3]), 1),
    **dict.fromkeys(("workers", "seed"), 0),
    **dict.fromkeys(("learning_rate", "clip", "weight_decay", "warmup"), 0.0),
}
_CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("cosine", "constant"),
    "precision": ("auto", "no", "bf16", "fp16"),
    "maximise": (True, False),
}


@dataclass
class TrainingConfig:
    """All that a run needs to know; every field is a json value. Chapter 5.2.

    With ``patience`` a run stops after so many validations in which ``metric`` did not
    improve, and goes back to the best weights. ``compile="auto"`` compiles on a GPU for
    1,000 steps or more; ``progress=None`` shows what suits.
    """

    steps: int = 1000  # updates
    batch_size: int = 64  # examples that one process puts through the model at once
    accumulation: int = 1  # parts of that size which make one update (梯度累积)
    optimizer: str = "adamw"  # or "sgd", with momentum 0.9
    learning_rate: float = 1e-3  # the highest one, after warm-up
    rates: dict[str, float] = field(default_factory=dict)  # by beginnings of names
    weight_decay: float = 0.01  # of matrices only, see make_optimizer
    warmup: float = 0.1  # share of the steps in which the rate rises from zero
    schedule: str = "cosine"  # down to zero, or "constant"
    clip: float | None = 1.0  # the largest norm of the gradient; None does not clip
    precision: str = "auto"  # bf16 on a GPU that has it, else float32 ("no"); or "fp16"
    compile: bool | str = "auto"  # or the name of a backend
    validate_every: int | None = None  # steps
    patience: int | None = None  # validations; None never stops early
    metric: str = "loss"
    maximise: bool = False
    folder: str | os.PathLike | None = None  # where checkpoints go
    save_every: int | None = None  # steps; the last one is always saved
    keep: int = 2  # checkpoints that stay
    workers: int = 0  # processes that prepare batches; 0 prepares them in this one
    seed: int = 0  # of the order of the data, and of all random numbers of the run
    progress: bool | None = None

    def __post_init__(self):
        for name, least in _LEAST.items():
            if getattr(self, name) is not None or name not in _OPTIONAL:
                setattr(self, name, _number(name, getattr(self, name), least))
        self.rates = {k: _number("rates", v, 0.0) for k, v in self.rates.items()}
        self.folder = None if self.folder is None else os.fspath(self.folder)
        for name, known in _CHOICES.items():
            if (given := getattr(self, name)) not in known:
                words = ", ".join(map(str, known))
                raise ValueError(f"{name} must be one of {words}; got {given!r}")
        if self.warmup > 1:
            raise ValueError(f"warmup must be a share, 0 to 1; got {self.warmup}")
        if self.save_every and not self.folder:
            raise ValueError("save_every needs a folder to save into")
        if self.patience and not self.validate_every:
            raise ValueError("patience needs validate_every: how often to look")


def _number(name: str, value, least: int | float) -> int | float:
    """The value as a plain number of Python, which json can write."""
    if isinstance(value, str):
        how = "write it without quotes, and in YAML with a point (1.0e-4)"
        raise ValueError(f"{name} must be a number; got the text {value!r}: {how}")
    try:
        number = operator.index(value) if isinstance(least, int) else float(value)
    except TypeError as error:
        kind = "a whole number" if isinstance(least, int) else "a number"
        raise ValueError(f"{name} must be {kind}; got {value!r}") from error
    if number > least or (number == least and name not in _POSITIVE):
        return number
    words = "above 0" if name in _POSITIVE else f"{least:g} or more"
    raise ValueError(f"{name} must be {words}; got {number}")
