"""Real data sets behind the same items as the scenes: from a folder, or from the hub.

Captioned photographs come in two forms that most collections use: COCO's (a json with
``images`` and ``annotations``) and Flickr8k's (a ``captions.txt`` with a picture's name
and a caption in each line). Pictures are read when they are asked for. Recorded speech
is read from wav files by Python's own ``wave``: no other library is needed."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import math
import random
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset


class Photographs(Dataset):
    """Photographs with several human captions each (带描述的照片).

    Items are ``{"image": (3, size, size) uint8, "caption": str, "captions": list,
    "index": int}``, one for each pair of a photograph and a caption; ``captions`` are
    all of the photograph, ``index`` is its number. :meth:`per_image` has one item for
    each photograph instead.

    Parameters
    ----------
    files : the pictures.
    captions : the captions of each.
    size : pictures are resized to this shorter side, and cropped to a square.
    features : (files, N, C) outputs of a frozen encoder; if given, they stand in the
        items instead of pixels (see :func:`mmbook.pretrained.keep_features`).
    """

    def __init__(
        self,
        files: Sequence[Path | TableImage],
        captions: Sequence[Sequence[str]],
        size: int = 224,
        features: Tensor | None = None,
    ):
        if not len(files) or len(files) != len(captions):
            raise ValueError(
                f"as many pictures as lists of captions are needed, at least one; got "
                f"{len(files)} and {len(captions)}"
            )
        if features is not None and len(features) != len(files):
            raise ValueError(f"{len(files)} pictures; got features of {len(features)}")
        self.files = [f if isinstance(f, TableImage) else Path(f) for f in files]
        self.size, self.features = size, features
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
        return {"caption": caption, **self._shared(picture)}

    def _shared(self, number: int) -> dict:
        captions = self.references[number]
        return {"image": self.picture(number), "captions": captions, "index": number}

    def per_image(self) -> Dataset:
        """The same without ``caption``: one item a photograph, for testing."""
        return _PerImage(self)

    def picture(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8 of one photograph, or its kept features."""
        if self.features is not None:
            return self.features[number]
        return self.pixels(number)

    def pixels(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8 of one photograph, also if features are kept."""
        file = self.files[number]
        if isinstance(file, TableImage):
            return square(file.open(), self.size)
        return read_image(file, self.size)

    def with_features(self, features: Tensor) -> Photographs:
        """The same photographs with the outputs of a frozen encoder in their place."""
        return Photographs(self.files, self.references, self.size, features)

    def fingerprint(self) -> str:
        """A short name for these pictures: other files, dates or sizes give another."""
        digest = hashlib.sha256(str(self.size).encode())
        for file in self.files:
            digest.update(f"\n{file}".encode())
            if isinstance(file, Path):
                found = file.stat()
                digest.update(f" {found.st_size} {found.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]

    def split(self, share: float, seed: int = 0) -> tuple[Photographs, Photographs]:
        """Two sets that have no photograph in common; the second has this share."""
        first, second = split_numbers(len(self.files), share, seed)
        return self._only(first), self._only(second)

    def _only(self, numbers: list[int]) -> Photographs:
        features = None if self.features is None else self.features[numbers]
        return Photographs(
            [self.files[i] for i in numbers],
            [self.references[i] for i in numbers],
            self.size,
            features,
        )


class _PerImage(Dataset):
    """One item for each photograph, with all its captions."""

    def __init__(self, photographs: Photographs):
        self.photographs = photographs

    def __len__(self) -> int:
        return len(self.photographs.files)

    def __getitem__(self, number: int) -> dict:
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} photographs; got {number}")
        return self.photographs._shared(number)


@dataclass(frozen=True, repr=False)
class TableImage:
    """A picture in a table of the ``datasets`` library, decoded when it is opened."""

    rows: Sequence
    number: int
    column: str
    name: str

    def open(self) -> Image.Image:
        """The picture; says which one cannot be read."""
        try:
            image = self.rows[self.number][self.column]
            image.load()
            return image
        except _UNREADABLE as error:
            raise ValueError(f"cannot read the picture {self}: {error}") from error

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    __repr__ = __str__


def captioned_photographs(
    folder: str | Path, split: str = "train", size: int = 224
) -> Photographs:
    """Read photographs with captions from a folder.

    Looks for captions in COCO's form in ``captions_{split}.json`` or
    ``annotations/captions_{split}.json``, or for those of all splits in
    ``captions.json`` (COCO's form) or ``captions.txt`` (Flickr8k's form). Pictures are
    in ``images/``, in ``{split}/``, or beside the captions.

    Where one file holds all splits, ``split.json`` tells for each name its split.
    Without it about every fifth picture, chosen by its name, is in ``"test"``, and the
    others are in ``"train"``. ``"all"`` takes everything.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no captions in it, or a picture is missing.
    ValueError
        If there is no such split, or a file of captions is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: where are the photographs?")
    captions = _read_captions(folder, split)
    if not captions:
        raise ValueError(f"no picture of the split {split!r} has captions in {folder}")
    files = _find(list(captions), [folder / "images", folder / split, folder])
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
    name, split : of the data set; a local folder in the hub's form is a name too.
    image, captions : the columns that hold the picture and its caption or captions.
        There must be one row a picture: if a picture has a row for each caption,
        :meth:`Photographs.split` takes the rows for different pictures.
    limit : take only the first so many.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ImportError(
            'data sets of the hub need the extra: pip install "mmbook[hub]"'
        ) from error
    rows = load_dataset(str(name), split=f"{split}[:{limit}]" if limit else split)
    return from_table(rows, image, captions, size, f"{name}/{split}")


def from_table(
    rows,
    image: str = "image",
    captions: str = "captions",
    size: int = 224,
    name: str = "table",
) -> Photographs:
    """Captioned photographs from a loaded ``datasets.Dataset``, named for messages."""
    missing = [
        column for column in (image, captions) if column not in rows.column_names
    ]
    if missing:
        raise ValueError(
            f"no column {', '.join(missing)}; there are {', '.join(rows.column_names)}"
        )
    groups = [[g] if isinstance(g, str) else list(g) for g in rows[captions]]
    files = [TableImage(rows, number, image, name) for number in range(len(groups))]
    return Photographs(files, groups, size)


class EasyVQA(Dataset):
    """easy-VQA (https://github.com/vzhou842/easy-VQA, MIT): questions on simple shapes.

    Items are ``{"image": (3, 64, 64) uint8, "text": question, "label": int,
    "answer": str, "index": int}``; ``index`` is the picture's number. Pictures are read
    once and shared by their questions; ``answers`` lists the possible answers in the
    order of the labels.

    Parameters
    ----------
    folder : the ``data`` folder of easy-VQA, or the one above it.
    split : ``"train"`` or ``"test"``.
    features : (pictures, N, C) of a frozen encoder, instead of pixels.
    """

    def __init__(self, folder: str | Path, split: str, features: Tensor | None = None):
        folder = Path(folder)
        folder = folder / "data" if (folder / "data").is_dir() else folder
        rows = _read_questions(folder / split / "questions.json")
        self.answers = _read_answers(folder / "answers.txt")
        unknown = sorted({answer for _, answer, _ in rows} - set(self.answers))
        if unknown:
            raise ValueError(f"{folder / 'answers.txt'} lacks {', '.join(unknown)}")
        self.questions = [question for question, _, _ in rows]
        self.labels = [self.answers.index(answer) for _, answer, _ in rows]
        names = sorted({picture for _, _, picture in rows})
        place = {name: number for number, name in enumerate(names)}
        self.pictures = [place[picture] for _, _, picture in rows]
        files = _find([f"{name}.png" for name in names], [folder / split / "images"])
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
            "answer": self.answers[self.labels[index]],
            "index": self.pictures[index],
        }

    def with_features(self, features: Tensor) -> EasyVQA:
        """The same questions with the outputs of a frozen encoder for ``images``."""
        if len(features) != len(self.images):
            raise ValueError(
                f"{len(self.images)} pictures; got {len(features)} features"
            )
        twin = copy.copy(self)
        twin.features = features
        return twin

    def split(self, share: float, seed: int = 0) -> tuple[EasyVQA, EasyVQA]:
        """Two sets that have no picture in common; the second has this share."""
        first, second = split_numbers(len(self.images), share, seed)
        return self._only(first), self._only(second)

    def _only(self, numbers: list[int]) -> EasyVQA:
        place = {old: new for new, old in enumerate(numbers)}
        kept = [row for row, old in enumerate(self.pictures) if old in place]
        part = copy.copy(self)
        part.questions = [self.questions[row] for row in kept]
        part.labels = [self.labels[row] for row in kept]
        part.pictures = [place[self.pictures[row]] for row in kept]
        part.images = self.images[numbers]
        part.features = None if self.features is None else self.features[numbers]
        return part


