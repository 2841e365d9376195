"""Labels: on disk before anybody is told so, and whole after any crash."""

import json

import pytest
import torch

from mmbook.service.labels import Labels


def test_what_was_kept_is_read_again_in_order(tmp_path, scenes):
    labels = Labels(tmp_path)
    for number in range(3):
        kept = labels.add(scenes.images[number], f"caption {number}", "said", "1")
        assert kept == number + 1
    again = Labels(tmp_path)
    assert again.count == 3
    assert [row["caption"] for row in again.rows()] == [
        f"caption {n}" for n in range(3)
    ]
    for number, item in enumerate(again.items()):
        assert torch.equal(item["image"], scenes.images[number])


def test_of_one_picture_the_last_label_counts(tmp_path, scenes):
    labels = Labels(tmp_path)
    for caption in "wrong", "right":
        labels.add(scenes.images[0], caption, "said", "1")
    assert [item["caption"] for item in labels.items()] == ["right"]
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1
    assert labels.items(version="2") == []


def test_a_line_that_a_crash_cut_off_spoils_neither_old_nor_new_ones(tmp_path, scenes):
    labels = Labels(tmp_path)
    labels.add(scenes.images[0], "one", "said", "1")
    with labels.file.open("ab") as handle:
        handle.write(b'{"picture": "x", "capt\xff')
    again = Labels(tmp_path)
    again.add(scenes.images[1], "two — 二", "said", "1")
    assert [row["caption"] for row in Labels(tmp_path).rows()] == ["one", "two — 二"]


def test_line_and_picture_are_on_disk_before_add_returns(tmp_path, scenes, monkeypatch):
    import os

    labels, synced = Labels(tmp_path), []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda n: (synced.append(os.fstat(n)), real(n)))
    labels.add(scenes.images[0], "one", "said", "1")
    (picture,) = (tmp_path / "pictures").glob("*.png")
    inodes = [status.st_ino for status in synced]
    line = os.stat(labels.file).st_ino
    assert picture.stat().st_ino in inodes and line in inodes
    assert inodes.index(picture.stat().st_ino) < inodes.index(line)


def test_there_is_an_end_to_how_many(tmp_path, scenes):
    labels = Labels(tmp_path, most=1)
    labels.add(scenes.images[0], "one", "said", "1")
    with pytest.raises(OverflowError, match="1 labels are kept"):
        labels.add(scenes.images[1], "two", "said", "1")
    assert len(json.loads(labels.file.read_text("utf-8"))) == 5


def test_a_promised_label_is_not_joined_to_a_line_that_was_cut_off(tmp_path, scenes):
    """A disk was full, or another process died, while this one went on."""
    labels = Labels(tmp_path)
    with labels.file.open("ab") as handle:
        handle.write(b'{"picture": "half a li')
    labels.add(scenes.images[0], "one", "said", "1")
    labels.add(scenes.images[1], "two", "said", "1")
    assert [row["caption"] for row in Labels(tmp_path).rows()] == ["one", "two"]
