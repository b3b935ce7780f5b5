"""One virtual charging station: its socket, its queue of messages, its boot, and the things it does by itself.

Everything runs in call-backs: frames from the socket, the wheel's timers, and scripts that these wake. Only opening a
socket takes a task, for as long as that lasts.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import zlib
from base64 import b64encode
from collections.abc import Callable, Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from msgspec import Struct, json
from msgspec.structs import replace
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from chargeplane.kernel.errors import PeerError, UnavailableError
from chargeplane.ocpp.catalogue import PayloadError, decode_request, encode
from chargeplane.ocpp.frames import (
    Call,
    CallError,
    CallResult,
    decode_frame,
    encode_call,
    encode_error,
    encode_result,
    text_of,
)
from chargeplane.ocpp.versions import ErrorCode, OcppVersion
from chargeplane.simulator import acts
from chargeplane.simulator.car import CAR_MODELS, MAINS_V, Car
from chargeplane.simulator.charging import Charging
from chargeplane.simulator.clock import StationClock
from chargeplane.simulator.counters import Counters
from chargeplane.simulator.dialect import Dialect, Draft, Moment, Reply
from chargeplane.simulator.dialect2x import DIALECT_21, DIALECT_201
from chargeplane.simulator.dialect16 import DIALECT_16
from chargeplane.simulator.evse import Evse, Plan, Session, StopReason
from chargeplane.simulator.faults import Fault, distort, distorts, refusal
from chargeplane.simulator.ledger import Entry, Line, Record
from chargeplane.simulator.meter import AC_22, DEFAULT_QUANTITIES, EvseModel, Quantity
from chargeplane.simulator.noise import Noise
from chargeplane.simulator.options import FAST, INFINITE, Options
from chargeplane.simulator.outbox import LOST, Answer, Letter, Outbox, Settle
from chargeplane.simulator.profiles import NO_LIMIT_W, Profiles, Running, Supply
from chargeplane.simulator.script import Steps
from chargeplane.simulator.settings import (
    HEARTBEAT_INTERVAL,
    MESSAGE_ATTEMPTS,
    MESSAGE_RETRY_INTERVAL,
    NETWORK_ATTEMPTS,
    PASSWORD,
    SAMPLED_DATA,
    Settings,
)
from chargeplane.simulator.subjects import device_model
from chargeplane.simulator.timers import Timer, Timers

DIALECTS: Final[dict[str, Dialect]] = {d.version.value: d for d in (DIALECT_16, DIALECT_201, DIALECT_21)}
"""The OCPP versions a station can speak."""

S = TypeVar("S")

_DEFLATE_OFFER: Final = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
_DEFLATE_TAIL: Final = b"\x00\x00\xff\xff"
_SILENT_ANSWERS_TO_HANG_UP: Final = 3

_QUANTITIES: Final = {quantity.value: quantity for quantity in Quantity}


class HandshakeError(PeerError):
    """The handshake was refused.

    Args:
        status: HTTP status, None where the socket could not be opened at all.
    """

    def __init__(self, station_id: str, url: str, status: int | None, reason: str) -> None:
        super().__init__(f"The CSMS at {url} did not take station '{station_id}': {reason}.")
        self.status = status


class Route(NamedTuple):
    """By which way a station connects.

    Args:
        url: of the CSMS, without the station's id.
        ssl: for wss.
        with_password: whether it sends its password.
    """

    url: str
    ssl: ssl.SSLContext | None
    with_password: bool = True


class _Socket(WSListener):
    """One WebSocket; a station that reconnects gets a new one, and the old one's events change nothing any more."""

    __slots__ = ("_parts", "deflated", "station", "transport")

    def __init__(self, station: VirtualStation) -> None:
        self.station = station
        self.transport: WSTransport | None = None
        self.deflated = False
        self._parts: bytes | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.deflated = "permessage-deflate" in (transport.response.headers.get("Sec-WebSocket-Extensions") or "")
        self.station._connected(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.TEXT or kind == WSMsgType.CONTINUATION:
            data = frame.get_payload_as_bytes()
            if frame.rsv1:
                data = zlib.decompressobj(-15).decompress(data + _DEFLATE_TAIL)
            if self._parts is not None or not frame.fin:
                data = (self._parts or b"") + data
                self._parts = None if frame.fin else data
                if not frame.fin:
                    return
            if self.station._socket is self:
                self.station._receive(data)
        elif kind == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        self.station._disconnected(self)

    def send(self, frame: bytes) -> None:
        if self.transport is None:
            return
        if self.deflated:
            packer = zlib.compressobj(6, zlib.DEFLATED, -15)
            packed = packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH)
            self.transport.send(WSMsgType.TEXT, packed[:-4], rsv1=True)
        else:
            self.transport.send(WSMsgType.TEXT, frame)


