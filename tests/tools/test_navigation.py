"""The front page, the solutions below their tasks, and names for all that can be pressed."""

import re
from types import SimpleNamespace

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("sphinx", reason="needs the extra book")
import book
import nbformat
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)
from web import exercises, moved, navigation

SAID = new_output("stream", text="✓ right\n")
CHECK = 'with check("1.1.1", "T") as it:\n    it.equal("a", x, 1)'
FOLDER = book.ROOT / "chapters/exercises"
FRONT = (book.ROOT / "chapters/index.md").read_text(encoding="utf-8")


def pair():
    """A student's notebook of two tasks, and the one with their solutions."""
    hint = new_markdown_cell("<details><summary>Hint (提示)</summary>h</details>")
    first, second = (new_markdown_cell(f"## 1.1.{k} Task\n\nDo it.") for k in (1, 2))
    opening = [new_markdown_cell("# Exercises"), new_code_cell("import a")]
    stub = [new_code_cell("x = ..."), new_code_cell(CHECK, outputs=[SAID])]
    student = new_notebook(cells=[*opening, first, *stub, hint, second])
    solved = new_code_cell("x = 1  # noqa: F841", metadata={"tags": ["hide-input"]})
    answers = [solved, new_code_cell(CHECK, outputs=[SAID]), new_markdown_cell("So.")]
    solutions = new_notebook(cells=[*opening, first.copy(), *answers])
    return nbformat.from_dict(student), nbformat.from_dict(solutions)


def test_a_solution_is_folded_below_its_task_and_before_the_next():
    student, solved = pair()
    exercises.merge(student, solved)
    sources = [cell.source for cell in student.cells]
    at = sources.index(exercises.OPEN)
    assert sources[at - 1].startswith("<details><summary>Hint")
    assert sources[at + 1 :] == [
        "x = 1",
        CHECK,
        "So.",
        exercises.CLOSE,
        "(exercise-1-1-2)=\n## 1.1.2 Task\n\nDo it.",
    ]
    tags = [cell.metadata.get("tags") for cell in student.cells[at + 1 : at + 3]]
    assert tags == [["show"], ["remove-input", "show"]]
    assert student.cells[at + 2].outputs == [SAID]
    assert len({cell.id for cell in student.cells}) == len(student.cells)


def test_the_check_of_a_task_is_folded_and_its_stub_is_not():
    student, solved = pair()
    exercises.merge(student, solved)
    stub, check = (c for c in student.cells[3:5])
    assert "tags" not in stub.metadata and "hide-cell" in check.metadata.tags


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)
def test_each_task_of_the_book_has_a_solution(path):
    student, solved = (
        nbformat.read(p, as_version=4) for p in (path, FOLDER / "solutions" / path.name)
    )
    count = len(exercises.tasks(student)) - 1
    exercises.merge(student, solved)
    sources = [cell.source for cell in student.cells]
    assert count > 2 and sources.count(exercises.OPEN) == count
    assert sources.count(exercises.CLOSE) == count


@pytest.mark.parametrize(
    "link, wanted",
    [
        ("[s](../exercises/solutions/27_x.ipynb)", "[s](../exercises/27_x.ipynb)"),
        ("[s](solutions/27_x.ipynb#a)", "[s](27_x.ipynb)"),
        (
            "[exercise 2.7.3](../exercises/27_x.ipynb)",
            "[exercise 2.7.3](#exercise-2-7-3)",
        ),
        ("[2.7](../exercises/27_x.ipynb)", "[2.7](../exercises/27_x.ipynb)"),
        ("[2.7](../2-concepts/27_x.ipynb)", "[2.7](../2-concepts/27_x.ipynb)"),
        ("[2.7.3](27_x.ipynb)", "[2.7.3](27_x.ipynb)"),
    ],
)
def test_links_to_solutions_lead_to_the_page_of_the_exercises(link, wanted):
    assert exercises.lead_to_tasks(f"See {link}.", "p", None) == f"See {wanted}."


def test_the_notebook_of_solutions_can_be_had():
    assert "`download <solutions/11_x.ipynb>`" in exercises.more("11_x", None)
    assert "colab" not in exercises.more("11_x", None)
    assert (
        "https://colab.research.google.com/github/a/b/blob/main/chapters/exercises/"
        "solutions/11_x.ipynb"
    ) in exercises.more("11_x", "https://github.com/a/b")


@pytest.mark.parametrize(
    "old, target",
    [
        ("exercises/solutions/11_x", "../11_x.html"),
        ("exercises/42_captioning_loss", "43_captioning_loss.html"),
        ("4-mathematics/42_captioning_loss", "43_captioning_loss.html"),
    ],
)
def test_where_a_page_was_a_line_leads_on(tmp_path, old, target):
    app = SimpleNamespace(
        outdir=tmp_path,
        builder=SimpleNamespace(format="html"),
        env=SimpleNamespace(found_docs={"chapters/exercises/11_x", "chapters/index"}),
    )
    moved.redirect(app, None)
    text = (tmp_path / "chapters" / f"{old}.html").read_text("utf-8")
    assert text.count(f'"{target}"') == 2 and f"url={target}" in text
    assert '<html lang="en"' in text


