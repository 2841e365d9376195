"""Captioned photographs: both classic forms, no leaks between splits, clear errors."""

import csv
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmbook.data import Collate
from mmbook.data.captions import Photographs, captioned_photographs
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


def write_json(file, table):
    file.write_text(json.dumps(table), encoding="utf-8")


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
        write_json(folder / "split.json", belongs)


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
    write_json(tmp_path / place, coco_table())
    data = captioned_photographs(tmp_path, "val", size=16)
    assert names(data) == NAMES and len(data) == 10
    assert data.references == [captions_of(name) for name in NAMES]
    assert data[3]["caption"] == "second , of 1.jpg ." and data[3]["index"] == 1


def test_coco_splits_with_a_year_and_pictures_of_one_split_only(tmp_path):
    write_images(tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    write_json(tmp_path / "annotations" / "captions_val2017.json", coco_table())
    others = coco_table([f"other{name}" for name in NAMES])
    write_json(tmp_path / "annotations" / "captions_train2017.json", others)
    for split in "val2017", "val", "validation":
        assert names(captioned_photographs(tmp_path, split, size=16)) == NAMES


def test_flickr_form_and_its_splits(flickr):
    train = captioned_photographs(flickr, "train", size=16)
    test = captioned_photographs(flickr, "test", size=16)
    assert names(train) == NAMES[2:] and names(test) == NAMES[:2]
    assert test.references == [captions_of(name) for name in NAMES[:2]]
    assert names(captioned_photographs(flickr, "all")) == NAMES


def test_splits_with_their_lists_of_names(flickr):
    lists = {"train": NAMES[2:4], "test": NAMES[:2], "validation": NAMES[4:]}
    write_json(flickr / "split.json", lists)
    found = [names(captioned_photographs(flickr, s)) for s in ("train", "test", "val")]
    assert found == [NAMES[2:4], NAMES[:2], NAMES[4:]]
    write_json(flickr / "split.json", {"0.jpg": ["train"], "1.jpg": 3})
    with pytest.raises(
        ValueError, match=r"split.json: '1.jpg' must have a split; got 3"
    ):
        captioned_photographs(flickr)


def test_a_picture_in_no_split_is_named(flickr):
    write_json(flickr / "split.json", {"0.jpg": "train", "1.jpg": "test"})
    with pytest.raises(
        ValueError, match=r"3 cannot be used:\n  2.jpg: belongs to no sp"
    ):
        captioned_photographs(flickr)


def test_one_coco_file_for_all_splits(flickr):
    (flickr / "captions.txt").unlink()
    write_json(flickr / "captions.json", coco_table())
    assert names(captioned_photographs(flickr, "test")) == NAMES[:2]


def test_without_a_table_of_splits_nothing_is_in_two(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    many = [f"{number}.png" for number in range(60)]
    for name in many:
        Image.new("RGB", (4, 4)).save(folder / name)
    lines = "\n".join(f"{name},a caption" for name in many)
    (tmp_path / "captions.txt").write_text(lines, encoding="utf-8")
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
    (flickr / "captions.txt").write_text("\n".join(lines), encoding="utf-8", newline="")
    expected = ['a dog, a cat , and "friends"', "unquoted, but clear"]
    expected += ['"never closed', "the last"]
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


def test_oblong_pictures_are_fitted_as_asked(flickr):
    shapes = {
        fit: tuple(captioned_photographs(flickr, "all", 12, fit).pixels(0).shape)
        for fit in ("crop", "pad", "keep")
    }
    assert shapes == {"crop": (3, 12, 12), "pad": (3, 12, 12), "keep": (3, 12, 16)}


def test_features_stand_in_the_place_of_pixels(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    features = torch.rand(3, 4, 5)
    kept = data.with_features(features)
    assert torch.equal(kept[5]["image"], features[2])
    assert torch.equal(kept.pixels(2), data.pixels(2)) and data.features is None
    second = kept.split(0.4)[1]
    assert torch.equal(second.picture(0), features[names(data).index(names(second)[0])])
    for make in (
        data.with_features,
        lambda f: Photographs(data.files, data.references, features=f),
    ):
        with pytest.raises(ValueError, match="3 pictures; got features of 2"):
            make(features[:2])


def test_workers_can_be_handed_the_data(flickr):
    data = captioned_photographs(flickr, "train", size=16)
    assert torch.equal(pickle.loads(pickle.dumps(data))[0]["image"], data[0]["image"])


def test_a_fingerprint_tells_pictures_apart(flickr):
    def data(split="train", size=16, fit="crop"):
        return captioned_photographs(flickr, split, size, fit).fingerprint()

    prints = {data(), data(size=8), data("all"), data(fit="pad")}
    assert len(prints) == 4 and data() in prints
    os.utime(flickr / "images" / "3.jpg", ns=(1, 1))
    assert data() not in prints  # it looks at the files


def test_split_by_picture_seeded_and_complete():
    files = [Path(f"{number}.jpg") for number in range(50)]
    data = Photographs(files, [[f"a {n}", f"b {n}"] for n in range(50)])
    first, second = data.split(0.2, seed=1)
    assert len(first.files) == 40 and len(second.files) == 10 and len(second) == 20
    assert sorted(first.files + second.files) == sorted(files) and len(data) == 100
    assert {f.stem for f in second.files} == {
        t[2:] for g in second.references for t in g
    }
    again, other = data.split(0.2, seed=1)[1], data.split(0.2, seed=2)[1]
    assert again.files == second.files != other.files


# ------------------------------------------------------------------ what is wrong


def test_as_many_captions_as_pictures():
    with pytest.raises(ValueError, match="got 0 and 0"):
        Photographs([], [])
    with pytest.raises(ValueError, match="got 1 and 2"):
        Photographs([Path("a")], [["a"], ["b"]])


def test_one_string_is_no_list_of_captions():
    with pytest.raises(ValueError, match=r"captions of f.jpg must be a list.*'a dog'"):
        Photographs(["f.jpg"], ["a dog"])
    with pytest.raises(ValueError, match=r"captions must be a list, as \[\['a dog'"):
        Photographs(["f.jpg"], "a dog")
    with pytest.raises(ValueError, match=r"files must be a list.*got 'f.jpg'"):
        Photographs("f.jpg", [["a dog"]])
    for group in [" "], [None], []:
        with pytest.raises(ValueError, match=r"each caption of f.jpg must have words"):
            Photographs(["f.jpg"], [group])


def test_folders_without_data(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        captioned_photographs(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no captions and no labels. Known are"):
        captioned_photographs(tmp_path)
    (tmp_path / "annotations").mkdir()
    write_json(tmp_path / "annotations" / "captions_val2017.json", {})
    with pytest.raises(ValueError, match=r"captions_val2017.json holds no entry"):
        captioned_photographs(tmp_path, "train")


def test_a_split_that_is_not_there(flickr):
    with pytest.raises(ValueError, match=r"one of all, test, train; got 'valid'"):
        captioned_photographs(flickr, "valid")
    (flickr / "split.json").write_text('{"0.jpg": "tr')
    with pytest.raises(ValueError, match=r"split.json is damaged or cut off"):
        captioned_photographs(flickr, "train")


def test_captions_of_pictures_that_are_not_there(flickr):
    (flickr / "images" / "3.jpg").unlink()
    with pytest.raises(ValueError, match=r"\n  3.jpg: no such file"):
        captioned_photographs(flickr, "train")
    assert names(captioned_photographs(flickr, "test")) == NAMES[:2]


def test_entries_of_coco_that_cannot_be_used_are_named(flickr):
    table = coco_table()
    table["annotations"] += [
        {"image_id": 99, "caption": "lost"},
        {"image_id": 7, "caption": None},
        {"image_id": 7, "caption": " \n"},
        {"image_id": 7, "caption": 5},
    ]
    table["images"].append({"id": 50, "file_name": "silent.jpg"})
    (flickr / "captions.txt").unlink()
    write_json(flickr / "captions_train.json", table)
    with pytest.raises(ValueError) as found:
        captioned_photographs(flickr, "train")
    place = "  captions_train.json, "
    assert str(found.value).splitlines()[1:] == [
        f"{place}annotation 10: picture 99 is not among the images",
        f"{place}annotation 11: 0.jpg: the caption is missing; got None",
        f"{place}annotation 12: 0.jpg: a caption needs words; got ' \\n'",
        f"{place}annotation 13: 0.jpg: a caption needs words; got 5",
        f"{place}picture 50: silent.jpg: no caption",
    ]


def test_two_pictures_of_coco_with_one_id_are_not_merged(flickr):
    table = coco_table()
    (flickr / "captions.txt").unlink()
    table["images"][1]["id"] = 7
    table["annotations"] = [row for row in table["annotations"] if row["image_id"] != 8]
    write_json(flickr / "captions_train.json", table)
    with pytest.raises(ValueError, match=r"have the id 7: \['0.jpg', '1.jpg'\]"):
        captioned_photographs(flickr, "train")
    table["images"][1] = table["images"][0]  # the same entry twice does no harm
    write_json(flickr / "captions_train.json", table)
    assert names(captioned_photographs(flickr, "train")) == ["0.jpg", *NAMES[2:]]


def test_captions_in_neither_form(flickr):
    (flickr / "captions.txt").write_text("image,caption\n0.jpg,fine\n1.jpg\n")
    with pytest.raises(ValueError, match=r"txt, line 3: 1.jpg: the caption is missing"):
        captioned_photographs(flickr)
    (flickr / "captions.txt").write_text("these are\nmy pictures\n")
    with pytest.raises(
        ValueError, match=r"line 1: expected image,caption, .*'these are"
    ):
        captioned_photographs(flickr)
    (flickr / "captions.txt").unlink()
    write_json(flickr / "captions_train.json", {"images": [3], "annotations": []})
    with pytest.raises(ValueError, match=r"not in COCO's form.*file_name"):
        captioned_photographs(flickr)
    write_json(flickr / "captions_train.json", [1, 2])
    with pytest.raises(
        ValueError, match=r"no entry that can be used; .*entry 0: got 1"
    ):
        captioned_photographs(flickr)


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
def test_real_photographs_in_cocos_form():
    data = captioned_photographs(Path(DATA, "photographs"), "all", 64, "pad")
    assert len(data.files) == 42 and len(data) == 210
    assert data.references[0][1].startswith("Several different types of foods") or any(
        "foods" in text for text in data.references[0]
    )
    bars = data.pixels(0)  # 320 × 214: bars above and below
    assert not bars[:, :9].any() and bars[:, 12:52].float().std() > 10
