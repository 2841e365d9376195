"""The book as a whole: what stands in two places agrees, and each notebook is in form."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
nbformat = pytest.importorskip("nbformat", reason="needs the extras lab")
pytest.importorskip("nbclient", reason="needs the extras lab")
import normalise  # noqa: E402
import publish  # noqa: E402
import run  # noqa: E402
import yaml  # noqa: E402
from setup_cell import address, setup_cell  # noqa: E402

NOTEBOOKS = normalise.notebooks()
CHAPTERS = run.chapters([])
EXERCISES = ROOT / "chapters/exercises"
HAN = re.compile(r"[\u4e00-\u9fff]")


def cells(path: Path, kind: str) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    found, waiting = [toc["root"]], [c for p in toc["parts"] for c in p["chapters"]]
    while waiting:
        page = waiting.pop()
        found.append(page["file"])
        waiting += page.get("sections", [])
    return found


def named(paths):
    return [pytest.param(p, id=str(p.relative_to(ROOT / "chapters"))) for p in paths]


@pytest.mark.parametrize("path", named(NOTEBOOKS))
def test_a_notebook_is_committed_executed_and_in_normal_form(path):
    text = path.read_text(encoding="utf-8")
    assert normalise.normalised(text) == text, "run tools/normalise.py"
    assert not normalise.complaints(text)


@pytest.mark.parametrize("path", named(NOTEBOOKS))
def test_the_first_code_is_the_set_up_cell(path):
    assert cells(path, "code")[0] == setup_cell()


@pytest.mark.parametrize("path", named(CHAPTERS))
def test_a_chapter_opens_and_closes_as_all_do(path):
    text = cells(path, "markdown")
    assert re.match(r"# \d\.\d \S", text[0]) and "In the article: §" in text[0]
    seconds, gib = re.search(
        r"\*Run time: (\d+) s · .*: ([\d.]+) GiB", text[0]
    ).groups()
    assert 0 < int(seconds) <= 120 and 0 < float(gib) <= 4
    headings = re.findall(r"^## (.*)$", "\n".join(text), re.MULTILINE)
    assert headings[-2:] == ["Scale up", "Summary"] or headings[-1] == "Summary"
    assert any(heading.startswith("Scale up") for heading in headings)
    assert "**Exercises:**" in text[-1] and "To read on" in text[-1]


@pytest.mark.parametrize("path", named(CHAPTERS))
def test_code_fits_the_page(path):
    long = [x for code in cells(path, "code") for x in code.split("\n") if len(x) > 76]
    assert not long


@pytest.mark.parametrize("path", named(NOTEBOOKS))
def test_a_numbered_equation_has_one_line(path):
    """The site puts lines broken by two backslashes where no number is allowed."""
    for text in cells(path, "markdown"):
        for formula in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL):
            assert not (r"\tag" in formula and r"\\" in formula), formula


@pytest.mark.parametrize("path", named(CHAPTERS))
def test_a_chapter_has_exercises_and_solutions(path):
    assert (EXERCISES / path.name).is_file()
    assert (EXERCISES / "solutions" / path.name).is_file()
    assert (EXERCISES / "sources" / f"{path.stem}.py").is_file()


@pytest.mark.parametrize("path", named(NOTEBOOKS))
def test_links_inside_the_book_lead_somewhere(path):
    for text in cells(path, "markdown"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", named(CHAPTERS))
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
    for english, chinese, _, where in rows:
        stem = where.split()[-1].replace(".", "")
        inside = "exercises/**" if where.startswith("exercises") else "[0-9]-*"
        pages = sorted((ROOT / "chapters").glob(f"{inside}/{stem}_*.ipynb"))
        said = "\n".join(x for page in pages for x in cells(page, "markdown"))
        assert chinese in said, f"{english} ({chinese}) is not in {where}"


def test_every_page_is_in_the_table_of_contents_and_the_other_way_round():
    listed = pages()
    assert len(listed) == len(set(listed))
    there = {p.with_suffix("") for p in NOTEBOOKS}
    texts = (ROOT / "chapters").rglob("*.md")
    there |= {p.with_suffix("") for p in texts if ".ipynb_checkpoints" not in p.parts}
    assert {ROOT / page for page in listed} == there


def test_the_page_of_run_times_says_what_the_chapters_say():
    known = json.loads(run.MEASURED.read_text(encoding="utf-8"))
    assert run.PAGE.read_text(encoding="utf-8") == run.page(known)
    names = {str(path.relative_to(ROOT / "chapters")) for path in CHAPTERS}
    assert set(known) == names
    for name, measured in known.items():
        first = cells(ROOT / "chapters" / name, "markdown")[0]
        assert f"*Run time: {measured['seconds']} s · " in first


def test_the_address_is_the_same_everywhere():
    found = set()
    for path in publish.places():
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"https://github\.com/[\w.-]+/mmbook", text))
    assert found == {address()}


def test_publishing_changes_every_address(tmp_path, monkeypatch):
    for path in publish.places():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["publish", "somebody/her-book"])
    publish.main()
    old = address().removeprefix("https://github.com/")
    texts = [p.read_text(encoding="utf-8") for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(old in text for text in texts)
    assert sum("github.com/somebody/her-book" in text for text in texts) > 5


def test_the_readme_names_what_make_can_do():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    spoken = set(re.findall(r"make ([a-z]+)", readme))
    assert spoken <= set(targets)
    assert {"book", "test", "lab", "run", "exercises"} <= spoken


def test_importing_the_package_needs_the_core_only():
    """Extras are imported where they are used, not before."""
    code = (
        "import sys, importlib, pkgutil, mmbook\n"
        "for m in pkgutil.walk_packages(mmbook.__path__, 'mmbook.'):\n"
        "    importlib.import_module(m.name)\n"
        "extras = {'datasets', 'sacrebleu', 'jupytext', 'nbval', 'IPython', 'soundfile'}\n"
        "print(sorted(extras & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_module_imports_only_from_those_above_it():
    """The order of the package's docstring: data never imports models, and so on."""
    order = (
        "tokens checks layers configuration data encoders fusion losses heads models "
        "training finetuning generation metrics explain plots exercises pretrain"
    ).split()
    for file in (ROOT / "mmbook").rglob("*.py"):
        parts = file.relative_to(ROOT / "mmbook").with_suffix("").parts
        own, depth = parts[0], len(parts)
        if own == "__init__":
            continue
        for dots, target in re.findall(
            r"^from (\.+)(\w*)", file.read_text(encoding="utf-8"), re.M
        ):
            if len(dots) == depth and target:
                fine = order.index(target) < order.index(own) or target == own
                assert fine, f"{own} imports {target}"


