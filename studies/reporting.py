"""What a study says: a line for each run, the machine, the result as text."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import torch
from design import Run

from mmbook.studies import Study


@dataclass
class Progress:
    """One line for each finished run: how long it took, how long the rest will take."""

    total: int
    seconds: list[float] = field(default_factory=list)

    def line(self, run: Run, row: dict) -> None:
        """Print it."""
        self.seconds.append(row["seconds"])
        done, spent = len(self.seconds), sum(self.seconds)
        score = "diverged" if row["score"] is None else f"{row['score']:.4g}"
        print(
            f"{done} of {self.total}: {run}: {score}{'' if row['flat'] else ', not flat'}, "
            f"{row['seconds']:.0f} s; {spent / 60:.1f} min so far, about "
            f"{spent / done * (self.total - done) / 60:.0f} to go",
            flush=True,
        )


def machine() -> dict:
    """Hardware, threads and versions on which the numbers depend."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    libraries = ("torch", "transformers", "accelerate", "numpy", "mmbook")
    versions = [f"{n} {importlib.metadata.version(n).split('+')[0]}" for n in libraries]
    return {
        "hardware": f"{os.cpu_count()} CPU cores "
        f"({names[0] if names else platform.machine()}), {gpu}",
        "threads": torch.get_num_threads(),
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
    }


def summary(study: Study) -> str:
    """The result as text: what each arm reached, the paired differences, the reversals."""
    lines = [study.question, study.how]
    for row in study.record["conditions"]:
        name, arms = row["name"], row["arms"]
        lines += ["", name, *(f"  {arm}: {study.result(arm, name)}" for arm in arms)]
        for a, b in combinations(arms, 2):
            difference = study.difference(b, a, name)
            lines.append(f"    {b} − {a}: {difference}, {study.verdict(b, a, name)}")
    lines += ["", "What would reverse this?"]
    for a, b in combinations(study.arms, 2):
        for each in study.reversals(b, a):
            lines.append(
                f"  {each.condition}, {b} − {a}: {each.before}, {each.verdicts[0]}; "
                f"{each.asks}: {each.after}, {each.verdicts[1]}"
            )
    return "\n".join(lines)
