"""A new chapter begins in the form that all have, and nothing that is there is lost."""

import re
import sys

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("nbclient", reason="needs the extra lab")
import book  # noqa: E402
import build_site  # noqa: E402
import exercises  # noqa: E402
import new  # noqa: E402
import normalise  # noqa: E402
import run  # noqa: E402

ORIGINAL = book.ROOT
GLOSSARY, FRONT = "chapters/appendix/glossary.md", "chapters/index.md"
PARTS = [
    path.relative_to(book.ROOT).as_posix()
    for path in (book.ROOT / "chapters").glob("[1-9]-*/index.md")
]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The table of contents and the glossary in a folder of their own."""
    for name in ("_toc.yml", "pyproject.toml", GLOSSARY, FRONT, *PARTS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((book.ROOT / name).read_bytes())
    for module in (new, build_site, book, exercises):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(exercises, "FOLDER", tmp_path / "chapters/exercises")
    return tmp_path


def begin(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["new", *arguments])
    new.main()


def test_a_chapter_brings_a_notebook_exercises_and_entries(copy, monkeypatch):
    before = build_site.pages()
    begin(monkeypatch, "9.1", "A question, asked", "--part", "Questions")
    name = "91_a_question_asked"
    page = copy / f"chapters/9-questions/{name}.ipynb"
    text = page.read_text(encoding="utf-8")
    assert normalise.normalised(text) == text
    cells = nbformat.reads(text, as_version=4).cells
    assert cells[0].source.startswith("# 9.1 A question, asked\n")
    assert cells[1].source == new.setup_cell()
    said = "\n".join(cell.source for cell in cells)
    for heading in ("How the field does it", "On your own data", "Summary"):
        assert f"\n## {heading}\n" in said
    assert "TODO" in said  # a test of the book fails until it is written
    code = [cell.source for cell in cells[2:] if cell.cell_type == "code"]
    assert max(len(line) for source in code for line in source.split("\n")) <= 76
    source = exercises.read(copy / f"chapters/exercises/sources/{name}.py")
    assert [exercise.number for exercise in source.exercises] == [
        "9.1.1",
        "9.1.2",
        "9.1.3",
    ]
    after = build_site.pages()
    assert [listed for listed in after if listed in before] == before
    assert set(after) - set(before) == {
        "chapters/9-questions/index",
        f"chapters/9-questions/{name}",
        f"chapters/exercises/{name}",
    }
    at = after.index(f"chapters/9-questions/{name}")
    assert after[at + 1] == f"chapters/exercises/{name}"


def test_entries_stand_in_the_order_of_the_numbers(copy, monkeypatch):
    begin(monkeypatch, "9.2", "B", "--part", "Questions")
    for chapter in ("9.10", "9.1", "9.11", "9.3"):
        begin(monkeypatch, chapter, "B")
    listed = [page for page in build_site.pages() if "/9-questions/" in page]
    assert [page.split("/")[-1] for page in listed] == [
        "index",
        "91_b",
        "92_b",
        "93_b",
        "910_b",
        "911_b",
    ]
    for page in ("chapters/9-questions/index.md", FRONT):
        numbers = re.findall(r"\[(9\.\d+) B\]", (copy / page).read_text("utf-8"))
        assert numbers == ["9.1", "9.2", "9.3", "9.10", "9.11"]
    toc = (copy / "_toc.yml").read_text(encoding="utf-8")
    captions = [line for line in toc.split("\n") if "caption: " in line]
    assert captions.index("  - caption: 9 Questions") + 1 == captions.index(
        "  - caption: Appendix"
    )


def test_a_chapter_comes_into_the_list_of_its_part(copy, monkeypatch):
    begin(monkeypatch, "5.7", "B")
    for page, folder in (("chapters/5-practice/index.md", ""), (FRONT, "5-practice/")):
        old = (ORIGINAL / page).read_text("utf-8").split("\n")
        new = (copy / page).read_text("utf-8").split("\n")
        (added,) = [line for line in new if line not in old]
        assert f"[5.7 B]({folder}57_b.ipynb)" in added
        last = max(re.findall(r"\[(5\.\d) ", "\n".join(old)))
        assert f"[{last} " in new[new.index(added) - 1]


def test_terms_come_into_the_glossary_in_order_and_once(copy, monkeypatch):
    rows = (copy / GLOSSARY).read_text(encoding="utf-8").split("\n")
    terms = "zygote=合子, attention=注意力, aardvark = 土豚"
    begin(monkeypatch, "9.1", "B", "--part", "Questions", "--terms", terms)
    after = (copy / GLOSSARY).read_text(encoding="utf-8").split("\n")
    added = [row for row in after if row not in rows]
    assert added == [
        "| aardvark | 土豚 | TODO | 9.1 |",
        "| zygote | 合子 | TODO | 9.1 |",
    ]
    body = [row.split(" | ")[0].lower() for row in after[4:-1]]
    assert body == sorted(body) and set(rows) <= set(after)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("9.1", "B"), "no part 9 yet"),
        (("9.0", "B", "--part", "X"), "usage"),
        (("91", "B", "--part", "X"), "usage"),
        (("9.1", "问题", "--part", "X"), "usage"),
        (("9.1", "B", "--part", "X", "--terms", "one"), "terms are given like"),
    ],
)
def test_what_is_not_clear_is_refused(copy, monkeypatch, arguments, message):
    before = sorted(copy.rglob("*"))
    with pytest.raises(SystemExit, match=message):
        begin(monkeypatch, *arguments)
    assert sorted(copy.rglob("*")) == before


def test_a_chapter_that_is_there_is_never_overwritten(copy, monkeypatch):
    begin(monkeypatch, "9.1", "First", "--part", "Questions")
    texts = {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()}
    with pytest.raises(SystemExit, match=r"9\.1 is there already: 91_first"):
        begin(monkeypatch, "9.1", "Second")
    assert {p: p.read_bytes() for p in copy.rglob("*.*") if p.is_file()} == texts


@pytest.mark.slow
def test_what_begins_runs(copy, monkeypatch):
    begin(monkeypatch, "9.1", "B", "--part", "Questions")
    notebook, seconds, _ = run.execute(copy / "chapters/9-questions/91_b.ipynb")
    run.state(notebook, seconds, 1.0)
    text = normalise.normalised(nbformat.writes(notebook))
    assert not normalise.complaints(text) and "not yet measured" not in text
    source = exercises.read(copy / "chapters/exercises/sources/91_b.py")
    for path, notebook in exercises.outputs(source).items():
        exercises.build(source, path, notebook)
        assert exercises.is_current(path, notebook)
