"""Sounds and clips of a page as files of their own: a page that is opened stays light."""

import base64
import hashlib
import re
from pathlib import Path

DATA = re.compile(
    r'(<(?:audio|img)\b[^>]*?src=")data:(audio/wav|image/webp);base64,([^"]+)"'
)
ENDINGS = {"audio/wav": "wav", "image/webp": "webp"}
FOLDER = "_media"


def carried_out(body: str, root: str, write) -> str:
    """The text of a page whose media lie in files; ``write(name, data)`` makes one."""

    def instead(found) -> str:
        data = base64.b64decode(found[3])
        name = f"{hashlib.sha256(data).hexdigest()[:16]}.{ENDINGS[found[2]]}"
        write(name, data)
        return f'{found[1]}{root}{FOLDER}/{name}"'

    return DATA.sub(instead, body)


def place(app, page, template, context, doctree) -> None:
    """Write the media of a page beside the site."""
    body = context.get("body")
    if not body or app.builder.format != "html" or app.builder.name == "epub":
        return
    folder = Path(app.outdir) / FOLDER

    def write(name: str, data: bytes) -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    context["body"] = carried_out(body, context["pathto"]("", 1), write)


def setup(app):
    """Called by Sphinx."""
    app.connect("html-page-context", place, priority=940)
