"""One's own data in one call: a folder of pictures or sounds, whatever its form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .captions import Photographs, photographs_of
from .files import PICTURES, SOUNDS, VIDEOS, check_fit, read_image, report
from .questions import LabelledPictures
from .recordings import Recordings, read_wave
from .rows import read_rows
from .tables import Row

_VERIFIED = 200_000_000  # bytes of pictures or sounds that are decoded at once


def load_folder(
    folder: str | Path,
    split: str | None = None,
    size: int = 224,
    fit: str = "crop",
    rate: int = 16_000,
    *,
    table: str | Path | None = None,
    columns: dict[str, str] | None = None,
    strict: bool = False,
    verify: bool | None = None,
) -> Photographs | LabelledPictures | Recordings:
    """Read a folder of pictures or sounds with captions, texts or labels (自己的数据).

    The form is found out: a table (csv with any mark between its cells, txt, json,
    jsonl; as in Flickr8k, Flickr30k, COCO, LJ Speech and ``imagefolder``), a text file
    beside each picture or sound, or a folder for each class. Captions give
    :class:`Photographs`; labels, with texts or without, :class:`LabelledPictures`;
    sounds :class:`Recordings`. Each can be split: ``.split(0.2)``.

    What cannot be used is listed with its reason in ``left_out``, which a warning and
    the ``repr`` tell.

    Parameters
    ----------
    split : one that the table, ``split.json``, or the names of files and folders tell;
        None takes everything.
    size, fit, rate : of pictures, see :func:`mmbook.data.square`; of sounds.
    table : the table to read, where there are several or it has another name.
    columns : what columns of another name are, as ``{"emotion": "label"}``.
    strict : leave nothing out: a ValueError names everything that would be.
    verify : decode each file once, now; otherwise a damaged one is an error when it is
        read. None does it up to 200 MB.
    """
    check_fit(size, fit)
    folder = Path(folder)
    left_out: list[tuple[str, str]] = []
    chosen, rows, files = read_rows(folder, split, left_out, table, columns)
    chosen = _alike(chosen, left_out)
    used = dict.fromkeys(row.file for row in chosen)
    if verify or (verify is None and sum(f.stat().st_size for f in used) <= _VERIFIED):
        bad = {file: why for file in used if (why := _damage(file, size, fit))}
        left_out += [(f.relative_to(folder).as_posix(), why) for f, why in bad.items()]
        chosen = [row for row in chosen if row.file not in bad]
    left_out += _unlisted(rows, files, folder, left_out)
    report(folder, left_out, strict or not chosen)
    classes = sorted({r.label for r in rows if r.label is not None}, key=_order)
    data = _data_set(chosen, classes, size, fit, rate)
    data.left_out = left_out
    return data


def _alike(rows: Sequence[Row], left_out: list) -> list[Row]:
    """The rows of one kind that have what the others have: a label, a text, both."""
    pictures = any(row.file.suffix.lower() in PICTURES for row in rows)
    kind, name = (PICTURES, "picture") if pictures else (SOUNDS, "sound")
    labelled = any(row.label is not None for row in rows)
    said = any(row.texts for row in rows) or not labelled
    usable, told = [], {where for where, _ in left_out}
    for row in rows:
        if row.file.suffix.lower() not in kind:
            left_out.append((row.name, f"is no {name}"))
        elif labelled and row.label is None:
            left_out.append((row.name, "has no label"))
        elif row.texts or not said:
            usable.append(row)
        elif row.where not in told:
            left_out.append((row.name, "has no text"))
    return usable


def _damage(file: Path, size: int, fit: str) -> str:
    """Why a file cannot be read; nothing if it can."""
    try:
        if file.suffix.lower() in PICTURES:
            read_image(file, size, fit)
        else:
            read_wave(file)
    except (ValueError, OSError) as error:
        return str(error).split(f"{file}: ", 1)[-1]
    return ""


def _unlisted(rows, files, folder: Path, left_out: list) -> list[tuple[str, str]]:
    """The files that nothing is said of, if no reason was given yet."""
    known = {row.file for row in rows}
    told, found = {reason.split(": ")[0] for _, reason in left_out}, []
    for file in (file for file in files if file not in known):
        name = file.relative_to(folder).as_posix()
        video = file.suffix.lower() in VIDEOS
        reason = "is a video: it is not read" if video else "has no caption or label"
        found += [] if {name, file.name} & told else [(name, reason)]
    return found


def _order(label: str) -> tuple:
    """Numbers by their size, then words."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)


def _data_set(rows: Sequence[Row], classes: list[str], size, fit, rate):
    pictures = rows[0].file.suffix.lower() in PICTURES
    if pictures and not classes:
        return photographs_of(rows, size, fit)
    items = [(row, text) for row in rows for text in row.texts or [""]]
    files, texts = [row.file for row, _ in items], [text for _, text in items]
    if not classes:
        return Recordings(files, [{"caption": text} for text in texts], rate)
    number = {label: place for place, label in enumerate(classes)}
    labels = [number[row.label or ""] for row, _ in items]
    if pictures:
        said = texts if rows[0].texts else None
        return LabelledPictures(files, labels, classes, said, size, fit=fit)
    known = [
        {"label": label} | ({"text": text} if text else {})
        for label, text in zip(labels, texts, strict=True)
    ]
    return Recordings(files, known, rate, classes=classes)
