"""A page shows the titles of all others: if one changes, all are built anew."""

import json
import re

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
import build_site

CONFIG = (
    'title: A book\nonly_build_toc_files: true\nexecute: {execute_notebooks: "off"}\n'
)
TOC = "format: jb-book\nroot: first\nparts:\n  - caption: 1 Part\n    chapters:\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A book of three pages."""
    monkeypatch.setattr(build_site, "ROOT", tmp_path)
    monkeypatch.setattr(build_site, "BUILT", tmp_path / "_build")
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    entries = "".join(f"      - file: {name}\n" for name in ("second", "third"))
    (tmp_path / "_toc.yml").write_text(TOC + entries, encoding="utf-8")
    for name in ("first", "second"):
        (tmp_path / f"{name}.md").write_text(
            f"# The {name}\n\nWords.\n", encoding="utf-8"
        )
    cell = {"cell_type": "markdown", "metadata": {}, "source": "# The third", "id": "a"}
    third = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "third.ipynb").write_text(json.dumps(third), encoding="utf-8")
    return tmp_path


def test_titles_of_pages_and_notebooks_are_read(site):
    assert build_site.pages() == ["first", "second", "third"]
    assert [*map(build_site.title, build_site.pages())] == [
        "The first",
        "The second",
        "The third",
    ]


@pytest.mark.parametrize(
    "name, old, new, all_anew",
    [
        ("second.md", "# The second", "# Another title", True),
        ("third.ipynb", "# The third", "# Another title", True),
        ("_toc.yml", "1 Part", "1 Another part", True),
        ("_config.yml", "A book", "Another book", True),
        ("second.md", "Words.", "Other words.", False),
    ],
)
def test_what_every_page_shows_decides_whether_all_are_built(
    site, name, old, new, all_anew
):
    before = build_site.fingerprint()
    text = (site / name).read_text(encoding="utf-8")
    (site / name).write_text(text.replace(old, new), encoding="utf-8")
    assert (build_site.fingerprint() != before) == all_anew


@pytest.mark.slow
def test_a_new_title_and_a_new_page_are_on_every_page(site):
    pytest.importorskip("jupyter_book", reason="needs the extra book")

    def shown():
        assert build_site.main() == 0
        pages = sorted((site / "_build/html").glob("[fst]*.html"))
        texts = [page.read_text(encoding="utf-8") for page in pages]
        return {
            page.stem: set(re.findall(r"The \w+\b|A fourth", text))
            for page, text in zip(pages, texts, strict=True)
            if page.stem not in ("search", "genindex")
        }

    first = shown()
    assert set(first) == {"first", "second", "third"}
    assert all("The second" in titles for titles in first.values())
    (site / "second.md").write_text("# The renamed\n", encoding="utf-8")
    (site / "fourth.md").write_text("# A fourth\n", encoding="utf-8")
    toc = (site / "_toc.yml").read_text(encoding="utf-8")
    (site / "_toc.yml").write_text(toc + "      - file: fourth\n", encoding="utf-8")
    second = shown()
    assert set(second) == {"first", "second", "third", "fourth"}
    for titles in second.values():
        assert {"The renamed", "A fourth"} <= titles and "The second" not in titles
