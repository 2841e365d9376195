"""Run the studies, one after another: python tools/studies.py [NAME …]

A study that was stopped goes on, and one that is done and up to date says so itself.
"""

import re
import subprocess
import sys
from pathlib import Path

from book import ROOT

DESIGN = re.compile(r"^DESIGN\b", re.MULTILINE)  # what only a study has, no helper


def studies() -> list[Path]:
    """The files of all studies."""
    files = sorted((ROOT / "studies").glob("*.py"))
    return [file for file in files if DESIGN.search(file.read_text(encoding="utf-8"))]


def main() -> int:
    """Run those that are named, or all; the exit status counts the ones that failed."""
    there, wanted = {file.stem: file for file in studies()}, sys.argv[1:]
    if unknown := set(wanted) - set(there):
        sys.exit(
            f"no study is named {', '.join(unknown)}; there are {', '.join(there)}"
        )
    failed = []
    for name in wanted or there:
        print(f"{name}:", flush=True)
        if subprocess.run([sys.executable, there[name]], cwd=ROOT).returncode:
            failed.append(name)
    print(*(f"{name} failed" for name in failed), sep="\n")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
