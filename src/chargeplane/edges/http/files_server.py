"""The doors for stations' files over TLS, on a port of their own: REST may be hidden from stations, these may not."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import structlog
import uvicorn

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to main."""
        yield


class FilesServer:
    """Serves the files' application by HTTPS.

    Args:
        app: `files.files_app`.
        context: the TLS context of the stations' door, with its newest certificate.
        shared: several processes share the port.
    """

    def __init__(self, app: Any, *, host: str, port: int, context: ssl.SSLContext, shared: bool) -> None:
        self._app = app
        self._host = host
        self._context = context
        self._shared = shared
        self._server: _Server | None = None
        self.port = port

    async def start(self) -> None:
        """Binds and serves.

        Raises:
            OSError: the address cannot be bound; the sentence names it.
        """
        bound = self._bind()
        self.port = bound.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http="httptools",
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=5,
        )
        config.load()
        config.ssl = self._context
        server = _Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.on_tick(0)
        await server.startup(sockets=[bound])
        self._server = server
        _log.info("files.started", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Takes no more connections, lets transfers that go on finish for a while."""
        server, self._server = self._server, None
        if server is not None:
            server.should_exit = True
            await server.shutdown()

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind((self._host, self.port))
            bound.listen(1024)
            bound.setblocking(False)
        except OSError as error:
            bound.close()
            raise OSError(
                error.errno, f"Files cannot be served on {self._host}:{self.port}: {error.strerror}"
            ) from error
        return bound