def easy_vqa(folder: str | Path, split: str = "train") -> EasyVQA:
    """Read easy-VQA from a folder."""
    return EasyVQA(folder, split)


class Recordings(Dataset):
    """Sound files with what is known of each (录音).

    Items are ``{"audio": (S,) float in [−1, 1], "index": int}`` together with what is
    known: ``caption``, or ``label`` and ``speaker``.

    Parameters
    ----------
    files : wav files.
    known : a dictionary for each file.
    rate : samples a second; files with another rate are resampled.
    keep : hold each sound in memory once it was read; for small files read often.
    """

    def __init__(
        self,
        files: Sequence[Path],
        known: Sequence[dict],
        rate: int = 16_000,
        keep: bool = False,
    ):
        if not len(files) or len(files) != len(known):
            raise ValueError(
                "as many files as dictionaries of what is known are needed, at least "
                f"one; got {len(files)} and {len(known)}"
            )
        self.files, self.known = [Path(file) for file in files], list(known)
        self.rate, self.kept = rate, {} if keep else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        return {"audio": self.sound(index), **self.known[index], "index": int(index)}

    def sound(self, number: int) -> Tensor:
        """One sound at the rate of the set: (S,) float32."""
        if self.kept is None:
            return read_wave(self.files[number], self.rate)
        if number not in self.kept:
            self.kept[number] = read_wave(self.files[number], self.rate)
        return self.kept[number]


