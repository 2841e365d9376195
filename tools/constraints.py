"""Write the versions of the running environment to constraints.txt: names and versions.

Left out: the package itself, and what only some machines have (the CUDA libraries that
torch brings along on Linux).
"""

import re
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = re.compile(r"mmbook|uv|pip|nvidia-.*|cuda-.*|triton|setuptools|.*-win.*")
HEADER = "# The versions with which the book was last executed. Made by `make constraints`.\n"


def main() -> None:
    """Collect and write."""
    versions = {}
    for found in distributions():
        name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        if not LEFT_OUT.fullmatch(name):
            versions[name] = found.version.split("+")[0]
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"{len(lines)} versions written")


if __name__ == "__main__":
    main()
