"""One call reads folders as people have them, and names what it leaves out."""

import json
import os
import unicodedata
import warnings
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.data import Collate
from mmbook.data.captions import Photographs
from mmbook.data.folders import load_folder
from mmbook.data.questions import LabelledPictures
from mmbook.data.recordings import Recordings
from mmbook.world import scene_tokenizer

SAID = {"0.jpg": "a dog, asleep", "1.jpg": 'a "big" cat', "2.jpg": "两只狗"}


@pytest.fixture(autouse=True)
def _nothing_is_said_without_need():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def picture(file, level=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (level, 0, 0)).save(file)


def sound(file, samples=160):
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as handle:
        handle.setparams((1, 2, 16_000, 0, "NONE", ""))
        handle.writeframes(np.full(samples, 8_192, "<i2").tobytes())


def write(file, text, coding="utf-8"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(coding))


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(SAID):
        picture(tmp_path / name, 100 * number)
    return tmp_path


def said(data):
    names = [file.name for file in data.files]
    return {name: group for name, group in zip(names, data.references, strict=True)}


def reasons(data):
    return dict(data.left_out)


def with_warning(*given, **more):
    with pytest.warns(UserWarning, match=r"left out: .*; all are in .left_out"):
        return load_folder(*given, **more)


# ------------------------------------------------------------------ tables of captions

ONE_EACH = {name: [text] for name, text in SAID.items()}
ROWS = [
    ("0.jpg", '"a dog, asleep"'),
    ("1.jpg", '"a ""big"" cat"'),
    ("2.jpg", "两只狗"),
]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_from_excel(photos, coding, mark, end):
    lines = [f"file_name{mark}text", *(mark.join(row) for row in ROWS), mark, ""]
    write(photos / "metadata.csv", end.join(lines), coding)
    data = load_folder(photos, size=8)
    assert isinstance(data, Photographs) and said(data) == ONE_EACH
    assert repr(data) == "Photographs(3 items of 3 pictures)" and not data.left_out
    assert data[2]["image"][0, 0, 0] == 200 and data[2]["index"] == 2


@pytest.mark.parametrize("first", ["sep=;\n", "sep=;\r\n"])
def test_excels_own_hint_is_no_line_of_the_table(photos, first):
    lines = "\n".join(["Image;Caption", *(";".join(row) for row in ROWS)])
    write(photos / "captions.csv", first + lines)
    assert said(load_folder(photos)) == ONE_EACH


@pytest.mark.parametrize(
    "name, text",
    [
        ("captions.txt", '0.jpg,"a dog, asleep"\n1.jpg,a "big" cat\n2.jpg,两只狗'),
        ("captions.txt", '0.jpg,a dog, asleep\n1.jpg,a "big" cat\n2.jpg,两只狗\n'),
        ("captions.csv", 'image, caption\n0.jpg, "a dog, asleep"\n1.jpg, a "big" cat'),
        ("captions.txt", '0.jpg，a dog, asleep\n1.jpg，a "big" cat\n2.jpg，两只狗'),
        ("Flickr8k.token.txt", '0.jpg#0\ta dog, asleep\n1.jpg#0\ta "big" cat'),
        ("captions.txt", '0.jpg|a dog, asleep\n1.jpg|a "big" cat\n2.jpg|两只狗'),
        ("results.csv", "image_name| comment_number| comment\n0.jpg| 0| a dog, asleep"),
        ("results.token", '0.jpg| 0| a dog, asleep\n1.jpg| 0| a "big" cat'),
        ("my own.tsv", "Filename\tDescription\n0.jpg\ta dog, asleep\n"),
        ("metadata.jsonl", '{"file_name": "0.jpg", "text": "a dog, asleep"}\n'),
        ("captions.json", '{"0.jpg": "a dog, asleep", "1.jpg": ["a \\"big\\" cat"]}'),
        ("captions.json", '[{"image": "0.jpg", "caption": "a dog, asleep"}]'),
        ("metadata.json", '[{"file_name": "0.jpg", "text": "a dog, asleep"}]'),
        (
            "captions.json",
            '{"images": [{"filename": "0.jpg", "sentences": [{"raw": "a dog, asleep"}]}]}',
        ),
    ],
)
def test_tables_in_every_form(photos, name, text):
    write(photos / name, text)
    kept = [key for key in SAID if key in text]
    for other in set(SAID) - set(kept):
        (photos / other).unlink()
    assert said(load_folder(photos)) == {key: ONE_EACH[key] for key in kept}


