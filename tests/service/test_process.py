"""The service as a process: started by its command, stopped, killed, started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="needs the extra service")

WINDOWS = sys.platform == "win32"


@pytest.fixture
def start(tmp_path, folder):
    """``python -m mmbook.service`` with these arguments, and its address."""
    processes = []

    def started():
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "mmbook.service", "--port", str(port)]
        command += ["--model", str(folder), "--data", str(tmp_path / "data")]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE))
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 300
        while time.monotonic() < until and processes[-1].poll() is None:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                return processes[-1], address
            except OSError:
                time.sleep(0.2)
        processes[-1].kill()
        raise AssertionError(f"it didn't start: {processes[-1].stderr.read()}")

    yield started
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def post(address: str, data: bytes) -> dict:
    """The answer to a picture."""
    kind = {"Content-Type": "image/png"}
    request = urllib.request.Request(address, data, kind)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_a_kill_loses_no_label_that_was_promised(start, picture, tmp_path):
    process, address = start()
    promised, lock = [], threading.Lock()

    def give(first: int) -> None:
        for number in range(first, 10_000, 4):
            try:
                data = picture(20 + number, 20)
                post(f"{address}/labels?caption=a+ring", data)
            except OSError:
                return
            with lock:
                promised.append(number)

    clients = [threading.Thread(target=give, args=(n,)) for n in range(4)]
    for client in clients:
        client.start()
    until = time.monotonic() + 60
    while len(promised) < 25 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()  # SIGKILL: no chance to tidy up, and requests are under way
    for client in clients:
        client.join()
    assert len(promised) >= 25
    _, address = start()
    with urllib.request.urlopen(f"{address}/health") as answer:
        kept = json.load(answer)["labels"]
    assert kept >= len(promised)
    from mmbook.service.labels import Labels

    labels = Labels(tmp_path / "data")
    assert len(labels.items()) >= 1 and labels.count == kept
    assert post(f"{address}/labels?caption=a+ring", picture())["labels"] == kept + 1


@pytest.mark.slow
@pytest.mark.skipif(WINDOWS, reason="Windows has no SIGTERM")
def test_a_stop_by_signal_answers_what_was_accepted_and_ends_well(start, picture):
    process, address = start()
    found = []

    def ask() -> None:
        found.append(post(f"{address}/caption", picture())["caption"])

    clients = [threading.Thread(target=ask) for _ in range(12)]
    for client in clients:
        client.start()
    while not found:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGTERM)
    ended = process.wait(60)
    for client in clients:
        client.join()
    assert ended in (0, -signal.SIGTERM)  # uvicorn passes the signal on at the end
    assert b"Traceback" not in process.stderr.read().split(b"ConnectionRefused")[0]
    assert len(set(found)) == 1


@pytest.mark.slow
def test_the_other_commands_say_what_they_do(tmp_path, folder, scenes):
    from mmbook.service.labels import Labels
    from mmbook.service.versions import Versions

    data = tmp_path / "data"
    versions = Versions(data / "versions")
    versions.begin(folder)
    Labels(data).add(scenes.images[0], "a ring", "said", "1")

    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "mmbook.service", *arguments]
        done = subprocess.run([*command, "--data", str(data)], capture_output=True)
        return (done.stdout + done.stderr).decode()

    assert "nothing to compare yet" in said("check")
    versions._point([versions.add(lambda f: None), "1"])
    assert "version 1 serves" in said("roll-back")
    assert versions.history() == ["1"]
