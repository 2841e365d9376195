"""The lines of the README do what it says, as they stand."""

import csv
import re
import shutil
from pathlib import Path

import pytest

import mmbook
from mmbook.samples import photographs

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Eight photographs with a metadata.csv, as a table program writes it."""
    place = tmp_path / "photographs"
    place.mkdir()
    shown = photographs()
    with open(place / "metadata.csv", "w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "text"])
        for number in range(8):
            name = "dog.jpg" if number == 0 else shown.files[number].name
            shutil.copy(shown.files[number], place / name)
            rows.writerow([name, shown.references[number][0]])
    monkeypatch.chdir(tmp_path)
    return place


def code() -> str:
    """The only block of Python in the README."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    return block


@pytest.mark.slow
def test_the_captioner_of_the_readme_says_what_it_learned(folder, capsys):
    exec(code(), {})
    (said,) = eval(capsys.readouterr().out.strip().splitlines()[-1])
    assert said == photographs().references[0][0]


def test_the_readme_needs_ten_lines():
    lines = [line for line in code().splitlines() if line and "import" not in line]
    assert 10 <= len(lines) <= 11


def test_the_package_offers_what_most_users_need():
    for name, room in mmbook._FACE.items():
        assert getattr(mmbook, name).__module__.startswith(f"mmbook.{room}")
        assert name in dir(mmbook)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mmbook.nothing  # noqa: B018