class VirtualStation:
    """A charging station that is a real OCPP client.

    Args:
        url: of the CSMS, without the station's id (`ws://127.0.0.1:9000/ocpp`).
        station_id: the identity it connects with.
        version: `1.6`, `2.0.1` or `2.1`.
        password: Basic authentication; None connects without.
        seed: equal seeds behave equally, down to message ids; None takes a new one every time.
        evses: how many of `model`, or a list of models.
        options: behaviour; `FAST` unless given.
        speed: overrides `options.speed`.
        faults: overrides `options.faults`.
        timers: the wheel of the process, shared by a fleet; own where None.
        counters: shared by a fleet; own where None.
        record: takes a line for everything sent and acknowledged.
    """

    __slots__ = (
        "_accepted",
        "_at_close",
        "_backoff",
        "_boot_reason",
        "_boot_waiters",
        "_booted",
        "_booting",
        "_charging",
        "_connect_task",
        "_deadline",
        "_drained",
        "_heartbeat",
        "_hold_queue",
        "_message_number",
        "_online_waiters",
        "_outbox",
        "_record",
        "_refusals",
        "_rest",
        "_resumes",
        "_retry",
        "_silent",
        "_socket",
        "_states",
        "_tasks",
        "_unanswered",
        "_wants_online",
        "after_boot",
        "calls",
        "clock",
        "closed",
        "counters",
        "dialect",
        "evses",
        "last_refusal",
        "local_list",
        "local_list_version",
        "loop",
        "noise",
        "on_opening",
        "on_session",
        "operative",
        "options",
        "password",
        "pending_reboot",
        "powered",
        "profiles",
        "route",
        "settings",
        "station_id",
        "timers",
        "url",
    )

    def __init__(
        self,
        url: str,
        station_id: str,
        version: str = "1.6",
        *,
        password: str | None = None,
        seed: int | None = None,
        evses: int | list[EvseModel] = 1,
        model: EvseModel = AC_22,
        options: Options = FAST,
        speed: float | None = None,
        faults: frozenset[Fault] | None = None,
        timers: Timers | None = None,
        counters: Counters | None = None,
        record: Record | None = None,
    ) -> None:
        if version not in DIALECTS:
            raise ValueError(f"There is no OCPP version '{version}' here; choose one of {', '.join(DIALECTS)}.")
        if speed is not None:
            options = replace(options, speed=speed)
        if faults is not None:
            options = replace(options, faults=faults)
        self.loop = asyncio.get_running_loop()
        self.dialect = DIALECTS[version]
        self.station_id = station_id
        self.password = password
        self.options = options
        self.timers = timers if timers is not None else Timers(self.loop)
        self.counters = counters if counters is not None else Counters()
        self.noise = Noise(int.from_bytes(os.urandom(8), "big") if seed is None else seed)
        models = [model] * evses if isinstance(evses, int) else evses
        self.evses = [Evse(number, each, self.noise) for number, each in enumerate(models, 1)]
        self.settings = Settings()
        self.profiles = Profiles()
        self.clock = StationClock()
        self.operative = True
        self.powered = True
        self.pending_reboot: str | None = None
        self.local_list: dict[str, str] | None = None
        self.local_list_version = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.after_boot: Draft | None = None
        self.last_refusal: HandshakeError | None = None
        self.on_session: Callable[[Session], None] | None = None
        self.route: Callable[[], Route] | None = None
        """Picks the way it connects; where there is none, the address and TLS it was made with."""
        self.on_opening: Callable[[HandshakeError | None], None] | None = None
        """Told how each attempt to connect ended."""
        self.url = url.rstrip("/")
        self._charging = Charging(self)
        self._outbox = Outbox()
        self._record = record
        self._socket: _Socket | None = None
        self._states: dict[type, Any] | None = None
        self._tasks: set[asyncio.Task[Any]] | None = None
        self._at_close: list[Callable[[], object]] | None = None
        self.closed = False
        self._connect_task: asyncio.Task[None] | None = None
        self._wants_online = False
        self._booted = False
        self._booting = False
        self._accepted = False
        self._boot_reason = "PowerUp"
        self._silent = False
        self._hold_queue = False
        self._unanswered = 0
        self._refusals = 0
        self._resumes = False
        self._message_number = 0
        self._backoff = options.reconnect_min_s
        self._deadline: Timer | None = None
        self._heartbeat: Timer | None = None
        self._retry: Timer | None = None
        self._rest: Timer | None = None
        self._online_waiters: list[asyncio.Future[None]] | None = None
        self._boot_waiters: list[asyncio.Future[None]] | None = None
        self._drained: list[asyncio.Future[None]] | None = None

    # ---------------------------------------------------------------- state

    @property
    def version(self) -> OcppVersion:
        """The OCPP version it speaks."""
        return self.dialect.version

    @property
    def online(self) -> bool:
        """The socket is open."""
        return self._socket is not None

    @property
    def accepted(self) -> bool:
        """The CSMS accepted its last boot."""
        return self._accepted

    @property
    def booted(self) -> bool:
        """It has booted since it was last without power or restarted."""
        return self._booted

    @property
    def unsent(self) -> int:
        """Transaction messages that were not answered yet."""
        return self._outbox.kept

    def evse(self, evse_id: int) -> Evse:
        """The EVSE with this id, from 1.

        Raises:
            ValueError: there is none.
        """
        if not 1 <= evse_id <= len(self.evses):
            raise ValueError(f"Station '{self.station_id}' has no EVSE {evse_id}; it has 1 to {len(self.evses)}.")
        return self.evses[evse_id - 1]

    def session_of(self, transaction_id: str) -> Session | None:
        """The running session with this transaction id."""
        for evse in self.evses:
            session = evse.session
            if session is not None and session.transaction_id == transaction_id and evse.busy:
                return session
        return None

    def has_unsent(self, transaction_id: str) -> bool:
        """Whether messages about this transaction were not answered yet."""
        name = transaction_id.encode()
        return any(name in (letter.payload or letter.write()) for letter in self._outbox.about_transactions())

    def has(self, fault: Fault) -> bool:
        """Whether it was given this fault."""
        return fault in self.options.faults

    def give_faults(self, *faults: Fault) -> None:
        """Gives it these faults from now on, in place of those it had."""
        self.options = replace(self.options, faults=frozenset(faults))

    def state_of(self, kind: type[S]) -> S:
        """What a subject keeps of this station; made when it is first asked for."""
        if self._states is None:
            self._states = {}
        state = self._states.get(kind)
        if state is None:
            state = self._states[kind] = kind()
        made: S = state
        return made

    def work(self, steps: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Does something that waits for others (a transfer of a file); it ends with the station at the latest."""
        if self._tasks is None:
            self._tasks = set()
        task = self.loop.create_task(steps)
        self._tasks.add(task)
        task.add_done_callback(self._worked)
        return task

    def _worked(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.loop.call_exception_handler(
                {"message": f"Work of station '{self.station_id}' failed.", "exception": task.exception()}
            )

    def at_close(self, call: Callable[[], object]) -> None:
        """Something to be done when the station is closed."""
        if self._at_close is None:
            self._at_close = []
        self._at_close.append(call)

    def quantities(self) -> tuple[Quantity, ...]:
        """What its meter values hold."""
        text = self.options.quantities or self.settings.text(SAMPLED_DATA)
        if text == SAMPLED_DATA.default:
            return DEFAULT_QUANTITIES
        return tuple(_QUANTITIES[name] for name in text.split(",") if name in _QUANTITIES)

    def limit_w(self, evse: Evse) -> int:
        """The limit by charging profiles for an EVSE at this moment, in W."""
        if self.profiles.empty:
            return NO_LIMIT_W
        return self.profiles.limit_w(evse.id, self.supply(evse), self.clock.now(), self.running(evse))

    def setpoint_w(self, evse: Evse) -> int | None:
        """The power that charging profiles ask of an EVSE at this moment, in W; below 0 the car is to give back."""
        if self.profiles.empty:
            return None
        setpoint = self.profiles.values(evse.id, self.supply(evse), self.clock.now(), self.running(evse)).setpoint
        return None if setpoint is None else int(setpoint)

    @staticmethod
    def supply(evse: Evse) -> Supply:
        """What an EVSE is connected to, as charging profiles see it."""
        model = evse.meter.model
        most = Decimal(model.max_a) if not model.dc else Decimal(model.max_w) / (3 * MAINS_V)
        return Supply(phases=model.phases, power_w=model.power_w, max_a=most.quantize(Decimal("0.001")).normalize())

    @staticmethod
    def running(evse: Evse) -> Running | None:
        """The transaction of an EVSE, as charging profiles see it."""
        session = evse.session
        if session is None or not evse.busy or not session.started:
            return None
        return Running(id=session.transaction_id, started_at=session.started_at, priority=session.priority)

    def rate_changed(self) -> None:
        """Charging profiles changed: cars that charge at another power now are reported (K11.FR.04)."""
        for evse in self.evses:
            session = evse.session
            if session is not None and evse.busy and session.started:
                session.rouse()
                self.launch(self._charging.report(evse, Moment.RATE_CHANGED))

    # ---------------------------------------------------------------- connecting

    async def connect(self) -> None:
        """Opens the socket; after that the station comes back by itself whenever it is lost.

        Raises:
            HandshakeError: the first attempt failed.
        """
        self._wants_online = True
        if self._socket is None:
            self._cancel("_retry")
            try:
                await self._open()
            except HandshakeError:
                self._wants_online = False
                raise

    def start(self) -> None:
        """Opens the socket and goes on trying; returns at once."""
        self._wants_online = True
        self._try_to_connect()

    async def boot(self, timeout_s: float = 60.0) -> None:
        """Waits until the CSMS accepted the boot (sends one where none is under way).

        Raises:
            UnavailableError: it was not accepted in time.
        """
        if self._accepted:
            return
        waiter: asyncio.Future[None] = self.loop.create_future()
        if self._boot_waiters is None:
            self._boot_waiters = []
        self._boot_waiters.append(waiter)
        if self.online and not self._booting:
            self._boot()
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            raise UnavailableError(
                f"Station '{self.station_id}' was not accepted by the CSMS within {timeout_s:g} s."
            ) from None

    async def wait_online(self, timeout_s: float = 30.0) -> None:
        """Waits until the socket is open and the boot accepted."""
        async with asyncio.timeout(timeout_s):
            while not (self.online and self._accepted):
                waiter: asyncio.Future[None] = self.loop.create_future()
                if self._online_waiters is None:
                    self._online_waiters = []
                self._online_waiters.append(waiter)
                await waiter

    async def drain(self, timeout_s: float = 30.0, *, everything: bool = False) -> None:
        """Waits until every message about a transaction was answered.

        Args:
            everything: waits for all other messages as well.
        """
        async with asyncio.timeout(timeout_s):
            while len(self._outbox) if everything else self._outbox.kept:
                waiter: asyncio.Future[None] = self.loop.create_future()
                if self._drained is None:
                    self._drained = []
                self._drained.append(waiter)
                await waiter

    async def close(self) -> None:
        """Ends everything: charging stops where it is, the socket closes, nothing comes back."""
        self._wants_online = False
        self.closed = True
        self._cancel_timers()
        self._charging.abandon()
        tasks = list(self._tasks or ())
        if self._connect_task is not None:
            tasks.append(self._connect_task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for call in self._at_close or ():
            call()
        socket = self._socket
        if socket is not None and socket.transport is not None:
            transport = socket.transport
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
            await transport.wait_disconnected()

    def _try_to_connect(self) -> None:
        self._retry = None
        if self._wants_online and self.powered and self._socket is None and self._connect_task is None:
            self._connect_task = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._open()
        except HandshakeError as error:
            self.last_refusal = error
            self.counters.refused += 1
            self._refusals += 1
            if self._refusals % self.settings.number(NETWORK_ATTEMPTS) == 0:
                device_model.fall_back(self)
        finally:
            self._connect_task = None
        if self._socket is None:  # refused, or lost again while it was being opened
            self._come_back()

    async def _open(self) -> None:
        told = self.on_opening
        try:
            await self._dial()
        except HandshakeError as error:
            if told is not None:
                told(error)
            raise
        if told is not None:
            told(None)

    async def _dial(self) -> None:
        way = self.route() if self.route is not None else Route(self.url, self.options.ssl)
        headers = {"Sec-WebSocket-Protocol": self.dialect.version.subprotocol}
        password = self.password
        if password is not None and way.with_password:
            secret = bytes.fromhex(password) if self.options.password_is_hex else password.encode()
            headers["Authorization"] = "Basic " + b64encode(self.station_id.encode() + b":" + secret).decode()
        if self.options.deflate:
            headers["Sec-WebSocket-Extensions"] = _DEFLATE_OFFER
        address = f"{way.url}/{quote(self.station_id, safe='')}"
        try:
            await ws_connect(
                lambda: _Socket(self),
                address,
                ssl_context=way.ssl,
                extra_headers=headers,
                websocket_handshake_timeout=self.options.handshake_timeout_s,
                read_buffer_init_size=2048,
                use_aiofastnet=False,
            )
        except WSError as error:
            response = getattr(error, "response", None)
            status = int(response.status) if response is not None else None
            reason = f"it answered {status}" if status is not None else str(error) or "the handshake failed"
            raise HandshakeError(self.station_id, way.url, status, reason) from error
        except (TimeoutError, OSError) as error:
            reason = (getattr(error, "strerror", None) or str(error) or "no answer").lower()
            raise HandshakeError(self.station_id, way.url, None, reason) from error

    def _connected(self, socket: _Socket) -> None:
        if not self._wants_online or not self.powered:
            assert socket.transport is not None
            socket.transport.disconnect()
            return
        self._socket = socket
        self.profiles.back_online(self.clock.now())
        self._unanswered = 0
        self._refusals = 0
        self._backoff = self.options.reconnect_min_s
        self.counters.connected += 1
        self.counters.connects += 1
        if self.has(Fault.REPEATING_MESSAGE_IDS):
            self._message_number = 0
        if self.has(Fault.REORDERED_REPLAY):
            waiting = self._outbox.waiting()
            waiting.reverse()
        if self.has(Fault.NO_BOOT):
            self._accepted = self._booted = True
            self._send(self.dialect.heartbeat(), self._heartbeat_answered)
        if self.has(Fault.BOOT_ON_RECONNECT):
            self._booted = False
        if not self._booted:
            if self.options.auto_boot or self._boot_waiters:
                self._boot()
        else:
            # OCPP 1.6, 4.2 and 2.0.1 B04: no boot after a mere reconnect; statuses that changed meanwhile are told.
            self._after_acceptance(only_changes=True)

    def _disconnected(self, socket: _Socket) -> None:
        if self._socket is not socket:
            return
        self._socket = None
        self._booting = False
        self.profiles.offline_since = self.clock.now()
        self.counters.connected -= 1
        self._cancel("_deadline")
        self._cancel("_heartbeat")
        self._cancel("_rest")
        self._hold_queue = False
        for letter in self._outbox.disconnected():
            self._note(Entry.LOST, letter)
            if letter.settle is not None:
                letter.settle(LOST)
        self._charging.went_offline()
        self._come_back()

    def _come_back(self) -> None:
        if not (self._wants_online and self.powered) or self._retry is not None or self._socket is not None:
            return
        if not self.options.reconnect:
            return
        wait = self._backoff * (0.75 + self.noise.fraction() / 2)
        self._backoff = min(self._backoff * 2, self.options.reconnect_max_s)
        self._retry = self.timers.after(wait, self._try_to_connect)

    def _cancel(self, name: str) -> None:
        timer: Timer | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)

    def _cancel_timers(self) -> None:
        for name in ("_deadline", "_heartbeat", "_retry", "_rest"):
            self._cancel(name)

    # ---------------------------------------------------------------- boot and heartbeat

    def _boot(self) -> None:
        self._rest = None
        self._booting = True
        self._accepted = self._accepted and self._booted  # a boot that was merely asked for changes nothing
        self._send(self.dialect.boot(self, self._boot_reason), self._boot_answered, first=True)
        if self.has(Fault.STATUS_BEFORE_BOOT_ANSWER):
            for evse in self.evses:
                self._burst(self.dialect.status(self, evse))

    def _burst(self, draft: Draft) -> None:
        """Sends at once, against the rule of one CALL in flight."""
        assert self._socket is not None
        payload = self._distorted(draft.action, encode(draft.write()))
        self._socket.send(encode_call(self._new_message_id(), draft.action, payload))
        self.counters.sent += 1

    def _boot_answered(self, answer: Answer) -> None:
        self._booting = False
        if not self.online:
            return
        if answer.payload is None:
            self._rest = self.timers.after(self.options.boot_retry_s, self._boot)
            return
        status, interval, current_time = self.dialect.read_boot(answer.payload)
        if current_time is not None:
            self.clock.synchronise(current_time)
        if status != "Accepted":
            # OCPP 1.6, 4.2 and 2.0.1 B02.FR.04: the interval is the wait until the next boot.
            self.counters.boots_refused += 1
            self._rest = self.timers.after(interval if interval > 0 else self.options.boot_retry_s, self._boot)
            return
        if interval > 0:
            self.settings.put(HEARTBEAT_INTERVAL, str(interval))
        self._booted = self._accepted = True
        self.counters.boots += 1
        waiters, self._boot_waiters = self._boot_waiters, None
        self._after_acceptance(only_changes=False)
        if self._resumes:
            self._resumes = False
            self._tell_resumed(self.evses)
        draft, self.after_boot = self.after_boot, None
        if draft is not None:
            self._send(draft, None)
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _after_acceptance(self, *, only_changes: bool) -> None:
        self._schedule_heartbeat()
        for evse in self.evses:
            self.tell_status(evse, force=not only_changes)
        waiters, self._online_waiters = self._online_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._pump()

    def _schedule_heartbeat(self) -> None:
        self._cancel("_heartbeat")
        interval = self.settings.number(HEARTBEAT_INTERVAL)
        if interval > 0:
            self._heartbeat = self.timers.after(interval, self._beat)

    def _beat(self) -> None:
        self._heartbeat = None
        if self.online and self._accepted:
            self._send(self.dialect.heartbeat(), self._heartbeat_answered)
            self._schedule_heartbeat()

    def _heartbeat_answered(self, answer: Answer) -> None:
        if answer.payload is not None:
            current_time = self.dialect.read_time(answer.payload)
            if current_time is not None:
                self.clock.synchronise(current_time)

    def tell_status(self, evse: Evse, *, force: bool = False) -> None:
        """StatusNotification, where there is something new to tell and somebody to hear it."""
        word = self.dialect.word(evse.status)
        if not self.online or not self._accepted:
            return  # told after the reconnect, where it still differs
        if force or evse.told != word:
            evse.told = word
            self._send(self.dialect.status(self, evse), None)

    # ---------------------------------------------------------------- sending

    def _new_message_id(self) -> str:
        if self.has(Fault.REPEATING_MESSAGE_IDS):
            self._message_number += 1
            return str(self._message_number)
        return self.noise.uuid()

    def send(self, draft: Draft, settle: Settle | None = None, *, kept: bool = False, first: bool = False) -> None:
        """Queues a message.

        Args:
            settle: called with the answer.
            kept: about a transaction: kept over everything until it is answered.
            first: may go before the boot is accepted (what a CSMS triggers while Pending).
        """
        self._send(draft, settle, kept=kept, first=first)

    def _send(self, draft: Draft, settle: Settle | None, *, kept: bool = False, first: bool = False) -> None:
        letter = Letter(draft.action, lambda: encode(draft.write()), settle, kept=kept, first=first)
        if not kept and not self.online:
            if settle is not None:
                settle(LOST)
            return
        self._outbox.add(letter)
        self._pump()

    def _distorted(self, action: str, payload: bytes) -> bytes:
        faults = self.options.faults
        return json.encode(distort(faults, action, json.decode(payload))) if distorts(faults) else payload

    def _pump(self) -> None:
        if self._socket is None or self._hold_queue or self._silent:
            return
        letter = self._outbox.take(accepted=self._accepted)
        if letter is None:
            return
        if letter.payload is None:
            letter.message_id = self._new_message_id()
            letter.payload = self._distorted(letter.action, letter.write())
        frame = encode_call(letter.message_id, letter.action, letter.payload)
        letter.sent += 1
        self.counters.sent += 1
        self._note(Entry.SENT, letter)
        self._deadline = self.timers.after(self.options.answer_timeout_s, self._no_answer)
        self._socket.send(frame)
        if letter.kept and self.has(Fault.DUPLICATE_MESSAGES):
            self._socket.send(frame)

    def _no_answer(self) -> None:
        self._deadline = None
        self.counters.unanswered += 1
        self._unanswered += 1
        letter = self._outbox.in_flight
        if letter is not None and letter.kept:
            self._outbox.put_back()
        elif letter is not None:
            self._outbox.drop_flying()
            self._note(Entry.LOST, letter)
            if letter.settle is not None:
                letter.settle(LOST)
        if self._unanswered >= _SILENT_ANSWERS_TO_HANG_UP:
            self.drop()
        else:
            self._pump()

    def _answered(self, message_id: str, answer: Answer) -> None:
        letter = self._outbox.answered(message_id)
        if letter is None:
            self.counters.foreign_answers += 1
            return
        self._cancel("_deadline")
        self._unanswered = 0
        if answer.ok:
            self.counters.acknowledged += 1
            self._note(Entry.ACKNOWLEDGED, letter, answer.payload)
        else:
            self.counters.errors += 1
            letter.attempts += 1
            if letter.kept and letter.attempts < self.settings.number(MESSAGE_ATTEMPTS):
                # OCPP 1.6, 3.7.1 and 2.0.1 E13: try again after the interval times the attempts made.
                self._outbox.in_flight = letter
                self._outbox.put_back()
                self._hold_queue = True
                pause = self.options.error_retry_s
                if pause is None:
                    pause = self.settings.number(MESSAGE_RETRY_INTERVAL)
                self._rest = self.timers.after(pause * letter.attempts, self._release_queue)
                return
            self._note(Entry.REFUSED, letter, (answer.error_code or "").encode())
        if letter.settle is not None:
            letter.settle(answer)
        if self._drained is not None:
            drained, self._drained = self._drained, None
            for waiter in drained:
                if not waiter.done():
                    waiter.set_result(None)
        self._pump()

    def _release_queue(self) -> None:
        self._hold_queue = False
        self._rest = None
        self._pump()

    def _note(self, entry: Entry, letter: Letter, answer: bytes | None = None) -> None:
        if self._record is not None and letter.payload is not None:
            self._record(
                Line(self.loop.time(), self.station_id, entry, letter.action, letter.message_id, letter.payload, answer)
            )

    # ---------------------------------------------------------------- receiving

    def _receive(self, data: bytes) -> None:
        if self._silent:
            return
        frame = decode_frame(data, self.dialect.version)
        if isinstance(frame, CallResult):
            self._answered(frame.message_id, Answer(payload=bytes(frame.payload)))
        elif isinstance(frame, Call):
            self._called(frame.message_id, frame.action, bytes(frame.payload))
        elif isinstance(frame, CallError):
            self._answered(
                frame.message_id,
                Answer(error_code=text_of(frame.code), error_description=text_of(frame.description)),
            )
        else:
            self.counters.garbage += 1

    def _called(self, message_id: str, action: str, payload: bytes) -> None:
        self.counters.called += 1
        version = self.dialect.version
        try:
            request = decode_request(version, action, payload)
        except PayloadError as error:
            if error.problem.code is ErrorCode.NOT_IMPLEMENTED:
                self._refuse_action(message_id, error.problem.code, error.problem.description)
            else:
                self._answer_error(message_id, error.problem.code, error.problem.description)
            return
        if self.options.record_calls:
            self.calls.append((action, json.decode(payload)))
        refused = refusal(version, action) if self.has(Fault.REJECTS_ALL) else None
        reply: Reply | None = None
        if action not in self.options.unsupported:
            reply = self.dialect.handle(self, action, request) if refused is None else Reply(refused)
        if reply is None:
            self._refuse_action(message_id, ErrorCode.NOT_SUPPORTED, f"This station does not support {action}")
            return
        if self.has(Fault.FOREIGN_ANSWERS):
            self._answer(self._new_message_id(), reply.result)
        if self.has(Fault.LATE_ANSWERS):
            self.timers.after(self.options.late_answer_s, lambda: self._answer(message_id, reply.result))
        else:
            self._answer(message_id, reply.result)
        if reply.then is not None:
            reply.then()

    def _refuse_action(self, message_id: str, code: ErrorCode, description: str) -> None:
        if self.has(Fault.UNKNOWN_ACTION_CLOSES):
            self.drop()
        elif not self.has(Fault.UNKNOWN_ACTION_IGNORED):
            self._answer_error("-1" if self.has(Fault.UNKNOWN_ACTION_MINUS_ONE) else message_id, code, description)

    def _answer(self, message_id: str, result: Struct) -> None:
        if self._socket is not None:
            self._socket.send(encode_result(message_id, encode(result)))

    def _answer_error(self, message_id: str, code: ErrorCode, description: str) -> None:
        if self._socket is not None:
            self._socket.send(encode_error(message_id, code.spelled(self.dialect.version), description))

    # ---------------------------------------------------------------- drivers

    def run(self, steps: Steps[Any]) -> asyncio.Future[Any]:
        """Runs a script; the future gets its result."""
        future: asyncio.Future[Any] = self.loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if isinstance(error, GeneratorExit):
                future.cancel()
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._charging.launch(steps, done)
        return future

    def launch(self, steps: Steps[Any]) -> None:
        """Runs a script nobody waits for."""

        def done(result: Any, error: BaseException | None) -> None:
            if error is not None and not isinstance(error, GeneratorExit):
                self.loop.call_exception_handler(
                    {"message": f"A script of station '{self.station_id}' failed.", "exception": error}
                )

        self._charging.launch(steps, done)

    def new_car(self, soc_percent: float | None = None) -> Car:
        """A car off the street."""
        model = self.noise.choice(CAR_MODELS)
        soc = float(self.noise.between(8, 60)) if soc_percent is None else soc_percent
        return Car(model, soc_percent=soc)

    async def authorize(self, id_token: str) -> str:
        """Authorize; returns the CSMS's status word, or `Offline`."""
        answer: Answer = await self.run(self._charging.ask(self.dialect.authorize(id_token)))
        return "Offline" if answer.payload is None else self.dialect.read_authorize(answer.payload)

    async def charge(
        self,
        *,
        id_token: str,
        energy_wh: int | None = None,
        duration_s: float | None = None,
        meter_interval_s: float | None = None,
        evse_id: int = 1,
        car: Car | None = None,
        reason: StopReason = StopReason.LOCAL,
        plan: Plan | None = None,
    ) -> Session:
        """A whole visit: plug in, authorise, start, meter values, stop, unplug.

        Returns when the last message was answered, or, offline, when the car drove off (then `drain` waits for the rest).

        Args:
            energy_wh: stops after exactly so many Wh.
            duration_s: stops after so many seconds of charging.
            meter_interval_s: seconds of charging between meter values; None takes the station's setting.
            car: None takes one off the street, large enough for `energy_wh`.
            plan: in place of the single wishes.
        """
        if plan is None:
            plan = Plan(energy_wh=energy_wh, duration_s=duration_s, meter_interval_s=meter_interval_s, reason=reason)
        session: Session = await self.run(self._charging.visit(self.evse(evse_id), id_token, plan, car))
        return session

    def visit(self, evse_id: int, id_token: str, plan: Plan, car: Car | None = None) -> Steps[Session]:
        """The script of a whole visit, for other scripts to run."""
        return self._charging.visit(self.evse(evse_id), id_token, plan, car)

    def plug_in(self, evse_id: int = 1, car: Car | None = None) -> Car:
        """A car arrives and is plugged in."""
        return self._charging.plug_in(self.evse(evse_id), car)

    def unplug(self, evse_id: int = 1) -> None:
        """The car drives off; a charging that goes on ends with EVDisconnected."""
        self._charging.unplug(self.evse(evse_id))

    async def start_transaction(self, id_token: str, evse_id: int = 1) -> Session:
        """Starts a transaction with the car that is plugged in; returns when the start was answered (or offline)."""
        session: Session = await self.run(self._charging.begin(self.evse(evse_id), id_token))
        return session

    async def deliver(
        self,
        session: Session,
        energy_wh: int | None = None,
        *,
        duration_s: float | None = None,
        meter_interval_s: float | None = None,
    ) -> None:
        """Charges on: so many more Wh, or so many seconds; meter values as they come."""
        plan = Plan(energy_wh=energy_wh, duration_s=duration_s, meter_interval_s=meter_interval_s)
        await self.run(self._charging.energise(self.evse(session.evse_id), session, plan))

    async def stop_transaction(self, session: Session, reason: StopReason = StopReason.LOCAL) -> Session:
        """Ends the transaction; returns when the stop was answered (or offline)."""
        await self.run(self._charging.finish(self.evse(session.evse_id), session, reason))
        return session

    async def present_token(self, id_token: str, evse_id: int = 1) -> bool:
        """A driver presents a token where a transaction goes on; whether it may stop it (and did)."""
        stops: bool = await self.run(self._charging.present(self.evse(evse_id), id_token))
        return stops

    async def meter_values(self, evse_id: int = 1) -> None:
        """Meter values of an EVSE, in the transaction if there is one."""
        await self.run(self._charging.report(self.evse(evse_id)))

    # ---------------------------------------------------------------- faults on command

    def drop(self) -> None:
        """The socket is lost without a close frame; the station comes back by itself."""
        socket = self._socket
        if socket is not None and socket.transport is not None:
            socket.transport.disconnect(graceful=False)

    def go_offline(self) -> None:
        """Loses the network until `go_online`."""
        self._wants_online = False
        self._cancel("_retry")
        self.drop()

    def go_online(self) -> None:
        """The network is back."""
        self._wants_online = True
        self._try_to_connect()

    def go_silent(self) -> None:
        """The socket stays open and nothing is said, read or ponged any more."""
        self._silent = True
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.underlying_transport.pause_reading()

    def speak_again(self) -> None:
        """Ends `go_silent`."""
        self._silent = False
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.underlying_transport.resume_reading()
        self._pump()

    def set_clock_wrong(self, by: timedelta) -> None:
        """The clock is off by so much (positive: ahead) and takes no correction."""
        self.clock.offset = by
        self.clock.stubborn = True

    def send_raw(self, frame: bytes | str, *, binary: bool = False) -> None:
        """Sends anything at all.

        Raises:
            UnavailableError: the socket is closed.
        """
        if self._socket is None or self._socket.transport is None:
            raise UnavailableError(f"Station '{self.station_id}' is not connected.")
        data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
        self._socket.transport.send(WSMsgType.BINARY if binary else WSMsgType.TEXT, data)

    def fault(self, evse_id: int, *, faulted: bool = True) -> None:
        """An EVSE breaks, or works again; a charging that goes on ends."""
        evse = self.evse(evse_id)
        evse.faulted = faulted
        if faulted:
            acts.end_reservation(self, evse, "Removed")  # OCPP 2.0.1 H01.FR.16
        if faulted and evse.session is not None and evse.busy:
            evse.session.request_stop(StopReason.EMERGENCY_STOP)
        self.tell_status(evse)

    def power_loss(self, outage_s: float | None = None, *, resumes: bool = False, meter_restarts: bool = False) -> None:
        """The mains fail: the socket dies, charging stands still; after a while the station boots again.

        Args:
            outage_s: None waits for `power_up`.
            resumes: transactions go on afterwards; else they end with PowerLoss.
            meter_restarts: the registers begin at 0 again.
        """
        self.powered = False
        self._cancel_timers()
        self._booted = self._accepted = False
        self._boot_reason = "PowerUp"
        acts.forget(self)
        for evse in self.evses:
            evse.meter.stop()
            evse.told = None
            if meter_restarts:
                evse.meter.restart()
                if evse.session is not None and evse.busy:
                    evse.session.meter_restarted(0)
            if evse.session is not None and evse.busy:
                evse.session.power_lost = True
                if not resumes:
                    evse.session.request_stop(StopReason.POWER_LOSS)
        self.drop()
        if outage_s is not None:
            self.timers.after(outage_s, self.power_up)

    def power_up(self) -> None:
        """The mains are back."""
        if self.powered:
            return
        self.powered = True
        self._charging.power_is_back()
        self._try_to_connect()

    def reboot(self, reason: str = "RemoteReset", *, stop: StopReason | None = StopReason.HARD_RESET) -> None:
        """Restarts for real: charging ends, the socket closes, and after `reboot_s` it boots again.

        Args:
            reason: OCPP 2.x BootReasonEnum word.
            stop: why charging ends; None lets running transactions go on after the boot.
        """
        self.pending_reboot = None
        if stop is not None:
            for evse in self.evses:
                if evse.session is not None and evse.busy:
                    evse.session.request_stop(stop)
        self.timers.after(self.options.reboot_s, lambda: self._restart(reason))

    def _restart(self, reason: str) -> None:
        self._cancel_timers()
        if self.has(Fault.FORGETS_PROFILES):
            self.profiles.forget()
        self._booted = self._accepted = False
        self._boot_reason = reason
        acts.forget(self)
        for evse in self.evses:
            evse.told = None
        device_model.rebooted(self)
        if self._socket is not None and self._socket.transport is not None:
            self._socket.transport.send_close(WSCloseCode.OK)
            self._socket.transport.disconnect()
        self._retry = self.timers.after(self.options.reboot_s, self._try_to_connect)

    def reconnect_with_password(self, password: str) -> None:
        """Takes a new password and connects anew with it."""
        if not self.has(Fault.KEEPS_OLD_PASSWORD):
            self.password = password
            self.settings.put(PASSWORD, password)
        if not self.has(Fault.STAYS_CONNECTED):
            self.timers.after(self.options.step_s, self.drop)

    def reset_and_resume(self, evses: list[Evse], *, whole: bool) -> None:
        """Restarts, or has EVSEs restart, and goes on with what is charging (OCPP 2.1 B13).

        Args:
            whole: the whole station.
        """
        for evse in evses:
            if evse.session is not None and evse.busy:
                self.launch(self._charging.report(evse, Moment.RESETTING))
        if whole:
            self._resumes = True
            self.reboot("RemoteReset", stop=None)
        else:
            self.timers.after(self.options.step_s, lambda: self._tell_resumed(evses))

    def _tell_resumed(self, evses: list[Evse]) -> None:
        for evse in evses:
            if evse.session is not None and evse.busy:
                self.launch(self._charging.report(evse, Moment.RESUMED))

    def reboot_when_idle(self, reason: str) -> None:
        """Reboots as soon as no transaction goes on."""
        self.pending_reboot = reason

    def remote_start(self, evse: Evse, id_token: str, remote_start_id: int | None = None) -> None:
        """The CSMS asked for a transaction: a driver comes along and charges as `options.remote_plan` says."""
        plan = self.options.remote_plan
        self.launch(self._charging.visit(evse, id_token, plan, remote_start_id=remote_start_id, remote=True))

    def report(self, evse: Evse) -> None:
        """Sends meter values of an EVSE because somebody asked for them."""
        self.launch(self._charging.report(evse))

    def trigger_boot(self) -> None:
        """The CSMS asked for a boot notification; nothing restarts."""
        if self.online and not self._booting:
            self._cancel("_rest")
            self._boot_reason = "Triggered"
            self._boot()

    def settings_changed(self) -> None:
        """The CSMS changed a setting: the heartbeat follows at once, the rest is read where it is used."""
        if self.online and self._accepted:
            self._schedule_heartbeat()

    def session_over(self, session: Session) -> None:
        """Called by the scripts when a transaction ended."""
        self.profiles.end_transaction(session.evse_id)
        session.tell_ended()
        evse = self.evse(session.evse_id)
        if evse.operative_later is not None:
            evse.operative, evse.operative_later = evse.operative_later, None
        if self.on_session is not None:
            self.on_session(session)
        if self.pending_reboot is not None and not any(each.busy for each in self.evses):
            self.reboot(self.pending_reboot, stop=None)

    @property
    def paced(self) -> bool:
        """Charging takes time on the wall."""
        return self.options.speed != INFINITE
