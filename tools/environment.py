"""Make the environment of the book in .venv: python tools/environment.py

It needs Python 3.11 or newer and nothing else, on Linux, macOS and Windows. What goes in
stands in ``pyproject.toml``, as the extra ``dev``; the versions in ``constraints.txt``.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".venv"
PYTHON = PLACE / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def main():
    """Make it, or bring it up to date."""
    if sys.version_info < (3, 11):  # noqa: UP036, whatever runs this has no ruff
        sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0])
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", PLACE], check=True)
    python = [str(PYTHON), "-m"]
    pip = [*python, "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
    subprocess.run(pip, check=True)
    uv = [*python, "uv", "pip", "install", "--quiet", "--python", str(PYTHON)]
    what = ["--constraint", "constraints.txt", "--editable", ".[dev]"]
    subprocess.run([*uv, *what], cwd=ROOT, check=True)
    (PLACE / "ready").touch()


if __name__ == "__main__":
    main()
