"""picows' protocol object with ours around it.

picows' own server function gives the handshake no view of the socket, and so no peer address; keeps a logger and a
timer per connection; and leaves a future with an exception behind for every silent one. This subclass keeps the parser
and brings the rest: each socket is counted from the moment it is accepted, and its deadline is the wheel's.

The names come from picows 2.3.1; `WSProtocol` is what `picows.ws_create_server` itself builds on, but is not in its
list of public names, so a new version is to be looked at here.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import structlog
from picows import WSUpgradeRequest, WSUpgradeResponseWithListener
from picows.picows import WSAutoPingStrategy, WSProtocol  # type: ignore[attr-defined]

from chargeplane.edges.ocpp_server.config import Listener

_log = structlog.get_logger(__name__)


class _PicowsLog:
    """The part of a logger that picows calls, for all connections together.

    Parser errors close the socket with their code, and the close is counted and logged with the station's name where
    it ends; what is left are exceptions out of our own callbacks.
    """

    __slots__ = ()

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return False

    def log(self, *args: object) -> None:
        pass

    debug = info = warning = error = log

    def exception(self, message: str, *args: object) -> None:
        _log.exception("ocpp_socket_failed", detail=message % args if args else message)


_PICOWS_LOG = _PicowsLog()


class Host(Protocol):
    """The server, as its sockets see it."""

    read_buffer_bytes: int
    max_message_bytes: int
    write_buffer_bytes: int

    def accepted(self, protocol: StationProtocol) -> None:
        """A TCP (and TLS) connection stands; it has until the handshake deadline."""

    def opening(self, protocol: StationProtocol, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        """Judges the opening request."""
        ...

    def lost(self, protocol: StationProtocol) -> None:
        """The connection is gone, whatever it had become."""


class StationProtocol(WSProtocol):  # type: ignore[misc]
    """One connection from accept to loss.

    Args:
        host: the server.
        listener: where it came in.
    """

    __slots__ = ("address", "door", "host", "overflow", "slot", "until")

    def __init__(self, host: Host, door: Listener) -> None:
        self.host = host
        self.door = door
        self.address = ""
        self.overflow = False
        self.slot = -1
        self.until = 0.0
        super().__init__(
            None,  # host and path: of clients
            None,
            False,
            self._opening,
            _PICOWS_LOG,
            True,  # an exception of ours ends the socket it came from
            None,  # deadlines are the wheel's
            False,
            0,
            0,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # pongs are ours: pings count as signs of life
            host.max_message_bytes,
            None,
            host.read_buffer_bytes,
        )

    def connection_made(self, transport: asyncio.Transport) -> None:
        """asyncio's protocol call."""
        peer: Any = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else str(peer or "")
        transport.set_write_buffer_limits(high=self.host.write_buffer_bytes)
        super().connection_made(transport)
        self.host.accepted(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's protocol call."""
        try:
            super().connection_lost(exc)
        finally:
            self.host.lost(self)

    def _opening(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        return self.host.opening(self, request)

    def visit(self, now: float) -> float:
        """The handshake deadline passed (called by the wheel)."""
        if now < self.until:
            return self.until
        self.transport.disconnect(graceful=False)
        return float("inf")