def spoken_digits(
    folder: str | Path,
    split: str = "train",
    left_out: str | None = None,
    rate: int = 16_000,
) -> Recordings:
    """The Free Spoken Digit Dataset: 0 to 9 in English, six speakers (CC BY-SA 4.0).

    https://github.com/Jakobovski/free-spoken-digit-dataset. Items hold ``audio``,
    ``label`` (the digit) and ``speaker``.

    Parameters
    ----------
    folder : the one with ``recordings``, or that one itself.
    split : ``"train"``, ``"test"`` or ``"all"``. The official test set is the
        recordings 0 to 4 of each speaker and digit: easy, for all voices are known.
    left_out : a speaker. ``"test"`` is then all of this speaker's recordings and
        ``"train"`` all of the others': the honest test.
    rate : samples a second; the files have 8,000.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no recording in it.
    ValueError
        If there is no such split or speaker, or a file is not named as expected.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be one of train, test, all; got {split!r}")
    rows = _digit_files(Path(folder))
    speakers = sorted({speaker for _, _, speaker, _ in rows})
    if left_out not in (None, *speakers):
        raise ValueError(
            f"the speaker left out must be one of {', '.join(speakers)}; got "
            f"{left_out!r}"
        )
    kept = [
        (file, {"label": digit, "speaker": speaker})
        for file, digit, speaker, take in rows
        if split == "all"
        or (split == "test") == (speaker == left_out if left_out else take < 5)
    ]
    if not kept:
        raise ValueError(f"no recording in {folder} belongs to the split {split!r}")
    files, known = zip(*kept, strict=True)
    return Recordings(files, known, rate, keep=True)


def lj_speech(folder: str | Path, rate: int = 16_000) -> Recordings:
    """LJ Speech: one reader, sentences of English books (public domain).

    https://keithito.com/LJ-Speech-Dataset. Reads ``metadata.csv`` (name, text, text
    with numbers written out, between bars) and the sounds in ``wavs`` or ``wavs16k``.
    Items hold ``audio`` and ``caption``, the text with numbers written out.

    Raises
    ------
    FileNotFoundError
        If the table or a sound is missing.
    ValueError
        If a line of the table is not in this form.
    """
    folder = Path(folder)
    table = folder / "metadata.csv"
    if not table.is_file():
        raise FileNotFoundError(f"no {table}: give the folder of LJ Speech")
    names, known = [], []
    lines = table.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line:
            parts = line.split("|")
            if len(parts) != 3 or not parts[2].strip():
                raise ValueError(
                    f"{table}, line {number}: expected name|text|text; got {line!r}"
                )
            names.append(f"{parts[0]}.wav")
            known.append({"caption": parts[2].strip()})
    files = _find(names, [folder / "wavs", folder / "wavs16k"], "sounds")
    return Recordings(files, known, rate)


def _digit_files(folder: Path) -> list[tuple[Path, int, str, int]]:
    """File, digit, speaker and number of each recording."""
    inner = folder / "recordings"
    files = sorted((inner if inner.is_dir() else folder).glob("*.wav"))
    if not files:
        raise FileNotFoundError(
            f"no wav files in {folder}, nor in recordings inside it: give the folder "
            "of the Free Spoken Digit Dataset"
        )
    rows = []
    for file in files:
        named = re.fullmatch(r"(\d)_(\w+)_(\d+)", file.stem)
        if named is None:
            raise ValueError(
                f"{file} must be named digit_speaker_number.wav, as 7_jackson_32.wav"
            )
        digit, speaker, take = named.groups()
        rows.append((file, int(digit), speaker, int(take)))
    return rows


def read_wave(file: str | Path, rate: int | None = None) -> Tensor:
    """A wav file of 16 bits a sample as (S,) float32 in [−1, 1]; channels are averaged.

    Parameters
    ----------
    rate : samples a second to resample to; None keeps the file's own.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is not there, or is damaged, cut off or of another kind; both name it.
    """
    try:
        with wave.open(str(file)) as sound:
            form, data = sound.getparams(), sound.readframes(sound.getnframes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no sound {file}") from None
    except (wave.Error, EOFError, OSError) as error:
        raise ValueError(f"cannot read the sound {file}: {error!r}") from error
    if form.sampwidth != 2:
        raise ValueError(f"{file} has {8 * form.sampwidth} bits a sample; 16 are read")
    frames = len(data) // (2 * form.nchannels)
    if frames < form.nframes or not frames:
        raise ValueError(
            f"{file} is empty or cut off: it has {frames} of {form.nframes} samples"
        )
    samples = np.frombuffer(data, dtype="<i2").reshape(frames, form.nchannels)
    sound = (samples.mean(1) / 32768).astype(np.float32)
    return torch.from_numpy(resample(sound, form.framerate, rate or form.framerate))


def resample(sound: np.ndarray, before: int, after: int) -> np.ndarray:
    """Samples (S,) at one rate to samples at another (重采样): (⌈S after / before⌉,).

    The spectrum is cut off, or filled up with zeros, at half the new rate: nothing that
    both rates can hold is lost, and nothing folds over (Nyquist).
    """
    if before == after:
        return sound
    common = math.gcd(before, after)
    up, down = after // common, before // common
    length = (
        -(-len(sound) // down) + 16
    )  # in steps of both; silence behind for the edge
    spectrum = np.fft.rfft(sound, length * down)
    wanted = np.fft.irfft(spectrum, length * up) * (up / down)
    return wanted[: -(-len(sound) * up // down)].clip(-1, 1).astype(np.float32)


def split_numbers(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers below ``count`` in two sorted groups, the second with this share of them.

    Raises
    ------
    ValueError
        If one of the groups would be empty.
    """
    order = list(range(count))
    random.Random(seed).shuffle(order)
    second = round(share * count)
    if not 0 < second < count:
        raise ValueError(
            f"a share of {share} of {count} pictures leaves one of the sets empty; it "
            "must be between 0 and 1"
        )
    return sorted(order[second:]), sorted(order[:second])


