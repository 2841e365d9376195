"""Every line of the package is shown, and its names stand in the book."""

import re
from functools import cache
from types import SimpleNamespace

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("sphinx", reason="needs the extra book")
import nbformat
from book import ROOT, notebooks
from web import source
from web.source_listing import first_line, listing, package_index
from web.source_marks import plain
from web.source_package import ROOMS, Package, Target
from web.source_uses import index

APART = {"explain", "world", "studies", "samples", "notebook", "weights", "service"}
READERS = {  # of people's files: plumbing, which no chapter derives
    f"mmbook.data.{name}"
    for name in "files tables rows captions questions recordings folders".split()
}
CHAPTER = re.compile(r"[Cc]hapters?\s+\d\.\d")


@cache
def real() -> Package:
    return Package.read(ROOT / "mmbook")


@cache
def standing() -> dict:
    """What stands in the chapters, exercises and solutions as they are."""
    return index(
        ((path.stem, nbformat.read(path, as_version=4)) for path in notebooks()), real()
    )


def href(target: Target) -> str:
    return f"{target.module}#{target.name or ''}"


@pytest.mark.parametrize("name", real().modules)
def test_every_line_of_every_module_is_shown_as_it_is(name):
    module = real().modules[name]
    shown = listing(module, real(), href, {}, lambda target: [])
    assert plain(shown).rstrip("\n") == module.text.rstrip("\n")
    lines = len(module.text.splitlines())
    assert shown.count('<span class="line"') == lines and f'id="L{lines}"' in shown
    for name in module.definitions:
        assert shown.count(f'id="{name}"') == 1


def test_every_import_within_the_package_is_followed():
    for module in real().modules.values():
        for name, target in module.imports.items():
            if target.module in real().modules:
                assert real().step(module.name, name), f"{name} in {module.name}"


def test_the_index_lists_all_rooms_in_order():
    headings = re.findall(r"^## (\w+)", package_index(real(), href), re.MULTILINE)
    assert headings == ["mmbook", *ROOMS]


def test_the_first_line_of_a_module_shows_names_and_roles_as_code():
    shown = "<code>fit</code> in <code>loop.py</code>."
    assert first_line(":func:`fit` in ``loop.py``.\n\nMore.") == shown


def test_pages_are_read_again_only_if_a_name_is_gone():
    chapter = "chapters/2-concepts/25_fusion"
    env = SimpleNamespace(found_docs={source.HOME, chapter, "chapters/index"})
    assert source.outdated(None, env, (), (), ()) == [source.HOME]
    assert source.outdated(None, env, (), (), ()) == [source.HOME]
    env.mmbook_names = {*env.mmbook_names, Target("mmbook.fusion", "gone")}
    assert source.outdated(None, env, (), (), ()) == [source.HOME, chapter]


def offered_by_the_spine() -> dict[str, Target]:
    """What a room offers at its door: its ``__init__.py``, or its only file."""
    return {
        name.removeprefix("mmbook."): target
        for target, name in real().offered().items()
        if real().modules[target.module].room not in APART
        and target.module not in READERS
    }


@pytest.mark.slow
def test_each_name_of_the_spine_stands_in_a_chapter_or_its_exercises():
    offered = offered_by_the_spine()
    assert len(offered) > 100
    assert [n for n, target in offered.items() if target not in standing()] == []


def test_each_docstring_of_the_spine_names_its_chapter():
    lacking = []
    for name, target in offered_by_the_spine().items():
        definition = real().modules[target.module].definitions[target.name]
        if not CHAPTER.search(definition.doc or ""):
            lacking.append(name)
    assert lacking == []
