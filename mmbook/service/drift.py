"""Drift of live inputs: an alarm whose false-alarm rate is measured before it serves."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..explain.drift import HotellingT2, alarm_threshold
from ..world.render import render
from ..world.scenes import sample_scenes
from .answering import Captioner
from .disk import write_whole

REFERENCE = "reference.safetensors"


class DriftMonitor:
    r"""Watches groups of live inputs with Hotelling's $T^2$ (数据漂移). Chapter 5.5.

    The reference is cut in three: one part says what is normal, the second sets the
    thresholds, and on the third, which neither has seen, ``measured`` is the share of
    groups that raise an alarm although nothing has changed.

    Parameters
    ----------
    reference : (N, D) features of pictures from a time without drift.
    size : inputs of a group.
    false_alarms : the share of quiet groups, and of quiet single inputs, that may alarm.
    """

    def __init__(
        self,
        reference: Tensor,
        size: int = 50,
        false_alarms: float = 0.01,
        directions: int = 10,
    ):
        order = torch.randperm(
            len(reference), generator=torch.Generator().manual_seed(0)
        )
        past, quiet, fresh = reference[order].chunk(3)
        self.size, self.statistic = size, HotellingT2(past, directions)
        set_by = self.statistic, quiet
        self.threshold = alarm_threshold(*set_by, size, false_alarms, draws=2000)
        self.single = alarm_threshold(*set_by, 1, false_alarms, draws=2000)
        self.measured = self.rate(fresh)
        self.value, self.alarm = 0.0, False
        self._group: list[Tensor] = []

    def rate(self, features: Tensor, draws: int = 2000, seed: int = 1) -> float:
        """The share of random groups of these features that raise an alarm."""
        generator = torch.Generator().manual_seed(seed)
        orders = (
            torch.randperm(len(features), generator=generator) for _ in range(draws)
        )
        values = [self.statistic(features[rows[: self.size]]) for rows in orders]
        return float((torch.stack(values) > self.threshold).float().mean())

    def unusual(self, features: Tensor) -> list[bool]:
        """Of each input (B, D): is it unlike all but ``false_alarms`` of the reference?"""
        return [bool(self.statistic(row[None]) > self.single) for row in features]

    def add(self, features: Tensor) -> int:
        """Count live inputs (B, D) in; of the groups that became full, how many alarm."""
        self._group += features.unbind()
        alarms = 0
        while len(self._group) >= self.size:
            group, self._group = self._group[: self.size], self._group[self.size :]
            self.value = float(self.statistic(torch.stack(group)))
            self.alarm = self.value > float(self.threshold)
            alarms += self.alarm
        return alarms


def keep_reference(captioner: Captioner, pictures, folder: str | Path) -> Tensor:
    """Features of usual pictures, written beside a model: (N, D). Chapter 5.5."""
    chunks = [pictures[i : i + 64] for i in range(0, len(pictures), 64)]
    features = torch.cat([captioner.see(chunk).pooled() for chunk in chunks])
    write_whole(Path(folder, REFERENCE), save({"features": features}))
    return features


def monitor_for(captioner: Captioner, folder: Path) -> DriftMonitor | None:
    """From the reference beside a model; scenes for one of scenes; else None."""
    if (folder / REFERENCE).is_file():
        return DriftMonitor(load_file(folder / REFERENCE)["features"])
    if "ring" not in captioner.tokenizer.get_vocab():
        return None
    return DriftMonitor(keep_reference(captioner, usual_scenes(captioner.size), folder))


def usual_scenes(size: int, count: int = 3000, seed: int = 77) -> list[Tensor]:
    """Pictures as a captioner of scenes knows them: half with noise, half drawn clean."""
    scenes, noises = sample_scenes(count, seed), (0.02, 0.0)
    halves = [render(scenes[i::2], size, n, seed) for i, n in enumerate(noises)]
    return list((torch.cat(halves) * 255).round().byte())
