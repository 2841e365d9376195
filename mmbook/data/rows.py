"""From a folder to its rows: which form it has, which file a row means, which split."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from .files import SOUNDS, VIDEOS, check_folder, media_files, read_json, read_text
from .tables import SPLITS, Row, read_table, split_in, split_name

_TABLES = (
    "metadata.* captions* *.token* annotations/captions* */metadata.* */captions.*"
)
_KINDS = (".csv", ".tsv", ".jsonl", ".txt", ".json", ".token")
_INNER = (
    "images image imgs img pictures photos photographs audio sounds wavs clips data"
)
_FORMS = """{} has no captions and no labels. Known are
  captions.csv, metadata.csv or .jsonl with the heads file_name,text or file_name,label
  (of Excel: saved as “CSV UTF-8”)
  captions.json: COCO's form, or {{"name.jpg": "caption"}}
  name.txt beside name.jpg or name.wav
  a folder for each class: cat/1.jpg, dog/1.jpg, or train/cat/1.jpg
Tables of another name: table="…"; columns of another name: columns={{"…": "label"}}"""


def read_rows(
    folder: str | Path,
    split: str | None,
    left_out: list,
    table: str | Path | None = None,
    columns: dict[str, str] | None = None,
    fifth: bool = False,
) -> tuple[list[Row], list[Row], list[Path]]:
    """The rows of a split, with their files; all rows; all pictures and sounds.

    ``left_out`` gets (name, reason) of what cannot be used. With ``fifth``, where
    nothing tells the splits, about every fifth file is in ``"test"``.
    """
    folder, rows = check_folder(folder), []
    files = media_files(folder)
    tables = [folder / table] if table else _find_tables(folder)
    for file in tables:
        rows += read_table(file, folder, left_out, columns)
    rows = rows or _beside(files, folder, left_out) or _by_class(files, folder)
    if not rows:
        raise ValueError(_FORMS.format(folder))
    missing = _locate(rows, files, folder)
    told = _tell_splits(rows, files, folder, fifth)
    chosen = rows if split in (None, "all") else _of_split(rows, split, told, left_out)
    left_out += [(row.name, missing[row]) for row in chosen if row in missing]
    return [row for row in chosen if row.file], rows, files


def _find_tables(folder: Path) -> list[Path]:
    """The one table, or one for each split."""
    files = [f for f in [*folder.glob("*"), *folder.glob("*/*")] if f.is_file()]
    tables = [f for f in sorted(files) if f.suffix.lower() in _KINDS]
    names = {f: f.relative_to(folder).as_posix().lower() for f in tables}
    found = [f for f in tables if any(fnmatch(names[f], p) for p in _TABLES.split())]
    others = [
        f for f in tables if f.suffix.lower() in _KINDS[:3] and f.parent == folder
    ]
    found = found or others  # by its ending, a table whatever its name
    splits = [split_in(file.relative_to(folder)) for file in found]
    if len(found) > 1 and (None in splits or len(set(splits)) < len(found)):
        several = ", ".join(str(file.relative_to(folder)) for file in found)
        raise ValueError(f"{folder} has several tables: {several}; choose one: table=…")
    return found


def _beside(files: Sequence[Path], folder: Path, left_out: list) -> list[Row]:
    """A text file beside each: lines are captions of a picture, or one of a sound."""
    rows = []
    for file in (file for file in files if file.with_suffix(".txt").is_file()):
        row = Row(file.relative_to(folder).as_posix(), file=file, where=file.stem)
        try:
            lines = map(str.strip, read_text(file.with_suffix(".txt")).split("\n"))
            row.texts = [line for line in lines if line]
        except ValueError as error:
            left_out.append((f"{row.where}.txt", f"{row.name}: {error}"))
            continue
        if file.suffix.lower() in SOUNDS and row.texts:
            row.texts = [" ".join(row.texts)]
        rows.append(row)
    return rows


def _by_class(files: Sequence[Path], folder: Path) -> list[Row]:
    """The folder of each file is its class, if there are two classes or more."""
    by_split, rows = _has_split_folders(files, folder), []
    for file in files:
        parts = _parts(file, folder)[by_split:]
        if parts and file.suffix.lower() not in VIDEOS:
            name = file.relative_to(folder).as_posix()
            rows.append(Row(name, label=parts[0], file=file))
    return rows if len({row.label for row in rows}) > 1 else []


def _parts(file: Path, folder: Path) -> list[str]:
    """The folders that a file is in, but those that only say what is in them."""
    parts = file.relative_to(folder).parts[:-1]
    return [part for part in parts if part.lower() not in _INNER.split()]


def _has_split_folders(files: Sequence[Path], folder: Path) -> bool:
    """Are all outer folders splits? (A train may be a class among other vehicles.)"""
    outer = {parts[0] for parts in (_parts(file, folder) for file in files) if parts}
    return bool(outer) and all(split_name(name) in SPLITS for name in outer)


def _locate(rows: Sequence[Row], files: Sequence[Path], folder: Path) -> dict[Row, str]:
    """Find the file of each row, by its name in any case; the reason where there is none.

    Of a path on another machine (absolute) the last part is enough, if it is clear.
    """
    index: dict[str, list[Path]] = {}
    for file in files:
        index.setdefault(_key(file.name), []).append(file)
        index.setdefault(_key(file.stem), []).append(file)
    names = {row.name: _key(row.name) for row in rows}
    count = Counter(name.rsplit("/", 1)[-1] for name in set(names.values()))
    found: dict[tuple, Path | str] = {}
    for row in (row for row in rows if row.file is None):
        if (row.name, row.split) not in found:
            name = names[row.name]
            last = name.rsplit("/", 1)[-1]
            fits = _of_name(name, index.get(last, []))
            if count[last] == 1 and (name[0] == "/" or name[1:2] == ":"):
                fits = fits or index.get(last, [])
            found[row.name, row.split] = _nearest(row, fits, folder)
        place = found[row.name, row.split]
        if isinstance(place, Path):
            row.file = place
    return {row: str(found[row.name, row.split]) for row in rows if row.file is None}


def _of_name(name: str, files: Sequence[Path]) -> list[Path]:
    """The files that end with these parts, with their ending or without."""
    end = "/" + name.removeprefix("./").lstrip("/")
    fits = [file for file in files if _key(f"/{file}").endswith(end)]
    return fits or [f for f in files if _key(f"/{f.with_suffix('')}").endswith(end)]


def _nearest(row: Row, files: list[Path], folder: Path) -> Path | str:
    """Of several: in the same case, in ``images``, in the folder of the split."""
    for better in (
        lambda file: row.name.endswith(file.name),
        lambda file: file.parent == folder / "images",
        lambda file: row.split == split_in(file.relative_to(folder)),
    ):
        if len(files) > 1:
            files = [file for file in files if better(file)] or files
    if len(files) == 1:
        return files[0]
    places = ", ".join(str(file.relative_to(folder)) for file in files[:3])
    return f"several files have its name: {places}" if files else "no such file"


def _key(name: str) -> str:
    """A name as it is compared: case, and the ways to write an ü, make no difference."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