def test_several_captions_of_a_picture(photos):
    (photos / "2.jpg").unlink()
    for name, text in (
        ("captions.csv", "image,caption\n0.jpg,a\n1.jpg,c\n0.jpg,b\n"),
        ("captions.csv", "image,caption_1,caption_2\n0.jpg,a,b\n1.jpg,c,\n"),
        ("captions.csv", "image,captions\n0.jpg,\"['a', 'b']\"\n1.jpg,c\n"),
        ("captions.txt", "0.jpg#0\ta\n0.jpg#1\tb\n1.jpg#0\tc\n"),
        ("captions.txt", "0.jpg| 0| a\n0.jpg| 1| b\n1.jpg| 0| c\n"),
        ("captions.json", '{"0.jpg": ["a", "b"], "1.jpg": "c"}'),
        (
            "metadata.jsonl",
            '{"file": "0.jpg", "captions": ["a", "b"]}\n'
            '{"file": "1.jpg", "captions": "c"}',
        ),
    ):
        write(photos / name, text)
        assert said(load_folder(photos)) == {"0.jpg": ["a", "b"], "1.jpg": ["c"]}, text
        (photos / name).unlink()


def test_a_caption_may_have_several_lines(photos):
    text = 'image,caption\n0.jpg,"a dog,\nasleep"\n1.jpg,"a cat"\n2.jpg,x\n'
    write(photos / "captions.csv", text)
    assert said(load_folder(photos))["0.jpg"] == ["a dog,\nasleep"]


def test_a_text_file_beside_each_picture(photos):
    write(photos / "0.txt", "a dog\r\nasleep\r\n", "utf-8-sig")
    write(photos / "1.txt", "a cat")
    write(photos / "2.txt", " \n")
    write(photos / "notes.txt", "of no picture")
    data = with_warning(photos)
    assert said(data) == {"0.jpg": ["a dog", "asleep"], "1.jpg": ["a cat"]}
    assert reasons(data) == {"2.jpg": "has no text"}


def test_the_table_may_lie_among_the_pictures_and_name_columns_as_it_likes(tmp_path):
    picture(tmp_path / "images" / "0.jpg")
    write(tmp_path / "images" / "metadata.csv", "bild;wer\n0.jpg;my dog\n")
    with pytest.raises(ValueError, match=r"metadata.csv, line 1: expected image,capti"):
        write(tmp_path / "images" / "metadata.csv", "bild;wer\nx;my dog\n")
        load_folder(tmp_path)
    write(tmp_path / "images" / "metadata.csv", "bild;wer\n0.jpg;my dog\n")
    columns = {"bild": "file_name", "wer": "caption"}
    assert said(load_folder(tmp_path, columns=columns)) == {"0.jpg": ["my dog"]}
    write(tmp_path / "images" / "metadata.csv", "file_name,mood\n0.jpg,glad\n")
    with pytest.raises(
        ValueError, match=r"file_name, mood: none is known .*'mood': 'la"
    ):
        load_folder(tmp_path)
    data = load_folder(tmp_path, columns={"mood": "label"})
    assert data.classes == ["glad"]


def test_of_two_texts_none_is_dropped_without_a_word(photos):
    rows = "\n".join(f"{name},is it red?,a dog" for name in SAID)
    write(photos / "metadata.csv", f"file_name,question,caption\n{rows}")
    with pytest.raises(ValueError, match=r"texts in 'caption' and in 'question': re"):
        load_folder(photos)
    data = load_folder(photos, columns={"question": "-"})
    assert data.references == [["a dog"]] * 3


def test_where_there_are_several_tables_one_is_chosen(photos):
    write(photos / "captions.txt", "0.jpg,a\n1.jpg,b\n2.jpg,c")
    write(photos / "captions.json", json.dumps(ONE_EACH))
    with pytest.raises(
        ValueError, match=r"several tables: captions.json, captions.txt"
    ):
        load_folder(photos)
    assert said(load_folder(photos, table="captions.json")) == ONE_EACH


