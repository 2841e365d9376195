"""Real data sets behind the same items as the scenes: from a folder, or from the hub.

Captioned photographs come in two forms that most collections use: COCO's (a json with
``images`` and ``annotations``) and Flickr8k's (a ``captions.txt`` with a picture's name
and a caption in each line).
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset


class Photographs(Dataset):
    """Photographs with several human captions each (带描述的照片).

    Items are ``{"image": (3, size, size) uint8, "caption": str, "index": int}``, one for
    each pair of a photograph and a caption; ``index`` is the photograph's number.

    Parameters
    ----------
    files : the pictures.
    captions : the captions of each.
    size : pictures are resized to this shorter side, and cropped to a square.
    features : (files, N, C) outputs of a frozen encoder; if given, they stand in the
        items instead of pixels (see :func:`mmbook.encoders.pretrained.keep_features`).
    """

    def __init__(
        self,
        files: Sequence[Path],
        captions: Sequence[Sequence[str]],
        size: int = 224,
        features: Tensor | None = None,
    ):
        if not files or len(files) != len(captions):
            raise ValueError(
                f"as many pictures as lists of captions are needed, at least one; got "
                f"{len(files)} and {len(captions)}"
            )
        if features is not None and len(features) != len(files):
            raise ValueError(f"{len(files)} pictures; got features of {len(features)}")
        self.files, self.size, self.features = list(files), size, features
        self.references = [list(group) for group in captions]
        self.pairs = [
            (picture, text)
            for picture, group in enumerate(self.references)
            for text in group
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict:
        picture, caption = self.pairs[index]
        return {"image": self.picture(picture), "caption": caption, "index": picture}

    def picture(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8 of one photograph, or its kept features."""
        if self.features is not None:
            return self.features[number]
        return read_image(self.files[number], self.size)

    def pixels(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8 of one photograph, also if features are kept."""
        return read_image(self.files[number], self.size)

    def with_features(self, features: Tensor) -> Photographs:
        """The same photographs with the outputs of a frozen encoder in their place."""
        return Photographs(self.files, self.references, self.size, features)

    def split(self, share: float, seed: int = 0) -> tuple[Photographs, Photographs]:
        """Two sets that have no photograph in common; the second has this share."""
        order = list(range(len(self.files)))
        random.Random(seed).shuffle(order)
        second = max(1, round(share * len(order)))
        if second >= len(order):
            raise ValueError(
                f"a share of {share} leaves no photograph for the first set"
            )
        return self._only(sorted(order[second:])), self._only(sorted(order[:second]))

    def _only(self, numbers: list[int]) -> Photographs:
        features = None if self.features is None else self.features[numbers]
        return Photographs(
            [self.files[i] for i in numbers],
            [self.references[i] for i in numbers],
            self.size,
            features,
        )


def captioned_photographs(
    folder: str | Path, split: str = "train", size: int = 224
) -> Photographs:
    """Read photographs with captions from a folder.

    Looks for ``captions_{split}.json`` or ``annotations/captions_{split}.json`` in COCO's
    form, with the pictures in ``images/`` or ``{split}/``; or for ``captions.txt`` in
    Flickr8k's form with pictures in ``images/``, and ``split.json`` which tells for each
    name its split.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no captions in it, or a picture is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: where are the photographs?")
    for name in f"captions_{split}.json", f"annotations/captions_{split}.json":
        if (folder / name).is_file():
            captions = _coco_captions(folder / name)
            break
    else:
        captions = _flickr_captions(folder, split)
    places = [folder / "images", folder / split, folder]
    files = [_find(name, places) for name in captions]
    return Photographs(files, list(captions.values()), size)


def from_hub(
    name: str,
    split: str = "train",
    image: str = "image",
    captions: str = "captions",
    size: int = 224,
    limit: int | None = None,
) -> Photographs:
    """Captioned photographs from the Hugging Face hub; needs the extra ``mmbook[hub]``.

    Parameters
    ----------
    name, split : of the data set.
    image, captions : the columns that hold the picture and its caption or captions.
    limit : take only the first so many.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(
            'data sets of the hub need the extra: pip install "mmbook[hub]"'
        ) from error
    rows = load_dataset(name, split=f"{split}[:{limit}]" if limit else split)
    return _HubPhotographs(rows, image, captions, size)


class _HubPhotographs(Photographs):
    """Photographs whose pixels are in a table with random access."""

    def __init__(self, rows, image: str, captions: str, size: int, features=None):
        missing = [name for name in (image, captions) if name not in rows.column_names]
        if missing:
            raise ValueError(
                f"no column {', '.join(missing)}; there are {', '.join(rows.column_names)}"
            )
        groups = [[g] if isinstance(g, str) else list(g) for g in rows[captions]]
        super().__init__(range(len(rows)), groups, size, features)
        self.rows, self.columns = rows, (image, captions)

    def pixels(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8."""
        return square(self.rows[int(self.files[number])][self.columns[0]], self.size)

    def picture(self, number: int) -> Tensor:
        """Pixels, or kept features."""
        return self.pixels(number) if self.features is None else self.features[number]

    def with_features(self, features: Tensor) -> Photographs:
        """The same photographs with features in their place."""
        return _HubPhotographs(self.rows, *self.columns, self.size, features)

    def _only(self, numbers: list[int]) -> Photographs:
        features = None if self.features is None else self.features[numbers]
        return _HubPhotographs(
            self.rows.select(numbers), *self.columns, self.size, features
        )


class EasyVQA(Dataset):
    """easy-VQA (https://github.com/vzhou842/easy-VQA, MIT): questions on simple shapes.

    Items are ``{"image": (3, 64, 64) uint8, "text": question, "label": int}``; pictures are
    read once and shared by their questions.

    Parameters
    ----------
    folder : the ``data`` folder of easy-VQA, or the one above it.
    split : ``"train"`` or ``"test"``.
    features : (pictures, N, C) of a frozen encoder, instead of pixels.
    """

    def __init__(self, folder: str | Path, split: str, features: Tensor | None = None):
        folder = Path(folder)
        folder = folder / "data" if (folder / "data").is_dir() else folder
        questions = folder / split / "questions.json"
        if not questions.is_file():
            raise FileNotFoundError(f"no {split}/questions.json in {folder}")
        rows = json.loads(questions.read_text(encoding="utf-8"))
        self.answers = (folder / "answers.txt").read_text(encoding="utf-8").split()
        self.questions = [question for question, _, _ in rows]
        self.labels = [self.answers.index(answer) for _, answer, _ in rows]
        names = sorted({picture for _, _, picture in rows})
        place = {name: number for number, name in enumerate(names)}
        self.pictures = [place[picture] for _, _, picture in rows]
        files = [folder / split / "images" / f"{name}.png" for name in names]
        self.images = torch.stack([read_image(file, 64) for file in files])
        self.features = features

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> dict:
        shown = self.images if self.features is None else self.features
        return {
            "image": shown[self.pictures[index]],
            "text": self.questions[index],
            "label": self.labels[index],
        }


def easy_vqa(folder: str | Path, split: str = "train") -> EasyVQA:
    """Read easy-VQA from a folder."""
    return EasyVQA(folder, split)


def read_image(file: str | Path, size: int) -> Tensor:
    """A picture file as (3, size, size) uint8: shorter side resized, middle cropped."""
    try:
        with Image.open(file) as image:
            return square(image, size)
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"cannot read the picture {file}: {error}") from error


