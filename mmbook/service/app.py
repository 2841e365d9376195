"""The service itself: addresses, what each answers, and what stands behind them."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

try:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, Response, StreamingResponse
    from starlette.requests import ClientDisconnect

    from .telemetry import Counting, Telemetry
except ImportError as error:  # FastAPI, or the client of Prometheus
    raise ImportError('the service needs: pip install "mmbook[service]"') from error

from .answering import Captioner, Word
from .batching import Batcher, Full, Job
from .drift import monitor_for
from .labels import Labels
from .uploads import Limits, Refused, decode, receive
from .versions import Versions

_PAGE = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {  # the page loads nothing from elsewhere, and nobody may frame it
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Serving:
    """What a service has: the model, the queue before it, labels, counters. Chapter 5.5."""

    def __init__(self, model, data: Path, limits: Limits, **batching):
        self.limits, self.telemetry = limits, Telemetry()
        self.versions, self.labels = Versions(data / "versions"), Labels(data)
        self.versions.begin(model)
        self.version = self.refused = ""
        self.refresh()
        self.batcher = Batcher(self.answer, patience=limits.answer, **batching)
        self.decoders = ThreadPoolExecutor(2, "decoder")  # so many bombs at once
        self.telemetry.waiting.set_function(lambda: self.batcher.waiting.qsize())
        self.telemetry.labels.set_function(lambda: self.labels.count)

    def refresh(self) -> None:
        """Load the current version, if it is another one: between two batches."""
        name = "unreadable"
        try:
            name = self.versions.current
            if name in (self.version, self.refused):
                return
            folder = self.versions.folder_of(name)
            captioner = Captioner.from_folder(folder)
            monitor = monitor_for(captioner, folder)
        except Exception:  # a broken version must not stop a service that runs
            self.telemetry.reloads.labels("failed").inc()
            self.refused = name
            if not self.version:
                raise
            return
        self.captioner, self.monitor, self.version = captioner, monitor, name
        self.refused = ""
        self.telemetry.reloads.labels("loaded").inc()
        self.telemetry.version.set(float(name))
        self.telemetry.limit.set(float(monitor.threshold) if monitor else 0)

    def answer(self, pictures: list):
        """For the batcher: first what is known of each picture, then word by word."""
        self.refresh()
        self.telemetry.batches.observe(len(pictures))
        tokens = self.captioner.see(pictures)
        unusual = self._watch(tokens.pooled())
        yield [{"version": self.version, "unusual": flag} for flag in unusual]
        for words in self.captioner.words(tokens):
            self.telemetry.words.inc(sum(word is not None for word in words))
            yield words

    def _watch(self, features) -> Sequence[bool | None]:
        if (monitor := self.monitor) is None:
            return [None] * len(features)
        self.telemetry.alarms.inc(monitor.add(features))
        self.telemetry.drift.set(monitor.value)
        return monitor.unusual(features)

    async def picture(self, request: Request):
        """The picture in a request, within the limits: (3, H, W) uint8."""
        data = await receive(request, self.limits)
        loop, size = asyncio.get_running_loop(), self.captioner.size
        work = partial(decode, data, size, self.limits)
        try:
            decoded = loop.run_in_executor(self.decoders, work)
            return await asyncio.wait_for(decoded, self.limits.seconds)
        except TimeoutError:
            raise Refused(413, "the picture takes too long to decode") from None

    async def caption(self, request: Request) -> JSONResponse:
        """``POST /caption``: a picture → its caption, whole."""
        job = self.batcher.accept(await self.picture(request))
        about, *words = [event async for event in job]
        about["words"] = [[w.text, round(w.probability, 4)] for w in words]
        return JSONResponse({"caption": _text(words), **about})

    async def stream(self, request: Request) -> StreamingResponse:
        """``POST /stream``: the same word by word, with where each of them looked."""
        job = self.batcher.accept(await self.picture(request))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(job), 200, headers, "text/event-stream")

    async def label(self, request: Request, caption: str) -> JSONResponse:
        """``POST /labels?caption=…``: a picture and what is right to say of it."""
        caption = self._checked(caption)
        picture = await self.picture(request)
        about, *words = [event async for event in self.batcher.accept(picture)]
        row = picture, caption, _text(words), about["version"]
        try:
            kept = await asyncio.to_thread(self.labels.add, *row)
        except (OverflowError, OSError) as error:  # too many; or the disk is full
            raise Refused(507, f"the label was not kept: {error}") from None
        return JSONResponse({"labels": kept, "said": row[2]}, 201)

    def _checked(self, caption: str) -> str:
        """A caption that the model could say, or refused."""
        tokenizer, caption = self.captioner.tokenizer, " ".join(caption.split())
        ids = tokenizer(caption, add_special_tokens=False)["input_ids"]
        most, unknown = self.captioner.head.max_length - 1, tokenizer.unk_token_id
        if not 1 <= len(ids) <= most:
            raise Refused(422, f"a caption has 1 to {most} words; got {len(ids)}")
        if unknown is not None and unknown in ids:
            words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            strange = [w for w in caption.lower().split() if w not in words]
            raise Refused(422, f"the model has no such word: {', '.join(strange)}")
        return caption

    async def health(self) -> JSONResponse:
        """``GET /health``: 200 if it can answer, 503 if not."""
        well, monitor = self.batcher.alive, self.monitor
        known: dict[str, Any] = {
            "status": "ok" if well else "down",
            "version": self.version,
        }
        known |= {"waiting": self.batcher.waiting.qsize(), "labels": self.labels.count}
        if monitor:
            known |= {"drift": monitor.alarm, "false_alarms": monitor.measured}
        return JSONResponse(known, 200 if well else 503)

    async def metrics(self) -> Response:
        """``GET /metrics``: all counters, for Prometheus."""
        return Response(self.telemetry.page(), media_type="text/plain; version=0.0.4")


def service(
    model="mmbook/scene-captioner",
    data: str | Path = "service-data",
    limits: Limits = Limits(),  # noqa: B008, it is frozen
    **batching,
) -> FastAPI:
    """A captioner in service, as an application of FastAPI. Chapter 5.5.

    Parameters
    ----------
    model : name or folder of a saved captioner: the first version, if there is none.
    data : the folder of what the service keeps: versions of the model, and labels.
    limits : what one request may cost.
    batching : ``size``, ``wait`` and ``room`` of :class:`.Batcher`.
    """
    serving = Serving(model, Path(data), limits, **batching)

    @asynccontextmanager
    async def lifespan(app):
        async with serving.batcher:
            yield  # afterwards: all that was accepted is answered first

    app = FastAPI(title="mmbook", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.serving = serving
    for path, name in _PAGE.items():
        app.add_api_route(path, _file(name), include_in_schema=False)
    for path, answer in ("health", serving.health), ("metrics", serving.metrics):
        app.add_api_route(f"/{path}", answer)
    app.add_api_route("/caption", serving.caption, methods=["POST"])
    app.add_api_route("/stream", serving.stream, methods=["POST"])
    app.add_api_route("/labels", serving.label, methods=["POST"])
    for kind in (Refused, Full, TimeoutError, ClientDisconnect):
        app.add_exception_handler(kind, _refusal)
    paths = (*_PAGE, "/health", "/metrics", "/caption", "/stream", "/labels")
    app.add_middleware(Counting, telemetry=serving.telemetry, paths=paths)
    return app


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    """A request that is not answered, in a form that programs and people can read."""
    status = 400 if isinstance(error, ClientDisconnect) else 503
    status = getattr(error, "status", status)
    headers = {"Connection": "close"}  # what the sender still sends, nobody reads
    if status == 503:
        headers["Retry-After"] = "1"
    reason = str(error) or "the answer took too long"
    return JSONResponse({"error": reason}, status, headers)


def _rounded(word: Word) -> dict:
    found = [[round(x, 4) for x in row] for row in word.map]
    return {"text": word.text, "probability": round(word.probability, 4), "map": found}


def _text(words: list[Word]) -> str:
    return "".join(word.text for word in words).strip()


async def _events(job: Job):
    """Server-sent events: ``about``, then each ``word``, then ``end`` or ``error``."""
    words, name = [], "about"
    try:
        async for event in job:
            words += [event] if isinstance(event, Word) else []
            yield _event(name, _rounded(event) if name == "word" else event)
            name = "word"
        yield _event("end", {"caption": _text(words)})
    except Exception as error:  # the status has gone out; so say it here
        yield _event("error", {"error": str(error) or "the answer took too long"})


def _event(name: str, data: dict) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _file(name: str):
    """An endpoint that sends a file of the page."""
    file = Path(__file__).with_name(name)
    content, kind = file.read_bytes(), _KINDS[file.suffix]

    async def send() -> Response:
        return Response(content, media_type=kind, headers=_HEADERS)

    return send
