"""Real data sets: both forms of captions, no leaks between splits, clear errors."""

import csv
import io
import json
import os
import pickle
import sys
import types
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.data import Collate
from mmbook.data.corpora import (
    Photographs,
    Recordings,
    captioned_photographs,
    easy_vqa,
    from_hub,
    from_table,
    lj_speech,
    read_image,
    read_wave,
    resample,
    spoken_digits,
    square,
)
from mmbook.world import scene_tokenizer

NAMES = [f"{number}.jpg" for number in range(5)]


def captions_of(name):
    return [f"first of {name}", f"second , of {name} ."]


def gradient(wide=40, high=30, colour=0):
    pixels = np.zeros((high, wide, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 250, wide)
    pixels[..., 1] = np.linspace(0, 250, high)[:, None]
    pixels[..., 2] = colour
    return Image.fromarray(pixels)


def write_images(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES):
        gradient(colour=40 * number).save(folder / name, quality=95)


def coco_table(names=NAMES):
    images = [{"id": 7 + k, "file_name": name} for k, name in enumerate(names)]
    rows = [
        {"id": 2 * k + j, "image_id": 7 + k, "caption": f" {text}\n"}
        for k, name in enumerate(names)
        for j, text in enumerate(captions_of(name))
    ]
    return {"images": images, "annotations": rows}


def write_flickr(folder, split=True):
    with (folder / "captions.txt").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(["image", "caption"])
        table.writerows([n, text] for n in NAMES for text in captions_of(n))
    if split:
        belongs = {name: "test" if name < "2" else "train" for name in NAMES}
        (folder / "split.json").write_text(json.dumps(belongs))


@pytest.fixture
def flickr(tmp_path):
    write_images(tmp_path / "images")
    write_flickr(tmp_path)
    return tmp_path


def names(photographs):
    return [file.name for file in photographs.files]


# ------------------------------------------------------------------ the two forms


@pytest.mark.parametrize(
    "place", ["captions_val.json", "annotations/captions_val.json"]
)
@pytest.mark.parametrize("pictures", ["images", "val", "."])
def test_coco_form(tmp_path, place, pictures):
    write_images(tmp_path / pictures)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(json.dumps(coco_table()))
    data = captioned_photographs(tmp_path, "val", size=16)
    assert names(data) == NAMES and len(data) == 10
    assert data.references == [captions_of(name) for name in NAMES]
    assert data[3]["caption"] == "second , of 1.jpg ." and data[3]["index"] == 1


def test_flickr_form_and_its_splits(flickr):
    train = captioned_photographs(flickr, "train", size=16)
    test = captioned_photographs(flickr, "test", size=16)
    assert names(train) == NAMES[2:] and names(test) == NAMES[:2]
    assert test.references == [captions_of(name) for name in NAMES[:2]]
    assert names(captioned_photographs(flickr, "all")) == NAMES


def test_one_coco_file_for_all_splits(flickr):
    (flickr / "captions.txt").unlink()
    (flickr / "captions.json").write_text(json.dumps(coco_table()))
    assert names(captioned_photographs(flickr, "test")) == NAMES[:2]


def test_without_a_table_of_splits_nothing_is_in_two(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    many = [f"{number}.png" for number in range(60)]
    for name in many:
        Image.new("RGB", (4, 4)).save(folder / name)
    lines = "\n".join(f"{name},a caption" for name in many)
    (tmp_path / "captions.txt").write_text(lines)
    train, test = (captioned_photographs(tmp_path, s) for s in ("train", "test"))
    assert sorted(names(train) + names(test)) == sorted(many)
    assert 4 <= len(test) <= 22
    with pytest.raises(ValueError, match=r"one of all, test, train; got 'val'"):
        captioned_photographs(tmp_path, "val")


def test_captions_with_commas_and_quotes(flickr):
    lines = [
        "image,caption",
        '0.jpg,"a dog, a cat , and ""friends"""',
        "1.jpg,unquoted, but clear",
        '2.jpg,"never closed',
        "3.jpg,the last\r",
        "",
    ]
    (flickr / "captions.txt").write_text("\n".join(lines), newline="")
    expected = ['a dog, a cat , and "friends"', "unquoted, but clear"]
    expected += ["never closed", "the last"]
    found = captioned_photographs(flickr, "all").references
    assert found == [[text] for text in expected]


# ------------------------------------------------------------------ items


def test_items_for_training_and_for_testing(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    item = data[5]
    assert item["caption"] == item["captions"][1] == "second , of 4.jpg ."
    assert item["image"].shape == (3, 16, 16) and item["image"].dtype == torch.uint8
    each = data.per_image()
    assert len(each) == 3 and [item["index"] for item in each] == [0, 1, 2]
    assert each[2].keys() == {"image", "captions", "index"}
    assert torch.equal(each[2]["image"], item["image"])
    assert [item["captions"] for item in each] == data.references


def test_items_make_a_batch(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    words = " ".join(text for group in data.references for text in group).split()
    batch = Collate(scene_tokenizer(words))([data[0], data[1]])
    assert batch["image"].shape == (2, 3, 16, 16) and batch["labels"].shape[0] == 2
    batch = Collate(scene_tokenizer())([*data.per_image()])
    assert batch.keys() == {"image"}


def test_pictures_are_scaled_and_the_middle_is_cropped():
    shown = square(gradient(wide=80, high=40), 20)  # to 40 × 20, then columns 10 to 30
    assert shown.shape == (3, 20, 20)
    middle = np.linspace(0, 250, 80)[20:60].reshape(20, 2).mean(1)
    assert np.abs(shown[0, 10].numpy() - middle).max() < 3
    assert np.abs(shown[1, :, 5].numpy() - np.linspace(3, 247, 20)).max() < 4
    tall = square(gradient(wide=40, high=80).resize((40, 80)), 20)
    assert tall.shape == (3, 20, 20) and tall[0, 10].float().std() > 60


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_kinds_of_pictures_become_rgb(mode):
    assert square(gradient().convert(mode), 16).shape == (3, 16, 16)


def test_a_picture_is_turned_as_the_camera_says(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    gradient(32, 32).save(tmp_path / "a.png", exif=turned)
    upright = square(gradient(32, 32), 32)
    assert torch.equal(read_image(tmp_path / "a.png", 32), upright.flip(1, 2))


def test_features_stand_in_the_place_of_pixels(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    features = torch.rand(3, 4, 5)
    kept = data.with_features(features)
    assert torch.equal(kept[5]["image"], features[2])
    assert torch.equal(kept.pixels(2), data.pixels(2))
    second = kept.split(0.4)[1]
    assert torch.equal(second.picture(0), features[names(data).index(names(second)[0])])
    with pytest.raises(ValueError, match="3 pictures; got features of 2"):
        data.with_features(features[:2])


def test_workers_can_be_handed_the_data(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    assert torch.equal(pickle.loads(pickle.dumps(data))[0]["image"], data[0]["image"])


def test_a_fingerprint_tells_pictures_apart(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    assert data.fingerprint() == captioned_photographs(flickr, size=16).fingerprint()
    others = [
        captioned_photographs(flickr, s, z) for s, z in (("train", 8), ("all", 16))
    ]
    os.utime(flickr / "images" / "3.jpg", ns=(1, 1))
    prints = {
        d.fingerprint() for d in [*others, captioned_photographs(flickr, size=16)]
    }
    assert len(prints) == 3 and data.fingerprint() in prints  # it looks at the files


# ------------------------------------------------------------------ splits


def test_split_by_picture_seeded_and_complete():
    files = [Path(f"{number}.jpg") for number in range(50)]
    data = Photographs(files, [[f"a {n}", f"b {n}"] for n in range(50)])
    first, second = data.split(0.2, seed=1)
    assert len(first.files) == 40 and len(second.files) == 10 and len(second) == 20
    assert sorted(first.files + second.files) == sorted(files)
    assert {f.stem for f in second.files} == {
        t[2:] for g in second.references for t in g
    }
    again, other = data.split(0.2, seed=1)[1], data.split(0.2, seed=2)[1]
    assert again.files == second.files != other.files


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001, 1.5, -0.5])
def test_a_split_with_an_empty_side_is_refused(share):
    data = Photographs([Path("a"), Path("b")], [["a"], ["b"]])
    with pytest.raises(ValueError, match=f"share of {share} of 2 pictures leaves"):
        data.split(share)


# ------------------------------------------------------------------ what is wrong


def test_folders_without_data(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        captioned_photographs(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no file of captions"):
        captioned_photographs(tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    with pytest.raises(
        FileNotFoundError, match=r"there is annotations.captions_val2017"
    ):
        captioned_photographs(tmp_path, "val")


def test_a_split_that_is_not_there(flickr):
    with pytest.raises(ValueError, match=r"one of all, test, train; got 'valid'"):
        captioned_photographs(flickr, "valid")
    (flickr / "split.json").write_text('{"else.jpg": "train"}')
    with pytest.raises(
        ValueError, match="no picture of the split 'train' has captions"
    ):
        captioned_photographs(flickr, "train")
    (flickr / "split.json").write_text('{"0.jpg": "tr')
    with pytest.raises(ValueError, match=r"split.json is damaged or cut off"):
        captioned_photographs(flickr, "train")


def test_captions_of_pictures_that_are_not_there(flickr):
    (flickr / "images" / "3.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 pictures .* first is 3.jpg"):
        captioned_photographs(flickr, "train")
    table = coco_table()
    table["annotations"].append({"image_id": 99, "caption": "lost"})
    (flickr / "captions_train.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="for picture 99, which is not among"):
        captioned_photographs(flickr, "train")


def test_captions_in_neither_form(flickr):
    (flickr / "captions.txt").write_text("image,caption\n0.jpg,fine\n1.jpg\n")
    with pytest.raises(
        ValueError, match=r"line 3: expected image,caption; got '1.jpg'"
    ):
        captioned_photographs(flickr)
    (flickr / "captions_train.json").write_text('{"images": [{"id": 3}]}')
    with pytest.raises(ValueError, match=r"not in COCO's form.*file_name"):
        captioned_photographs(flickr)
    (flickr / "captions_train.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"not in COCO's form"):
        captioned_photographs(flickr)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_damaged_picture_is_named(tmp_path, damage, ending):
    file = tmp_path / f"broken{ending}"
    gradient(200, 200).save(file)
    whole = file.read_bytes()
    kinds = {"truncated": whole[: len(whole) // 2], "text": b"no picture", "empty": b""}
    file.write_bytes(kinds[damage])
    data = Photographs([file], [["a"]], size=16)
    with pytest.raises(ValueError, match=f"cannot read the picture .*broken{ending}"):
        data[0]
    file.unlink()
    with pytest.raises(FileNotFoundError, match=f"no picture .*broken{ending}"):
        data[0]


def test_as_many_captions_as_pictures():
    with pytest.raises(ValueError, match="got 0 and 0"):
        Photographs([], [])
    with pytest.raises(ValueError, match="got 1 and 2"):
        Photographs([Path("a")], [["a"], ["b"]])


# ------------------------------------------------------------------ the hub


class Table:
    """As much of ``datasets.Dataset`` as is needed."""

    def __init__(self, columns):
        self.columns, self.column_names, self.opened = columns, list(columns), []

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        self.opened.append(key)
        return {name: column[key] for name, column in self.columns.items()}


def table(count=6):
    return Table(
        {
            "photo": [gradient(colour=30 * k) for k in range(count)],
            "said": [captions_of(f"{k}.jpg") for k in range(count)],
            "title": [f"title {k}" for k in range(count)],
        }
    )


def test_a_table_behaves_like_a_folder(tmp_path):
    rows = table()
    data = from_table(rows, "photo", "said", size=16)
    assert not rows.opened and len(data) == 12
    assert torch.equal(data[4]["image"], square(gradient(colour=60), 16))
    assert rows.opened == [2]
    first, second = data.split(0.5, seed=3)
    assert {str(f) for f in first.files}.isdisjoint({str(f) for f in second.files})
    for part in first, second:
        for number, group in enumerate(part.references):
            place = [captions_of(f"{k}.jpg") for k in range(6)].index(group)
            assert torch.equal(part.pixels(number), data.pixels(place))
    kept = data.with_features(torch.rand(6, 2, 3))
    assert kept[4]["image"].shape == (2, 3) and kept.pixels(2).shape == (3, 16, 16)
    assert data.fingerprint() != first.fingerprint()


def test_one_caption_a_picture_is_a_group_of_one():
    data = from_table(table(), "photo", "title", size=16)
    assert data.references[2] == ["title 2"] and len(data) == 6


def test_from_hub_asks_for_the_split_and_names_it(monkeypatch):
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return table(4)

    fake = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    data = from_hub("owner/photos", "val", "photo", "said", 16, limit=4)
    from_hub("owner/photos", image="photo", captions="said")
    assert asked == [("owner/photos", "val[:4]"), ("owner/photos", "train")]
    assert str(data.files[1]) == "owner/photos/val#1"
    data.files[1].rows.columns["photo"][1] = Image.open(cut_off())
    with pytest.raises(ValueError, match="cannot read the picture owner/photos/val#1"):
        data.pixels(1)
    with pytest.raises(
        ValueError, match="no column image; there are photo, said, title"
    ):
        from_hub("owner/photos", captions="said")


def cut_off():
    file = io.BytesIO()
    gradient(200, 200).save(file, "png")
    return io.BytesIO(file.getvalue()[:500])


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'pip install "mmbook\[hub\]"'):
        from_hub("owner/photos")


def test_a_real_table_of_the_datasets_library(flickr):
    datasets = pytest.importorskip("datasets")
    rows = [
        json.dumps({"file_name": name, "captions": captions_of(name)}) for name in NAMES
    ]
    (flickr / "images" / "metadata.jsonl").write_text("\n".join(rows))
    datasets.disable_caching()
    loaded = datasets.load_dataset(
        "imagefolder",
        data_dir=str(flickr / "images"),
        split="train",
        cache_dir=str(flickr / "cache"),
    )
    data = from_table(loaded, size=16)
    files = captioned_photographs(flickr, "all", size=16)
    assert data.references == files.references
    assert all(torch.equal(data.pixels(k), files.pixels(k)) for k in range(5))


# ------------------------------------------------------------------ easy-VQA

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
    (data / "answers.txt").write_text("circle\ntriangle\nyes\nno")
    (data / "train" / "questions.json").write_text(json.dumps(QUESTIONS))
    return tmp_path


@pytest.mark.parametrize("inside", [".", "data"])
def test_easy_vqa(vqa, inside):
    data = easy_vqa(vqa / inside, "train")
    assert len(data) == 5 and data.answers == ["circle", "triangle", "yes", "no"]
    assert data.labels == [0, 2, 1, 3, 2]
    item = data[3]
    assert (item["text"], item["label"], item["answer"]) == (QUESTIONS[3][0], 3, "no")
    assert item["image"].shape == (3, 64, 64)
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
    with pytest.raises(ValueError, match="2 pictures; got 3 features"):
        data.with_features(torch.zeros(3, 1, 1))


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
    with pytest.raises(FileNotFoundError, match=r"1 of 2 pictures .* 12.png"):
        easy_vqa(vqa)
    (data / "train" / "questions.json").write_text('[["what"')
    with pytest.raises(ValueError, match=r"questions.json is damaged or cut off"):
        easy_vqa(vqa)


# ------------------------------------------------------------------ sounds


def tone(samples=400, rate=8_000, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def write_wave(file, samples, rate=8_000, channels=1, width=2):
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes((np.asarray(samples) * 32768).astype("<i2").tobytes())
    return file


@pytest.fixture
def digits(tmp_path):
    for digit in 3, 7:
        for speaker in "ann", "bob_b":
            for take in 0, 4, 5, 49:
                name = f"{digit}_{speaker}_{take}.wav"
                length = 100 * digit + take
                write_wave(tmp_path / "recordings" / name, tone(length))
    return tmp_path


def takes(recordings):
    return {file.stem for file in recordings.files}


def test_a_sound_is_read_as_it_was_written(tmp_path):
    file = write_wave(tmp_path / "a.wav", tone())
    sound = read_wave(file)
    assert sound.shape == (400,) and sound.dtype == torch.float32
    assert np.abs(sound.numpy() - tone()).max() < 1 / 32768
    both = np.stack([tone(), 0 * tone()], axis=1)  # left and right
    sound = read_wave(write_wave(tmp_path / "b.wav", both, channels=2))
    assert np.abs(sound.numpy() - tone() / 2).max() < 1 / 32768


@pytest.mark.parametrize("rate", [16_000, 11_025, 6_000])
def test_resampling_keeps_the_tone(tmp_path, rate):
    file = write_wave(tmp_path / "a.wav", tone(4_000))
    sound = read_wave(file, rate).numpy()
    assert len(sound) == -(-rate // 2)  # half a second, the last step begun
    edge, expected = rate // 20, tone(len(sound), rate)
    assert np.abs(sound - expected)[edge:-edge].max() < 2e-3


def test_resampling_folds_nothing_over():
    high = tone(8_000, 16_000, hertz=6_000).astype(np.float32)
    low = resample(high, 16_000, 8_000)  # holds up to 4,000 Hz
    assert np.abs(low)[400:-400].max() < 0.01
    assert resample(high, 16_000, 16_000) is high


def test_digits_and_their_official_split(digits):
    train, test = (spoken_digits(digits, split) for split in ("train", "test"))
    assert len(train) == len(test) == 8 and not takes(train) & takes(test)
    assert takes(test) == {
        f"{d}_{s}_{t}" for d in (3, 7) for s in ("ann", "bob_b") for t in (0, 4)
    }
    item = test[7]
    assert (item["label"], item["speaker"], item["index"]) == (7, "bob_b", 7)
    assert item["audio"].shape == (2 * 704,)  # at 16,000 samples a second
    narrow = spoken_digits(digits / "recordings", "all", rate=8_000)
    assert len(narrow) == 16 and narrow[0]["audio"].shape == (300,)


def test_digits_with_a_speaker_left_out(digits):
    train = spoken_digits(digits, "train", left_out="ann")
    test = spoken_digits(digits, "test", left_out="ann")
    assert {item["speaker"] for item in train} == {"bob_b"} and len(train) == 8
    assert {item["speaker"] for item in test} == {"ann"} and len(test) == 8
    with pytest.raises(ValueError, match=r"one of ann, bob_b; got 'carl'"):
        spoken_digits(digits, left_out="carl")


def test_digits_are_read_once_and_make_a_batch(digits):
    data = spoken_digits(digits, "test", rate=8_000)
    assert data[0]["audio"] is data[0]["audio"]
    batch = Collate()([data[0], data[7]])
    assert batch["labels"].tolist() == [3, 7] and batch["audio"].shape == (2, 704)
    assert batch["audio_mask"].sum(1).tolist() == [300, 704]


def test_digits_that_are_not_there_are_named(digits, tmp_path):
    with pytest.raises(ValueError, match=r"one of train, test, all; got 'dev'"):
        spoken_digits(digits, "dev")
    with pytest.raises(FileNotFoundError, match=r"no wav files in .*nowhere"):
        spoken_digits(tmp_path / "nowhere")
    for file in (digits / "recordings").glob("*_[04].wav"):
        file.unlink()
    with pytest.raises(ValueError, match=r"no recording .* the split 'test'"):
        spoken_digits(digits, "test")
    write_wave(digits / "recordings" / "seven.wav", tone())
    with pytest.raises(ValueError, match=r"seven.wav must be named digit_speaker_numb"):
        spoken_digits(digits)


def test_read_speech_with_its_text(tmp_path):
    lines = 'LJ1|in 1469,|in fourteen sixty-nine,\nLJ2|a "b"|a "b"\n\n'
    (tmp_path / "metadata.csv").write_text(lines, encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"2 of 2 sounds .* first is LJ1.wav"):
        lj_speech(tmp_path)
    for name in "LJ1", "LJ2":
        write_wave(tmp_path / "wavs" / f"{name}.wav", tone(2_205, 22_050), 22_050)
    data = lj_speech(tmp_path)
    assert [data[k]["caption"] for k in range(2)] == [
        "in fourteen sixty-nine,",
        'a "b"',
    ]
    assert data[1]["audio"].shape == (1_600,) and data[1]["index"] == 1
    (tmp_path / "metadata.csv").write_text(lines + "LJ3|only one text")
    with pytest.raises(
        ValueError, match=r"line 4: expected name\|text\|text; got 'LJ3"
    ):
        lj_speech(tmp_path)
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"metadata.csv: give the folder of LJ"):
        lj_speech(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "header"])
def test_a_damaged_sound_is_named(tmp_path, damage):
    file = write_wave(tmp_path / "broken.wav", tone())
    whole = file.read_bytes()
    kinds = {"truncated": whole[:500], "text": b"no sound", "empty": b""}
    file.write_bytes(kinds.get(damage, whole[:44]))
    with pytest.raises(ValueError, match=r"broken.wav"):
        read_wave(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no sound .*broken.wav"):
        read_wave(file)


def test_sounds_of_another_depth_are_named(tmp_path):
    file = write_wave(tmp_path / "deep.wav", tone(), width=4)
    with pytest.raises(ValueError, match=r"deep.wav has 32 bits a sample; 16 are read"):
        read_wave(file)


def test_as_many_sounds_as_facts():
    with pytest.raises(ValueError, match="got 1 and 2"):
        Recordings([Path("a.wav")], [{}, {}])


# ------------------------------------------------------------------ real data

DATA = os.environ.get("MMBOOK_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="MMBOOK_DATA does not name a folder of data sets"
)


@needs_data
def test_real_photographs():
    folder = Path(DATA, "flickr8k_1000")
    train, test = (captioned_photographs(folder, s) for s in ("train", "test"))
    assert (len(train.files), len(test.files)) == (798, 202)
    assert len(train) == 5 * 798 and {len(g) for g in test.references} == {5}
    assert not set(names(train)) & set(names(test))
    assert train.references[0][1] == "A girl going into a wooden building ."
    assert train[0]["image"].shape == (3, 224, 224)
    fit, valid = train.split(0.1)
    assert not set(names(fit)) & set(names(valid)) and len(valid.files) == 80


@needs_data
def test_real_easy_vqa():
    test = easy_vqa(Path(DATA, "easyvqa"), "test")
    assert len(test) == 9673 and len(test.images) == 1000 and len(test.answers) == 13
    yes_no = sum(test.answers[label] in ("yes", "no") for label in test.labels)
    assert yes_no == 7136
    fit, valid = test.split(0.1)
    assert len(fit) + len(valid) == 9673 and len(valid.images) == 100


@needs_data
def test_real_digits():
    folder = Path(DATA, "fsdd")
    train, test = (spoken_digits(folder, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (2700, 300)
    counts = np.bincount([known["label"] for known in test.known])
    assert counts.tolist() == [30] * 10
    others = spoken_digits(folder, "train", left_out="theo", rate=8_000)
    assert len(others) == 2500 and len({k["speaker"] for k in others.known}) == 5
    assert 0.1 < len(others[0]["audio"]) / 8_000 < 2.3


@needs_data
def test_real_read_speech():
    data = lj_speech(Path(DATA, "ljspeech32"))
    assert len(data) == 32
    assert data[1]["caption"] == "fourteen sixty-nine, fourteen seventy;"
    seconds = sum(len(data[k]["audio"]) for k in range(32)) / 16_000
    assert 135 < seconds < 147
