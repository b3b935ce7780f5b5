"""uvicorn inside the server's own loop: it takes no signals, writes no access log, and stops when told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping

import structlog
import uvicorn
from msgspec import Struct

from chargeplane.edges.http.app import Door, make_app
from chargeplane.edges.http.services import Services
from chargeplane.kernel.proxies import TrustedProxies

_log = structlog.get_logger(__name__)


class HttpConfig(Struct, frozen=True, kw_only=True):
    """Where and how REST is served.

    Args:
        host: address to bind.
        port: TCP port; 0 takes a free one (`HttpServer.port` tells which).
        shared: several processes share the port (SO_REUSEPORT).
        backlog: connections that may wait to be accepted.
        stop_timeout_s: how long open requests may take to finish when the server stops.
        proxies: reverse proxies whose word is taken for whom they connect.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    shared: bool = False
    backlog: int = 1024
    stop_timeout_s: int = 10
    proxies: TrustedProxies = TrustedProxies()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to main."""
        yield

    async def tick(self) -> None:
        """Keeps the Date header fresh, once a second (uvicorn's own loop wakes ten times as often)."""
        while True:
            await self.on_tick(0)
            await asyncio.sleep(1)


class HttpServer:
    """The REST server of one process.

    Args:
        config: where to listen.
        services: what the routes call.
        doors: other applications on the same port, by what their paths begin with.
    """

    def __init__(self, config: HttpConfig, services: Services, doors: Mapping[str, Door] | None = None) -> None:
        self._config = config
        self._services = services
        self._doors = doors or {}
        self._server: _Server | None = None
        self._tick: asyncio.Task[None] | None = None
        self.port = config.port

    async def start(self) -> None:
        """Binds and serves.

        Raises:
            OSError: the address cannot be bound; the sentence names it.
        """
        bound = _bind(self._config)
        self.port = bound.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                make_app(self._services, self._config.proxies, self._doors),
                http="httptools",
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=self._config.stop_timeout_s,
                timeout_keep_alive=30,
                h11_max_incomplete_event_size=64 * 1024,
            )
        )
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.on_tick(0)
        await server.startup(sockets=[bound])
        self._server = server
        self._tick = asyncio.create_task(server.tick(), name="http date header")
        _log.info("http.started", host=self._config.host, port=self.port)

    async def stop(self) -> None:
        """Takes no more connections, ends live streams, lets open requests finish, then returns."""
        server, self._server = self._server, None
        if server is None:
            return
        self._services.events.close()
        self._services.messages.close()
        if self._tick is not None:
            self._tick.cancel()
        server.should_exit = True
        await server.shutdown()
        _log.info("http.stopped")


def _bind(config: HttpConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it every answer waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((config.host, config.port))
        bound.listen(config.backlog)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"REST cannot listen on {config.host}:{config.port}: {error.strerror}") from error
    return bound
