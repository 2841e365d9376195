"""Build the site into _build/html: python tools/build_site.py [CHAPTER …]

With numbers or words of chapters (``2.5``, ``glossary``) only these pages are built, into
_build/some/html: a quick look while one writes. Links to the others are then open.

Each page shows the titles of all pages in its navigation, but Sphinx writes only the pages
that have changed themselves. So if a title, the table of contents, the configuration or
the look has changed since the last build, every page is written anew.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

import nbformat
import yaml
from book import ROOT

BUILT = ROOT / "_build"
STRICT = ("--warningiserror", "--nitpick", "--keep-going", "--quiet")
COMMAND = "from jupyter_book.cli.main import main; main()"
HEADING = re.compile(r"^# (.*)$", re.MULTILINE)


def pages() -> list[str]:
    """The pages in the table of contents, as they stand there, without ending."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found, waiting = [toc["root"]], [c for p in toc["parts"] for c in p["chapters"]]
    while waiting:
        page = waiting.pop(0)
        found.append(page["file"])
        waiting = page.get("sections", []) + waiting
    return found


def title(page: str) -> str:
    """The first heading of a page; its name, if it has none."""
    path = ROOT / f"{page}.md"
    if path.exists():
        text = path.read_text(encoding="utf-8")
    else:
        cells = nbformat.read(ROOT / f"{page}.ipynb", as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = HEADING.search(text)
    return found[1] if found else page


def fingerprint() -> str:
    """Of all that every page shows."""
    shared = [ROOT / "_config.yml", ROOT / "_toc.yml"]
    for folder in ("_static", "tools", "tools/web"):
        shared += sorted(path for path in (ROOT / folder).glob("*") if path.is_file())
    found = hashlib.sha256()
    for path in shared:
        found.update(path.read_bytes())
    found.update("\n".join(map(title, pages())).encode())
    return found.hexdigest()


def some(wanted: Sequence[str]) -> int:
    """Build a few pages, fast and without a complaint about the others."""
    named = [key.replace(".", "", 1) for key in wanted]
    chosen = [page for page in pages()[1:] if any(key in page for key in named)]
    folder = BUILT / "some"
    folder.mkdir(parents=True, exist_ok=True)
    toc = {"format": "jb-book", "root": pages()[0]}
    toc["chapters"] = [{"file": page} for page in chosen]
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    options = [
        "--toc",
        str(folder / "_toc.yml"),
        "--path-output",
        str(folder),
        "--quiet",
    ]
    command = [sys.executable, "-c", COMMAND, "build", str(ROOT), *options, "--all"]
    return subprocess.run(command, cwd=ROOT).returncode


def main(wanted: Sequence[str] = ()) -> int:
    """Build all or some; the exit status is that of Jupyter Book."""
    if wanted:
        return some(wanted)
    mark, now = BUILT / "fingerprint", fingerprint()
    new = not mark.exists() or mark.read_text(encoding="utf-8") != now
    if new:
        shutil.rmtree(BUILT / "html", ignore_errors=True)  # pages that are gone, too
    mark.unlink(missing_ok=True)
    every = ["--all"] if new else []
    command = [sys.executable, "-c", COMMAND, "build", str(ROOT), *STRICT, *every]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status == 0:
        mark.write_text(now, encoding="utf-8")
        print("The book is at _build/html/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
