"""The structure of the package: rooms in order, no circle, files that one can own."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mmbook"
ROOMS = (  # a room imports only from those before it, and from itself
    "tokens layers saving losses models data encoders pretrained fusion heads twins "
    "training finetuning generation metrics explain world studies samples notebook "
    "weights service"
).split()
APART = {"explain", "world", "studies", "samples", "notebook", "weights", "service"}
READERS = {  # of the files that people have: plumbing, which no chapter derives
    f"mmbook.data.{name}"
    for name in "files tables rows captions questions recordings folders".split()
}
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    """The dotted name of a module: ``mmbook.heads.ctc``."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def room_of(module: str) -> str | None:
    """The room of a module; None for the package itself."""
    return module.split(".")[1] if "." in module else None


@cache
def imports(module: str, top_level: bool = False) -> frozenset[str]:
    """The modules of the package that one imports, also inside of functions."""
    file = MODULES[module]
    package = module if file.stem == "__init__" else module.rpartition(".")[0]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join([*parents, *filter(None, [node.module])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {base}
    return frozenset(found & MODULES.keys())


def test_every_module_stands_in_a_room_of_the_list():
    assert {room_of(module) for module in MODULES} - {None} == set(ROOMS)


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m)])
def test_a_room_imports_only_from_rooms_before_it(module):
    own = ROOMS.index(room_of(module))
    for target in imports(module):
        assert room_of(target), f"{module} imports the package itself"
        assert ROOMS.index(room_of(target)) <= own, f"{module} imports {target}"


def test_no_module_imports_itself_in_a_circle():
    inside = {
        module: {t for t in imports(module) if t != room_of_package(module)}
        for module in MODULES
    }
    assert len(list(TopologicalSorter(inside).static_order())) == len(MODULES)


def room_of_package(module: str) -> str:
    """The package that a module stands in: its own ``__init__`` does not count."""
    return module.rpartition(".")[0]


def test_an_indented_import_upwards_is_seen(tmp_path, monkeypatch):
    draft = tmp_path / "draft.py"
    draft.write_text("def f():\n    from ..notebook import plots\n")
    monkeypatch.setitem(MODULES, "mmbook.data.draft", draft)
    assert imports("mmbook.data.draft") == {"mmbook.notebook.plots"}


def lines_of(modules) -> int:
    """All lines of these modules together, blank ones and docstrings included."""
    texts = [MODULES[module].read_text(encoding="utf-8") for module in modules]
    return sum(len(text.splitlines()) for text in texts)


def test_the_spine_is_small_enough_to_own():
    spine = [m for m in MODULES if room_of(m) not in APART and m not in READERS]
    assert lines_of(spine) <= 7_120


def test_the_service_stays_small():
    assert lines_of(m for m in MODULES if room_of(m) == "service") <= 1_430


def test_the_readers_of_peoples_files_stay_small():
    assert MODULES.keys() >= READERS and lines_of(READERS) <= 1_450


@pytest.mark.parametrize("module", MODULES)
def test_a_file_has_at_most_300_lines(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("module", MODULES)
def test_the_body_of_a_function_has_at_most_25_lines(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 25, f"{node.name} has {lines} lines"


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, heavy",
    [
        ("mmbook", "torch"),
        ("mmbook.models", "transformers.modeling_utils"),
        ("mmbook.training", "matplotlib"),
        ("mmbook.world", "transformers"),
    ],
)
def test_an_import_does_not_load_what_it_does_not_need(module, heavy):
    code = f"import sys, {module}; print({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
