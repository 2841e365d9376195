"""Tuned again (再次微调): on the labels that people gave; kept if better, undone if worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.collate import Collate
from ..data.files import split_numbers
from ..metrics import words
from ..studies.intervals import Interval
from ..training.config import TrainingConfig
from ..training.loop import fit
from ..world.language import parse
from .answering import Captioner
from .drift import keep_reference
from .labels import Labels
from .versions import Versions

_ENOUGH = 600  # pictures that a drift alarm needs as its reference


def tune(
    data: str | Path,
    replay: Sequence[dict] = (),
    config: TrainingConfig | None = None,
    share: float = 0.3,
) -> tuple[str, Interval]:
    """Fine-tune the current version on what was collected; promote it if better.

    Returns the new version's name, and how much better it is on the held-out share of
    labels and ``replay`` together: items of what the model knew before, without which it
    would forget them (灾难性遗忘). It serves if that interval is above zero, and if it is
    not worse on the held-out replay alone, which many labels would outvote; else that
    difference is returned. Chapter 5.5.
    """
    versions, items = Versions(Path(data, "versions")), Labels(data).items()
    config = config or TrainingConfig(steps=200, batch_size=32, learning_rate=3e-4)
    train, held, known = _apart([items, list(replay)], share, config.seed)
    if not items:
        raise ValueError(f"{data} has no labels to tune on")
    captioner = Captioner.from_folder(versions.folder_of(versions.current))
    collate = Collate(captioner.tokenizer, captioner.head.max_length)
    fit(captioner.model, train, config, collate)  # type: ignore[arg-type]

    def write(folder: Path) -> None:
        captioner.model.save_pretrained(folder)
        captioner.tokenizer.save_pretrained(folder)
        if len(train) >= _ENOUGH:  # the old one was of another encoder
            keep_reference(captioner, [item["image"] for item in train], folder)

    name = versions.add(write)
    if replay and len(known) > 1:
        judge = lambda folder: right(folder, known)  # noqa: E731
        lost = versions.compare(versions.current, name, judge)
        if lost.sign < 0:
            return name, lost
    return name, versions.promote(name, lambda folder: right(folder, held))


def _apart(pools: list[list[dict]], share: float, seed: int) -> tuple[list, ...]:
    """Of all pools what is learned and what is held out; that of the last pool alone."""
    train, held, last = [], [], []
    for pool in pools:
        first, second = split_numbers(len(pool), share, seed) if pool else ([], [])
        train += [pool[i] for i in first]
        last = [pool[i] for i in second]
        held += last
    return train, held, last


def check(data: str | Path, least: int = 30) -> Interval | None:
    """Go back to the version before, if the current one is worse. Chapter 5.5.

    Both answer the pictures that people labelled since the current one serves, which
    neither has learned from; None while these are fewer than ``least``.
    """
    versions, labels = Versions(Path(data, "versions")), Labels(data)
    new, *before = versions.history()
    items = labels.items(new)
    if len(items) < least or not before:
        return None
    judge = lambda folder: right(folder, items)  # noqa: E731
    difference = versions.compare(before[0], new, judge)
    if difference.sign < 0:
        versions.roll_back()
    return difference


def right(folder: Path, items: Sequence[dict]) -> list[float]:
    """For each item 1 if a saved captioner says what its caption says, else 0."""
    said = Captioner.from_folder(folder).say([item["image"] for item in items])
    pairs = zip(said, (item["caption"] for item in items), strict=True)
    return [float(same(*pair)) for pair in pairs]


def same(said: str, caption: str) -> bool:
    """Do both say the same? By their facts, if both are of scenes; else word by word."""
    try:
        return parse(said).means(parse(caption))
    except ValueError:
        return words(said) == words(caption)
