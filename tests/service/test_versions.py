"""Versions: promoted only if better, rolled back, and never seen half."""

import json
import random
import threading

import pytest

from mmbook.service.versions import Versions


@pytest.fixture
def versions(tmp_path, folder):
    found = Versions(tmp_path / "versions")
    found.begin(folder)
    return found


def copy_of(versions):
    text = (versions.folder_of("1") / "config.json").read_text("utf-8")
    return versions.add(lambda f: (f / "config.json").write_text(text, "utf-8"))


def judging(scores):
    """A judge that knows each version's scores."""
    return lambda folder: scores[folder.name]


def test_it_begins_with_a_copy_of_a_model_and_only_once(versions, folder):
    assert versions.current == "1" and versions.history() == ["1"]
    files = {file.name for file in versions.folder_of("1").iterdir()}
    assert files == {file.name for file in folder.iterdir()}
    versions.begin("mmbook/nothing of this name")
    assert versions.history() == ["1"]


def test_a_better_version_serves_and_can_be_rolled_back(versions):
    name = copy_of(versions)
    assert name == "2" and versions.current == "1"
    rng = random.Random(0)
    old = [float(rng.random() < 0.5) for _ in range(100)]
    scores = {"1": old, "2": [max(x, float(rng.random() < 0.5)) for x in old]}
    found = versions.promote(name, judging(scores))
    assert found.low > 0 and versions.current == "2"
    assert Versions(versions.folder).current == "2"
    assert versions.roll_back() == "1" and versions.current == "1"
    with pytest.raises(ValueError, match="no version served before 1"):
        versions.roll_back()


@pytest.mark.parametrize("gain", ["none", "within noise", "worse"])
def test_what_is_no_better_does_not_serve(versions, gain):
    old = [1.0, 0.0] * 20
    new = {"none": old, "within noise": [1.0, 1.0, *old[2:]], "worse": [0.0] * 40}[gain]
    scores = {"1": old, copy_of(versions): new}
    assert versions.promote("2", judging(scores)).sign <= 0
    assert versions.current == "1"


def test_a_version_whose_writing_fails_is_none(versions):
    def write(folder):
        (folder / "config.json").write_text("{}", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        versions.add(write)
    assert [p.name for p in versions.folder.iterdir() if p.is_dir()] == ["1"]


def test_a_reader_sees_the_old_version_or_the_new_one(versions):
    seen, done = [], threading.Event()

    def read():
        while not done.is_set():
            seen.append(tuple(json.loads(versions.pointer.read_bytes())["history"]))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(60):
        versions._point(["2", "1"])
        versions._point(["1"])
    done.set()
    thread.join()
    assert seen and set(seen) <= {("1",), ("2", "1")}
    assert not [p for p in versions.folder.iterdir() if p.name.startswith(".")]
