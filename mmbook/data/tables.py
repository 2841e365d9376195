"""Tables of captions, texts and labels, in the forms in which people keep them.

Whatever the form, a table becomes a list of :class:`Row`: a file and what is said of
it. What cannot be used goes on a list, ``left_out``, with its place and the reason.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .files import PICTURES, SOUNDS, read_json, read_text

HEADS = {  # what a column is called; of each list, the first that is there counts
    "name": "file_name filename file image image_name image_file img picture photo path "
    "audio audio_file sound wav name",
    "text": "caption captions question text sentence sentences raw comment "
    "transcription transcript description",
    "label": "label class category answer target",
    "split": "split set subset",
}
MARKS = "\t;,|，；"  # what may stand between two cells
_ENDINGS = "|".join(ending[1:] for ending in sorted(PICTURES | SOUNDS))
_NAMED = re.compile(rf'"?.*?\.(?:{_ENDINGS})(?:#\d+)?"?\s*([{MARKS}])', re.IGNORECASE)
SPLITS = {"train": "train", "training": "train", "restval": "train", "test": "test"}
SPLITS |= {"testing": "test", "val": "val", "valid": "val", "validation": "val"}
SPLITS |= {"dev": "val"}


@dataclass(eq=False)
class Row:
    """A file, what is said of it, and where this stands."""

    name: str
    texts: list[str] = field(default_factory=list)
    label: str | None = None
    split: str | None = None
    where: str = ""
    file: Path = None  # type: ignore[assignment]  # found later, or the row is left out


def split_name(word: str) -> str:
    """One word for each split: validation, dev and val2017 are all ``"val"``."""
    word = re.sub(r"(?<=[a-z])20\d\d$", "", str(word).strip().lower())
    return SPLITS.get(word, word)


def split_in(path: Path) -> str | None:
    """The split that a name tells, as ``captions_train.json`` or ``test/cat/1.jpg``."""
    words = map(split_name, re.split(r"[/\\_.-]", path.as_posix()))
    return next((word for word in words if word in SPLITS), None)


# ------------------------------------------------------------------ tables to rows


def read_table(
    file: Path, folder: Path, left_out: list, columns: dict[str, str] | None = None
) -> list[Row]:
    """The rows of a table; ``left_out`` gets (where, reason) of what cannot be used.

    ``columns`` tells what columns of another name are, as ``{"emotion": "label"}``.
    """
    rows: list[Row] = []
    wrong: list[tuple[str, str]] = []
    chosen = tuple((columns or {}).items())
    inside = file.is_relative_to(folder)
    place = file.relative_to(folder) if inside else Path(file.name)
    name, split = place.as_posix(), split_in(place)
    for where, entry in _entries(file, chosen):
        where = f"{name}, {where}"
        try:
            rows.append(_row(entry, where, chosen, wrong))
            rows[-1].split = rows[-1].split or split
        except ValueError as error:
            wrong.append((where, str(error)))
    if not rows:
        first = f"{wrong[0][0]}: {wrong[0][1]}" if wrong else "it is empty"
        raise ValueError(f"{file} holds no entry that can be used; {first}")
    left_out += wrong
    return rows


def _entries(file: Path, columns: tuple) -> Iterator[tuple[str, dict | str]]:
    """Where each entry stands, and its columns, or what is wrong with it."""
    if file.suffix.lower() == ".jsonl":
        for number, line in enumerate(read_text(file).split("\n"), 1):
            if line.strip():
                try:
                    yield f"line {number}", json.loads(line)
                except ValueError as error:
                    yield f"line {number}", f"damaged: {error}"
    elif file.suffix.lower() == ".json":
        yield from _json_entries(read_json(file), file)
    else:
        yield from _cell_entries(file, columns)


def _row(entry, where: str, columns: tuple, wrong: list) -> Row:
    if not isinstance(entry, dict):
        raise ValueError(entry if isinstance(entry, str) else f"got {entry!r}")
    heads, found = _heads(tuple(entry), columns), {}
    if "another text" in heads:
        one, other = heads["text"][0], heads["another text"][0]
        way = f"rename the one not to read, as columns={{{other!r}: '-'}}"
        raise ValueError(f"there are texts in {one!r} and in {other!r}: {way}")
    for kind, keys in heads.items():
        several = [entry[key] for key in keys if entry[key] not in (None, "")]
        found[kind] = entry[keys[0]] if len(keys) == 1 else several
    row = Row(re.sub(r"(\.\w+)#\d+$", r"\1", _word(found, "name")), where=where)
    if "label" in found:
        row.label = _word(found, "label", f"{row.name}: ")
    if found.get("split") not in (None, ""):
        row.split = split_name(_word(found, "split", f"{row.name}: "))
    if "text" not in found and row.label is None:
        raise ValueError(f"{row.name}: no caption and no label")
    for text in _listed(found["text"]) if "text" in found else []:
        if isinstance(text, str) and text.strip():
            row.texts.append(text.strip())
        else:
            need = "the caption is missing" if text is None else "a caption needs words"
            wrong.append((where, f"{row.name}: {need}; got {text!r}"))
    return row


@lru_cache(maxsize=256)
def _heads(keys: tuple, columns: tuple) -> dict[str, list[str]]:
    """Which columns hold the name, the text, the label and the split."""
    plain = {k: str(dict(columns).get(k.strip(), k)).strip().lower() for k in keys}
    plain = {key: re.sub(r"[ -]+", "_", head) for key, head in plain.items()}
    found = {}
    for kind, words in HEADS.items():
        more = r"(_?\d+)?" if kind == "text" else ""  # caption_1, caption_2, …
        for word in words.split():
            same = [k for k, head in plain.items() if re.fullmatch(word + more, head)]
            if same and kind == "text" and kind in found:
                found["another text"] = same
            elif same:
                found.setdefault(kind, same)
    return found


def _word(found: dict, kind: str, of: str = "") -> str:
    value = found.get(kind)
    if value is None or isinstance(value, (list, dict)) or not str(value).strip():
        raise ValueError(f"{of}no {kind}; got {value!r}")
    return str(value).strip()


def _listed(said) -> list:
    """One caption or several, also as a list that is written in one cell."""
    if isinstance(said, str) and re.match(
        r"""\s*\[\s*["'].*["']\s*\]\s*$""", said, re.S
    ):
        with contextlib.suppress(SyntaxError, ValueError):
            said = ast.literal_eval(said.strip())
    said = said if isinstance(said, list) and said else [said]
    return [s.get("raw", s.get("caption")) if isinstance(s, dict) else s for s in said]


# ------------------------------------------------------------------ json


def _json_entries(table, file: Path) -> Iterator[tuple[str, dict | str]]:
    """COCO's form, a list of dictionaries, or captions by the name of the file."""
    if isinstance(table, dict) and isinstance(table.get("images"), list):
        if "annotations" in table:
            try:
                yield from _coco(table)
            except (AttributeError, TypeError) as error:
                raise ValueError(
                    f"{file} is not in COCO's form (images with id and file_name, "
                    f"annotations with image_id and caption): {error!r}"
                ) from error
            return
        table = table["images"]
    if isinstance(table, list):
        yield from ((f"entry {n}", entry) for n, entry in enumerate(table))
        return
    if not isinstance(table, dict):
        raise ValueError(f"{file} must hold a list or a dictionary; got {table!r}")
    for name, said in table.items():
        entry = said if isinstance(said, dict) else {"caption": said}
        yield f"entry {name!r}", {"file_name": name, **entry}


def _coco(table: dict) -> Iterator[tuple[str, dict | str]]:
    names: dict = {}
    for image in table["images"]:
        found = names.setdefault(image.get("id"), [])
        if image.get("file_name") not in found:
            found.append(image.get("file_name"))
    silent = dict(names)
    for number, row in enumerate(table["annotations"]):
        key, where = row.get("image_id"), f"annotation {number}"
        silent.pop(key, None)
        if key not in names:
            yield where, f"picture {key!r} is not among the images"
        elif len(names[key]) == 1:
            yield where, {"file_name": names[key][0], "caption": row.get("caption")}
        else:
            yield where, f"several pictures have the id {key}: {names[key]}"
    for key, found in silent.items():
        yield f"picture {key}", f"{', '.join(map(str, found))}: no caption"


# ------------------------------------------------------------------ cells in lines


def _cell_entries(file: Path, columns: tuple) -> Iterator[tuple[str, dict | str]]:
    text = read_text(file)
    told = re.match(r"sep=(.)(?=\n)", text)  # Excel's own hint
    text = text[5:] if told else text
    lines = [line for line in text.split("\n") if line.strip()] or [""]
    mark = _mark_of_header(file, lines[0], columns)
    headed, mark = mark is not None, mark or _mark_of_names(file, lines)
    quoted = mark in ",;" or (mark == "\t" and headed)
    loose = f"{mark} " in lines[0] if headed else f'{mark} "' in lines[0]
    rows = [(n, r) for n, r in _cells(text, mark, quoted, loose) if "".join(r).strip()]
    width, joint = len(rows[0][1]), mark + " " * loose
    for number, cells in rows[headed:]:
        if headed:
            yield f"line {number}", _headed(cells, rows[0][1], joint, columns)
        else:
            yield f"line {number}", _plain(cells, width, joint)


def _mark_of_header(file: Path, line: str, columns: tuple) -> str | None:
    """What stands between the cells of a line of heads; None if it is no such line."""
    for mark in MARKS:
        cells = tuple(cell.strip(' "') for cell in line.split(mark))
        found = _heads(cells, columns)
        if "name" not in found or len(cells) == 1 or _NAMED.match(line + mark):
            continue
        if not found.keys() & {"text", "label"}:
            raise ValueError(
                f"{file} has the columns {', '.join(cells)}: none is known to hold "
                f"captions or labels; tell it, as columns={{{cells[-1]!r}: 'label'}}"
            )
        return mark
    return None


def _mark_of_names(file: Path, lines: list[str]) -> str:
    named = next(filter(None, map(_NAMED.match, lines)), None)
    if named is None and "|" not in lines[0]:
        raise ValueError(
            f"{file}, line 1: expected image,caption, or heads as file_name,text; got "
            f"{lines[0][:80]!r}"
        )
    return named[1] if named else "|"


def _cells(text: str, mark: str, quoted: bool, loose: bool) -> list:
    """The number and the cells of each line, or of several that quotes hold together."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    form: dict[str, Any] = {"delimiter": mark, "skipinitialspace": loose}
    form |= {"strict": True, "quoting": quoting}
    try:
        table = csv.reader(io.StringIO(text, newline=""), **form)
        return [(table.line_num, cells) for cells in table]
    except csv.Error:  # a quote that is never closed, or that ends before its cell
        rows = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows.append((number, next(csv.reader([line], **form), [])))
        except csv.Error:
            rows.append((number, line.split(mark)))
    return rows


def _headed(cells: list, heads: list, joint: str, columns: tuple) -> dict | str:
    more = len(cells) - len(heads)
    if more > 0 and "".join(cells[len(heads) :]).strip():
        if heads[-1] not in _heads(tuple(heads), columns).get("text", []):
            return f"{len(cells)} columns, but {len(heads)} heads: text needs quotes"
        cells = [*cells[: len(heads) - 1], joint.join(cells[len(heads) - 1 :])]
    return dict(zip(heads, [*cells, *[None] * max(0, -more)], strict=False))


def _plain(cells: list, width: int, joint: str) -> dict | str:
    """A line without heads: name,caption; Flickr30k's name|number|caption; LJ's form."""
    name, *said = cells
    if joint[0] == "|":
        if len(cells) != width:
            return f"{name}: {len(cells)} columns, but {width} in the first line"
        counted = len(said) > 1 and said[0].strip().isdigit()
        said = said[1:] if counted else said[-1:]  # the last: numbers written out
    if not said:
        return f"expected image,caption; got {name!r}"
    return {"file_name": name, "caption": joint.join(said)}
