"""One socket below OCPP: message assembly, limits, compression, fairness, pings and the closing handshake.

Frames come from picows, which has parsed and unmasked them but checks neither their order nor the reserved bits, sends
no pong of its own here and leaves the closing handshake to us.

Fairness: after `frames_per_turn` messages a socket gives way: it is not read until the loop has been round once. That
costs a loop with nothing else to do two microseconds, and a flooding station the advantage over its neighbours.
What picows still hands over from its buffer meanwhile is held, in order. Where many sockets speak at once, they wait in a line
(`line`) between two rounds of the loop, each with what it has said.
"""

from __future__ import annotations

import enum
from collections import deque
from time import monotonic
from typing import Final, Protocol

from multidict import CIMultiDict
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from chargeplane.edges.ocpp_server.config import OcppServerConfig
from chargeplane.edges.ocpp_server.deflate import DeflateError, TooLargeError, deflate, inflate
from chargeplane.edges.ocpp_server.line import Line
from chargeplane.edges.ocpp_server.protocol import StationProtocol
from chargeplane.edges.ocpp_server.wheel import Wheel

_TEXT: Final = WSMsgType.TEXT
_NEVER: Final = float("inf")
_NO_HEADERS: Final[CIMultiDict[str]] = CIMultiDict()


class Pause(enum.IntFlag):
    """Why a socket is not read."""

    TURN = 1
    BACKLOG = 2
    RATE = 4
    REST = 8


_TURN: Final = int(Pause.TURN)
_RATE: Final = int(Pause.RATE)
_REST: Final = int(Pause.REST)

_DEAR_S: Final = 0.005
_REST_TIMES: Final = 9
"""A station whose message took 5 ms or more (only hostile ones do) rests nine times as long: it gets a tenth of the loop."""


class Surroundings(Protocol):
    """What a socket needs of the server around it."""

    config: OcppServerConfig
    wheel: Wheel
    line: Line

    def give_way(self, socket: StationSocket) -> None:
        """Calls `socket.turn_again()` when the loop has been round once."""


class _Assembly:
    """A message whose last frame has not come yet."""

    __slots__ = ("compressed", "parts", "size")

    def __init__(self, compressed: bool) -> None:
        self.compressed = compressed
        self.parts: list[bytes] = []
        self.size = 0


