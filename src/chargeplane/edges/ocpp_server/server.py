"""The listening side: accepts sockets, judges their opening requests, keeps count of them, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

from chargeplane.app.ports import MessageLog, StationCredentials, StationGateway
from chargeplane.edges.ocpp_server.admission import Occupancy, Throttle
from chargeplane.edges.ocpp_server.config import OcppServerConfig
from chargeplane.edges.ocpp_server.handshake import Door, Judgement, Opening, Verdict, refusal
from chargeplane.edges.ocpp_server.line import Line
from chargeplane.edges.ocpp_server.linger import Lingering
from chargeplane.edges.ocpp_server.metrics import OcppMeasures
from chargeplane.edges.ocpp_server.protocol import StationProtocol
from chargeplane.edges.ocpp_server.session import Session, Voice
from chargeplane.edges.ocpp_server.websocket import StationSocket
from chargeplane.edges.ocpp_server.wheel import Wheel
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.measures import Measures

_log = structlog.get_logger(__name__)

_READ_BUFFER_BYTES: Final = 2048

_DRAINED_TIMES: Final = 16
"""How many times the largest message is read and thrown away of a station that was refused while it was sending."""

_SPARE: Final = 256
"""Sockets above the limit that still get a 503; more are cut without a word."""

_LOGGED: Final = frozenset(Verdict) - {Verdict.ACCEPTED, Verdict.THROTTLED, Verdict.FULL, Verdict.STOPPING}
"""What is worth a line each; the rest can come in floods and is only counted."""


class _Refused(WSListener):
    """A socket let in only to be closed: no subprotocol in common. The wheel cuts it when the station does not."""

    __slots__ = ()

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send_close(WSCloseCode.PROTOCOL_ERROR, "no common OCPP subprotocol")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()


class OcppServer:
    """The OCPP door.

    Args:
        gateway: the stations and their actors.
        config: limits and addresses.
        measures: of the process.
        message_log: where finished calls are noted.
    """

    def __init__(
        self, gateway: StationGateway, config: OcppServerConfig, measures: Measures, message_log: MessageLog
    ) -> None:
        self.gateway = gateway
        self.config = config
        self.message_log = message_log
        self.wheel = Wheel(config.tick_s, config.loaded_lag_s)
        self.line = Line(config.messages_per_round)
        self.measures = OcppMeasures(measures, self._sockets_by_version, lambda: self.wheel.lag_s)
        self.voices = {version: Voice(version, self.measures) for version in config.versions}
        self.ports: tuple[int, ...] = ()
        self.read_buffer_bytes = _READ_BUFFER_BYTES
        self.max_message_bytes = config.max_message_bytes
        self.write_buffer_bytes = config.write_buffer_bytes
        self._occupancy = Occupancy(config.max_connections, config.max_connections_per_address)
        self._door = Door(
            gateway,
            versions=config.versions,
            assumed_version=config.assumed_version,
            compression=config.compression,
            attempts=Throttle(config.failed_attempts_burst, config.failed_attempts_per_s),
            passwords=Throttle(config.failed_passwords_burst, config.failed_passwords_per_s),
        )
        self._opening: set[StationProtocol] = set()
        self._sessions: set[Session] = set()
        self._servers: list[asyncio.Server] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lingering: Lingering | None = None
        self._stopping = False
        self._all_gone: asyncio.Event = asyncio.Event()

    async def start(self) -> None:
        """Opens the listeners; `ports` tells where, in their order.

        Raises:
            OSError: an address cannot be bound.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._lingering = Lingering(
            loop, seconds=self.config.close_timeout_s, max_bytes=_DRAINED_TIMES * self.config.max_message_bytes
        )
        self.wheel.start()
        self.line.start()
        ports = []
        try:
            for listener in self.config.listeners:
                server = await loop.create_server(
                    functools.partial(StationProtocol, self, listener),
                    host=listener.host,
                    port=listener.port,
                    ssl=listener.ssl_context,
                    reuse_port=self.config.reuse_port,
                    backlog=self.config.backlog,
                    ssl_handshake_timeout=self.config.handshake_timeout_s if listener.tls else None,
                )
                self._servers.append(server)
                for listening in server.sockets:
                    # Accepted sockets inherit it. It bounds how much of a flood one read can bring.
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.config.receive_buffer_bytes)
                ports.append(server.sockets[0].getsockname()[1])
        except BaseException:
            await self.stop(0)
            raise
        self.ports = tuple(ports)

    async def stop(self, grace_s: float) -> None:
        """Stops accepting, lets begun messages be answered, closes every socket with 1001.

        Args:
            grace_s: how long that may take; what is left is cut.
        """
        self._stopping = True
        for server in self._servers:
            server.close()
        for protocol in tuple(self._opening):
            protocol.transport.disconnect(graceful=False)
        for session in tuple(self._sessions):
            session.drain()
        if self._sessions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._all_gone.wait()
        for session in tuple(self._sessions):
            session.cut()
        if self._sessions:
            await self._all_gone.wait()
        if self._lingering is not None:
            self._lingering.close()
        self.wheel.stop()

    # What its sockets call

    def accepted(self, protocol: StationProtocol) -> None:
        """A TCP (and TLS) connection stands."""
        by_proxy = self.config.proxies.trusts(protocol.address)
        protocol.overflow = not self._occupancy.enter(protocol.address, shared=by_proxy)
        if self._occupancy.total > self.config.max_connections + _SPARE or self._stopping:
            protocol.transport.disconnect(graceful=False)
            return
        self._opening.add(protocol)
        protocol.until = time.monotonic() + self.config.handshake_timeout_s
        self.wheel.add(protocol, protocol.until)

    def tls_failed(self) -> None:
        """A socket is gone because its TLS handshake failed; it never came as far as `accepted`."""
        self.measures.handshake(Verdict.TLS_FAILED.value)

    def lost(self, protocol: StationProtocol) -> None:
        """A connection is gone."""
        self._occupancy.leave(protocol.address)
        self.wheel.remove(protocol)
        if protocol in self._opening:
            self._opening.discard(protocol)
            self.measures.handshake(Verdict.SILENT.value)

    def refused(self, transport: asyncio.Transport) -> None:
        """The parser closes a transport while its station may still be sending."""
        accepted = transport.get_extra_info("socket")
        if self._lingering is not None and accepted is not None and not self._stopping:
            self._lingering.take(accepted.fileno())

    def opening(self, protocol: StationProtocol, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        """Judges an opening request. Raises nothing: picows would show the exception to the peer."""
        try:
            if self.config.proxies:
                self._see_through(protocol, request)
            judgement = self._judge(protocol, request)
        except UnavailableError:
            judgement = refusal(Verdict.FAILED, 503, "Not ready yet.\n", ("Retry-After", "5"))
        except Exception:
            _log.exception("ocpp_handshake_failed", address=protocol.address, target=repr(request.path[:200]))
            judgement = refusal(Verdict.FAILED, 500, "Internal error.\n")
        self._opening.discard(protocol)
        self.measures.handshake(judgement.verdict.value)
        if judgement.verdict in _LOGGED:
            _log.info(
                "ocpp_handshake_refused",
                outcome=judgement.verdict.value,
                address=protocol.address,
                target=repr(request.path[:200]),
            )
        return self._respond(protocol, judgement)

    def _see_through(self, protocol: StationProtocol, request: WSUpgradeRequest) -> None:
        """Takes the address for which a trusted proxy connects as the socket's own."""
        proxies = self.config.proxies
        client = proxies.client(protocol.address, request.headers.getall(proxies.header.value, ()))
        if client != protocol.address:
            fits = self._occupancy.move(protocol.address, client)
            protocol.address = client
            protocol.overflow = protocol.overflow or not fits

    def _judge(self, protocol: StationProtocol, request: WSUpgradeRequest) -> Judgement:
        if protocol.overflow:
            return refusal(Verdict.FULL, 503, "There are too many connections.\n", ("Retry-After", "30"))
        if self._stopping:
            return refusal(Verdict.STOPPING, 503, "The server is stopping.\n", ("Retry-After", "5"))
        listener = protocol.door
        certified: Callable[[StationCredentials], bool] | None = None
        shown = False
        if listener.certificate_check is not None:
            check, tls_object = (
                listener.certificate_check,
                protocol.transport.underlying_transport.get_extra_info("ssl_object"),
            )

            def is_theirs(credentials: StationCredentials) -> bool:
                return check(credentials, tls_object, protocol.address)

            certified = is_theirs
            shown = tls_object is not None and tls_object.getpeercert(binary_form=True) is not None

        opening = Opening(
            request.path,
            request.headers,
            protocol.address,
            time.monotonic(),
            tls=listener.tls,
            certified=certified,
            shows_certificate=shown,
        )
        return self._door.judge(opening)

    def _respond(self, protocol: StationProtocol, judgement: Judgement) -> WSUpgradeResponseWithListener:
        if judgement.status != 101:
            headers = (*judgement.headers, ("Content-Type", "text/plain; charset=utf-8"))
            response = WSUpgradeResponse.create_error_response(judgement.status, judgement.text.encode(), headers)
            return WSUpgradeResponseWithListener(response, None)
        response = WSUpgradeResponse.create_101_response(judgement.headers)
        credentials, version = judgement.credentials, judgement.version
        self.wheel.remove(protocol)
        if credentials is None or version is None:
            protocol.until = time.monotonic() + self.config.close_timeout_s
            self.wheel.add(protocol, protocol.until)
            return WSUpgradeResponseWithListener(response, _Refused())
        session = Session(
            self,
            credentials,
            self.voices[version],
            protocol.address,
            judgement.deflated,
            judgement.proof,
            judgement.forgiven,
        )
        return WSUpgradeResponseWithListener(response, session)

    def opened(self, session: Session) -> None:
        """A session stands."""
        self._sessions.add(session)

    def give_way(self, socket: StationSocket) -> None:
        """Lets the loop go round once."""
        if self._loop is not None:
            self._loop.call_soon(socket.turn_again)

    def gone(self, session: Session) -> None:
        """A session is disconnected."""
        self._sessions.discard(session)
        if self._stopping and not self._sessions:
            self._all_gone.set()

    def _sockets_by_version(self) -> dict[str, float]:
        return dict(Counter(session.ocpp_version for session in self._sessions))