# ------------------------------------------------------------------ names of files


def test_names_in_any_case_and_any_way_of_writing(tmp_path):
    for name in "IMG_1.JPG", "in/Übung.PNG", "in/图 一.jpeg", "in/deep/4.webp":
        picture(tmp_path / unicodedata.normalize("NFD", name))
    table = [
        {"image": "img_1.jpg", "caption": "a"},
        {"image": "übung.png", "caption": "b"},
        {"image": "in\\图 一.jpeg", "caption": "c"},
        {"image": "C:\\Users\\Me\\Pictures\\deep\\4.WEBP", "caption": "d"},
    ]
    write(tmp_path / "captions.json", json.dumps(table, ensure_ascii=False))
    data = load_folder(tmp_path)
    assert [group for group in data.references] == [["a"], ["b"], ["c"], ["d"]]
    assert data.files[3] == tmp_path / "in" / "deep" / "4.webp"


def test_names_without_an_ending(photos):
    write(photos / "captions.csv", "image,caption\n0,a\n1,b\n2,c\n")
    assert said(load_folder(photos)) == {"0.jpg": ["a"], "1.jpg": ["b"], "2.jpg": ["c"]}


def test_a_name_in_two_folders_is_not_guessed(tmp_path):
    for name in "cat/1.jpg", "dog/1.jpg", "dog/2.jpg":
        picture(tmp_path / name)
    table = {"1.jpg": "which?", "cat/1.jpg": "a cat", "cat/2.jpg": "gone"}
    write(tmp_path / "captions.json", json.dumps(table))
    data = with_warning(tmp_path)
    assert data.files == [tmp_path / "cat" / "1.jpg"]
    found = reasons(data)
    assert found["1.jpg"].startswith("several files have its name: cat")
    assert found["cat/2.jpg"] == "no such file"
    assert found["dog/2.jpg"] == found["dog/1.jpg"] == "has no caption or label"


# ------------------------------------------------------------------ splits


def split_names(folder, split):
    return [file.name for file in load_folder(folder, split).files]


def test_a_split_told_by_a_column_or_by_a_table(photos):
    text = "image,caption,split\n0.jpg,a,train\n1.jpg,b,test\n2.jpg,c,Training\n"
    write(photos / "captions.csv", text)
    assert split_names(photos, "train") == ["0.jpg", "2.jpg"]
    assert split_names(photos, "test") == ["1.jpg"]
    assert len(load_folder(photos)) == 3
    with pytest.raises(ValueError, match=r"one of all, test, train; got 'val'"):
        load_folder(photos, "val")
    write(photos / "captions.csv", "image,caption\n0.jpg,a\n1.jpg,b\n2.jpg,c\n")
    table = {"train": ["0.jpg"], "test": ["1.jpg", "2.jpg"]}
    write(photos / "split.json", json.dumps(table), "utf-8-sig")
    assert split_names(photos, "test") == ["1.jpg", "2.jpg"]
    (photos / "split.json").unlink()
    with pytest.raises(ValueError, match=r"nothing tells the splits; use .split\(0.2"):
        load_folder(photos, "train")


def test_a_split_told_by_folders(tmp_path):
    for split, level in ("train", 50), ("test", 150):
        picture(tmp_path / split / "1.jpg", level)
        write(tmp_path / split / "metadata.csv", f"file_name,text\n1.jpg,in {split}\n")
    for split, level in ("train", 50), ("test", 150):
        data = load_folder(tmp_path, split, size=8)
        assert said(data) == {"1.jpg": [f"in {split}"]}
        assert data[0]["image"][0, 0, 0].item() == pytest.approx(level, abs=2)
    assert len(load_folder(tmp_path)) == 2


def test_own_splits_by_picture(photos):
    write(photos / "captions.json", json.dumps({name: ["a", "b"] for name in SAID}))
    first, second = load_folder(photos).split(1 / 3)
    assert (len(first), len(second)) == (4, 2)
    assert {*first.files, *second.files} == {photos / name for name in SAID}


# ------------------------------------------------------------------ labels


