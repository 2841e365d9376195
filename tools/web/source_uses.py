"""Which names of the package a page uses: in its code by ast, in its prose by name.

All functions here are pure: text and a :class:`Package` in, targets out.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from .source_package import Package, Target

MAGIC = re.compile(r"^([ ]*)[%!].*$", re.MULTILINE)
FENCED = re.compile(r"^[ ]*```.*?^[ ]*```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SPOKEN = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?")
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
INNER = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Reference(NamedTuple):
    """Where a name of the package stands in a code, and what it is."""

    start: int
    end: int
    target: Target


@lru_cache(maxsize=256)
def parsed(code: str) -> ast.Module | None:
    """The code of a cell; its magics are left out. None if it is not Python."""
    for text in (code, MAGIC.sub(r"\1pass", code)):
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            continue
    return None


def references(code: str, scope: dict[str, Target], package: Package, module=None):
    """The names of the package in a code, in order; ``scope`` learns its imports.

    ``scope`` says what names mean that earlier cells have imported. ``module`` is the
    module that the code is, which relative imports need.
    """
    tree = parsed(code)
    if tree is None:
        return []
    reader = _Reader(code, scope, package, module)
    for statement in tree.body:
        reader.visit(statement)
        reader.forget()
    reader.look_up(tree)
    return sorted(reader.found)


class _Reader(ast.NodeVisitor):
    """Walks through a code; names that it binds itself are no longer the package's."""

    def __init__(self, code: str, scope: dict, package: Package, module):
        self.lines = code.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.code, self.scope, self.package, self.module = code, scope, package, module
        self.found: list[Reference] = []
        self.bound: set[str] = set()

    def forget(self) -> None:
        for name in self.bound:
            self.scope.pop(name, None)
        self.bound = set()

    def place(self, line: int, column: int) -> int:
        """Of characters; ast counts bytes of a line."""
        before = self.lines[line - 1].encode()[:column].decode(errors="ignore")
        return self.starts[line - 1] + len(before)

    def add(self, start: int, text: str, target: Target) -> None:
        if self.code[start : start + len(text)] == text:
            self.found.append(Reference(start, start + len(text), target))

    def look_up(self, tree: ast.Module) -> None:
        """Keys of a table, as in ``fusion("film")``, where its module is known."""
        known = {target.module for target in self.scope.values()}
        known |= {reference.target.module for reference in self.found}
        if not any(self.package.modules[name].tables for name in known):
            return
        keywords = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.keyword)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in keywords:
                continue  # reduction="sum" is no fusion
            for target in self.package.keyed(node.value, known):
                place = self.place(node.lineno, node.col_offset) + 1
                self.add(place, node.value, target)

    def visit_Import(self, node):
        for alias in node.names:
            target = self.package.resolve(alias.name)
            if target is None:
                continue
            start = self.place(alias.lineno, alias.col_offset)
            self.add(start, alias.name, target)
            whole = Target(alias.name.split(".")[0])
            self._bind(alias.asname or whole.module, target if alias.asname else whole)

    def visit_ImportFrom(self, node):
        base = self.module.absolute(node) if self.module else node.module or ""
        if base not in self.package.modules:
            return
        written = "." * node.level + (node.module or "")
        start = self.place(node.lineno, node.col_offset)
        if node.module:
            self.add(self.code.index(written, start), written, Target(base))
        for alias in node.names:
            if target := self.package.step(base, alias.name):
                place = self.place(alias.lineno, alias.col_offset)
                self.add(place, alias.name, target)
                self._bind(alias.asname or alias.name, target)

    def _bind(self, name: str, target: Target) -> None:
        self.scope[name] = target
        self.bound.discard(name)

    def visit_Name(self, node):
        if not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)
        elif node.id in self.scope:
            place = self.place(node.lineno, node.col_offset)
            self.add(place, node.id, self.scope[node.id])

    def visit_Attribute(self, node):
        chain = [node]
        while isinstance(chain[-1].value, ast.Attribute):
            chain.append(chain[-1].value)
        base = chain[-1].value
        target = self.scope.get(base.id) if isinstance(base, ast.Name) else None
        last = None
        for part in reversed(chain):
            following = None
            if target and not target.name:
                following = self.package.step(target.module, part.attr)
            if following is None:
                break
            target, last = following, part
        if last is None:
            self.visit(base)
        else:
            end = self.place(last.end_lineno, last.end_col_offset)
            self.add(end - len(last.attr), last.attr, target)

    def generic_visit(self, node):
        if isinstance(node, FUNCTIONS | INNER):
            self._inside(node)
        else:
            super().generic_visit(node)

    def _inside(self, node) -> None:
        """A function, class or comprehension: what it binds hides names only there."""
        outer, own = self.bound, _bound_in(node)
        hidden = {name: self.scope.pop(name) for name in own & self.scope.keys()}
        super().generic_visit(node)
        self.scope.update(hidden)
        self.bound = outer
        if name := getattr(node, "name", None):
            self.bound.add(name)


def _bound_in(node: ast.AST) -> set[str]:
    """The names that a node binds: arguments, and what it assigns."""
    found = {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            found.add(inner.id)
    return found


def own_names(codes: Iterable[str]) -> set[str]:
    """All names that codes define or assign themselves."""
    found: set[str] = set()
    for tree in filter(None, map(parsed, codes)):
        found |= _bound_in(tree)
        defined = (n for n in ast.walk(tree) if isinstance(n, FUNCTIONS))
        found |= {node.name for node in defined if hasattr(node, "name")}
    return found


def spoken(
    text: str,
    package: Package,
    own: Iterable[str] = (),
    scope: Mapping[str, Target] = MappingProxyType({}),
) -> Target | None:
    """What a piece of inline code names: ``fit``, ``training.fit()``, ``Fusion.forward``.

    ``scope`` says what the page has imported, ``own`` which names are its own.
    """
    match = SPOKEN.fullmatch(text.strip())
    if not match:
        return None
    first, *rest = match[1].split(".")
    if first in scope:
        return _inside(scope[first], rest, package)
    if first in own:
        return None
    dotted = ".".join([first, *rest])
    if rest and (
        found := package.resolve(dotted) or package.resolve(f"mmbook.{dotted}")
    ):
        return found
    # of a variable with an attribute nothing is known; of a class it is the class
    found = None if rest and not first[0].isupper() else package.unique.get(first)
    # a plain word, as `value`, may mean anything, unless a room offers it at its door
    plain = first.islower() and "_" not in first
    return None if plain and found not in package.offered() else found


def _inside(target: Target, names: list[str], package: Package) -> Target | None:
    """The definition that attributes of a target lead to."""
    for name in names:
        if target.name:
            break
        target = package.step(target.module, name)
        if target is None:
            return None
    return target


def uses(notebook, package: Package) -> dict[Target, str]:
    """Each target that a notebook names, with where it does first: "code" or "prose"."""
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found: dict[Target, str] = {}
    scope: dict[str, Target] = {}
    for code in codes:
        for reference in references(code, scope, package):
            found.setdefault(reference.target, "code")
    own = own_names(codes)
    for text in texts:
        for inline in INLINE.findall(FENCED.sub("", text)):
            if target := spoken(inline, package, own, scope):
                found.setdefault(target, "prose")
    return found


def index(pages: Iterable[tuple], package: Package) -> dict[Target, list]:
    """For each target the pages that name it; ``pages`` are (label, notebook) in order."""
    found: dict[Target, list] = {}
    for label, notebook in pages:
        for target in uses(notebook, package):
            labels = found.setdefault(target, [])
            if label not in labels:
                labels.append(label)
    return found
