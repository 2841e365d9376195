"""The book's captioner, and a server around it on a free port."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
from PIL import Image

from mmbook import encoders, fusion, heads  # noqa: F401, so that configs are known
from mmbook.models import MultimodalModel
from mmbook.world import CaptionedScenes, sample_scenes


@pytest.fixture(scope="session")
def scenes() -> CaptionedScenes:
    """Some pictures with their captions."""
    return CaptionedScenes(sample_scenes(160, seed=4))


@pytest.fixture(scope="session")
def model() -> MultimodalModel:
    """The captioner that the service serves if none is named."""
    return MultimodalModel.from_pretrained("mmbook/scene-captioner")


@pytest.fixture(scope="session")
def folder(model, scenes, tmp_path_factory):
    """It, saved with what a drift alarm needs."""
    from mmbook.service.answering import Captioner
    from mmbook.service.drift import keep_reference

    place = tmp_path_factory.mktemp("model") / "captioner"
    model.save_pretrained(place)
    usual = CaptionedScenes(sample_scenes(900, seed=5))
    keep_reference(Captioner.from_folder(place), list(usual.images), place)
    return place


@pytest.fixture(scope="session")
def drawn(scenes) -> list[bytes]:
    """Bytes of eight pictures of scenes, each with another caption."""
    written = [io.BytesIO() for _ in range(8)]
    for file, pixels in zip(written, scenes.images, strict=False):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return [file.getvalue() for file in written]


@pytest.fixture
def picture():
    """Bytes of a picture: ``picture(wide, high, form)``."""

    def made(wide: int = 48, high: int = 48, form: str = "PNG", **settings) -> bytes:
        written = io.BytesIO()
        Image.new("RGB", (wide, high), "orange").save(written, form, **settings)
        return written.getvalue()

    return made


@contextmanager
def _running(app, **settings):
    from mmbook.service.server import server

    one = server(app, port=0, log_level="critical", **settings)
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    while not one.started and thread.is_alive():
        time.sleep(0.01)
    port = one.servers[0].sockets[0].getsockname()[1]
    try:
        yield SimpleNamespace(port=port, server=one, thread=thread, app=app)
    finally:
        one.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server didn't stop"


def _asked(port: int, method: str, path: str, body=None, kind: str = "image/png"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, body, {"Content-Type": kind} if body else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    found = json.loads(text) if is_json else text
    return SimpleNamespace(status=answer.status, headers=answer.headers, body=found)


@pytest.fixture
def serve(folder, tmp_path):
    """Start a service: ``serve(room=2).ask("POST", "/caption", data)``."""
    from mmbook.service.app import service

    with ExitStack() as stack:

        def start(data=tmp_path / "data", change=lambda app: None, **settings):
            app = service(settings.pop("model", folder), data, **settings)
            change(app)
            running = stack.enter_context(_running(app))
            running.serving, running.data = app.state.serving, data
            running.ask = lambda *given, **more: _asked(running.port, *given, **more)
            return running

        yield start
