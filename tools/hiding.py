"""Hide modules from a Python, as if they were not installed.

``alone.py`` copies this file as ``sitecustomize.py``, with the list of modules beside it in
``hidden.json``, onto the path of a notebook's kernel. Whoever asks for a hidden module
gets a ModuleNotFoundError, and whoever looks whether it is there finds nothing.
"""

import json
import sys
from pathlib import Path


class Hiding:
    """A finder of modules that does not see some of them."""

    def __init__(self, finder, hidden):
        self.finder, self.hidden = finder, hidden

    def find_spec(self, name, path=None, target=None):
        """Where a module is; nowhere, if it is hidden."""
        if name.partition(".")[0] in self.hidden:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


def hide(hidden: set[str]) -> None:
    """Hide these top-level modules from now on."""
    sys.meta_path[:] = [Hiding(finder, hidden) for finder in sys.meta_path]


if __name__ == "sitecustomize":
    hide(set(json.loads(Path(__file__).with_name("hidden.json").read_text("utf-8"))))
