"""Pictures with a class, or with a text and a class: questions, memes, easy-VQA."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from .captions import Pictures
from .files import check_list, read_image, read_json, read_text


class LabelledPictures(Pictures):
    """Pictures, each with a class, and with a text that is read with it if there is one.

    Items are ``{"image": (3, size, size) uint8, "label": int, "index": int}``, with
    ``"text"`` if there are texts. A picture may have several items (questions);
    ``index`` is its number among ``files``.

    Parameters
    ----------
    files, labels, texts : the picture, the number of the class and the text of each
        item; ``texts`` is None if nothing is read.
    classes : the names of the classes.
    size, features, fit : see :class:`mmbook.data.captions.Pictures`.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        labels: Sequence[int],
        classes: Sequence[str],
        texts: Sequence[str] | None = None,
        size: int = 224,
        features: Tensor | None = None,
        fit: str = "crop",
    ):
        files = [Path(file) for file in check_list(files, "files", "['a.jpg']")]
        labels = [int(n) for n in check_list(labels, "labels", "[0, 1]")]
        self.classes = check_list(classes, "classes", "['cat', 'dog']")
        said = files if texts is None else check_list(texts, "texts", "['a dog']")
        if not files or {len(files)} != {len(labels), len(said)}:
            raise ValueError(
                "as many pictures as labels (and texts) are needed, at least one; got "
                f"{len(files)} and {len(labels)}"
            )
        low, high = min(labels), max(labels)
        if not 0 <= low <= high < len(self.classes):
            most = len(self.classes) - 1
            raise ValueError(f"labels must be from 0 to {most}; got {low} to {high}")
        place = {file: number for number, file in enumerate(dict.fromkeys(files))}
        entries = [
            (
                place[file],
                {"label": n} if texts is None else {"text": text, "label": n},
            )
            for file, text, n in zip(files, said, labels, strict=True)
        ]
        super().__init__(list(place), entries, size, features, fit)

    @cached_property
    def pictures(self) -> list[int]:
        """The number of the picture of each item."""
        return [number for number, _ in self.entries]

    @cached_property
    def labels(self) -> list[int]:
        """The number of the class of each item."""
        return [known["label"] for _, known in self.entries]

    @cached_property
    def texts(self) -> list[str | None]:
        """The text of each item, if there are texts."""
        return [known.get("text") for _, known in self.entries]


class EasyVQA(LabelledPictures):
    """easy-VQA (https://github.com/vzhou842/easy-VQA, MIT): questions on simple shapes.

    Items are ``{"image": (3, 64, 64) uint8, "text": question, "label": int,
    "answer": str, "index": int}``; ``index`` is the picture's number. Pictures are read
    once, as ``images``, and shared by their questions; ``answers`` lists the possible
    answers in the order of the labels. ``folder`` is the ``data`` folder of easy-VQA or
    the one above it, ``split`` is ``"train"`` or ``"test"``.
    """

    def __init__(self, folder: str | Path, split: str, features: Tensor | None = None):
        folder = Path(folder)
        folder = folder / "data" if (folder / "data").is_dir() else folder
        table, names = folder / split / "questions.json", folder / "answers.txt"
        for file in table, names:
            if not file.is_file():
                raise FileNotFoundError(
                    f"no {file}: give the folder of easy-VQA, and the split train or test"
                )
        rows = _questions(table)
        answers = [
            line.strip() for line in read_text(names).split("\n") if line.strip()
        ]
        unknown = sorted({answer for _, answer, _ in rows} - set(answers))
        if unknown:
            raise ValueError(f"{names} lacks {', '.join(unknown)}")
        files = [folder / split / "images" / f"{number}.png" for _, _, number in rows]
        labels = [answers.index(answer) for _, answer, _ in rows]
        texts = [question for question, _, _ in rows]
        super().__init__(files, labels, answers, texts, 64, features)
        for _, known in self.entries:
            known["answer"] = answers[known["label"]]
        self.images = torch.stack([read_image(file, 64) for file in self.files])

    answers = property(lambda self: self.classes, doc="The answers, by their labels.")
    questions = property(lambda self: self.texts, doc="The question of each item.")

    def pixels(self, number: int) -> Tensor:
        """Pixels (3, 64, 64) uint8 of one picture."""
        return self.images[number]

    def _only(self, numbers: list[int]) -> EasyVQA:
        part = super()._only(numbers)
        part.images = self.images[numbers]
        return part


def easy_vqa(folder: str | Path, split: str = "train") -> EasyVQA:
    """Read easy-VQA from a folder."""
    return EasyVQA(folder, split)


def _questions(file: Path) -> list[tuple[str, str, int]]:
    rows = read_json(file)
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file} must list [question, answer, picture]; got {rows!r}")
    for number, row in enumerate(rows):
        kinds = [type(value) for value in row] if isinstance(row, list) else []
        if kinds != [str, str, int] or not row[0].strip():
            form = "[question, answer, picture]"
            raise ValueError(f"{file}, entry {number}: expected {form}; got {row!r}")
    return rows
