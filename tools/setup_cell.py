"""The set-up cell: the same in every chapter and exercise; a test keeps it so."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def address() -> str:
    """The address of the repository, from the one place where it stands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["urls"]["Repository"]


def setup_cell() -> str:
    """Source of the cell: on Colab it installs the package, elsewhere it does nothing."""
    return (
        "# On Colab: install the package of the book. Elsewhere: nothing to do.\n"
        "import sys\n"
        "\n"
        'if "google.colab" in sys.modules:\n'
        f'    %pip install --quiet "mmbook @ git+{address()}"'
    )
