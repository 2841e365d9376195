"""Run notebooks with each cell twice, as a reader does who changes a line and runs it again.

    python tools/twice.py [CHAPTER …]               (all chapters, if none is named)
    python tools/twice.py --read [CHAPTER …]        runs nothing, only reads

A cell that changes what it reads (``total += loss`` with a total of an earlier cell) ends in
an error or with another result the second time. Running finds it for sure: no cell may
fail, and one whose output is compared must print the same again. Reading finds most of
it at once: names that a cell changes in place although an earlier cell has made them.
"""

import argparse
import ast
import copy
import os
import sys

import nbformat
from book import chapters, chosen, spoken
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from setup_cell import code_cells, parsed

MODULES = {"F", "nn", "np", "plt", "torch"}  # nn.init.zeros_(x) is no method of nn
GROWING = {"append", "extend", "insert", "pop", "popitem", "remove", "reverse"}
AGAIN_THE_SAME = {"zero_", "fill_", "copy_", "requires_grad_", "clamp_"}


class Changes(ast.NodeVisitor):
    """Collects the statements of a cell that change what an earlier cell has made."""

    def __init__(self):
        self.made, self.found = set(), []

    def visit_FunctionDef(self, node):
        """A definition makes a name; what it does, it does when it is called."""
        self.made.add(node.name)

    visit_ClassDef = visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        """Does nothing yet."""

    def visit_Name(self, node):
        """A name that is stored is the cell's own from here on."""
        if isinstance(node.ctx, ast.Store):
            self.made.add(node.id)

    def visit_Delete(self, node):
        """``del x``: there is none the second time."""
        if not all(map(self._made, node.targets)):
            self.found.append(node)

    def visit_Assign(self, node):
        """``x = x + 1``, ``x = x[:-1]``, ``x = [*x, 1]``."""
        if any(self._replaces(target, node.value) for target in node.targets):
            self.found.append(node)
        self.visit(node.value)
        for target in node.targets:
            self.made.add(ast.unparse(target))
            self.visit(target)

    def visit_For(self, node):
        """The iterated comes before the target and the body."""
        for part in (node.iter, node.target, *node.body, *node.orelse):
            self.visit(part)

    def visit_AugAssign(self, node):
        """``x += 1``, ``x[key] += 1``."""
        if not self._made(node.target):
            self.found.append(node)
        self.generic_visit(node)

    def visit_Call(self, node):
        """``x.append(1)``, ``x.add_(1)``."""
        if isinstance(node.func, ast.Attribute):
            name, base = node.func.attr, _base(node.func.value)
            in_place = name.endswith("_") and not name.endswith("__")
            if name in GROWING or (in_place and name not in AGAIN_THE_SAME):
                new = self._made(node.func.value) or base in MODULES
                if base and not new:
                    self.found.append(node)
        self.generic_visit(node)

    def _made(self, node) -> bool:
        """Has this cell made it, or the whole that it is a part of?"""
        return _base(node) in self.made or ast.unparse(node) in self.made

    def _replaces(self, target, value) -> bool:
        """Is the value more, or less, of what it replaces?"""
        if _base(target) is None or self._made(target):
            return False
        return any(ast.unparse(p) == ast.unparse(target) for p in _changed(value))


def _changed(value) -> list:
    """The parts of a value that it makes larger, smaller or different."""
    match value:
        case ast.BinOp():
            return [value.left, value.right]
        case ast.Subscript(slice=ast.Slice()):
            return [value.value]
        case ast.List():
            return [part.value for part in value.elts if isinstance(part, ast.Starred)]
    return []


def _base(node) -> str | None:
    """The name at the root of ``name.part[key]``; None, if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def suspects(source: str) -> list[str]:
    """The statements of a cell that change what an earlier cell has made."""
    changes = Changes()
    changes.visit(parsed(source))
    return [ast.unparse(node) for node in changes.found]


def doubled(notebook):
    """The notebook with each code cell twice."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            again = copy.deepcopy(cell)
            again.id = f"{cell.get('id', 'cell')}-again"
            cells.append(again)
    notebook.cells = cells
    return notebook


def differences(notebook) -> list[str]:
    """The cells of a doubled, executed notebook that must print the same and do not."""
    found, code = [], code_cells(notebook)
    for first, again in zip(code[::2], code[1::2], strict=True):
        compared = "NBVAL_CHECK_OUTPUT" in first.source
        compared |= "nbval-check-output" in first.metadata.get("tags", [])
        if compared and _printed(first) != _printed(again):
            found.append(first.source)
    return found


def _printed(cell) -> list[str]:
    return [
        o.get("text", o.get("data", {}).get("text/plain", "")) for o in cell.outputs
    ]


def run_twice(path) -> list[str]:
    """What went wrong when each cell was run twice."""
    notebook = doubled(nbformat.read(path, as_version=4))
    try:
        NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
    except CellExecutionError as error:
        return [str(error)]
    return [f"prints something else:\n{cell}" for cell in differences(notebook)]


def read(path) -> list[str]:
    """What looks as if it went wrong."""
    cells = code_cells(nbformat.read(path, as_version=4))
    return [
        f"code cell {place} changes what it reads: {statement}"
        for place, cell in enumerate(cells, 1)
        for statement in suspects(cell.source)
    ]


def main() -> int:
    """Run or read what was asked for; the exit status counts the chapters that fail."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--read", action="store_true", help="run nothing, only read")
    parser.add_argument("chapters", nargs="*")
    given = parser.parse_args()
    os.environ["CI"] = "true"
    bad = 0
    for path in chosen(chapters(), given.chapters):
        problems = (read if given.read else run_twice)(path)
        print(spoken(path), *(problems or ["is the same the second time"]), sep="\n  ")
        bad += bool(problems)
    return bad


if __name__ == "__main__":
    sys.exit(main())