def _tell_splits(rows: Sequence[Row], files, folder: Path, fifth: bool) -> set[str]:
    """By the table, ``split.json``, the names of folders, or by every fifth name.

    Gives back the splits that there are.
    """
    told = _read_splits(folder / "split.json")
    by_folder = _has_split_folders(files, folder)
    for row in rows:
        name = _key(row.name)
        row.split = row.split or told.get(name) or told.get(name.rsplit("/", 1)[-1])
        if by_folder and row.file and not row.split:
            row.split = next(map(split_name, _parts(row.file, folder)), None)
    if fifth and not told and not any(row.split for row in rows):
        for row in rows:
            digest = hashlib.sha1(row.name.encode()).hexdigest()
            row.split = "train" if int(digest, 16) % 5 else "test"
    return {row.split for row in rows if row.split} | set(told.values())


def _of_split(rows: Sequence[Row], split: str, known: set, left_out: list) -> list[Row]:
    if split_name(split) not in known:
        names = ", ".join(sorted([*known, "all"]))
        way = "" if known else ": nothing tells the splits; use .split(0.2)"
        raise ValueError(f"split must be one of {names}; got {split!r}{way}")
    left_out += [(row.name, "belongs to no split") for row in rows if not row.split]
    return [row for row in rows if row.split == split_name(split)]


def _read_splits(file: Path) -> dict[str, str]:
    """By name, its split; from ``{name: split}`` or ``{split: [names]}``."""
    table, pairs = read_json(file) if file.is_file() else {}, []
    if not isinstance(table, dict):
        raise ValueError(f"{file} must be {{name: split}} or {{split: [names]}}")
    for key, value in table.items():
        names = value if isinstance(value, list) else [key]
        pairs += [(name, key if isinstance(value, list) else value) for name in names]
    for name, split in pairs:
        if not isinstance(name, str) or not isinstance(split, str):
            raise ValueError(f"{file}: {name!r} must have a split; got {split!r}")
    return {_key(name): split_name(split) for name, split in pairs}
