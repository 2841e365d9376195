"""All that a training run needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TrainingConfig:
    """All that a run needs to know; every field is a json value.

    Parameters
    ----------
    steps : number of updates.
    batch_size : examples that one process puts through the model at once.
    accumulation : parts of that size which make one update together (梯度累积).
    optimizer : ``"adamw"`` or ``"sgd"`` (with momentum 0.9).
    learning_rate : the highest one, after warm-up.
    rates : factors on it for parameters whose names begin so, e.g.
        ``{"encoders.": 0.1}``; the longest beginning counts.
    weight_decay : for the weights of linear and convolutional layers only.
    warmup : share of the steps in which the rate rises from zero.
    schedule : ``"cosine"`` down to zero, or ``"constant"``.
    clip : the largest norm of the gradient; None does not clip.
    precision : ``"auto"`` is bf16 on a GPU that has it, else float32.
    compile : ``"auto"`` compiles on a GPU if there are a thousand steps or more, since
        compiling takes about a minute; True, False, or the name of a backend.
    validate_every, patience, metric, maximise : when to validate; stop after so many
        validations in which ``metric`` did not improve, and go back to the best weights.
        ``patience=None`` never stops early.
    folder, save_every, keep : where checkpoints go, how often, how many stay.
    workers : processes that prepare batches; 0 prepares them in this one.
    seed : of the order of the data and of dropout.
    progress : None shows a bar where somebody watches.
    """

    steps: int = 1000
    batch_size: int = 64
    accumulation: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "cosine"
    clip: float | None = 1.0
    precision: str = "auto"
    compile: bool | str = "auto"
    validate_every: int | None = None
    patience: int | None = None
    metric: str = "loss"
    maximise: bool = False
    folder: str | None = None
    save_every: int | None = None
    keep: int = 2
    workers: int = 0
    seed: int = 0
    progress: bool | None = None

    def __post_init__(self):
        for name in ("steps", "batch_size", "accumulation", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")
        for name, known in (
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "constant")),
            ("precision", ("auto", "no", "bf16", "fp16")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got "
                    f"{getattr(self, name)!r}"
                )
        if self.save_every and not self.folder:
            raise ValueError("save_every needs a folder to save into")
        if self.patience is not None and not self.validate_every:
            raise ValueError("patience needs validate_every: how often to look")
        if not 0 <= self.warmup <= 1:
            raise ValueError(
                f"warmup is a share of the steps, from 0 to 1; got {self.warmup}"
            )
