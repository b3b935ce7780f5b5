"""One authenticated socket of a station: OCPP-J in, the station's actor, answers out; and our calls the other way.

A CALL takes one pass of plain calls: `Connection.receive` decodes it, the bridge makes it the domain's message, the
actor takes it together with a `Pending`, and that one small object, called after the commit, writes the answer. There
is no task, future or timer per message.

What cannot be understood: the bridge repairs what is known to be broken; a message about a transaction that stays
unusable goes to the actor all the same, which keeps it in quarantine and lets us answer with a CALLRESULT, for a
CALLERROR would stall the station's queue; everything else gets a CALLERROR.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Protocol

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.ports import (
    CloseReason,
    LoggedCall,
    MessageLog,
    Proof,
    Received,
    StationActor,
    StationCredentials,
    StationGateway,
)
from chargeplane.bridge import INCOMING, OUTGOING, Write, commands, mend_frame, repair, undecodable
from chargeplane.bridge.secrets import answer_without_secrets, without_secrets
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind, Command, CommandOutcome
from chargeplane.domain.corrections import Correction, correction
from chargeplane.domain.messages import (
    Boot,
    BootAnswer,
    CertificateRequest,
    MeterReport,
    Notice,
    Registration,
    StationAnswer,
    StationMessage,
    TransactionReport,
    Unusable,
)
from chargeplane.domain.quirks import NOTHING, Known
from chargeplane.edges.ocpp_server.considerate import Considerate
from chargeplane.edges.ocpp_server.metrics import CallBuckets, OcppMeasures
from chargeplane.edges.ocpp_server.websocket import Pause, StationSocket, Surroundings
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.ocpp import (
    CATALOGUE,
    ActionSpec,
    CallDisconnected,
    CallReceived,
    CallRepeated,
    CallTimedOut,
    CallUndecodable,
    Connection,
    ErrorCode,
    ErrorReceived,
    Event,
    FrameRefused,
    LateOrForeignAnswer,
    OcppVersion,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
    Severity,
    encode,
    validate_payload,
)

_log = structlog.get_logger(__name__)

_BACKLOG: Final = int(Pause.BACKLOG)
_NEVER: Final = float("inf")

_LOGGED_COMPLAINTS: Final = 20
"""Refused frames of one socket that get a line each in the server's log; all are counted and in the message log."""

_ORDINARY_CLOSES: Final = frozenset({1000, 1001, 1005, 1006})
"""Ends of a socket that come by the thousand when a network or a server restarts; they are counted, not logged."""

_STORED: Final = frozenset({TransactionReport, MeterReport, Notice, CertificateRequest, Unusable})
"""Messages whose payload stands in an event row: the message log does not keep it twice."""

_REFUSED_16: Final = frozenset({"Authorize", "DataTransfer", "SignCertificate"})
"""OCPP 1.6, 4.2 forbids a station that is not accepted to send requests, and is silent on what we answer. A CALLERROR
would make it drop what it tells about transactions, so only what asks us for something is refused."""

_METERED: Final = frozenset({"MeterValues", "StopTransaction", "TransactionEvent"})
"""Messages that bring sampled values."""

_TRIGGERS: Final = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
_REPORTS: Final = frozenset({"GetBaseReport", "GetReport"})

_CLOSE: Final = {
    CloseReason.DISPLACED: 1008,
    CloseReason.DELETED: 1008,
    CloseReason.CREDENTIALS_CHANGED: 1008,
    CloseReason.REJECTED: 1008,
    # 1012 asks to connect again, which then reaches the node that owns the station.
    CloseReason.FENCED: 1012,
    CloseReason.COME_AGAIN: 1012,
    CloseReason.SHUTDOWN: 1001,
}


class _Requested(Struct):
    requestedMessage: str = ""  # noqa: N815


_requested: Final = msgspec.json.Decoder(_Requested)


class Route:
    """What one action of a station runs through; made once per version."""

    __slots__ = (
        "action",
        "answered",
        "is_boot",
        "is_heartbeat",
        "metered",
        "spec",
        "transactional",
        "translate",
        "write",
    )

    def __init__(
        self, spec: ActionSpec, translate: Callable[[Struct], StationMessage], write: Write | None, buckets: CallBuckets
    ) -> None:
        self.action = spec.action
        self.spec = spec
        self.translate = translate
        self.write = write
        self.answered = buckets[spec.action, "callresult"]
        self.transactional = spec.transactional
        self.is_heartbeat = spec.action == "Heartbeat"
        self.is_boot = spec.action == "BootNotification"
        self.metered = spec.action in _METERED


