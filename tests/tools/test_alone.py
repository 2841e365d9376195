"""A notebook runs with what its set-up cell installs, and with nothing else."""

import os
import subprocess
import sys

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("nbval", reason="needs the extra test")
import alone  # noqa: E402
from book import ROOT  # noqa: E402
from nbformat.v4 import new_code_cell, new_notebook  # noqa: E402
from setup_cell import modules, named, needed, setup_cell  # noqa: E402

WORKSHOP = {"pytest", "nbval", "jupyter_book", "sphinx", "sacrebleu", "peft"}
CORE = {"torch", "transformers", "matplotlib", "numpy", "PIL", "IPython", "mmbook"}


def test_the_extras_are_read_from_the_project():
    assert modules()["optuna"] == "search"
    assert not WORKSHOP & set(modules())


def test_a_notebook_needs_the_extras_that_it_imports_wherever_it_does():
    assert needed(["import torch", "%matplotlib inline\nx = 1"]) == set()
    assert needed(["try:\n    import optuna\nexcept ImportError:\n    raise"]) == {
        "search"
    }
    assert needed(["x = 1", "def f():\n    from optuna.samplers import x"]) == {
        "search"
    }


@pytest.mark.parametrize("extras", [set(), {"search"}, {"hub", "search"}])
def test_the_set_up_cell_names_its_extras(extras):
    cell = setup_cell(extras)
    assert named(cell) == extras
    assert ("mmbook[" in cell) == bool(extras)


def test_only_what_an_extra_brings_is_seen():
    bare, search = alone.hidden(), alone.hidden(frozenset({"search"}))
    assert bare >= {"optuna"} | WORKSHOP and not bare & CORE
    assert "optuna" not in search and bare - search >= {"optuna"}
    assert search >= WORKSHOP


def seen_by_a_python(code, extras, tmp_path):
    guard = alone.guard(frozenset(extras), tmp_path)
    path = os.pathsep.join([str(guard), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_hidden_module_is_neither_found_nor_imported(tmp_path):
    look = "from importlib.util import find_spec; print(find_spec('optuna'))"
    assert seen_by_a_python(look, (), tmp_path).stdout == "None\n"
    error = seen_by_a_python("import optuna", (), tmp_path).stderr
    assert "ModuleNotFoundError: No module named 'optuna'" in error
    assert seen_by_a_python("import numpy, json", (), tmp_path).returncode == 0
    assert "optuna" in seen_by_a_python(look, {"search"}, tmp_path).stdout


@pytest.mark.slow
@pytest.mark.parametrize("extras", [(), ("search",)])
def test_a_notebook_passes_only_if_its_set_up_cell_names_the_extra(extras, tmp_path):
    cells = [setup_cell(extras), "import transformers, optuna, mmbook"]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    place = tmp_path / "notebooks/chapter/name"
    place.mkdir(parents=True)
    nbformat.write(notebook, str(place / "name.ipynb"))
    kernel = alone.kernel(place / "name.ipynb", ROOT, tmp_path)
    fine = alone.check(place / "name.ipynb", kernel, alone.surroundings(1))
    assert fine == bool(extras)


def test_chapters_are_run_before_exercises():
    order = ["exercises" in path.parts for path in alone.asked([])]
    assert order == sorted(order) and len(order) > 50
    assert {path.stem for path in alone.asked(["3.2"])} == {"32_five_steps"}
    assert len(alone.asked(["3.2"])) == 3
