"""The address of the repository stands in one place, and all others follow."""

import re
import sys

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
import book
import publish
import setup_cell

SITE = "https://github.com/"


def test_the_address_is_the_same_everywhere():
    assert set(publish.addresses()) == {setup_cell.address().removeprefix(SITE)}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """All texts of the repository in a folder of their own, which the tools work on."""
    for path in publish.places():
        target = tmp_path / path.relative_to(book.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(book, "ROOT", tmp_path)
    return tmp_path


def move(monkeypatch, address):
    monkeypatch.setattr(sys, "argv", ["publish", address])
    publish.main()


@pytest.mark.slow
def test_a_copy_under_any_name_has_one_address_and_can_move_on(copy, monkeypatch):
    places = sum(map(len, publish.addresses().values()))
    for address in ("x/her-book", "a.long-owner-of-books/multimodal.book_2", "y/b"):
        move(monkeypatch, address)
        found = publish.addresses()
        assert set(found) == {address}
        assert sum(map(len, found.values())) == places > 60
        assert setup_cell.address() == SITE + address
        readme = (copy / "README.md").read_text(encoding="utf-8")
        assert f"git clone {SITE}{address} && cd {address.split('/')[1]}\n" in readme


@pytest.mark.slow
def test_publishing_and_back_changes_nothing(copy, monkeypatch):
    before = {path: path.read_text(encoding="utf-8") for path in publish.places()}
    old = setup_cell.address().removeprefix(SITE)
    move(monkeypatch, "x/her-book")
    move(monkeypatch, old)
    assert {p: p.read_text(encoding="utf-8") for p in publish.places()} == before


def test_other_repositories_keep_their_addresses():
    text = f"{SITE}OWNER/mmbook-data {SITE}OTHER/mmbook {SITE}OWNER/mmbook/issues"
    moved = publish.moved(text, "OWNER/mmbook", "x/y")
    assert moved == text.replace("OWNER/mmbook/", "x/y/")


@pytest.mark.parametrize("address", ["", "book", f"{SITE}x/y", "x/y/z"])
def test_what_is_no_address_is_refused(address, monkeypatch):
    with pytest.raises(SystemExit, match="usage"):
        move(monkeypatch, address)


def test_the_site_and_colab_find_the_notebooks():
    config = (book.ROOT / "_config.yml").read_text(encoding="utf-8")
    assert re.search(rf"repository_url: {setup_cell.address()}$", config, re.MULTILINE)
