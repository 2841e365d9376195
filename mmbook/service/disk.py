"""Files that survive a crash: on the disk before anybody is told so."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or the old one. Chapter 5.5.

    The data are on the disk when this returns (fsync, 落盘), also after a power cut.
    """
    draft = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as handle:
            handle.write(data)
            sync(handle)
        os.replace(draft, file)
        sync_folder(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def sync(handle) -> None:
    """Bring what was written to the disk."""
    handle.flush()
    os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; Windows has no need and no way."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
