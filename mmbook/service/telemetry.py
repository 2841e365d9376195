"""What the service tells of itself: counters, in the form of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable

import prometheus_client as prometheus
from prometheus_client import Counter, Gauge, Histogram

_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Telemetry:
    """Counters of one service; :meth:`page` is what Prometheus reads. Chapter 5.5."""

    def __init__(self):
        own = {"registry": prometheus.CollectorRegistry(), "namespace": "mmbook"}
        self.registry = own["registry"]
        prometheus.ProcessCollector(
            registry=self.registry
        )  # memory and processor time, on Linux
        asked = ["path", "status"]
        self.requests = Counter("requests", "Requests that were answered", asked, **own)
        self.seconds = Histogram(
            "seconds", "Time to the end of an answer", ["path"], **own
        )
        self.batches = Histogram("batch", "Pictures in a batch", buckets=_SIZES, **own)
        self.waiting = Gauge("waiting", "Requests in the queue", **own)
        self.words = Counter("words", "Words said", **own)
        self.labels = Gauge("labels", "Labels on disk", **own)
        self.version = Gauge("version", "Number of the version that serves", **own)
        self.reloads = Counter("reloads", "Versions loaded", ["result"], **own)
        self.drift = Gauge("drift", "T² of the last group of inputs", **own)
        self.limit = Gauge("drift_threshold", "T² above which a group alarms", **own)
        self.alarms = Counter("drift_alarms", "Groups of inputs that alarmed", **own)

    def page(self) -> bytes:
        """All counters as text."""
        return prometheus.generate_latest(self.registry)


class Counting:
    """Middleware of ASGI: counts each answer with its status and time. Chapter 5.5.

    Paths that the service doesn't have are one: strangers choose no names of counters.
    """

    def __init__(self, app, telemetry: Telemetry, paths: Iterable[str]):
        self.app, self.telemetry, self.paths = app, telemetry, frozenset(paths)

    async def __call__(self, scope, receive, send) -> None:
        """Pass a request on, and look at its answer."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"] if scope["path"] in self.paths else "other"
        status, started = ["none"], time.perf_counter()

        async def noting(message) -> None:
            if message["type"] == "http.response.start":
                status[0] = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self.telemetry.requests.labels(path, status[0]).inc()
            taken = time.perf_counter() - started
            self.telemetry.seconds.labels(path).observe(taken)
