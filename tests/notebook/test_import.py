"""The first import in a notebook prints nothing."""

import subprocess
import sys

import pytest

KERNEL = """
import sys, types
jupyter = types.ModuleType("IPython")
jupyter.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = sys.modules["ipykernel.zmqshell"] = jupyter
sys.modules["ipywidgets"] = None
"""


@pytest.mark.parametrize("first, red", [("import sys", True), ("import mmbook", False)])
def test_jupyter_without_ipywidgets_shows_no_red_warning(first, red):
    code = f"{KERNEL}\n{first}\nimport tqdm.auto"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("IProgress not found" in done.stderr) == red
    assert red or not done.stderr