_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_image(file: str | Path, size: int) -> Tensor:
    """A picture file as (3, size, size) uint8: shorter side resized, middle cropped.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is not there, or is damaged or no picture; both name the file.
    """
    try:
        with Image.open(file) as image:
            return square(image, size)
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture {file}") from None
    except _UNREADABLE as error:
        raise ValueError(f"cannot read the picture {file}: {error}") from error


def square(image: Image.Image, size: int) -> Tensor:
    """A PIL image as (3, size, size) uint8, turned as the camera says."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    scale = size / min(image.size)
    wide, high = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    image = image.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _read_captions(folder: Path, split: str) -> dict[str, list[str]]:
    """By the picture's name, its captions."""
    for name in f"captions_{split}.json", f"annotations/captions_{split}.json":
        if (folder / name).is_file():
            return _coco_captions(folder / name)
    if (folder / "captions.json").is_file():
        captions = _coco_captions(folder / "captions.json")
    elif (folder / "captions.txt").is_file():
        captions = _flickr_captions(folder / "captions.txt")
    else:
        found = sorted(str(f.relative_to(folder)) for f in folder.rglob("captions*"))
        raise FileNotFoundError(
            f"{folder} has neither captions_{split}.json (COCO's form) nor "
            "captions.txt (Flickr8k's form); there is "
            f"{', '.join(found) or 'no file of captions'}"
        )
    return _of_split(captions, folder / "split.json", split)


