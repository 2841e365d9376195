"""The service under load, beside the bare model: 50 clients on two cores.

``python -m mmbook.service`` runs as a process of its own, with the book's captioner; 50
clients in this process send it pictures of 240 × 240 pixels (PNG), each the next one as
soon as it has the caption. Every answer is compared with what the model says alone: a
request is lost if no answer comes, and wrong if it is another picture's. Before and
after, the bare model captions the same pictures, already decoded, in batches of 16 on one
thread, while the service rests. Clients, decoding, HTTP and the model share two cores.

    python benchmarks/service.py [--seconds 60] [--clients 50] [--hostile]

Bounds: no error, nothing lost, nothing wrong; at least a quarter of the bare model's
pictures a second; the slowest twentieth waits at most twice as long as 50 pictures take
at that rate; memory grows by at most 40 MB. ``--hostile`` adds a client that sends broken and
enormous pictures all the time.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

import psutil
import torch
from common import Bound, report, table
from PIL import Image

from mmbook.service.answering import Captioner
from mmbook.service.uploads import Limits, decode
from mmbook.world import render, sample_scenes

MODEL, BATCH = "mmbook/scene-captioner", 16
HOSTILE = [b"<html>", b"\x89PNG\r\n\x1a\n" + bytes(999), zlib.compress(bytes(10**6))]


def files(count: int = 64) -> list[bytes]:
    """Pictures of scenes as files."""
    images = (render(sample_scenes(count, seed=9), size=240) * 255).round().byte()
    kept = []
    for image in images:
        written = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(written, "PNG")
        kept.append(written.getvalue())
    return kept


def bare(captioner: Captioner, pictures: list, seconds: float) -> float:
    """Pictures a second of the model alone, in full batches."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        first = done % len(pictures)
        done += len(captioner.say(pictures[first : first + BATCH], BATCH))
    return done / (time.perf_counter() - started)


def request(data: bytes) -> bytes:
    """A whole request."""
    head = "POST /caption HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict]:
    """The next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


class Load:
    """Clients that ask again and again, and what became of their requests."""

    def __init__(
        self, port: int, sent: list[bytes], expected: list[str], seconds: float
    ):
        self.port, self.requests = port, [request(data) for data in sent]
        self.expected, self.until = expected, time.perf_counter() + seconds
        self.waits: list[float] = []
        self.sent = self.errors = self.wrong = self.refused = 0

    async def run(self, clients: int, hostile: bool) -> float:
        """All clients until the time is over; the seconds that it took."""
        started = time.perf_counter()
        tasks = [self.client(number) for number in range(clients)]
        await asyncio.gather(*tasks, *([self.attacker()] if hostile else []))
        return time.perf_counter() - started

    async def client(self, number: int) -> None:
        """One client on one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.perf_counter() < self.until:
            number = (number + 1) % len(self.requests)
            self.sent += 1
            started = time.perf_counter()
            writer.write(self.requests[number])
            status, found = await answered(reader)
            self.waits.append(time.perf_counter() - started)
            self.errors += status != 200
            self.wrong += found.get("caption") != self.expected[number]
        writer.close()

    async def attacker(self) -> None:
        """One that sends what is no picture, a new connection each time."""
        while time.perf_counter() < self.until:
            for data in HOSTILE:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(request(data))
                status, _ = await answered(reader)
                self.refused += 400 <= status < 500
                writer.close()
            await asyncio.sleep(0.05)


def started(folder: str) -> tuple[subprocess.Popen, int]:
    """The service as a process of its own, ready to answer, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mmbook.service", "--port", str(port)]
    process = subprocess.Popen([*command, "--data", folder])
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return process, port
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the service didn't start")


def measured(given, captioner: Captioner, sent: list[bytes], pictures: list) -> dict:
    """All numbers of one run."""
    expected = captioner.say(pictures)
    with tempfile.TemporaryDirectory() as folder:
        process, port = started(folder)
        try:
            asyncio.run(Load(port, sent, expected, 2).run(given.clients, False))  # warm
            memory = psutil.Process(process.pid).memory_info
            rates, before = [bare(captioner, pictures, 3)], memory().rss
            load = Load(port, sent, expected, given.seconds)
            seconds = asyncio.run(load.run(given.clients, given.hostile))
            grown = memory().rss - before
            rates.append(bare(captioner, pictures, 3))
        finally:
            process.terminate()
            process.wait(30)
    twentieths = statistics.quantiles(load.waits, n=20)
    return {
        "load": load,
        "rate": len(load.waits) / seconds,
        "bare": statistics.mean(rates),
        "p50": statistics.median(load.waits),
        "p95": twentieths[-1],
        "longest": max(load.waits),
        "grown": grown / 1e6,
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--hostile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    captioner, sent = Captioner.from_folder(MODEL), files()
    pictures = [decode(data, captioner.size, Limits()) for data in sent]
    found = measured(given, captioner, sent, pictures)
    load, fair = found["load"], given.clients / found["rate"]
    alone = 1e3 * BATCH / found["bare"]
    rows = [
        ["pictures a second", f"{found['rate']:.0f}", f"{found['bare']:.0f}"],
        ["ms, median", f"{1e3 * found['p50']:.0f}", f"{alone:.0f} a batch"],
        ["ms, 95 %", f"{1e3 * found['p95']:.0f}", ""],
        ["ms, longest", f"{1e3 * found['longest']:.0f}", ""],
        ["requests sent", f"{load.sent:,}", ""],
        ["memory grown, MB", f"{found['grown']:.1f}", ""],
    ]
    if given.hostile:
        rows.append(["hostile uploads refused", f"{load.refused:,}", ""])
    report(
        "service",
        " ".join(" ".join(__doc__.split("\n\n")[1:2]).split())
        + f" {given.clients} clients, {given.seconds:g} s.",
        table(["", "service", "bare model"], rows),
        [
            Bound("answers that are no caption", load.errors, 0),
            Bound("requests lost", load.sent - len(load.waits), 0),
            Bound("captions of another picture", load.wrong, 0),
            Bound("service ÷ bare", found["rate"] / found["bare"], 0.25, at_most=False),
            Bound("95 % ÷ (clients ÷ rate)", found["p95"] / fair, 2.0),
            Bound("memory grown, MB", found["grown"], 40),
        ],
    )


if __name__ == "__main__":
    main()
