"""The server around the application: one process, patient with nobody."""

from __future__ import annotations

from typing import Any

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise ImportError('the service needs: pip install "mmbook[service]"') from error

HEAD = 10.0  # seconds in which the header of a request must have come


class Impatient(H11Protocol):
    """Hangs up on a connection that doesn't get through a header. Chapter 5.5.

    The body has its limit in ``uploads``; without this one, a client that sends a letter
    a minute holds a connection for ever (Slowloris).
    """

    def connection_made(self, transport) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self.loop.call_later(HEAD, self._look, None)

    def _look(self, before) -> None:
        """Is this still the request of the last look, answered since long, or none?"""
        if self.transport.is_closing():
            return
        resting = self.cycle is None or self.cycle.response_complete
        if resting and self.cycle is before:
            self.transport.close()
        else:
            self.loop.call_later(HEAD, self._look, self.cycle)


def server(app, host: str = "127.0.0.1", port: int = 8000, **settings: Any):
    """A ``uvicorn.Server`` for an application: ``server(app).run()``. Chapter 5.5.

    On SIGTERM or Ctrl-C it takes no new connection, answers what it accepted, and ends.
    """
    limits = {"limit_concurrency": 128, "timeout_keep_alive": 5, "backlog": 512}
    limits |= {"timeout_graceful_shutdown": 30, "access_log": False}
    config = uvicorn.Config(
        app, host, port, http=Impatient, lifespan="on", ws="none", **limits | settings
    )
    return uvicorn.Server(config)