def _of_split(captions: dict, table: Path, split: str) -> dict[str, list[str]]:
    if split == "all":
        return captions
    if table.is_file():
        belongs = _read_json(table)
    else:
        belongs = {name: "train" if _fifth(name) else "test" for name in captions}
    known = sorted({*belongs.values(), "all"})
    if split not in known:
        raise ValueError(f"split must be one of {', '.join(known)}; got {split!r}")
    return {name: g for name, g in captions.items() if belongs.get(name) == split}


def _fifth(name: str) -> int:
    """0 for about every fifth name, the same on every machine."""
    return int(hashlib.sha1(name.encode()).hexdigest(), 16) % 5


def _coco_captions(file: Path) -> dict[str, list[str]]:
    table = _read_json(file)
    try:
        names = {image["id"]: image["file_name"] for image in table["images"]}
        said = [(row["image_id"], row["caption"]) for row in table["annotations"]]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is not in COCO's form (images with id and file_name, annotations "
            f"with image_id and caption): {error!r}"
        ) from error
    captions: dict[str, list[str]] = {name: [] for name in names.values()}
    for picture, text in said:
        if picture not in names:
            raise ValueError(
                f"{file}: a caption is for picture {picture}, which is not among the "
                "images"
            )
        captions[names[picture]].append(text.strip())
    return {name: group for name, group in captions.items() if group}


def _flickr_captions(file: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    lines = file.read_text(encoding="utf-8-sig").split("\n")
    for number, line in enumerate(map(str.rstrip, lines), start=1):
        if not line or (number == 1 and line.split(",")[0] == "image"):
            continue
        name, *text = next(csv.reader([line]))
        if not text or not "".join(text).strip():
            raise ValueError(
                f"{file}, line {number}: expected image,caption; got {line!r}"
            )
        captions.setdefault(name, []).append(",".join(text).strip())
    return captions


def _read_questions(file: Path) -> list[tuple[str, str, int]]:
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}: give the folder of easy-VQA, and the split train or test"
        )
    rows = _read_json(file)
    if not rows or any(len(row) != 3 for row in rows):
        raise ValueError(f"{file} must list [question, answer, picture]")
    return rows


def _read_answers(file: Path) -> list[str]:
    if not file.is_file():
        raise FileNotFoundError(f"no {file}, which lists the answers")
    return file.read_text(encoding="utf-8").split()


def _read_json(file: Path):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged or cut off: {error}") from error


def _find(
    names: Sequence[str], places: Sequence[Path], kind: str = "pictures"
) -> list[Path]:
    """Where the pictures (or sounds) are, all of them."""
    found = [
        next((p / name for p in places if (p / name).is_file()), None) for name in names
    ]
    missing = [name for name, file in zip(names, found, strict=True) if file is None]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} {kind} are not there, the first is "
            f"{missing[0]}; looked in {', '.join(map(str, places))}"
        )
    return found
