"""Photographs with captions of people, read from their files when they are asked for."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from .files import check_fit, check_list, read_image, report, split_numbers, summary
from .rows import Row, read_rows


class Pictures(Dataset):
    """Pictures and what is known of them; or kept features of a frozen encoder instead.

    Items are ``{"image": (3, size, size) uint8, …, "index": number of the picture}``.

    Parameters
    ----------
    files : the pictures, each once.
    entries : (number of the picture, what is known) of each item.
    size, fit : what becomes of the pictures, see :func:`mmbook.data.square`.
    features : (files, N, C) outputs of a frozen encoder; if given, they stand in the
        items instead of pixels (see ``keep_features``).

    Attributes
    ----------
    left_out : (name, reason) of what a folder holds that could not be used.
    """

    def __init__(self, files, entries, size=224, features=None, fit="crop"):
        check_fit(size, fit)
        self.files = [Path(file) for file in check_list(files, "files", "['a.jpg']")]
        self.entries: list[tuple[int, dict]] = list(entries)
        self.size, self.fit = size, fit
        self.features = None if features is None else self._fitting(features)
        self.left_out: list[tuple[str, str]] = []

    def __repr__(self) -> str:
        shown = f"{len(self)} items of {len(self.files)} pictures"
        return f"{type(self).__name__}({shown}){summary(self.left_out)}"

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict:
        number, known = self.entries[index]
        return {"image": self.picture(number), **known, "index": number}

    def picture(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8 of one picture, or its kept features."""
        return self.pixels(number) if self.features is None else self.features[number]

    def pixels(self, number: int) -> Tensor:
        """Pixels (3, size, size) uint8 of one picture, also if features are kept."""
        return read_image(self.files[number], self.size, self.fit)

    def with_features(self, features: Tensor):
        """The same with the outputs of a frozen encoder in the place of the pictures."""
        twin = copy.copy(self)
        twin.features = self._fitting(features)
        return twin

    def _fitting(self, features: Tensor) -> Tensor:
        count = len(self.files)
        if len(features) != count:
            raise ValueError(f"{count} pictures; got features of {len(features)}")
        return features

    def fingerprint(self) -> str:
        """A short name for these pictures: other files, dates or sizes give another."""
        digest = hashlib.sha256(f"{self.size} {self.fit}".encode())
        for file in self.files:
            found = file.stat()
            line = f"\n{file} {found.st_size} {found.st_mtime_ns}"
            digest.update(line.encode())
        return digest.hexdigest()[:16]

    def split(self, share: float, seed: int = 0) -> tuple:
        """Two sets that have no picture in common; the second has this share."""
        first, second = split_numbers(len(self.files), share, seed)
        return self._only(first), self._only(second)

    def _only(self, numbers: list[int]):
        place = {old: new for new, old in enumerate(numbers)}
        part = copy.copy(self)
        for name in "references", "pictures", "labels", "texts":
            part.__dict__.pop(name, None)  # they are computed from the entries
        part.files = [self.files[i] for i in numbers]
        part.entries = [(place[n], known) for n, known in self.entries if n in place]
        part.features = None if self.features is None else self.features[numbers]
        return part


class Photographs(Pictures):
    """Photographs with several human captions each (带描述的照片).

    Items are ``{"image": (3, size, size) uint8, "caption": str, "captions": list,
    "index": int}``, one for each pair of a photograph and a caption; ``captions`` are
    all of the photograph, ``index`` is its number. The argument ``captions`` is a list of
    captions for each file; the rest is as in :class:`Pictures`.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        captions: Sequence[Sequence[str]],
        size: int = 224,
        features: Tensor | None = None,
        fit: str = "crop",
    ):
        super().__init__(files, [], size, features, fit)
        captions = check_list(captions, "captions", "[['a dog', 'a black dog']]")
        if not self.files or len(self.files) != len(captions):
            raise ValueError(
                f"as many pictures as lists of captions are needed, at least one; got "
                f"{len(self.files)} and {len(captions)}"
            )
        for number, (file, group) in enumerate(zip(self.files, captions, strict=True)):
            group = check_list(group, f"the captions of {file}", "['a dog']")
            if not group or not all(isinstance(t, str) and t.strip() for t in group):
                raise ValueError(f"each caption of {file} must have words; got {group}")
            self.entries += [(number, {"caption": t, "captions": group}) for t in group]

    @cached_property
    def references(self) -> list[list[str]]:
        """The captions of each photograph."""
        return list({n: known["captions"] for n, known in self.entries}.values())

    @property
    def captions(self) -> list[str]:
        """All captions, in the order of the items."""
        return [known["caption"] for _, known in self.entries]

    def per_image(self) -> Pictures:
        """The same without ``caption``: one item a photograph, for testing."""
        entries = [(n, {"captions": g}) for n, g in enumerate(self.references)]
        return Pictures(self.files, entries, self.size, self.features, self.fit)


def captioned_photographs(
    folder: str | Path, split: str = "train", size: int = 224, fit: str = "crop"
) -> Photographs:
    """Read photographs with captions from a folder; whatever is wrong is an error.

    The forms are those of :func:`mmbook.data.load_folder`. If nothing tells the splits,
    about every fifth picture, chosen by its name, is in ``"test"``, and the others are
    in ``"train"``. ``"all"`` takes everything.
    """
    left_out: list[tuple[str, str]] = []
    rows = read_rows(folder, split, left_out, fifth=True)[0]
    report(Path(folder), left_out, strict=True)
    if not rows:
        raise ValueError(f"no picture of the split {split!r} has captions in {folder}")
    return photographs_of(rows, size, fit)


def photographs_of(rows: Sequence[Row], size: int, fit: str) -> Photographs:
    """The photographs of rows that have files, each with all its captions."""
    captions: dict[Path, list[str]] = {}
    for row in rows:
        captions.setdefault(row.file, []).extend(row.texts)
    return Photographs(list(captions), list(captions.values()), size, fit=fit)
