"""Chapters are found by their numbers, and 6.1 is not 6.10."""

import os
from pathlib import Path

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("nbclient", reason="needs the extra lab")
import book
import run

NAMES = ("61_captioning", "62_video", "610_code", "611_augmentation", "11_why_6_1")
PATHS = [Path("chapters/6-applications") / f"{name}.ipynb" for name in NAMES]


@pytest.mark.parametrize(
    "wanted, names",
    [
        (["6.1"], ["61_captioning"]),
        (["6.10"], ["610_code"]),
        (["6.1", "6.11"], ["61_captioning", "611_augmentation"]),
        (["6"], list(NAMES[:4])),
        (["video"], ["62_video"]),
        ([], list(NAMES)),
    ],
)
def test_a_number_chooses_one_chapter_a_digit_one_part(wanted, names):
    assert [path.stem for path in book.chosen(PATHS, wanted)] == names


def test_a_number_that_no_chapter_has_is_an_error():
    with pytest.raises(SystemExit, match=r"nothing fits 6\.12; there are 11_why"):
        book.chosen(PATHS, ["6.12"])


def test_chapters_are_in_the_order_of_their_numbers():
    assert [book.spoken(path) for path in sorted(PATHS, key=book.number)] == [
        "1.1",
        "6.1",
        "6.2",
        "6.10",
        "6.11",
    ]
    known = {path.as_posix(): {} for path in reversed(PATHS)}
    assert list(run.in_order(known)) == [
        p.as_posix() for p in sorted(PATHS, key=book.number)
    ]


@pytest.mark.parametrize("name", ["captioning", "60_zero", "06_part", "610"])
def test_a_file_that_is_not_named_like_a_chapter_is_refused(name):
    with pytest.raises(ValueError, match="610_slug"):
        book.number(Path(f"{name}.ipynb"))


@pytest.mark.parametrize("path", book.chapters(), ids=lambda path: path.stem)
def test_a_chapter_lies_in_the_folder_of_its_part(path):
    assert path.parent.name.startswith(f"{book.number(path)[0]}-")


def test_the_machine_is_named_on_every_system(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    assert run.hardware() == f"{os.cpu_count()} CPU cores"
