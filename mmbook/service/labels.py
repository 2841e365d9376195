"""Labels that people give to what the model said: nothing that was promised is lost."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..data.files import square
from .disk import sync, sync_folder, write_whole


class Labels:
    """Collected labels (标注): one line of json each, only ever added. Chapter 5.5.

    A line is on the disk before :meth:`add` returns, and its picture before the line; a
    line that a crash cut off was never promised, and is skipped.

    Parameters
    ----------
    folder : holds ``labels.jsonl`` and ``pictures/``.
    most : no more labels than these: a disk is finite, and the sender may be a program.
    """

    def __init__(self, folder: str | Path, most: int = 100_000):
        self.file, self.pictures = (
            Path(folder, "labels.jsonl"),
            Path(folder, "pictures"),
        )
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.most, self._lock = most, threading.Lock()
        self.file.touch()
        sync_folder(self.file.parent)
        self.count = len(self.rows())

    def add(self, picture: Tensor, caption: str, said: str, version: str) -> int:
        """Keep a picture (3, H, W) uint8 with its right caption; how many there are now.

        ``said`` is what the model answered, ``version`` which model it was.
        """
        with self._lock:
            if self.count >= self.most:
                raise OverflowError(f"{self.count} labels are kept, and no more fit")
            row: dict = {"picture": self._keep(picture), "caption": caption}
            row |= {"said": said, "version": version, "time": round(time.time(), 3)}
            line = json.dumps(row, ensure_ascii=False) + "\n"
            with self.file.open("ab+") as handle:
                if handle.tell() and not self._whole(handle):  # cut off: a full disk
                    line = "\n" + line
                handle.write(line.encode())
                sync(handle)
            self.count += 1
            return self.count

    def rows(self) -> list[dict]:
        """What was collected, oldest first; lines that are no json are skipped."""
        found = []
        for line in self.file.read_bytes().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # cut off by a crash, or bytes that are no text
                continue
        return found

    def items(self, version: str | None = None) -> list[dict]:
        """For training: ``{"image": (3, H, W) uint8, "caption": str}``, each picture once.

        Of several captions of one picture the last counts; of one ``version``, if given.
        """
        rows = [row for row in self.rows() if version in (None, row["version"])]
        last = {row["picture"]: row["caption"] for row in rows}
        return [{"image": self._picture(n), "caption": c} for n, c in last.items()]

    @staticmethod
    def _whole(handle) -> bool:
        """Does the file end with a whole line?"""
        handle.seek(-1, 2)
        return handle.read(1) == b"\n"

    def _keep(self, picture: Tensor) -> str:
        """Write the picture, unless it is there; its name is made of its bytes."""
        written = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(written, "PNG")
        name = hashlib.sha256(written.getvalue()).hexdigest()[:32] + ".png"
        if not (self.pictures / name).exists():
            write_whole(self.pictures / name, written.getvalue())
        return name

    def _picture(self, name: str) -> Tensor:
        with Image.open(self.pictures / name) as image:
            return square(image, min(image.size))
