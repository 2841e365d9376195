"""Pictures with classes and texts; easy-VQA."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmbook.data.questions import LabelledPictures, easy_vqa

QUESTIONS = [
    ["what shape is in the image?", "circle", 0],
    ["is there a red shape?", "yes", 0],
    ["what shape is in the image?", "triangle", 12],
    ["is there a red shape?", "no", 12],
    ["is there a blue shape?", "yes", 12],
]


@pytest.fixture
def vqa(tmp_path):
    data = tmp_path / "data"
    (data / "train" / "images").mkdir(parents=True)
    for number in 0, 12:
        picture = Image.new("RGB", (64, 64), (number, 5, 9))
        picture.save(data / "train" / "images" / f"{number}.png")
    (data / "answers.txt").write_text("circle\ntriangle\nyes\nno", encoding="utf-8")
    questions = json.dumps(QUESTIONS)
    (data / "train" / "questions.json").write_text(questions, encoding="utf-8")
    return tmp_path


# ------------------------------------------------------------------ easy-VQA


@pytest.mark.parametrize("inside", [".", "data"])
def test_easy_vqa(vqa, inside):
    data = easy_vqa(vqa / inside, "train")
    assert len(data) == 5 and data.answers == ["circle", "triangle", "yes", "no"]
    assert data.labels == [0, 2, 1, 3, 2]
    item = data[3]
    assert (item["text"], item["label"], item["answer"]) == (QUESTIONS[3][0], 3, "no")
    assert item["image"].shape == (3, 64, 64) and item["index"] == 1
    assert item["image"][:, 0, 0].tolist() == [12, 5, 9]
    assert data.images.shape == (2, 3, 64, 64) and data.images.dtype == torch.uint8
    assert item["image"].data_ptr() == data[4]["image"].data_ptr()  # shared


def test_easy_vqa_split_by_picture(vqa):
    data = easy_vqa(vqa).with_features(torch.tensor([[[1.0]], [[2.0]]]))
    first, second = data.split(0.5)
    assert len(first) + len(second) == 5 and len(data) == 5
    for part in first, second:
        assert {part[k]["index"] for k in range(len(part))} == {0}
        shown = part[0]["image"].item()
        rows = [row for row in QUESTIONS if row[2] == (0 if shown == 1 else 12)]
        assert part.questions == [row[0] for row in rows]
        assert [part[k]["answer"] for k in range(len(part))] == [row[1] for row in rows]
        assert part.pixels(0)[0, 0, 0] == rows[0][2] and len(part.images) == 1
    with pytest.raises(ValueError, match="2 pictures; got features of 3"):
        data.with_features(torch.zeros(3, 1, 1))


def test_answers_with_a_mark_and_of_several_words(vqa):
    answers = "circle\r\ntriangle\r\nyes\r\nno\r\nlight blue\r\n"
    (vqa / "data" / "answers.txt").write_bytes(answers.encode("utf-8-sig"))
    assert easy_vqa(vqa).answers == ["circle", "triangle", "yes", "no", "light blue"]


def test_easy_vqa_says_what_is_wrong(vqa):
    data = vqa / "data"
    with pytest.raises(FileNotFoundError, match=r"questions.json: give the folder"):
        easy_vqa(vqa, "valid")
    (data / "answers.txt").write_text("circle\nyes\nno")
    with pytest.raises(ValueError, match=r"answers.txt lacks triangle"):
        easy_vqa(vqa)
    (data / "answers.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"answers.txt"):
        easy_vqa(vqa)
    (data / "answers.txt").write_text("circle\ntriangle\nyes\nno")
    (data / "train" / "images" / "12.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no picture .*12.png"):
        easy_vqa(vqa)
    (data / "train" / "questions.json").write_text('[["what"')
    with pytest.raises(ValueError, match=r"questions.json is damaged or cut off"):
        easy_vqa(vqa)


@pytest.mark.parametrize(
    "row", [["what?", "yes"], ["what?", None, 0], [" ", "yes", 0], "abc", None]
)
def test_a_question_in_another_form_is_named(vqa, row):
    rows = json.dumps([*QUESTIONS, row])
    (vqa / "data" / "train" / "questions.json").write_text(rows, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"questions.json, entry 5: expected \[question"
    ):
        easy_vqa(vqa)


# ------------------------------------------------------------------ any pictures


@pytest.fixture
def files(tmp_path):
    for number in range(4):
        Image.new("RGB", (12, 8), (50 * number, 0, 0)).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.glob("*.png"))


def test_pictures_with_classes(files):
    data = LabelledPictures(files, [1, 0, 1, 0], ["cat", "dog"], size=8)
    assert len(data) == 4 and data[2].keys() == {"image", "label", "index"}
    assert (data[2]["label"], data[2]["index"]) == (1, 2)
    assert data[2]["image"].shape == (3, 8, 8) and (data[2]["image"][0] == 100).all()
    first, second = data.split(0.25)
    assert len(first) == 3 and set(first.files) | set(second.files) == set(files)


def test_a_picture_may_have_several_texts(files):
    texts = ["is it red?", "is it black?", "is it red?"]
    data = LabelledPictures(
        [files[2], files[2], files[0]], [1, 0, 0], ["no", "yes"], texts, size=8
    )
    assert data.files == [files[2], files[0]] and len(data) == 3
    assert [item["text"] for item in data] == texts
    assert [item["index"] for item in data] == [0, 0, 1]
    kept = data.with_features(torch.arange(2.0).reshape(2, 1, 1))
    assert [item["image"].item() for item in kept] == [0, 0, 1]
    for part in data.split(0.5, seed=4):
        shown = [files.index(part.files[item["index"]]) for item in part]
        assert {"is it black?" in part.texts, len(part) == 2} == {shown[0] == 2}


def test_labels_and_pictures_that_do_not_fit(files):
    with pytest.raises(ValueError, match="labels must be from 0 to 1; got 0 to 2"):
        LabelledPictures(files, [0, 1, 2, 0], ["cat", "dog"])
    with pytest.raises(ValueError, match="got 4 and 3"):
        LabelledPictures(files, [0, 1, 1], ["cat", "dog"])
    with pytest.raises(ValueError, match=r"texts must be a list.*; got 'what\?'"):
        LabelledPictures(files, [0, 1, 1, 0], ["cat", "dog"], "what?")
    with pytest.raises(ValueError, match="got 0 and 0"):
        LabelledPictures([], [], [])


# ------------------------------------------------------------------ real data

DATA = os.environ.get("MMBOOK_DATA")


@pytest.mark.skipif(not DATA, reason="MMBOOK_DATA does not name a folder of data sets")
def test_real_easy_vqa():
    test = easy_vqa(Path(DATA, "easyvqa"), "test")
    assert len(test) == 9673 and len(test.images) == 1000 and len(test.answers) == 13
    yes_no = sum(test.answers[label] in ("yes", "no") for label in test.labels)
    assert yes_no == 7136
    fit, valid = test.split(0.1)
    assert len(fit) + len(valid) == 9673 and len(valid.images) == 100