def square(image: Image.Image, size: int) -> Tensor:
    """A PIL image as (3, size, size) uint8."""
    image = image.convert("RGB")
    scale = size / min(image.size)
    wide, high = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    image = image.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _coco_captions(file: Path) -> dict[str, list[str]]:
    table = json.loads(file.read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in table["images"]}
    captions: dict[str, list[str]] = {name: [] for name in names.values()}
    for row in table["annotations"]:
        if row["image_id"] not in names:
            raise ValueError(
                f"{file}: a caption is for picture {row['image_id']}, which "
                "is not among the images"
            )
        captions[names[row["image_id"]]].append(row["caption"].strip())
    return {name: group for name, group in captions.items() if group}


def _flickr_captions(folder: Path, split: str) -> dict[str, list[str]]:
    table = folder / "captions.txt"
    if not table.is_file():
        raise FileNotFoundError(
            f"{folder} has neither captions_{split}.json (COCO's form) nor captions.txt "
            "(Flickr8k's form)"
        )
    captions: dict[str, list[str]] = {}
    with table.open(encoding="utf-8", newline="") as handle:
        for row in csv.reader(handle):
            if len(row) >= 2 and row[0] != "image":
                captions.setdefault(row[0], []).append(",".join(row[1:]).strip())
    if (folder / "split.json").is_file():
        belongs = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        known = sorted(set(belongs.values()))
        if split not in known:
            raise ValueError(f"split must be one of {', '.join(known)}; got {split!r}")
        captions = {
            n: group for n, group in captions.items() if belongs.get(n) == split
        }
    return captions


def _find(name: str, places: Sequence[Path]) -> Path:
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"no picture {name} in {', '.join(map(str, places))}")