def test_normalising_removes_what_differs_from_run_to_run():
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "x\n",
                execution_count=7,
                outputs=[
                    nbformat.v4.new_output("stream", name="stderr", text="warning"),
                    nbformat.v4.new_output("stream", name="stdout", text="a\n"),
                    nbformat.v4.new_output("stream", name="stdout", text="b\n"),
                    nbformat.v4.new_output(
                        "display_data", data={"text/plain": "<Figure size 1x1>"}
                    ),
                    nbformat.v4.new_output(
                        "execute_result",
                        data={"text/plain": "<torch._C.Generator at 0x7fa8>"},
                    ),
                ],
            )
        ]
    )
    text = normalise.normalised(nbformat.writes(notebook))
    (cell,) = nbformat.reads(text, as_version=4).cells
    assert (cell.execution_count, cell.source, cell.id) == (1, "x", "cell-000")
    assert [o.text for o in cell.outputs] == ["a\nb\n"]
    assert normalise.normalised(text) == text


@pytest.mark.parametrize(
    "output, message",
    [
        (dict(output_type="error", ename="KeyError"), "ended with KeyError"),
        (
            dict(output_type="stream", text="in /ho" + "me/me/x.py"),
            "a path of a machine",
        ),
        (dict(output_type="stream", text="x" * 1_100_000), "bytes"),
        (None, "not executed"),
    ],
)
def test_what_must_not_be_committed_is_named(output, message):
    kind = (output or {}).pop("output_type", None)
    outputs = [nbformat.v4.new_output(kind, **output)] if kind else []
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("x", outputs=outputs)]
    )
    (said,) = normalise.complaints(nbformat.writes(notebook))
    assert message in said
