"""picows' protocol object with ours around it.

picows' own server function gives the handshake no view of the socket, and so no peer address; keeps a logger and a
timer per connection; and leaves a future with an exception behind for every silent one. This subclass keeps the parser
and brings the rest: each socket is counted from the moment it is accepted, and its deadline is the wheel's.

Its read buffer doubles with every long message or burst and never shrinks: a station that reported its device model
once would hold 64 KiB for ever. So a socket whose buffer has grown changes to a new protocol object between two
messages (`slim`); the new one gets the opening request told again, and its answer goes nowhere.

The names come from picows 2.3.1; `WSProtocol` is what `picows.ws_create_server` itself builds on, but is not in its
list of public names, so a new version is to be looked at here.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import structlog
from picows import WSListener, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
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

_REQUEST_AGAIN: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class _Silent(WSUpgradeResponse):
    """A response that is not sent."""

    __slots__ = ()

    def to_bytes(self) -> bytearray:
        return bytearray()


def _silent_101() -> WSUpgradeResponse:
    spoken: WSUpgradeResponse = WSUpgradeResponse.create_101_response()
    silent = _Silent()
    silent.version, silent.status, silent.headers, silent.body = spoken.version, spoken.status, spoken.headers, None
    return silent


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

    def refused(self, transport: asyncio.Transport) -> None:
        """The parser sent a close frame and closes the transport, from which the peer's bytes may still be unread."""


class StationProtocol(WSProtocol):  # type: ignore[misc]
    """One connection from accept to loss.

    Args:
        host: the server.
        listener: where it came in.
    """

    __slots__ = ("_initial_free", "_successor_of", "address", "door", "host", "overflow", "slot", "until")

    def __init__(self, host: Host, door: Listener) -> None:
        self.host = host
        self.door = door
        self.address = ""
        self.overflow = False
        self.slot = -1
        self.until = 0.0
        self._successor_of: WSListener | None = None
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
        self._initial_free = len(self.get_buffer(-1))

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
            # picows closes 10 ms after the close frame with which it refuses a frame. Ours close when the peer has answered.
            if exc is None and getattr(self.listener, "closing", True) is False:
                handshake = self.transport.close_handshake
                if handshake is not None and handshake.sent is not None and handshake.recv is None:
                    self.host.refused(self.transport.underlying_transport)
            super().connection_lost(exc)
        finally:
            self.host.lost(self)

    def _opening(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        if self._successor_of is not None:
            return WSUpgradeResponseWithListener(_silent_101(), self._successor_of)
        return self.host.opening(self, request)

    def slim(self) -> bool:
        """Gives a grown read buffer back, unless part of a message waits in it. Never call it from a picows call-back.

        Returns:
            Whether a new protocol object took over; its listener gets `on_ws_connected` once more, with the new transport.
        """
        free = len(self.get_buffer(-1))
        # picows doubles the buffer, so an empty one has a power of two times its first size free.
        times, rest = divmod(free, self._initial_free)
        if rest or times < 2 or times & (times - 1):
            return False
        transport = self.transport.underlying_transport
        if transport.is_closing():
            return False
        successor = StationProtocol(self.host, self.door)
        successor.address = self.address
        successor._successor_of = self.listener
        WSProtocol.connection_made(successor, transport)
        successor.get_buffer(-1)[: len(_REQUEST_AGAIN)] = _REQUEST_AGAIN
        successor.buffer_updated(len(_REQUEST_AGAIN))
        successor._successor_of = None
        transport.set_protocol(successor)
        return True

    def visit(self, now: float) -> float:
        """The handshake deadline passed (called by the wheel)."""
        if now < self.until:
            return self.until
        self.transport.disconnect(graceful=False)
        return float("inf")
