"""The server around the application: one process, patient with nobody."""

from __future__ import annotations

from typing import Any

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise ImportError('the service needs: pip install "mmbook[service]"') from error

HEAD = 10.0  # seconds until the first request of a connection must have begun


class Impatient(H11Protocol):
    """Hangs up on a connection that doesn't get through its first header. Chapter 5.5.

    The body has its limit in ``uploads``; without this one, a client that sends a letter
    a minute holds a connection for ever (Slowloris).
    """

    def connection_made(self, transport) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self.loop.call_later(HEAD, self._look)

    def _look(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def server(app, host: str = "127.0.0.1", port: int = 8000, **settings: Any):
    """A ``uvicorn.Server`` for an application: ``server(app).run()``. Chapter 5.5.

    On SIGTERM or Ctrl-C it takes no new connection, answers what it accepted, and ends.
    """
    limits = {"limit_concurrency": 256, "timeout_keep_alive": 5, "backlog": 512}
    limits |= {"timeout_graceful_shutdown": 30, "access_log": False}
    config = uvicorn.Config(
        app, host, port, http=Impatient, lifespan="on", ws="none", **limits | settings
    )
    return uvicorn.Server(config)
