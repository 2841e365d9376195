"""The package as its files say it, by ast alone: nothing is imported.

A *target* is what a link leads to: a module, or a name at its top level.
"""

import ast
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOMS = (  # in the order in which data flows through them
    "tokens layers saving losses models data encoders pretrained fusion heads twins "
    "training finetuning generation metrics explain world studies samples notebook "
    "weights service"
).split()


class Target(NamedTuple):
    """A module, or a name at its top level."""

    module: str
    name: str | None = None


@dataclass(frozen=True)
class Definition:
    """A class, function or constant at the top level of a module."""

    line: int  # where its decorators begin
    kind: str
    doc: str | None = None


@dataclass
class Module:
    """One file: its text, what it defines, and what it takes from elsewhere."""

    name: str
    text: str
    doc: str = ""
    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, Target] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)  # "film" -> FiLM
    is_package: bool = False
    offers: list[str] | None = None  # its __all__, if it has one

    @property
    def room(self) -> str | None:
        """The room it stands in; None for the package itself."""
        return self.name.split(".")[1] if "." in self.name else None

    @property
    def public(self) -> dict[str, Definition]:
        """Its classes and functions without an underscore, as they stand there."""
        return {
            name: found
            for name, found in self.definitions.items()
            if found.kind != "constant" and not name.startswith("_")
        }

    def absolute(self, node: ast.ImportFrom) -> str:
        """The full name of the module that an import takes names from."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) + (1 if self.is_package else 0) - node.level]
        return ".".join([*parts, *filter(None, [node.module])])


def read_module(name: str, text: str, is_package: bool = False) -> Module:
    """A module from its text."""
    tree = ast.parse(text)
    module = Module(name, text, ast.get_docstring(tree) or "", is_package=is_package)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            doc = ast.get_docstring(node)
            module.definitions[node.name] = Definition(line, kind, doc)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            _assigned(module, node)
        elif isinstance(node, ast.ImportFrom):
            base = module.absolute(node)
            for alias in node.names:
                module.imports[alias.asname or alias.name] = Target(base, alias.name)
    return module


def _assigned(module: Module, node: ast.Assign | ast.AnnAssign) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    for name in names:
        module.definitions[name] = Definition(node.lineno, "constant")
    if names == ["__all__"]:
        module.offers = ast.literal_eval(node.value)
    elif names == ["_FACE"]:  # offered lazily
        for name, inner in ast.literal_eval(node.value).items():
            module.imports[name] = Target(f"{module.name}.{inner}", name)
    elif isinstance(node.value, ast.Dict):
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                module.tables[key.value] = value.id


class Package:
    """All modules by name, in the order of the rooms."""

    def __init__(self, modules: list[Module]):
        self.modules = {m.name: m for m in sorted(modules, key=_order)}
        counts = Counter(n for m in self.modules.values() for n in m.public)
        self.unique = {
            name: Target(module.name, name)
            for module in self.modules.values()
            for name in module.public
            if counts[name] == 1
        }

    @classmethod
    def read(cls, folder: Path) -> "Package":
        """From the folder that holds its files."""
        modules = []
        for path in sorted(folder.rglob("*.py")):
            parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
            inner = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if inner else parts)
            modules.append(read_module(name, path.read_text(encoding="utf-8"), inner))
        return cls(modules)

    def step(self, module: str, name: str, depth: int = 0) -> Target | None:
        """What ``module.name`` is, where it is defined; None if it is not known."""
        found = self.modules.get(module)
        if found is None or depth > 9:
            return None
        if name in found.definitions:
            return Target(module, name)
        if f"{module}.{name}" in self.modules and name not in found.imports:
            return Target(f"{module}.{name}")
        if name in found.imports:
            return self.step(*found.imports[name], depth + 1)
        return None

    def resolve(self, dotted: str) -> Target | None:
        """What a dotted name is: ``mmbook.fusion.Sum`` stands in ``mmbook.fusion.sum``."""
        first, *rest = dotted.split(".")
        found = Target(first) if first in self.modules else None
        for name in rest:
            if found is None or found.name:
                return None
            found = self.step(found.module, name)
        return found

    def keyed(self, key, modules: set[str]) -> list[Target]:
        """The classes and functions that a table in one of these modules keys so."""
        found = []
        for module in modules & self.modules.keys():
            if isinstance(key, str) and key in self.modules[module].tables:
                target = self.step(module, self.modules[module].tables[key])
                if target and target.name in self.modules[target.module].public:
                    found.append(target)
        return found

    def offered(self) -> dict[Target, str]:
        """What the rooms offer at their doors, by the name that it has there.

        The door of a room is its ``__init__.py``, or its only file, which may say in
        ``__all__`` what of it is offered. What is defined beside that is the room's own:
        one can import it, but need not know it.
        """
        found = {}
        for room in ROOMS:
            door = self.modules.get(f"mmbook.{room}")
            if door is None:
                continue
            for name in door.offers or [*door.imports, *door.public]:
                target = self.step(door.name, name)
                if target and target.name in self.modules[target.module].public:
                    if target.module.startswith(door.name):
                        found.setdefault(target, f"{door.name}.{name}")
        return found

    def line(self, target: Target) -> int:
        """The line that a target begins at."""
        if not target.name:
            return 1
        return self.modules[target.module].definitions[target.name].line


def _order(module: Module) -> tuple:
    place = ROOMS.index(module.room) if module.room in ROOMS else -1
    return place, module.name
