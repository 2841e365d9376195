"""A tiny captioner with random weights, and a server around it on a free port."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import Concatenation
from mmbook.heads import GenerationHead
from mmbook.models import MultimodalModel
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

SIZE = 24


@pytest.fixture(scope="session")
def scenes() -> CaptionedScenes:
    """Some pictures with their captions."""
    return CaptionedScenes(sample_scenes(160, seed=4), size=SIZE)


@pytest.fixture(scope="session")
def model() -> MultimodalModel:
    """A captioner that has learned nothing, and talks for a while."""
    torch.manual_seed(0)
    encoder = ConvImageEncoder(width=16, size=SIZE, channels=(8, 8))
    head = GenerationHead.for_tokenizer(
        scene_tokenizer(), width=16, layers=2, heads=2, max_length=14, context_width=16
    )
    with torch.no_grad():
        head.bias[[head.end, head.pad, head.start]] = -5.0
    joined = Concatenation({"image": 16}, 16)
    return MultimodalModel({"image": encoder}, joined, head).eval()


@pytest.fixture(scope="session")
def folder(model, scenes, tmp_path_factory):
    """It, saved with what a drift alarm needs."""
    from mmbook.service.answering import Captioner
    from mmbook.service.drift import keep_reference

    place = tmp_path_factory.mktemp("model") / "captioner"
    model.save_pretrained(place)
    keep_reference(Captioner.from_folder(place), list(scenes.images), place)
    return place


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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
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
