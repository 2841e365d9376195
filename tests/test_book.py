"""The book as a whole: what stands in two places agrees, and each notebook is in form."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("nbclient", reason="needs the extra lab")
import book  # noqa: E402
import normalise  # noqa: E402
import run  # noqa: E402
from build_site import pages  # noqa: E402
from setup_cell import code_cells, modules, named, needed, setup_cell  # noqa: E402
from twice import suspects  # noqa: E402

ROOT = book.ROOT
NOTEBOOKS = book.notebooks()
CHAPTERS = book.chapters()
EXERCISES = ROOT / "chapters/exercises"
PAGES = sorted(
    p for p in (ROOT / "chapters").rglob("*.md") if ".ipynb_checkpoints" not in p.parts
)
HAN = re.compile(r"[\u4e00-\u9fff]")


@cache
def read(path: Path):
    return nbformat.read(path, as_version=4)


def cells(path: Path, kind: str) -> list[str]:
    return [cell.source for cell in read(path).cells if cell.cell_type == kind]


def each(paths):
    chapters = ROOT / "chapters"
    return [pytest.param(p, id=p.relative_to(chapters).as_posix()) for p in paths]


@pytest.mark.parametrize("path", each(NOTEBOOKS))
def test_a_notebook_is_committed_executed_and_in_normal_form(path):
    text = path.read_text(encoding="utf-8")
    assert normalise.normalised(text) == text, "run tools/normalise.py"
    assert not normalise.complaints(text)


@pytest.mark.parametrize("path", each(NOTEBOOKS))
def test_the_set_up_cell_installs_the_extras_that_the_notebook_imports(path):
    first, *others = cells(path, "code")
    asked = named(first)
    assert first == setup_cell(asked), "run tools/setup_cell.py"
    assert needed(others) <= asked <= set(modules().values())


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_a_chapter_opens_and_closes_as_all_do(path):
    text = cells(path, "markdown")
    assert text[0].startswith(f"# {book.spoken(path)} ")
    assert "In the article: §" in text[0]
    took = re.search(r"\*Run time: (\d+) s · .*: ([\d.]+) GiB", text[0])
    assert 0 < int(took[1]) <= 120 and 0 < float(took[2]) <= 4
    headings = re.findall(r"^## (.*)$", "\n".join(text), re.MULTILINE)
    if "On your own data" in headings:
        assert headings[-3:-1] == ["How the field does it", "On your own data"]
    else:
        assert headings[-2].startswith("Scale up")
    assert headings[-1] == "Summary"
    assert "**Exercises:**" in text[-1] and "To read on" in text[-1]


@pytest.mark.parametrize("path", each(NOTEBOOKS))
def test_nothing_is_left_to_do(path):
    assert not [cell.source for cell in read(path).cells if "TODO" in cell.source]


@pytest.mark.parametrize("path", each(PAGES))
def test_a_page_leads_somewhere_and_is_complete(path):
    text = path.read_text(encoding="utf-8")
    assert "TODO" not in text
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (path.parent / target).exists(), target


def test_the_front_page_and_each_part_list_their_chapters_in_order():
    """Also in the table of contents: a chapter, then its exercises."""
    listed = pages()
    front = (ROOT / "chapters/index.md").read_text(encoding="utf-8")
    links = re.findall(r"^- \[[^\]]+\]\((\d-[^)]+)\.ipynb\)", front, re.MULTILINE)
    names = [p.relative_to(ROOT / "chapters").with_suffix("") for p in CHAPTERS]
    assert links == [name.as_posix() for name in names]
    for name in names:
        part = (ROOT / "chapters" / name.parent / "index.md").read_text("utf-8")
        assert re.search(
            rf"^\| \[[^\]]+\]\({name.name}\.ipynb\) \|", part, re.MULTILINE
        )
        at = listed.index(f"chapters/{name.as_posix()}")
        assert listed[at + 1] == f"chapters/exercises/{name.name}"


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_no_cell_changes_what_an_earlier_cell_has_made(path):
    code = code_cells(read(path))
    assert not [statement for cell in code for statement in suspects(cell.source)]


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_code_fits_the_page(path):
    lines = [x for code in cells(path, "code")[1:] for x in code.split("\n")]
    assert not [line for line in lines if len(line) > 76]


@pytest.mark.parametrize("path", each(NOTEBOOKS))
def test_a_numbered_equation_has_one_line(path):
    """The site puts lines broken by two backslashes where no number is allowed."""
    for text in cells(path, "markdown"):
        for formula in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL):
            assert not (r"\tag" in formula and r"\\" in formula), formula


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_a_chapter_has_exercises_and_solutions(path):
    assert (EXERCISES / path.name).is_file()
    assert (EXERCISES / "solutions" / path.name).is_file()
    assert (EXERCISES / "sources" / f"{path.stem}.py").is_file()


@pytest.mark.parametrize("path", each(NOTEBOOKS))
def test_links_inside_the_book_lead_somewhere(path):
    for text in cells(path, "markdown"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", each(CHAPTERS))
def test_terms_of_a_chapter_stand_in_the_glossary(path):
    glossary = (ROOT / "chapters/appendix/glossary.md").read_text(encoding="utf-8")
    for text in cells(path, "markdown"):
        for term in re.findall(r"\*\s*\(([^()]+)\)", text):
            if HAN.search(term):
                assert f"| {term} |" in glossary, term


def test_the_glossary_is_in_order_and_names_chapters_that_use_the_term():
    lines = (ROOT / "chapters/appendix/glossary.md").read_text(encoding="utf-8")
    rows = [re.split(r"\s*\|\s*", x)[1:-1] for x in lines.split("\n") if HAN.search(x)]
    rows = [row for row in rows if row[0] != "English"]
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=str.lower)
    for english, chinese, meaning, where in rows:
        assert "TODO" not in meaning, english
        stem = where.split()[-1].replace(".", "")
        inside = "exercises/**" if where.startswith("exercises") else "[0-9]-*"
        pages = sorted((ROOT / "chapters").glob(f"{inside}/{stem}_*.ipynb"))
        said = "\n".join(x for page in pages for x in cells(page, "markdown"))
        assert chinese in said, f"{english} ({chinese}) is not in {where}"


def test_every_page_is_in_the_table_of_contents_and_the_other_way_round():
    listed = pages()
    assert len(listed) == len(set(listed))
    shown = (p for p in NOTEBOOKS if p.parent.name != "solutions")  # inside exercises
    there = {p.with_suffix("") for p in shown}
    there |= {p.with_suffix("") for p in PAGES}
    assert {ROOT / page for page in listed} == there


def test_the_page_of_run_times_says_what_the_chapters_say():
    known = json.loads(run.MEASURED.read_text(encoding="utf-8"))
    assert run.PAGE.read_text(encoding="utf-8") == run.page(known)
    names = {path.relative_to(ROOT / "chapters").as_posix() for path in CHAPTERS}
    assert set(known) == names
    for name, measured in known.items():
        first = cells(ROOT / "chapters" / name, "markdown")[0]
        assert f"*Run time: {measured['seconds']} s · " in first