class StationSocket(WSListener):
    """A socket whose handshake is done. Subclasses take whole messages.

    Args:
        around: the server.
        address: of the peer.
        deflated: permessage-deflate was agreed on.
    """

    __slots__ = (
        "_assembly",
        "_close_due",
        "_held",
        "_line",
        "_paused",
        "_pinged_at",
        "_rest_until",
        "_tokens",
        "_tokens_at",
        "_turn",
        "_wheel",
        "address",
        "around",
        "deflated",
        "heard_at",
        "slot",
        "transport",
    )

    def __init__(self, around: Surroundings, address: str, deflated: bool) -> None:
        self.around = around
        self.address = address
        self.deflated = deflated
        self.transport: WSTransport | None = None
        self.heard_at = 0.0
        self.slot = -1
        self._pinged_at = 0.0
        self._close_due = 0.0
        self._rest_until = 0.0
        self._assembly: _Assembly | None = None
        self._held: deque[bytes] | None = None
        self._paused = 0
        self._turn = around.config.frames_per_turn
        self._wheel = around.wheel
        self._line = around.line
        self._tokens = float(around.config.rate_limit_burst)
        self._tokens_at = 0.0

    # What subclasses do

    def on_open(self) -> None:
        """The socket can send and receive."""

    def on_message(self, data: bytes, now: float) -> None:
        """A whole text message: valid UTF-8, within the limit.

        Args:
            now: monotonic seconds when it was read.
        """
        raise NotImplementedError

    def on_gone(self) -> None:
        """The socket is disconnected; nothing can be sent any more."""

    def on_visit(self, now: float) -> float:
        """What is due of the subclass; when it wants to be visited next."""
        return _NEVER

    def backlogged(self) -> bool:
        """Whether the socket stays unread for now because too much of it is unanswered."""
        return False

    # Sending and closing

    @property
    def closing(self) -> bool:
        """Whether a close frame went out or the socket was cut: nothing more is sent or taken."""
        return self._close_due > 0.0

    def send_text(self, data: bytes) -> None:
        """Sends one message, compressed where that was agreed on and pays."""
        transport = self.transport
        if transport is None or self._close_due:
            return
        if self.deflated and len(data) >= self.around.config.compression_threshold_bytes:
            smaller = deflate(data)
            if len(smaller) < len(data):
                transport.send(_TEXT, smaller, rsv1=True)
                return
        transport.send(_TEXT, data)

    def shut(self, code: int, reason: str) -> None:
        """Starts the closing handshake; the socket is cut when the station does not end it in time.

        Args:
            code: RFC 6455, 7.4.1.
            reason: at most 123 bytes (RFC 6455, 5.5).
        """
        transport = self.transport
        if transport is None or self._close_due:
            return
        self._begin_closing()
        transport.send_close(code, reason.encode()[:123].decode("utf-8", "ignore"))  # type: ignore[arg-type]

    def cut(self) -> None:
        """Ends the socket at once, without a close frame and without sending what is buffered."""
        if self.transport is not None:
            self._begin_closing()
            self.transport.disconnect(graceful=False)

    def _begin_closing(self) -> None:
        self._close_due = monotonic() + self.around.config.close_timeout_s
        self._held = None
        self._assembly = None
        if self._paused and self.transport is not None:
            # The station's own close frame must be seen.
            self._paused = 0
            self.transport.underlying_transport.resume_reading()
        self.around.wheel.add(self, self._close_due)

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        again = self.transport is not None
        self.transport = transport
        # picows keeps both for the life of the socket; their headers are the larger part of a kilobyte.
        transport.request.headers = _NO_HEADERS
        transport.response.headers = _NO_HEADERS
        if again:
            # The protocol object below was changed for one with a small buffer.
            return
        self.heard_at = self._tokens_at = monotonic()
        config = self.around.config
        if config.ping_interval_s > 0:
            self.around.wheel.add(self, self.heard_at + config.ping_interval_s)
        self.on_open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard_at = now = monotonic()
        if self._close_due:
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()
            return
        if (
            frame.msg_type is _TEXT
            and frame.fin
            and self._assembly is None
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            data = frame.get_payload_as_bytes()
        else:
            whole = self._assemble(transport, frame)
            if whole is None:
                return
            data = whole
        if self._paused:
            if self._held is None:
                self._held = deque()
            self._held.append(data)
            return
        if self._line.room > 0:
            self._take(data, now)
        else:
            self._stand_in_line(data)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        held = None if self._paused else self._held
        self._held = None
        if not self._close_due:
            self._close_due = monotonic()
            # What came before the end counts, though nobody sees the answers.
            for data in held or ():
                self._take(data, self._close_due)
        self.around.wheel.remove(self)
        self._assembly = None
        self.on_gone()
        self.transport = None

    def pause_writing(self) -> None:
        # The transport's buffer passed its bound: the station does not read what it asked for.
        self.cut()

    def resume_writing(self) -> None:
        pass

    # Messages

    def _stand_in_line(self, data: bytes) -> None:
        held = self._held
        if held is None:
            self._held = held = deque()
        held.append(data)
        if len(held) == 1:
            self._line.join(self)
        elif len(held) >= self.around.config.frames_per_turn:
            # Not read until its turn: what waits is bounded.
            self.pause(_TURN)

    def at_its_turn(self) -> None:
        """The loop has been round once (called by the line): takes what was held."""
        if self._paused & _TURN:
            self.unpause(_TURN)
        elif not self._paused:
            self._take_held()

    def _take_held(self) -> bool:
        """Takes what was held, in order, until something stops it; whether all was taken."""
        held = self._held
        while held:
            self._take(held.popleft(), monotonic())
            if self._paused or self._close_due:
                return False
        self._held = None
        return True

    def _take(self, data: bytes, now: float) -> None:
        self._turn -= 1
        if self._turn <= 0:
            self._turn = self.around.config.frames_per_turn
            self.pause(_TURN)
            self.around.give_way(self)
        if self._wheel.loaded and not self._has_token(now):
            self.pause(_RATE)
        if not data.isascii():
            # RFC 6455, 8.1: text that is no UTF-8 fails the connection.
            try:
                data.decode()
            except UnicodeDecodeError:
                self.shut(WSCloseCode.INVALID_TEXT.value, "text is not UTF-8")
                return
        self.on_message(data, now)

    def _has_token(self, now: float) -> bool:
        config = self.around.config
        tokens = self._tokens + (now - self._tokens_at) * config.rate_limit_per_s
        self._tokens = min(float(config.rate_limit_burst), tokens) - 1.0
        self._tokens_at = now
        return self._tokens >= 0.0

    def _assemble(self, transport: WSTransport, frame: WSFrame) -> bytes | None:
        """Anything but a plain one-frame text: the whole message it completes, if it does."""
        kind = frame.msg_type
        assembly = self._assembly
        # RFC 6455, 5.2: a reserved bit without an extension that defines it fails the connection; RFC 7692, 6: RSV1
        # stands on the first frame of a compressed message and nowhere else.
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and not (self.deflated and kind in (_TEXT, WSMsgType.BINARY))):
            self.shut(WSCloseCode.PROTOCOL_ERROR.value, "reserved bits without an extension")
            return None
        if kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            return None
        if kind is WSMsgType.PONG:
            return None
        if kind is WSMsgType.CLOSE:
            if self._held and not self._paused:
                # It stands in the line with what it said before.
                self._take_held()
            # RFC 6455, 5.5.1: the answer echoes the code, if there was one. picows has refused impossible ones.
            code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            self.shut(code if code >= 1000 and code != 1006 else 1000, "")
            transport.disconnect()
            return None
        if kind is WSMsgType.CONTINUATION:
            if assembly is None:
                self.shut(WSCloseCode.PROTOCOL_ERROR.value, "continuation without a beginning")
                return None
        elif assembly is not None:
            self.shut(WSCloseCode.PROTOCOL_ERROR.value, "a message began inside another")
            return None
        else:
            if kind is WSMsgType.BINARY:
                # OCPP-J 1.6, 4.1 and OCPP 2.0.1 part 4, 4.1.2: messages are JSON text.
                self.shut(WSCloseCode.UNSUPPORTED_DATA.value, "OCPP-J messages are text")
                return None
            assembly = _Assembly(bool(frame.rsv1))

        limit = self.around.config.max_message_bytes
        part = frame.get_payload_as_bytes()
        assembly.size += len(part)
        # Empty fragments have no size, but each costs an entry.
        if assembly.size > limit or len(assembly.parts) > limit // 16:
            self._too_big()
            return None
        assembly.parts.append(part)
        if not frame.fin:
            self._assembly = assembly
            return None
        self._assembly = None
        data = b"".join(assembly.parts)
        if assembly.compressed:
            try:
                return inflate(data, limit)
            except TooLargeError:
                self._too_big()
                return None
            except DeflateError:
                self.shut(WSCloseCode.PROTOCOL_ERROR.value, "not a deflate stream")
                return None
        return data

    def _too_big(self) -> None:
        limit = self.around.config.max_message_bytes
        self.shut(WSCloseCode.MESSAGE_TOO_BIG.value, f"messages are at most {limit} bytes")

    # Pausing

    @property
    def paused(self) -> bool:
        """Whether the socket is not read at the moment."""
        return self._paused != 0

    def pause(self, why: int) -> None:
        """Stops reading; what comes in meanwhile waits in the kernel, and the station with it."""
        if self._close_due or self.transport is None:
            return
        if not self._paused:
            self.transport.underlying_transport.pause_reading()
        self._paused |= why
        if why != _TURN:
            self.around.wheel.add(self, 0.0)

    def unpause(self, why: int) -> None:
        """Takes one reason away; goes on with what was held and then reads again when none is left."""
        self._paused &= ~why
        transport = self.transport
        if self._paused or self._close_due or transport is None:
            return
        if self._take_held():
            transport.underlying_transport.resume_reading()

    def took(self, seconds: float) -> None:
        """A message took so long to understand; after a dear one the socket rests."""
        if seconds >= _DEAR_S:
            self._rest_until = monotonic() + _REST_TIMES * seconds
            self.pause(_REST)

    def turn_again(self) -> None:
        """The loop has been round once."""
        if self._paused & _TURN:
            self.unpause(_TURN)

    # Deadlines

    def visit(self, now: float) -> float:
        """Sees to whatever is due (called by the wheel)."""
        transport = self.transport
        if transport is None:
            return _NEVER
        config = self.around.config
        wheel = self.around.wheel
        if self._close_due:
            if now >= self._close_due:
                transport.disconnect(graceful=False)
                return now + config.close_timeout_s
            return self._close_due
        protocol = transport.underlying_transport.get_protocol()
        if isinstance(protocol, StationProtocol) and protocol.slim():
            transport = self.transport or transport
        due = self.on_visit(now)
        if self._paused:
            if self._paused & _RATE and (
                not wheel.loaded or self._tokens + (now - self._tokens_at) * config.rate_limit_per_s >= 0
            ):
                self.unpause(_RATE)
            if self._paused & _REST and now >= self._rest_until:
                self.unpause(_REST)
            if self._paused & int(Pause.BACKLOG) and not self.backlogged():
                self.unpause(int(Pause.BACKLOG))
            if self._paused:
                # Nobody who is not read can prove to be alive: no pings, no deadline.
                return 0.0
        if config.ping_interval_s <= 0:
            return due
        if self._pinged_at > self.heard_at:
            deadline = self._pinged_at + config.ping_timeout_s
            if now >= deadline:
                if not wheel.stalled:
                    self.cut()
                    return now + config.close_timeout_s
                deadline = now + 1.0
            return min(due, deadline, now + config.ping_interval_s)
        idle_due = self.heard_at + config.ping_interval_s
        if now >= idle_due:
            self._pinged_at = now
            transport.send_ping()
            idle_due = now + min(config.ping_timeout_s, config.ping_interval_s)
        return min(due, idle_due)