class Voice:
    """What all sockets of one OCPP version share.

    Args:
        version: as in `StationLink.ocpp_version`.
        measures: the door's.
    """

    __slots__ = ("calls_in", "calls_out", "measures", "routes", "version")

    def __init__(self, version: str, measures: OcppMeasures) -> None:
        self.version = OcppVersion(version)
        self.measures = measures
        self.calls_in = measures.calls(version, from_station=True)
        self.calls_out = measures.calls(version, from_station=False)
        incoming, outgoing = INCOMING[self.version], OUTGOING[self.version]
        self.routes: dict[str, Route] = {
            action: Route(CATALOGUE[self.version][action], translate, outgoing.get(action), self.calls_in)
            for action, translate in incoming.items()
        }


class Server(Surroundings, Protocol):
    """What a session needs of the server around it."""

    gateway: StationGateway
    message_log: MessageLog

    def opened(self, session: Session) -> None:
        """The session can send and receive."""

    def gone(self, session: Session) -> None:
        """The session is disconnected."""


_StationCall = CallReceived | CallUndecodable | SendReceived


class Pending:
    """A CALL of a station that is not yet answered; called with the answer after the commit."""

    __slots__ = ("at", "began", "event", "request", "route", "session", "stored")

    def __init__(
        self,
        session: Session,
        route: Route,
        event: _StationCall,
        request: Struct | None,
        stored: bool,
        began: float,
        at: datetime,
    ) -> None:
        self.session = session
        self.route = route
        self.event = event
        self.request = request
        self.stored = stored
        self.began = began
        self.at = at

    def __call__(self, answer: StationAnswer) -> None:
        session = self.session
        route = self.route
        if session.transport is None or session.closing:
            # The station does not see our answer and will ask again; what it told is safe.
            session.note(self, None, "disconnected", None)
            return
        write = route.write
        if write is None:
            session.note(self, None, "callresult", None)
            session.answered()
            return
        try:
            payload = write(self.request, answer)
            frame = session.connection.reply_raw(self.event.message_id, payload)
        except Exception:
            _log.exception("ocpp_answer_failed", station=session.station_id, action=route.action)
            session.refuse(self, ErrorCode.INTERNAL_ERROR, "The answer cannot be given")
            return
        session.send_text(frame)
        if route.is_boot and isinstance(answer, BootAnswer):
            session.accepted = answer.status is Registration.ACCEPTED
        elif route.is_heartbeat:
            route.answered.observe(monotonic() - self.began)
            session.answered()
            return
        session.note(self, payload, "callresult", None)
        session.answered()


