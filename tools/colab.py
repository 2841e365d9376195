"""Run chapters as Colab does, set-up cell included: python tools/colab.py 3.2

For a Python that has what Colab has (torch, transformers, other people's libraries) but
not the package: the set-up cell believes that it is on Colab and installs it, from this
folder in place of the address.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from book import ROOT, chapters, chosen, spoken
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from setup_cell import address


def as_on_colab(notebook, folder: Path):
    """The notebook with a cell before all others that makes it believe it is there."""
    fake = folder / "google/colab"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    for cell in notebook.cells:
        cell.source = cell.source.replace(f"git+{address()}", ROOT.as_uri())
    code = f"import sys\nsys.path.append({str(folder)!r})\nimport google.colab"
    notebook.cells.insert(0, new_code_cell(code))
    return notebook


def main() -> None:
    """Run what was asked for."""
    os.environ["CI"] = "true"
    for path in chosen(chapters(), sys.argv[1:]):
        with tempfile.TemporaryDirectory() as empty:
            there = nbformat.read(path, as_version=4)
            notebook = as_on_colab(there, Path(empty, "colab"))
            where = {"metadata": {"path": empty}}  # no file of the repository is near
            NotebookClient(notebook, timeout=1800, resources=where).execute()
        print(f"{spoken(path)} runs")


if __name__ == "__main__":
    main()
