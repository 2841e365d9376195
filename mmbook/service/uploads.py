"""Pictures from strangers: limits in bytes, pixels and seconds, before anything is decoded."""

from __future__ import annotations

import asyncio
import contextlib
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..data.files import square

KINDS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_SCANS = (
    100  # a progressive JPEG has about ten; one of thousands takes minutes to decode
)


class Refused(Exception):
    """A request that is not answered: a status of HTTP, and why. Chapter 5.5."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Limits:
    """What one request may cost. Chapter 5.5."""

    bytes: int = 5_000_000  # of a picture's file
    pixels: int = 24_000_000  # of a decoded picture: 24 megapixels are 72 MB
    seconds: float = 10.0  # until the last byte has come, and again to decode it
    answer: float = 30.0  # seconds between two words, waiting for a batch included


async def receive(request, limits: Limits) -> bytes:
    """The body of a request (of Starlette), if it is small, quick and a picture.

    Raises :class:`Refused`: 415 not a kind that we read, 413 too large (by what it says,
    or by what has come so far), 408 too slow, 400 empty.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise Refused(
            415, f"send a picture as {', '.join(KINDS)}; got {kind or 'none'}"
        )
    try:
        async with asyncio.timeout(limits.seconds):
            body = await _read(request, limits.bytes)
    except TimeoutError:
        rule = f"the whole picture must come within {limits.seconds:g} s"
        raise Refused(408, f"too slow: {rule}") from None
    if not body:
        raise Refused(400, "the request has no body: where is the picture?")
    return body


async def _read(request, most: int) -> bytes:
    length, body = request.headers.get("content-length", "0"), bytearray()
    too_large = not length.isdigit() or int(length) > most
    async for chunk in request.stream():
        body += b"" if too_large else chunk
        too_large = too_large or len(body) > most
        if too_large:
            break
    if too_large:
        with contextlib.suppress(TimeoutError):  # lets an honest sender end, and read
            async with asyncio.timeout(0.5):
                async for _ in request.stream():
                    continue
        raise Refused(413, f"a picture may have {most:,} bytes at most; scale it down")
    return bytes(body)


def decode(data: bytes, size: int, limits: Limits) -> Tensor:
    """Bytes of a picture → (3, size, size) uint8, its middle square.

    Raises :class:`Refused`: 415 no picture of a kind that we read, 413 more pixels than
    allowed, looked up in its header (decompression bomb, 解压炸弹), 400 broken.
    """
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > _SCANS:
        raise Refused(400, f"a JPEG may have {_SCANS} scans at most")
    try:
        with Image.open(io.BytesIO(data), formats=list(KINDS.values())) as image:
            wide, high = image.size
            if wide * high > limits.pixels:
                rule = f"a picture may have {limits.pixels:,} pixels at most"
                raise Refused(413, f"{rule}; got {wide} × {high}")
            image.draft(None, (3 * size, 3 * size))  # a large JPEG, decoded smaller
            return square(image, size)
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(415, f"no picture of these kinds: {', '.join(KINDS)}") from None
    except Image.DecompressionBombError as error:
        raise Refused(413, str(error)) from None
    except Exception as error:  # Pillow raises what it likes; the sender is to blame
        raise Refused(400, f"the picture is broken: {error}") from None