@pytest.mark.parametrize("inside", [".", "images", "data/Images"])
def test_a_folder_for_each_class(tmp_path, inside):
    for name in "dog/1.jpg", "dog/2.JPG", "cat/1.jpg":
        picture(tmp_path / inside / name, 200 if "dog" in name else 100)
    data = load_folder(tmp_path, size=8)
    assert isinstance(data, LabelledPictures) and data.classes == ["cat", "dog"]
    assert data.labels == [0, 1, 1]
    assert [(item["image"][0, 0, 0] > 150).item() for item in data] == [
        False,
        True,
        True,
    ]
    batch = Collate()([data[0], data[1]])
    assert batch["labels"].tolist() == [0, 1] and batch["image"].shape == (2, 3, 8, 8)


def test_classes_have_one_number_in_all_splits(tmp_path):
    for name in "train/cat/1.jpg", "train/dog/1.jpg", "test/dog/1.jpg", "val/cow/1.jpg":
        picture(tmp_path / name)
    parts = {split: load_folder(tmp_path, split) for split in ("train", "test", "val")}
    assert all(part.classes == ["cat", "cow", "dog"] for part in parts.values())
    found = {split: part.labels for split, part in parts.items()}
    assert found == {"train": [0, 2], "test": [2], "val": [1]}


def test_a_train_may_be_a_class(tmp_path):
    for name in "train/1.jpg", "bus/1.jpg", "car/1.jpg":
        picture(tmp_path / name)
    assert load_folder(tmp_path).classes == ["bus", "car", "train"]


def test_labels_in_a_table_are_numbered_in_order(tmp_path):
    for number in range(11):
        picture(tmp_path / f"{number}.png")
    lines = [f"{number}.png,{number}" for number in range(11)]
    write(tmp_path / "metadata.csv", "\n".join(["file_name,label", *lines]))
    data = load_folder(tmp_path)
    assert data.classes == [str(number) for number in range(11)]
    assert data.labels == list(range(11)) and data[3].keys() == {
        "image",
        "label",
        "index",
    }


@pytest.mark.parametrize("head", ["file_name,text,label", "image,question,answer"])
def test_picture_text_and_label(photos, head):
    lines = ["0.jpg,is it red?,no", "1.jpg,is it red?,yes", "1.jpg,is it a cat?,no"]
    (photos / "2.jpg").unlink()
    write(photos / "metadata.csv", "\r\n".join([head, *lines]), "utf-8-sig")
    data = load_folder(photos, size=8)
    assert data.classes == ["no", "yes"] and data.labels == [0, 1, 0]
    assert data[2]["text"] == "is it a cat?" and data[2]["index"] == 1
    words = "is it red? a cat?".split()
    batch = Collate(scene_tokenizer(words))([*data])
    assert batch["labels"].tolist() == [0, 1, 0] and batch["text"].shape == (3, 4)


# ------------------------------------------------------------------ sounds


def test_sounds_with_captions(tmp_path):
    sound(tmp_path / "A.WAV", 160)
    sound(tmp_path / "b.wav", 320)
    write(tmp_path / "metadata.csv", "file_name,text\na.wav,good morning\nb.wav,hello")
    data = load_folder(tmp_path, rate=8_000)
    assert isinstance(data, Recordings)
    assert data[0]["caption"] == "good morning" and data[0]["audio"].shape == (80,)
    assert torch.allclose(data[1]["audio"][50:100], torch.tensor(0.25), atol=0.01)


def test_the_form_of_lj_speech(tmp_path):
    for name in "LJ1", "LJ2":
        sound(tmp_path / "wavs" / f"{name}.wav")
    text = 'LJ1|in 1469,|in fourteen sixty-nine,\nLJ2|a "b"|a "b"\n\n'
    write(tmp_path / "metadata.csv", text, "utf-8-sig")
    data = load_folder(tmp_path)
    assert [row["caption"] for row in data.known] == [
        "in fourteen sixty-nine,",
        'a "b"',
    ]
    write(tmp_path / "metadata.csv", text + "LJ3|only one text\nLJ4|gone|gone")
    data = with_warning(tmp_path)
    assert len(data) == 2 and reasons(data) == {
        "metadata.csv, line 4": "LJ3: 2 columns, but 3 in the first line",
        "LJ4": "no such file",
    }


