"""Chapter 5.2 on real photographs: the chapter's own cells, with its switch set.

The notebook is executed as it is, on ``flickr8k_1000`` with MobileNetV2 and MiniLM. Its
table is taken out: BLEU and CIDEr of the fine-tuned captioner on photographs that it
never saw, beside the nearest neighbour and beside the same model trained blind; and what
the pre-trained voice bought. No picture and no caption is kept.

    MMBOOK_DATA=… MMBOOK_MODELS=… python benchmarks/photographs.py

Bound: the CIDEr of the fine-tuned captioner is above that of the blind one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import nbformat
from common import Bound, report, table
from nbclient import NotebookClient

CHAPTER = Path(__file__).parent.parent / "chapters/5-practice"
CHAPTER /= "52_complete_fine_tuning.ipynb"
LAST_CELL = """
import json
print("RESULT", json.dumps({
    "table": [[*key, value] for key, value in table.items()],
    "average": [[*key, value] for key, value in average.items()],
    "validations": history.validations,
    "numbers": sum(p.numel() for p in model.parameters()),
    "pictures": len(train.references),
}))
"""


def executed() -> tuple[dict, float]:
    """What the chapter found, and the minutes that it took."""
    notebook = nbformat.read(CHAPTER, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(LAST_CELL))
    os.environ |= {"MMBOOK_SWITCH": "photographs", "CI": "true"}
    began = time.perf_counter()
    NotebookClient(notebook, timeout=7200, kernel_name="python3").execute()
    minutes = (time.perf_counter() - began) / 60
    said = notebook.cells[-1].outputs[0].text.removeprefix("RESULT ")
    return json.loads(said), minutes


def main() -> None:
    """Execute, and report the chapter's tables."""
    for name in ("MMBOOK_DATA", "MMBOOK_MODELS"):
        if not os.environ.get(name):
            sys.exit(f"set {name} to the folder that holds the real data or models")
    found, minutes = executed()
    rows = [
        [name, f"{numbers['BLEU']:.2f}", f"{numbers['CIDEr']:.3f}"]
        for _, name, numbers in found["table"]
    ]
    voices = [[name, f"{value:.3f}"] for _, name, value in found["average"]]
    cider = {name: numbers["CIDEr"] for _, name, numbers in found["table"]}
    losses = ", ".join(f"{v['loss']:.2f}" for v in found["validations"])
    report(
        "photographs",
        " ".join(__doc__.split("\n\n")[1].split()),
        f"{found['pictures']} training photographs, {found['numbers']:,} numbers in the "
        f"model, one seed. The whole chapter took {minutes:.0f} minutes. Validation "
        f"loss: {losses}.\n\n"
        f"{table(['202 test photographs', 'BLEU', 'CIDEr'], rows)}\n\n"
        f"{table(['voice', 'CIDEr'], voices)}",
        [
            Bound(
                "CIDEr: fine-tuned − image-blind",
                cider["fine-tuned"] - cider["image-blind"],
                0.0,
                at_most=False,
            )
        ],
    )


if __name__ == "__main__":
    main()