class Session(StationSocket):
    """One authenticated socket. The app sees it as a `StationLink`.

    Args:
        server: what is around it.
        credentials: of the station it belongs to.
        voice: its OCPP version.
        address: of the peer.
        deflated: permessage-deflate was agreed on.
        proof: how the station proved to be itself.
        forgiven: quirks that its handshake needed.
    """

    __slots__ = (
        "_actor",
        "_calls",
        "_complaints",
        "_considerate",
        "_correct",
        "_credentials",
        "_draining",
        "_forgiven",
        "_in_hand",
        "_known",
        "_max_backlog",
        "_routes",
        "_server",
        "_triggered",
        "_voice",
        "accepted",
        "connection",
        "proof",
    )

    def __init__(
        self,
        server: Server,
        credentials: StationCredentials,
        voice: Voice,
        address: str,
        deflated: bool,
        proof: Proof = Proof(0),  # noqa: B008 - an immutable constant
        forgiven: tuple[str, ...] = (),
    ) -> None:
        super().__init__(server, address, deflated)
        self.proof = proof
        self._server = server
        self._credentials = credentials
        self._voice = voice
        self._routes = voice.routes
        self._max_backlog = server.config.max_backlog
        self.connection = Connection(voice.version)
        self.accepted = credentials.registration is Registration.ACCEPTED
        self._actor: StationActor | None = None
        self._calls: dict[str, _Asked] | None = None
        self._triggered: set[str] | None = None
        self._draining = False
        self._in_hand = 0
        self._complaints = 0
        self._forgiven = forgiven
        self._correct: Correction | None = None
        self._considerate: Considerate | None = None
        self._known = NOTHING
        self._keep_known(server.gateway.known(credentials))

    # The app's view: StationLink

    @property
    def ocpp_version(self) -> str:
        """`1.6`, `2.0.1` or `2.1`."""
        return self._voice.version.value

    @property
    def remote_address(self) -> str:
        """Peer address for the operator."""
        return self.address

    @property
    def station_id(self) -> str:
        """The identity it connected with, as registered."""
        return self._credentials.station_id

    def close(self, reason: CloseReason) -> None:
        """Closes the socket; nothing that is not yet committed is answered."""
        self.shut(_CLOSE.get(reason, 1011), reason.value)

    async def call(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """A raw CALL, sent as given, in its turn. Ends at once when the socket closes.

        Args:
            payload: JSON text of an object.
            timeout_s: counted from sending.
        Raises:
            InvalidInputError: the payload does not fit the schema of this version's action, or it is not ours to send.
            UnavailableError: too many calls wait already.
        """
        version = self._voice.version
        spec = CATALOGUE[version].get(action)
        if spec is None or not spec.from_csms or spec.response is None:
            sentence = f"OCPP {version} has no action '{action[:64]}' that a CSMS sends."
            raise InvalidInputError(sentence, (("/action", sentence),))
        wrong = validate_payload(version, action, payload)
        if wrong:
            raise InvalidInputError(
                f"The payload does not fit OCPP {version} {action}.",
                tuple((f"/payload{pointer}", sentence) for pointer, sentence in wrong),
            )
        return await self.ask(action, payload, timeout_s)

    async def command(self, command: Command, timeout_s: float) -> CommandOutcome:
        """A version-free command, translated for this socket's version.

        Raises:
            RuleError: the version cannot do it, or the station is known not to take it; the sentence says what it can.
            UnavailableError: too many calls wait already.
        """
        action, request = commands.to_call(self._voice.version, command)
        ask = self.ask if self._considerate is None else self._considerate.ask
        return commands.outcome(self._voice.version, command, action, await ask(action, encode(request), timeout_s))

    async def ask(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """A call of the version, in its turn; ends at once when the socket closes. timeout_s counts from sending."""
        message_id = str(uuid.uuid4())
        if self._actor is None or self.transport is None or self.closing:
            return CallOutcome(outcome=CallOutcomeKind.DISCONNECTED, message_id=message_id)
        frame = self.connection.call(message_id, action, payload, timeout_s, monotonic())
        if self._calls is None:
            self._calls = {}
        asked = _Asked(asyncio.get_running_loop().create_future(), action, payload)
        self._calls[message_id] = asked
        if frame is not None:
            self._send_call(frame)
        try:
            return await asked.future
        finally:
            # A caller that gave up takes its call out of the queue; one that was sent stays open until it ends.
            if asked.future.cancelled() and self.connection.withdraw(message_id):
                self._calls.pop(message_id, None)

    def _send_call(self, frame: bytes | None) -> None:
        """Sends the call that came to its turn, if one did."""
        if frame is None:
            return
        self.send_text(frame)
        connection = self.connection
        asked = (self._calls or {}).get(connection.open_call or "")
        if asked is not None:
            asked.at = datetime.now(UTC)
            if not self.accepted:
                self._expect(asked)
        deadline = connection.deadline
        if deadline is not None:
            self.around.wheel.add(self, deadline)

    def _expect(self, asked: _Asked) -> None:
        """OCPP 2.0.1 B02.FR.09: what we asked for, a station may send before it is accepted."""
        if asked.action in _REPORTS:
            expected = "NotifyReport"
        elif asked.action in _TRIGGERS:
            try:
                expected = _requested.decode(asked.payload).requestedMessage
            except msgspec.MsgspecError:
                return
            if expected.startswith("Sign"):
                expected = "SignCertificate"
        else:
            return
        if self._triggered is None:
            self._triggered = set()
        self._triggered.add(expected)

    # The socket's view

    def on_open(self) -> None:
        """The handshake is done: the station's actor learns of this socket, and displaces an older one."""
        self._server.opened(self)
        try:
            self._actor = self._server.gateway.connected(self._credentials, self)
        except Exception:
            _log.exception("ocpp_connect_failed", station=self.station_id)
            self.shut(1011, "not ready")
            return
        if self._forgiven:
            self.hit(self._forgiven)
        _log.debug("ocpp_connected", station=self.station_id, version=self.ocpp_version, address=self.address)

    def on_gone(self) -> None:
        """The socket ended: our calls end with it, the actor is told."""
        self._server.gone(self)
        if self._considerate is not None:
            self._considerate.ended()
        for event in self.connection.closed():
            self._end_call(event, CallOutcomeKind.DISCONNECTED)
        code, reason = 1006, ""
        handshake = self.transport.close_handshake if self.transport is not None else None
        if handshake is not None:
            info = handshake.sent if handshake.recv is None or not handshake.recv_then_sent else handshake.recv
            if info is not None:
                code, reason = int(info.code) or 1005, info.reason or ""  # type: ignore[call-overload]
        self._voice.measures.closed(code)
        line = _log.debug if code in _ORDINARY_CLOSES else _log.info
        line("ocpp_disconnected", station=self.station_id, address=self.address, code=code, reason=reason[:123])
        if self._actor is not None:
            self._actor = None
            self._server.gateway.disconnected(self._credentials, self)

    def on_visit(self, now: float) -> float:
        """Ends calls of ours whose time is over; tells when the next one's is."""
        connection = self.connection
        while (event := connection.tick(now)) is not None:
            self._end_call(event, CallOutcomeKind.TIMEOUT)
            self._send_call(event.send)
        deadline = connection.deadline
        return _NEVER if deadline is None else deadline

    def backlogged(self) -> bool:
        """Whether more than half of what may be unanswered still is."""
        return self._actor is not None and self._actor.backlog > self.around.config.max_backlog // 2

    def drain(self) -> None:
        """Takes no new messages; closes with 1001 when those in hand are answered."""
        self._draining = True
        if self._in_hand == 0:
            self.close(CloseReason.SHUTDOWN)

    def answered(self) -> None:
        """One message less in hand."""
        self._in_hand -= 1
        if self._paused & _BACKLOG and not self.backlogged():
            self.unpause(_BACKLOG)
        if self._draining and self._in_hand == 0:
            self.close(CloseReason.SHUTDOWN)

    def on_message(self, data: bytes, now: float) -> None:
        """One OCPP-J frame."""
        event = self.connection.receive(data, now)
        if type(event) is CallReceived:
            route = self._routes[event.spec.action]
            request = event.request
            self._take_call(route, event, request, route.translate(request), now)
        else:
            self._other(event, data, now)

    # Calls of the station

    def _take_call(
        self, route: Route, event: _StationCall, request: Struct | None, message: StationMessage, now: float
    ) -> None:
        actor = self._actor
        if actor is None or self._draining:
            return
        if route.metered:
            self._count_repairs(message)
        at = datetime.now(UTC)
        if self._correct is not None:
            message = self._corrected(message, at)
        if route.is_boot:
            self._recognise(message)
        if not route.is_heartbeat:
            self._line.room -= 1
        pending = Pending(self, route, event, request, type(message) in _STORED, now, at)
        self._in_hand += 1
        if not self.accepted and not self._may_send(route):
            # OCPP 2.0.1 B01.FR.10, B02.FR.09, B03.FR.07
            self.refuse(pending, ErrorCode.SECURITY_ERROR, "The boot of this charging station has not been accepted")
            return
        try:
            actor.receive(
                Received(message, event.message_id, route.action, event.payload, event.content_hash, at), pending
            )
        except Exception:
            # Whether it was taken is not known, so it is not answered: the station keeps it and asks again.
            _log.exception("ocpp_message_failed", station=self.station_id, action=route.action)
            self.shut(1011, "internal error")
            return
        if actor.backlog > self._max_backlog:
            self._voice.measures.slowed[0] += 1
            self.pause(_BACKLOG)

    def _recognise(self, message: StationMessage) -> None:
        """Picks what this station is known for, from its boot; it holds over reconnects without one."""
        if isinstance(message, Boot):
            self._keep_known(self._server.gateway.recognised(self._credentials, message))

    def know_again(self) -> None:
        """The rules about stations changed: picks what is known of this one anew."""
        self._keep_known(self._server.gateway.known(self._credentials))

    def _keep_known(self, known: Known) -> None:
        if known is self._known:
            return
        self._known = known
        self._correct = correction(known)
        self._considerate = Considerate(self, known) if known else None

    def hit(self, rules: tuple[str, ...]) -> None:
        """Counts rules that the station needed."""
        for name in rules:
            self._voice.measures.repaired(name)
        if self._actor is not None:
            self._actor.repaired(rules)

    def _count_repairs(self, message: StationMessage) -> None:
        """Counts what bringing samples to base units had to repair, once a message."""
        names: set[str] | None = None
        for reading in getattr(message, "readings", ()):
            for sample in reading.samples:
                if sample.repaired is not None:
                    names = {sample.repaired} if names is None else names | {sample.repaired}
        if names is not None and self._actor is not None:
            self.hit(tuple(names))

    def _corrected(self, message: StationMessage, at: datetime) -> StationMessage:
        correct = self._correct
        if correct is None:
            return message
        corrected = correct(message, at)
        if corrected is not message:
            self.hit(correct.fired)
        return corrected

    def _may_send(self, route: Route) -> bool:
        if route.is_boot:
            return True
        if self._voice.version is OcppVersion.V16:
            return route.action not in _REFUSED_16 or self._was_triggered(route.action)
        return self._was_triggered(route.action)

    def _was_triggered(self, action: str) -> bool:
        return self._triggered is not None and action in self._triggered

    def refuse(self, pending: Pending, code: ErrorCode, description: str) -> None:
        """Answers a CALL with a CALLERROR."""
        message_id = pending.event.message_id
        if self.connection.waits(message_id):
            self.send_text(self.connection.refuse(message_id, code, description))
        self.note(pending, _told(description), "callerror", code.spelled(self._voice.version))
        self.answered()

    def note(self, pending: Pending, response: bytes | None, outcome: str, error_code: str | None) -> None:
        """Measures and logs a finished CALL of the station."""
        latency = monotonic() - pending.began
        route = pending.route
        if outcome == "callresult":
            route.answered.observe(latency)
        else:
            self._voice.calls_in[route.action, outcome].observe(latency)
        self._server.message_log.add(
            LoggedCall(
                self._credentials.key,
                pending.at,
                True,
                route.action,
                pending.event.message_id,
                None if pending.stored else pending.event.payload,
                response,
                outcome,
                error_code,
                int(latency * 1e6),
                pending.stored,
            )
        )

    # Everything else that comes in

    def _other(self, event: Event, data: bytes, now: float) -> None:
        match event:
            case CallUndecodable():
                self._undecodable(event, now)
            case CallRepeated(answer=answer):
                self._voice.calls_in[event.spec.action, "repeated"].observe(0.0)
                if answer is not None:
                    self.send_text(answer)
            case ResultReceived():
                self._end_call(event, CallOutcomeKind.CALLRESULT)
                self._send_call(event.send)
            case ErrorReceived():
                self._end_call(event, CallOutcomeKind.CALLERROR)
                self._send_call(event.send)
            case SendReceived():
                self._take_send(event, now)
            case FrameRefused():
                self._refused(event, data, now)
            case LateOrForeignAnswer():
                self._voice.measures.unreadable[0] += 1
                self._complain(
                    "an answer to nothing that was asked" if not event.late else "a late answer", event.message_id
                )
            case ResultErrorReceived():
                self._complain(f"our answer was refused: {event.code} {event.description[:200]}", event.message_id)
            case _:
                pass

    def _undecodable(self, event: CallUndecodable, now: float) -> None:
        action = event.spec.action
        route = self._routes[action]
        repaired = repair(self._voice.version, action, event.payload, self._known.wire_of(action))
        self.took(monotonic() - now)
        if repaired is not None:
            self.hit(repaired.names)
            self._take_call(route, event, repaired.request, route.translate(repaired.request), now)
            return
        problem = event.problem
        self._complain(problem.description, event.message_id, action)
        unusable = undecodable(self._voice.version, action, problem.description)
        if unusable is not None:
            self._take_call(route, event, None, unusable, now)
            return
        pending = Pending(self, route, event, None, False, now, datetime.now(UTC))
        self._in_hand += 1
        self.refuse(pending, problem.code, problem.description)

    def _take_send(self, event: SendReceived, now: float) -> None:
        route = self._routes.get(event.spec.action)
        if event.request is None or route is None:
            problem = event.problem
            self._complain(problem.description if problem else "not understood", event.message_id, event.spec.action)
            return
        self._take_call(route, event, event.request, route.translate(event.request), now)

    def _refused(self, event: FrameRefused, data: bytes, now: float) -> None:
        if event.severity is Severity.FRAME:
            mended = mend_frame(data)
            self.took(monotonic() - now)
            if mended is not None:
                again = self.connection.receive(mended.text, now)
                if not isinstance(again, FrameRefused):
                    self.hit(mended.names)
                    if isinstance(again, CallReceived):
                        route = self._routes[again.spec.action]
                        self._take_call(route, again, again.request, route.translate(again.request), now)
                    else:
                        self._other(again, mended.text, now)
                    return
            self._voice.measures.unreadable[0] += 1
        if event.reply is not None:
            self.send_text(event.reply)
        problem = event.problem
        action = event.action if event.action in CATALOGUE[self._voice.version] else None
        self._voice.calls_in[action or "unknown", "callerror"].observe(monotonic() - now)
        self._complain(problem.description, event.message_id, event.action)
        self._server.message_log.add(
            LoggedCall(
                self._credentials.key,
                datetime.now(UTC),
                True,
                event.action or "",
                event.message_id or "-1",
                data[:4096],
                _told(problem.description),
                "callerror" if event.reply is not None else "refused",
                problem.code.spelled(self._voice.version),
                int((monotonic() - now) * 1e6),
            )
        )

    def _complain(self, what: str, message_id: str | None, action: str | None = None) -> None:
        self._complaints += 1
        if self._complaints <= _LOGGED_COMPLAINTS:
            _log.info(
                "ocpp_frame_refused",
                station=self.station_id,
                reason=what[:255],
                message_id=message_id,
                action=action,
                last_line=self._complaints == _LOGGED_COMPLAINTS,
            )

    # Calls of ours

    def _end_call(
        self, event: ResultReceived | ErrorReceived | CallTimedOut | CallDisconnected, kind: CallOutcomeKind
    ) -> None:
        calls = self._calls
        asked = calls.pop(event.message_id, None) if calls else None
        latency = None if isinstance(event, CallDisconnected) else event.latency_s
        outcome = CallOutcome(
            outcome=kind,
            message_id=event.message_id,
            payload=event.payload if isinstance(event, ResultReceived) else None,
            error_code=event.code[:255] if isinstance(event, ErrorReceived) else None,
            error_description=event.description if isinstance(event, ErrorReceived) else None,
            error_details=event.details if isinstance(event, ErrorReceived) else None,
            latency_ms=None if latency is None else latency * 1000,
        )
        if isinstance(event, ResultReceived) and event.problem is not None:
            self._complain(event.problem.description, event.message_id, event.spec.action)
            answer = self.connection.result_error(event.message_id, event.problem)
            if answer is not None:
                self.send_text(answer)
        self._voice.calls_out[event.spec.action, kind.value].observe(latency or 0.0)
        if asked is None:
            return
        if not asked.future.done():
            asked.future.set_result(outcome)
        if asked.at is not None:
            self._server.message_log.add(
                LoggedCall(
                    self._credentials.key,
                    asked.at,
                    False,
                    asked.action,
                    event.message_id,
                    without_secrets(asked.action, asked.payload),
                    _logged(asked.action, outcome),
                    kind.value,
                    outcome.error_code,
                    None if latency is None else int(latency * 1e6),
                )
            )


class _Asked:
    """A CALL of ours and who waits for its end."""

    __slots__ = ("action", "at", "future", "payload")

    def __init__(self, future: asyncio.Future[CallOutcome], action: str, payload: bytes) -> None:
        self.future = future
        self.action = action
        self.payload = payload
        self.at: datetime | None = None


def _logged(action: str, outcome: CallOutcome) -> bytes | None:
    """An answer as the message log keeps it."""
    if outcome.error_code is not None:
        return _told(outcome.error_description or "")
    return None if outcome.payload is None else answer_without_secrets(action, outcome.payload)


def _told(description: str) -> bytes:
    """An error's description as the message log keeps it."""
    return msgspec.json.encode({"errorDescription": description[:1000]})
