"""Bring notebooks into the one form in which they are committed.

    python tools/normalise.py [--check] [NOTEBOOK …]        (all, if none is named)

Cells keep an id made of their place, execution counts run from 1, and what differs from
run to run without meaning anything is taken away: warnings and progress bars, lines like
``<Figure size …>``, times of execution, versions. A notebook with an error in it, with
cells that were not run, with a path of somebody's machine, or of more than 1 MB is
refused: it should not be committed at all.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import nbformat
from book import notebooks

LIMIT = 1_000_000  # bytes; the preview of code hosts gives up on larger ones
NOISE = re.compile(
    r"<(Figure size|Axes|matplotlib\.|module |function |[\w.]+ (object )?at 0x).*"
    r"|Text\(.*|\[<.*"
)
HOME = re.compile(  # a path that text and code must not name either
    r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|opt)/[\w.-]+"
    r"|(?<!\w)[A-Za-z]:[\\/]{1,4}Users[\\/]{1,4}[\w.-]+"
    r"|file:///\S+"
)
MACHINE_PATH = re.compile(  # a path that no output may show
    rf"{HOME.pattern}"
    r"|(?<![\w.:/])/(?:mnt|media|content|kaggle|workspace|private|var|srv|run|nix|Volumes"
    r"|Library|Applications)/[\w.-]+"
    r"|(?<![\w\\])[A-Za-z]:\\{1,4}\w[\w.-]*"  # C:\data, D:\\data
    r"|(?<![\w\\])\\{2,8}[A-Za-z][\w.$-]*\\{1,4}[\w.$-]+"  # \\server\share
)
SVG_VOLATILE = [
    (re.compile(r"<dc:date>.*?</dc:date>"), "<dc:date/>"),
    (
        re.compile(r"<dc:title>Matplotlib.*?</dc:title>"),
        "<dc:title>Matplotlib</dc:title>",
    ),
]


def normalised(text: str) -> str:
    """The normal form of a notebook's text."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        _normalise(cell)
        if cell.cell_type == "code":
            count += bool(cell.source)
            _normalise_outputs(cell, count if cell.source else None)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def complaints(text: str) -> list[str]:
    """What keeps a notebook from being committed."""
    notebook, found = nbformat.reads(text, as_version=4), []
    if len(text.encode()) > LIMIT:
        found.append(f"it has {len(text.encode()):,} bytes; {LIMIT:,} are allowed")
    if path := machine_path(notebook):
        found.append(f"it names a path of a machine: {path}")
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    for number, cell in enumerate(code, 1):
        expected = "raises-exception" in cell.metadata.get("tags", [])
        for output in cell.outputs:
            if output.output_type == "error" and not expected:
                found.append(f"code cell {number} ended with {output.ename}")
    if code and not any(cell.outputs for cell in code):
        found.append("it was not executed: no cell has an output")
    return found


def machine_path(notebook) -> str | None:
    """The first path of somebody's machine: any in an output, a home in text or code."""
    for cell in notebook.cells:
        if match := HOME.search(cell.source):
            return match.group()
        for said in (
            said for output in cell.get("outputs", []) for said in _said(output)
        ):
            if match := MACHINE_PATH.search(said):
                return match.group()
    return None


def _said(output) -> list[str]:
    """The texts of an output: what is printed, shown or raised; no coded pictures."""
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return [output.evalue, *output.traceback]
    return [
        said if isinstance(said, str) else json.dumps(said)
        for kind, said in output.data.items()
        if kind == "image/svg+xml"
        or not kind.startswith(("image/", "audio/", "video/"))
    ]


def _normalise(cell) -> None:
    """Bring the source of a cell and what the book says about it into order."""
    cell.source = cell.source.strip("\n")
    tags = cell.metadata.get("tags")
    cell.metadata = nbformat.from_dict({"tags": sorted(tags)} if tags else {})
    if "hide-input" in (tags or []):  # what the site folds, JupyterLab folds, too
        cell.metadata.jupyter = nbformat.from_dict({"source_hidden": True})


def _normalise_outputs(cell, count: int | None) -> None:
    """Number a cell and its results, and drop what means nothing."""
    cell.execution_count = count
    cell.outputs = [o for o in map(_output, _merged(cell.outputs)) if o]
    for output in cell.outputs:
        if "execution_count" in output:
            output.execution_count = count


def _merged(outputs: list) -> list:
    """Join neighbouring pieces of one stream."""
    merged = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == "stream" == last.output_type:
            if output.name == last.name:
                last.text += output.text
                continue
        merged.append(output)
    return merged


def _output(output):
    if output.output_type == "stream":
        return None if output.name == "stderr" else output
    if output.output_type in ("display_data", "execute_result"):
        data = output.data
        kinds = set(data)
        plain = data.get("text/plain", "")
        if kinds - {"text/plain"} and NOISE.match(plain):
            del data["text/plain"]
        if kinds == {"text/plain"} and NOISE.match(plain):
            return None
        if any("widget" in kind for kind in kinds):
            return None
        if "image/svg+xml" in data:
            for pattern, instead in SVG_VOLATILE:
                data["image/svg+xml"] = pattern.sub(instead, data["image/svg+xml"])
        output.metadata = nbformat.from_dict(_said_of_figure(output.metadata))
    return output


def _said_of_figure(metadata: dict) -> dict:
    """Caption and alternative text, which the site shows; nothing else is kept."""
    kept = {
        kind: {key: said[key] for key in ("alt", "caption") if key in said}
        for kind, said in metadata.items()
        if kind.startswith("image/")
    }
    return {kind: said for kind, said in kept.items() if said}


def main() -> int:
    """Normalise or check; the exit status counts the notebooks that are not well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing, only tell"
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    given = parser.parse_args()
    bad = 0
    for path in given.notebooks or notebooks():
        text = path.read_text(encoding="utf-8")
        normal = normalised(text)
        problems = complaints(normal)
        if given.check and normal != text:
            problems.append("it is not in normal form: run tools/normalise.py")
        elif not given.check and normal != text:
            path.write_text(normal, encoding="utf-8", newline="\n")
        for problem in problems:
            print(f"{path}: {problem}", file=sys.stderr)
        bad += bool(problems)
    return bad


if __name__ == "__main__":
    sys.exit(main())
