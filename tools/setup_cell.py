"""The set-up cell: the first code of every chapter and exercise.

    python tools/setup_cell.py           sets it in every notebook

On Colab it installs the package with the extras that the notebook needs, elsewhere it
does nothing. A notebook needs the extras whose modules it imports; a chapter that needs
one through the package names it in its cell by hand, and there it stays.
"""

import ast
import re

import nbformat
from book import ROOT, notebooks, project
from IPython.core.inputtransformer2 import TransformerManager
from normalise import normalised

OF_THE_WORKSHOP = ("book", "lab", "test", "dev")  # no extras that a chapter may need
NAMED = re.compile(r'"mmbook(?:\[([\w,]+)\])? @ git\+')


def address() -> str:
    """The address of the repository, from the one place where it stands."""
    return project()["project"]["urls"]["Repository"]


def modules() -> dict[str, str]:
    """Which extra brings which module: {"optuna": "search", …}."""
    extras = project()["project"]["optional-dependencies"]
    return {
        re.match(r"[\w-]+", requirement).group().replace("-", "_"): extra
        for extra, requirements in extras.items()
        if extra not in OF_THE_WORKSHOP
        for requirement in requirements
    }


def parsed(code: str) -> ast.Module:
    """The syntax of a cell, magics included."""
    return ast.parse(TransformerManager().transform_cell(code))


def needed(codes: list[str]) -> set[str]:
    """The extras whose modules these cells import."""
    imported = set()
    for node in (node for code in codes for node in ast.walk(parsed(code))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.partition(".")[0])
    brought = modules()
    return {brought[module] for module in imported & set(brought)}


def named(cell: str) -> set[str]:
    """The extras that a set-up cell installs."""
    found = NAMED.search(cell)
    return set(found[1].split(",")) if found and found[1] else set()


def setup_cell(extras=()) -> str:
    """Source of the cell that installs the package with these extras."""
    inside = f"[{','.join(sorted(extras))}]" if extras else ""
    return (
        "# On Colab: install the package of the book. Elsewhere: nothing to do.\n"
        "import sys\n"
        "\n"
        'if "google.colab" in sys.modules:\n'
        f'    %pip install --quiet "mmbook{inside} @ git+{address()}"'
    )


def code_cells(notebook) -> list:
    """The cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def main() -> None:
    """Set the cell of each notebook; write those that change."""
    for path in notebooks():
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        first, *others = code_cells(notebook)
        extras = named(first.source) | needed([cell.source for cell in others])
        if first.source != setup_cell(extras):
            first.source = setup_cell(extras)
            text = normalised(nbformat.writes(notebook))
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"set in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
