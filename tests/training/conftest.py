"""What the tests of training share: see ``runs.py``, and what other processes do."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for runs.py


@pytest.fixture(autouse=True, scope="module")
def fast_garbage_collection():
    """Each run ends with a collection; what was imported need not be looked through."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """The folder with what ``processes.py`` wrote."""
    folder = tmp_path_factory.mktemp("processes")
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "processes.py"), str(folder)],
        env=os.environ
        | {"PYTHONPATH": path, "OMP_NUM_THREADS": f"{torch.get_num_threads()}"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder
