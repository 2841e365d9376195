"""Hostile uploads: a 4xx for each, and the process goes on as before."""

import io
import random
import socket
import struct
import time
import zlib

import psutil
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra service")
from mmbook.service.uploads import Limits, Refused, decode

LIMITS = Limits()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    checked = kind + data
    return (
        struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))
    )


def bomb(wide: int, high: int) -> bytes:
    """A PNG of some kilobytes that says it is enormous, and would be."""
    header = struct.pack(">IIBBBBB", wide, high, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2_000_000), 9)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A small PNG with a compressed text of 100 MB."""
    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "PNG")
    text = b"a\0\0" + zlib.compress(bytes(100_000_000), 9)
    return written.getvalue()[:33] + chunk(b"zTXt", text) + written.getvalue()[33:]


def scan_bomb() -> bytes:
    """A progressive JPEG whose scans are repeated thousands of times."""
    written = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(
        written, "JPEG", progressive=True
    )
    data = written.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 5000 + data[-2:]


def gif() -> bytes:
    """A kind of picture that is not on the list."""
    written = io.BytesIO()
    Image.new("P", (8, 8)).save(written, "GIF")
    return written.getvalue()


def damaged(data: bytes) -> bytes:
    """The same with wrong bytes in its middle."""
    middle = len(data) // 2
    return (
        data[:middle]
        + bytes(reversed(data[middle : middle + 60]))
        + data[middle + 60 :]
    )


def noise(form: str) -> bytes:
    """A picture that doesn't compress."""
    written = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(written, form)
    return written.getvalue()


HOSTILE = {
    "a page": (b"<html><script>alert(1)</script></html>", 415),
    "a program": (b"\x7fELF" + bytes(500), 415),
    "a vector graphic": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "a GIF": (gif(), 415),
    "one byte": (b"\x89", 415),
    "more pixels than allowed": (bomb(9_000, 9_000), 413),
    "more pixels than memory": (bomb(60_000, 60_000), 413),
    "a text that explodes": (text_bomb(), 400),
    "thousands of scans": (scan_bomb(), 400),
    "half a PNG": (noise("PNG")[:9000], 400),
    "half a JPEG": (noise("JPEG")[:3000], 400),
    "half a WebP": (noise("WEBP")[:3000], 400),
    "a damaged PNG": (damaged(noise("PNG")), 400),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_quickly_with_the_right_status(name):
    data, status = HOSTILE[name]
    started = time.process_time()
    with pytest.raises(Refused) as refused:
        decode(data, 48, LIMITS)
    assert refused.value.status == status and refused.value.reason
    assert time.process_time() - started < 5


def test_random_bytes_behind_a_good_beginning_are_refused_or_decoded():
    """Whatever comes: a picture or a refusal, and no other error."""
    rng, ends = random.Random(0), set()
    for form in "PNG", "JPEG", "WEBP":
        whole = noise(form)
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(20):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                assert decode(bytes(data), 24, LIMITS).shape == (3, 24, 24)
                ends.add("decoded")
            except Refused as refused:
                ends.add(refused.status)
    assert "decoded" in ends and 400 in ends


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_good_pictures_of_all_kinds_are_read(picture, form):
    found = decode(picture(300, 200, form), 24, LIMITS)
    assert found.shape == (3, 24, 24) and found.dtype == torch.uint8
    assert (found[:, 12, 12].int() - torch.tensor([255, 165, 0])).abs().max() < 12


def test_the_service_survives_all_of_it_with_flat_memory(serve, picture):
    running = serve(limits=Limits(pixels=10_000_000))

    def attack():
        for name, (data, status) in HOSTILE.items():
            answer = running.ask("POST", "/caption", data)
            assert answer.status == status and answer.body["error"], name

    attack()
    before = psutil.Process().memory_info().rss
    for _ in range(8):
        attack()
    assert psutil.Process().memory_info().rss - before < 30e6
    assert running.ask("POST", "/caption", picture()).status == 200


def test_other_kinds_of_content_are_refused_before_they_are_read(serve, picture):
    running = serve()
    for kind in "text/html", "application/json", "image/svg+xml", "multipart/form-data":
        answer = running.ask("POST", "/caption", picture(), kind=kind)
        assert answer.status == 415 and kind in answer.body["error"]
    assert running.ask("POST", "/caption").status in (400, 415)
    assert running.ask("POST", "/caption", b"").status in (400, 415)
    assert running.ask("GET", "/caption").status == 405
    assert running.ask("GET", "/../../etc/passwd").status == 404


def test_what_says_that_it_is_too_large_is_refused_and_so_is_what_is(serve):
    running = serve(limits=Limits(bytes=100_000))
    answer = running.ask("POST", "/caption", bytes(300_000))
    assert answer.status == 413 and "100,000 bytes" in answer.body["error"]
    assert running.ask("POST", "/caption", bytes(99_000)).status == 415


def opened(port: int, head: str) -> socket.socket:
    """A connection on which the head of a request has been sent."""
    sender = socket.create_connection(("127.0.0.1", port), timeout=20)
    lines = (
        f"POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n{head}\r\n"
    )
    sender.sendall(lines.encode())
    return sender


def status_of(sender: socket.socket) -> int:
    """The status that comes back; 0 if the connection was closed without one."""
    try:
        line = sender.recv(4096).split(b"\r\n")[0].split()
        return int(line[1]) if line else 0
    except ConnectionError:
        return 0
    finally:
        sender.close()


def test_a_slow_sender_is_told_so_and_holds_nobody_up(serve, picture):
    running = serve(limits=Limits(seconds=2))
    sender = opened(running.port, "Content-Length: 5000\r\n")
    sender.sendall(picture()[:20])
    assert running.ask("POST", "/caption", picture()).status == 200
    assert status_of(sender) == 408


def test_an_endless_sender_is_cut_off(serve):
    running = serve(limits=Limits(bytes=200_000))
    sender = opened(running.port, "Transfer-Encoding: chunked\r\n")
    piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
    sender.settimeout(0.2)
    ended, until = False, time.monotonic() + 60
    while not ended and time.monotonic() < until:
        try:
            sender.sendall(piece)
        except TimeoutError:
            continue
        except ConnectionError:
            ended = True
    sender.close()
    assert ended, "nobody hung up"
    statuses = running.ask("GET", "/metrics").body
    assert 'mmbook_requests_total{path="/caption",status="413"} 1.0' in statuses


def test_a_sender_that_hangs_up_in_the_middle_harms_nothing(serve, picture):
    running = serve()
    for _ in range(5):
        sender = opened(running.port, "Content-Length: 5000\r\n")
        sender.sendall(picture()[:20])
        sender.close()
    assert running.ask("POST", "/caption", picture()).status == 200
    assert running.ask("GET", "/health").body["status"] == "ok"


def test_one_that_never_ends_its_header_is_hung_up_on(serve, monkeypatch):
    from mmbook.service import server

    monkeypatch.setattr(server, "HEAD", 0.3)
    running = serve()
    sender = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    sender.sendall(b"POST /caption HTTP/1.1\r\nX: ")
    assert sender.recv(100) == b""
    second = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200 OK" in second.recv(4096)
    second.sendall(b"GET /health HTTP/1.1\r\nX: ")
    while second.recv(4096):  # the rest of the first answer, then the end
        continue
    idle = socket.create_connection(("127.0.0.1", running.port), timeout=20)
    assert idle.recv(100) == b""
