"""Runs a study: an equal search, the seeds, the test set once at the end, one json.

A study is a file in this folder that ends with

    DESIGN = Design(...)

    if __name__ == "__main__":
        main(DESIGN, __file__)

and is started by ``python studies/NAME.py``. In each condition every arm first tries
its settings, as many as the others, with a seed of its own. The two that are best on
validation data run with all seeds, and the better mean on validation data stays: one
seed alone can mislead. Only when all training is done is the test set loaded, and each
final run is tested once. What came out is written to ``mmbook/studies/NAME.json``.

Each finished run is kept in the work folder, so a study that was stopped goes on. Runs
depend on their seed alone, not on what ran before them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch
from design import Condition, Design, Run, Trained
from fingerprint import ROOT, changed, fingerprint, training_hash
from keeping import Finished, as_lines, rounded, write
from reporting import machine, summary
from trials import Trials, seed_everything

from mmbook.studies import Study

__all__ = ["Condition", "Design", "Run", "Trained", "execute", "main"]
PACKAGE = ROOT / "mmbook" / "studies"
LARGEST = 200_000  # bytes of a result


def main(design: Design, file: str) -> None:
    """The command line of a study."""
    parser = argparse.ArgumentParser(description=design.question)
    parser.add_argument(
        "--quick", action="store_true", help="try the code, keep nothing"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "studies")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    given = parser.parse_args()
    if missing := [name for name in design.needs if not os.environ.get(name)]:
        sys.exit(f"set {' and '.join(missing)}: see {Path(file).name}")
    torch.set_num_threads(given.threads)
    if given.quick:
        with tempfile.TemporaryDirectory() as folder:
            record = execute(design, Path(file), Path(folder), quick=True)
    elif record := up_to_date(Path(file)):
        print("up to date: nothing that the result rests on has changed")
    else:
        record = execute(design, Path(file), given.work)
    print(summary(Study(record)))


def up_to_date(file: Path, target: Path = PACKAGE) -> dict | None:
    """The result of a study, if there is one and it rests on what is there now."""
    result = target / f"{file.stem}.json"
    if not result.is_file():
        return None
    record = json.loads(result.read_text(encoding="utf-8"))
    return None if changed(file, record["rests_on"]) else record


def execute(
    design: Design, file: Path, work: Path, target: Path = PACKAGE, quick: bool = False
) -> dict:
    """Run what has not run yet, test, write ``target/NAME.json``, and return it.

    Parameters
    ----------
    file : of the study; its name is the study's name.
    work : folder for finished runs.
    quick : two tries, two seeds, and nothing is written into ``target``.
    """
    rests_on = fingerprint(file, design.rests_on)  # now: it may be edited meanwhile
    finished = Finished(work / file.stem / training_hash(file, design.rests_on))
    trials = Trials(design, finished, quick)
    trials.all()
    data = design.test_data()  # the only place in which the test set is touched
    for run, row in trials.runs:
        seed_everything(run.seed)
        row["test"] = rounded(design.test(run, finished.state(run), data))
    record = {"study": file.stem, **_record(design, trials), "rests_on": rests_on}
    text = as_lines(record)
    if len(text.encode()) > LARGEST:
        raise ValueError(f"the result has {len(text)} bytes; keep less in the tests")
    if not quick:
        write(target / f"{file.stem}.json", text)
    return json.loads(text)


def _record(design: Design, trials: Trials) -> dict:
    runs = [row for _, row in trials.runs]
    search = [{k: row[k] for k in row if k != "curve"} for row in trials.search]
    seconds = sum(row["seconds"] for row in [*search, *runs])
    return {
        "question": design.question,
        "metric": design.metric,
        "unit": design.unit,
        "maximise": design.maximise,
        "step": design.step,
        "tolerance": design.tolerance,
        "seeds": trials.seeds,
        "search_seed": design.search_seed,
        "untrained": list(design.untrained),
        "tries": {arm: list(tries) for arm, tries in design.tries.items()},
        "conditions": [
            {**asdict(each), "arms": design.arms_in(each)} for each in design.conditions
        ],
        "made": {"date": str(date.today()), "seconds": round(seconds), **machine()},
        "search": search,
        "runs": runs,
    }