def test_a_text_beside_each_sound(tmp_path):
    sound(tmp_path / "a.wav")
    write(tmp_path / "a.txt", "good\nmorning\n")
    assert load_folder(tmp_path)[0]["caption"] == "good morning"


def test_sounds_with_classes_and_texts(tmp_path):
    for name in "no/1.wav", "yes/1.wav", "yes/2.WAV":
        sound(tmp_path / name)
    data = load_folder(tmp_path)
    assert data.classes == ["no", "yes"]
    assert [item["label"] for item in data] == [0, 1, 1]
    lines = "no/1.wav,no!,sad\nyes/1.wav,yes!,glad\nyes/2.wav,yes?,glad"
    write(tmp_path / "metadata.csv", f"file_name,text,label\n{lines}")
    data = load_folder(tmp_path)
    assert data.classes == ["glad", "sad"] and data[2]["text"] == "yes?"
    assert [item["label"] for item in data] == [1, 0, 0]


# ------------------------------------------------------------------ what is left out


def test_everything_that_is_left_out_is_named(photos):
    for name in "3.jpg", "4.jpg", "5.jpg", "6.jpg", "7.JPG":
        picture(photos / name)
    whole = (photos / "3.jpg").read_bytes()
    (photos / "3.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "4.jpg").write_bytes(b"<!DOCTYPE html>")
    (photos / "5.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    (photos / "6.jpg").write_bytes(b"")
    (photos / "clip.MOV").write_bytes(b"video")
    sound(photos / "voice.wav")
    lines = [f"{number}.jpg,words" for number in range(7)]
    lines += ["8.jpg,gone", "0.jpg, ", "1.jpg", ",nameless", "voice.wav,hello"]
    write(photos / "captions.csv", "\n".join(["image,caption", *lines]))
    data = with_warning(photos)
    assert said(data) == {name: ["words"] for name in SAID}
    found = reasons(data)
    assert "runcated" in found.pop("3.jpg") and "web page" in found.pop("4.jpg")
    assert "git lfs pull" in found.pop("5.jpg") and found.pop("6.jpg") == "is empty"
    assert found == {
        "8.jpg": "no such file",
        "captions.csv, line 10": "0.jpg: a caption needs words; got ' '",
        "captions.csv, line 11": "1.jpg: the caption is missing; got None",
        "captions.csv, line 12": "no name; got ''",
        "voice.wav": "is no picture",
        "7.JPG": "has no caption or label",
        "clip.MOV": "is a video: it is not read",
    }
    assert "11 left out: captions.csv, line 10 (0.jpg: a caption" in repr(data)
    with pytest.raises(ValueError) as strict:
        load_folder(photos, strict=True)
    lines = str(strict.value).splitlines()
    assert "11 cannot be used" in lines[0] and len(lines) == 12
    assert all(any(name in line for line in lines) for name, _ in data.left_out)


def test_a_large_set_is_not_decoded_when_it_is_loaded(photos, monkeypatch):
    (photos / "0.jpg").write_bytes((photos / "1.jpg").read_bytes()[:300])
    write(photos / "captions.json", json.dumps(ONE_EACH))
    assert len(with_warning(photos)) == 2
    monkeypatch.setattr("mmbook.data.folders._VERIFIED", 1_000)  # bytes
    data = load_folder(photos)
    assert len(data) == 3 and not data.left_out
    with pytest.raises(ValueError, match=r"cannot read the picture .*0.jpg: "):
        data[0]
    assert len(with_warning(photos, verify=True)) == 2


def test_pictures_that_are_too_oblong_to_keep_their_ratio(tmp_path):
    picture(tmp_path / "a.png")
    Image.new("RGB", (4, 400)).save(tmp_path / "b.png")
    write(tmp_path / "captions.json", '{"a.png": "a", "b.png": "b"}')
    data = with_warning(tmp_path, size=16, fit="keep")
    assert data[0]["image"].shape == (3, 16, 24)
    assert reasons(data) == {
        "b.png": "4 × 400 is too oblong to keep its ratio; 4:1 at most"
    }
    assert len(load_folder(tmp_path, size=16)) == 2


def test_labels_and_texts_that_are_missing(photos):
    rows = [
        {"file_name": "0.jpg", "text": "a", "label": "x"},
        {"file_name": "1.jpg", "text": "b"},
        {"file_name": "2.jpg", "label": "x"},
    ]
    write(photos / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    data = with_warning(photos)
    assert len(data) == 1 and data[0]["text"] == "a"
    assert reasons(data) == {"1.jpg": "has no label", "2.jpg": "has no text"}
    rows = [{"file_name": "0.jpg", "label": 1}, {"file_name": "1.jpg", "label": None}]
    rows += [{"file_name": "2.jpg", "label": [1, 2]}, [3]]
    write(photos / "metadata.jsonl", "\n".join(map(json.dumps, rows)) + "\n{cut")
    found = reasons(with_warning(photos))
    assert found["metadata.jsonl, line 2"] == "1.jpg: no label; got None"
    assert found["metadata.jsonl, line 3"] == "2.jpg: no label; got [1, 2]"
    assert found["metadata.jsonl, line 4"] == "got [3]"
    assert found["metadata.jsonl, line 5"].startswith("damaged: ")


def test_several_texts_of_a_labelled_picture_are_several_items(photos):
    write(photos / "metadata.csv", "file_name,text_1,text_2,label\n0.jpg,a,b,x\n")
    data = with_warning(photos)
    assert data.texts == ["a", "b"] and data.labels == [0, 0]


def test_a_line_with_too_many_cells_is_not_guessed(photos):
    lines = "0.jpg,a dog, asleep,x\n1.jpg,a cat,y\n2.jpg,two dogs,y,,\n"
    write(photos / "metadata.csv", f"file_name,text,label\n{lines}")
    data = with_warning(photos)
    assert len(data) == 2 and data.classes == ["y"]
    assert reasons(data)["metadata.csv, line 2"].startswith("4 columns, but 3 heads")


# ------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize("coding", ["gb18030", "latin-1"])
def test_a_table_in_another_code_is_named(photos, coding):
    text = "0.jpg,两只狗" if coding == "gb18030" else "0.jpg,zwei Hunde, grün"
    write(photos / "captions.csv", text, coding)
    with pytest.raises(ValueError, match=r"captions.csv is not in UTF-8 .*CSV UTF-8"):
        load_folder(photos)


def test_folders_that_cannot_be_read_say_what_would_be_right(photos):
    with pytest.raises(ValueError, match=r"no captions and no labels. Known are\n"):
        load_folder(photos)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        load_folder(photos / "nowhere")
    with pytest.raises(ValueError, match=r"fit must be crop, pad or keep; got 'big'"):
        load_folder(photos, fit="big")
    write(photos / "captions.csv", "")
    with pytest.raises(ValueError, match=r"captions.csv is empty"):
        load_folder(photos)
    write(photos / "captions.csv", "image,caption\n")
    with pytest.raises(
        ValueError, match=r"holds no entry that can be used; it is empty"
    ):
        load_folder(photos)
    write(photos / "captions.csv", "image,caption\n9.jpg,gone\n")
    with pytest.raises(ValueError, match=r"4 cannot be used:\n  9.jpg: no such file"):
        load_folder(photos)


# ------------------------------------------------------------------ real data

DATA = os.environ.get("MMBOOK_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="MMBOOK_DATA does not name a folder of data sets"
)


@needs_data
@pytest.mark.parametrize(
    "name, split, pictures, items",
    [
        ("photographs", None, 42, 210),
        ("flickr8k_1000", "test", 202, 1010),
        ("ljspeech32", None, 32, 32),
    ],
)
def test_real_folders(name, split, pictures, items):
    data = load_folder(Path(DATA, name), split, size=32)
    assert (len(data.files), len(data)) == (pictures, items) and not data.left_out


@needs_data
def test_real_read_speech():
    data = load_folder(Path(DATA, "ljspeech32"))
    assert data[1]["caption"] == "fourteen sixty-nine, fourteen seventy;"
    seconds = sum(len(data[k]["audio"]) for k in range(32)) / 16_000
    assert 135 < seconds < 147