def test_pages_numbered_anew_are_there_and_their_old_addresses_are_free():
    pages = {f"{path.parent.name}/{path.stem}" for path in book.notebooks()}
    for old, name in moved.NUMBERED_ANEW.items():
        assert f"{old.split('/')[0]}/{name}" in pages
        assert old not in pages


PAGE = """<div class="header-article-items__start"> <div><button>b</button></div>
</div>
<div class="header-article-items__end"></div>
<div class="bd-sidebar-primary bd-sidebar">
<a class="navbar-brand logo" href="../index.html">x</a>
<button class="btn search-button-field search-button__button" title="Search" aria-label="Search" data-x="">
<li class="toctree-l1 current active has-children"><a class="reference internal" href="a.html">2.5
<em>Fusion</em></a><details open="open"><summary><span class="toctree-toggle"></span></summary>
<summary aria-label="Toggle hidden content">\n<p>Set-up</p></summary>
<th class="head"><p></p></th><th scope="col">a</th><th></th>
"""


def test_all_that_can_be_pressed_has_a_name():
    text = navigation.named(PAGE)
    assert '<summary aria-label="Pages below 2.5 Fusion">' in text
    assert "Toggle hidden" not in text and 'aria-label="Search"' not in text
    assert 'role="region" aria-label="Book"' in text
    assert '<td class="head"><p></p></td><th scope="col">a</th><td></td>' in text
    link = '<a class="book-name" href="../index.html">Multimodal large models</a></div>'
    assert link in text
    assert navigation.named(text) == text


def test_a_chapter_leads_to_the_page_of_the_article():
    text = "# 2.5 Fusion\n\nIn the article: §2.1."
    linked = navigation.link_article(text, "chapters/2-concepts/25_fusion", None)
    assert "[In the article](../appendix/article.md): §2.1." in linked
    assert navigation.link_article(text, "chapters/exercises/25_fusion", None) == text


def app(address):
    options = {"repository_url": address}
    env = SimpleNamespace(note_dependency=lambda path: None)
    return SimpleNamespace(config=SimpleNamespace(html_theme_options=options), env=env)


def test_the_front_page_has_its_picture_inside_in_two_forms():
    text = navigation.front(FRONT, "chapters/index", app("https://github.com/OWNER/x"))
    assert "](../_static/front.svg)" not in text and text.count("<svg ") == 2
    for kind in ("wide", "narrow"):
        assert re.search(rf'<svg class="front-{kind}" aria-label="Five steps', text)
    assert "<style>" not in text
    for step in ("any modality", "tokens", "fusion", "head", "loss"):
        assert text.count(f">{step}</text>") == 2


@pytest.mark.parametrize("owner, shown", [("OWNER", False), ("someone", True)])
def test_an_address_is_shown_only_if_it_is_one(owner, shown):
    text = FRONT.replace("/OWNER/", f"/{owner}/")
    made = navigation.front(
        text, "chapters/index", app(f"https://github.com/{owner}/mmbook")
    )
    assert ("git clone" in made) == ("url     =" in made) == shown
    assert "make lab" in made and "@software{mmbook" in made


def test_the_front_page_cites_the_book_as_its_citation_file_does():
    cited = (book.ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for name, value in re.findall(r'^(title|version): "?([^"\n]+)"?$', cited, re.M):
        assert re.search(rf"{name} += \{{{re.escape(value)}\}}", FRONT)
    (author,) = re.findall(r"- name: (.+)", cited)
    assert f"{{{{{author}}}}}" in FRONT


def test_the_front_page_says_of_scene_and_photograph_what_the_package_says():
    front_media = pytest.importorskip("front_media")
    from mmbook.samples import alt_text, credit, photographs

    for said in front_media.sentences().values():
        assert said in FRONT
    number = front_media.PHOTOGRAPH
    for caption in photographs().references[number]:
        assert f"<li>{' '.join(caption.split())}</li>" in FRONT
    assert alt_text(number) in FRONT
    assert credit(number).rpartition("; ")[2] in FRONT
    shown = (front_media.TARGET / "photograph.jpg").read_bytes()
    assert shown == photographs().files[number].read_bytes()
    assert (front_media.TARGET / "speech.wav").stat().st_size <= 60_000


def test_the_pictures_of_the_front_page_are_what_the_tool_draws():
    front_picture = pytest.importorskip("front_picture")
    for name, drawn in (
        ("front.svg", front_picture.wide()),
        ("front/narrow.svg", front_picture.narrow()),
    ):
        there = (front_picture.STATIC / name).read_text(encoding="utf-8")
        assert numbers(there) == pytest.approx(numbers(drawn), abs=0.2)
        assert re.sub(r"[\d.]+|#\w+", "", there) == re.sub(r"[\d.]+|#\w+", "", drawn)


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r'(?<=[ ="])-?\d+\.?\d*', text)]


@pytest.mark.slow
def test_the_classifier_answers_what_the_front_page_says():
    front_media = pytest.importorskip("front_media")
    pytest.importorskip("transformers", reason="needs transformers")
    for name, probability in front_media.seen():
        assert f"<td>{name}</td><td>{100 * probability:.0f} %</td>" in FRONT
