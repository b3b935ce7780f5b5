"""One OCPP-J connection without its socket: bytes in, events out, bytes to send.

The rules it keeps (OCPP-J 1.6, 4.1; OCPP-J 2.0.1, 4.1; OCPP-J 2.1, 4.1):

- Each direction has at most one CALL open; the two directions are independent. Ours wait in a queue for the answer or
  the time-out of the one before. A peer that opens a second CALL before our answer to its first breaks the rule; its
  CALLs are taken in order all the same, and counted.
- An answer is matched by message id to the one CALL that is open. Any other answer is late or foreign and is dropped.
- A CALL with the id and the content of one we answered gets that answer again; one still in progress is ignored. The
  same id with other content is another CALL: ids repeat over reboots. Some stations use one id for ever: what says how
  things are now is asked again, a Heartbeat always, everything that is not about a transaction after a minute.
- What can't be read gets a CALLERROR; answers and SENDs never get one.

It reads no clock and draws no message ids: `now` (monotonic seconds) and ids are arguments.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Raw, Struct

from chargeplane.kernel.errors import LocalProtocolError, UnavailableError
from chargeplane.ocpp.catalogue import CATALOGUE, ActionSpec, encode, unknown_action
from chargeplane.ocpp.events import (
    CallDisconnected,
    CallReceived,
    CallRepeated,
    CallTimedOut,
    CallUndecodable,
    ErrorReceived,
    Event,
    FrameRefused,
    LateOrForeignAnswer,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
    Severity,
)
from chargeplane.ocpp.frames import (
    EMPTY,
    NULL,
    UNREADABLE_ID,
    Broken,
    Call,
    CallError,
    CallResult,
    CallResultError,
    Send,
    decode_frame,
    encode_call,
    encode_error,
    encode_result,
    encode_result_error,
    encode_send,
    text_of,
)
from chargeplane.ocpp.problems import DECODE_ERRORS, MAX_DESCRIPTION, Problem, explain
from chargeplane.ocpp.versions import ErrorCode, OcppVersion

REMEMBERED_ANSWERS: Final = 8
"""Answers kept for repeated CALLs. A station has one CALL open, so a repeat is nearly always the last one."""

MAX_QUEUED: Final = 256
"""CALLs of ours that may wait on one connection."""

REPEAT_S: Final = 60
"""How long an answer that is not about a transaction stands in for a new one. A retry comes within a time-out or two."""

_NEVER_REPEATED: Final = "Heartbeat"
"""Its answer is the time of day."""

_REMEMBERED_TIMEOUTS: Final = 4
_HASH: Final = 16  # bytes of a content hash
_FRAME: Final = _HASH + 4  # where the frame begins in a remembered answer: after the hash and the second
_NOTHING: Final = Raw(b"")

Repair = Callable[[str, bytes, Problem | None], bytes | None]
"""`repair(action, payload, problem)`: a payload to decode in place of the received one, or None to leave it.

Called with the problem where decoding failed; before decoding, with None, for the actions in `repair_first`.
"""


class Role(enum.Enum):
    """Which side this connection speaks for."""

    CSMS = "CSMS"
    STATION = "station"


class _OpenCall(Struct, gc=False):
    """A CALL of ours, queued or sent."""

    message_id: str
    spec: ActionSpec
    timeout_s: float
    frame: bytes
    sent_at: float = 0.0


class Connection:
    """One side of one WebSocket connection.

    Args:
        version: as negotiated in the handshake.
        role: our side; decides which actions the peer may send.
        repair: see `Repair`.
        repair_first: actions whose payloads go through `repair` before decoding.

    Attributes:
        overlapping_calls: CALLs that came before our answer to the one before.
    """

    __slots__ = (
        "_answers",
        "_inbound",
        "_last_timeouts",
        "_now",
        "_open",
        "_queue",
        "_table",
        "overlapping_calls",
        "repair",
        "repair_first",
        "role",
        "version",
    )

    def __init__(
        self,
        version: OcppVersion,
        role: Role = Role.CSMS,
        repair: Repair | None = None,
        repair_first: frozenset[str] = frozenset(),
    ) -> None:
        self.version: Final = version
        self.role: Final = role
        self.repair = repair
        self.repair_first = repair_first
        self.overlapping_calls = 0
        self._table: Final = CATALOGUE[version]
        # Containers come into being with their first entry: an idle connection costs a few hundred bytes.
        self._answers: dict[str, bytes] | None = None  # message id -> content hash, second of the answer, frame
        self._now = 0.0
        self._inbound: dict[str, bytes] | None = None  # message id -> content hashes (16 bytes each) in order
        self._open: _OpenCall | None = None
        self._queue: deque[_OpenCall] | None = None
        self._last_timeouts: tuple[str, ...] = ()

    # ------------------------------------------------------------------ the peer's frames

    def receive(self, data: bytes, now: float) -> Event:
        """What a text message of the peer means; never raises for what the peer sends.

        Args:
            data: one whole WebSocket message; its size is bounded by the caller.
            now: monotonic seconds.
        """
        self._now = now
        frame = decode_frame(data, self.version)
        if isinstance(frame, Call):
            spec = self._table.get(frame.action)
            if spec is None or not self._serves(spec) or spec.response is None:
                return self._refuse_action(frame.message_id, frame.action, spec)
            payload = bytes(frame.payload)
            return self._call(frame.message_id, spec, payload, None)
        if isinstance(frame, CallResult):
            return self._result(frame.message_id, bytes(frame.payload), now)
        if isinstance(frame, CallError):
            return self._error(frame, now)
        if isinstance(frame, Send):
            return self._send(frame.message_id, frame.action, bytes(frame.payload), None)
        if isinstance(frame, CallResultError):
            details = bytes(frame.details)
            return ResultErrorReceived(
                frame.message_id, text_of(frame.code), text_of(frame.description), details or EMPTY
            )
        return self._broken(frame, now)

    def _serves(self, spec: ActionSpec) -> bool:
        return spec.from_station if self.role is Role.CSMS else spec.from_csms

    def _refuse_action(self, message_id: str, action: str, spec: ActionSpec | None) -> FrameRefused:
        if action == "":
            problem = Problem(ErrorCode.RPC_FRAMEWORK_ERROR, "The third element must be the action, a text")
        elif spec is None:
            problem = unknown_action(self.version, action)
        else:
            problem = Problem(ErrorCode.NOT_SUPPORTED, f"The {self.role.value} does not take {action} as a request")
        reply = self._error_frame(message_id, problem)
        return FrameRefused(reply, problem, Severity.CALL, message_id, action[:64] or None)

    def _call(self, message_id: str, spec: ActionSpec, payload: bytes, broken: Problem | None) -> Event:
        digest = spec.content_hash(payload)
        answers = self._answers
        if answers is not None:
            answered = answers.get(message_id)
            if answered is not None and answered.startswith(digest) and self._repeats(spec, answered):
                return CallRepeated(message_id, spec, answered[_FRAME:])
        inbound = self._inbound
        if inbound:
            pending = inbound.get(message_id, b"")
            if digest in [pending[i : i + _HASH] for i in range(0, len(pending), _HASH)]:
                return CallRepeated(message_id, spec, None)
            self.overlapping_calls += 1
            inbound[message_id] = pending + digest
        else:
            self._inbound = {message_id: digest}
        problem = broken
        repair = self.repair
        repaired = repair(spec.action, payload, None) if repair and spec.action in self.repair_first else None
        if problem is None or repaired is not None:
            try:
                request = spec.request_decoder.decode(payload if repaired is None else repaired)
                return CallReceived(message_id, spec, request, payload, digest, repaired)
            except DECODE_ERRORS as error:
                problem = self._explained(payload if repaired is None else repaired, error)
            if payload == NULL:
                repaired = EMPTY  # OCPP-J 1.6, 4.2.1: null stands for no payload
            elif repair is not None:
                repaired = repair(spec.action, payload if repaired is None else repaired, problem)
        elif repair is not None:
            repaired = repair(spec.action, payload, problem)
        if repaired is not None:
            try:
                request = spec.request_decoder.decode(repaired)
                return CallReceived(message_id, spec, request, payload, digest, repaired)
            except DECODE_ERRORS as error:
                problem = self._explained(repaired, error)
        return CallUndecodable(message_id, spec, payload, digest, problem)

    def _repeats(self, spec: ActionSpec, answered: bytes) -> bool:
        """Whether a remembered answer may be given again."""
        if spec.transactional:
            return True
        age = self._now - int.from_bytes(answered[_HASH:_FRAME], "big")
        return age <= REPEAT_S and spec.action != _NEVER_REPEATED

    def _send(self, message_id: str, action: str, payload: bytes, broken: Problem | None) -> Event:
        # OCPP-J 2.1, 4.2.4: the receiver SHALL NOT respond to a SEND, also not to a wrong one.
        spec = self._table.get(action)
        if spec is None or not self._serves(spec) or spec.response is not None:
            known = spec is not None
            problem = (
                Problem(ErrorCode.NOT_SUPPORTED, f"{action} is not taken as SEND by the {self.role.value}")
                if known
                else unknown_action(self.version, action)
            )
            return FrameRefused(None, problem, Severity.CALL, message_id, action[:64] or None)
        digest = spec.content_hash(payload)
        if broken is not None:
            return SendReceived(message_id, spec, None, payload, digest, broken)
        try:
            return SendReceived(message_id, spec, spec.request_decoder.decode(payload), payload, digest)
        except DECODE_ERRORS as error:
            return SendReceived(message_id, spec, None, payload, digest, self._explained(payload, error))

    def _result(self, message_id: str, payload: bytes, now: float, broken: Problem | None = None) -> Event:
        call = self._open
        if call is None or call.message_id != message_id:
            return LateOrForeignAnswer(message_id, message_id in self._last_timeouts)
        decoder = call.spec.response_decoder
        assert decoder is not None
        response: Struct | None = None
        problem = broken
        if problem is None:
            try:
                # OCPP-J 1.6, 4.2.2: null stands for an empty payload; some stations leave it out altogether.
                response = decoder.decode(EMPTY if payload in (b"", NULL) else payload)
            except DECODE_ERRORS as error:
                problem = self._explained(payload, error)
        return ResultReceived(
            message_id, call.spec, payload, response, problem, now - call.sent_at, self._next_call(now)
        )

    def _error(self, frame: CallError, now: float) -> Event:
        call = self._open
        # OCPP-J 2.0.1, 4.2.3: "-1" stands for an id the peer could not read. With one CALL open it can mean no other.
        if call is None or frame.message_id not in (call.message_id, UNREADABLE_ID):
            return LateOrForeignAnswer(frame.message_id, frame.message_id in self._last_timeouts)
        details = bytes(frame.details)
        return ErrorReceived(
            call.message_id,
            call.spec,
            text_of(frame.code),
            text_of(frame.description),
            details if details.startswith(b"{") else EMPTY,
            now - call.sent_at,
            self._next_call(now),
        )

    def _broken(self, frame: Broken, now: float) -> Event:
        kind, message_id, problem = frame.message_type, frame.message_id, frame.problem
        if message_id is not None and problem.code is ErrorCode.FORMAT_VIOLATION:
            # The head is legible, the payload is no JSON.
            if kind == 2 and frame.action is not None:
                spec = self._table.get(frame.action)
                if spec is None or not self._serves(spec) or spec.response is None:
                    return self._refuse_action(message_id, frame.action, spec)
                return self._call(message_id, spec, frame.payload, problem)
            if kind == 3:
                return self._result(message_id, frame.payload, now, problem)
            if kind == 4:
                return self._error(CallError(message_id, _NOTHING, _NOTHING, _NOTHING), now)
            if kind == 6 and frame.action is not None and self.version is OcppVersion.V21:
                return self._send(message_id, frame.action, frame.payload, problem)
        # Answers are never answered, nor is a SEND (OCPP-J 2.1, 4.2.4).
        silent = kind in ((3, 4, 5, 6) if self.version is OcppVersion.V21 else (3, 4))
        reply = None if silent else self._error_frame(UNREADABLE_ID if message_id is None else message_id, problem)
        return FrameRefused(reply, problem, Severity.FRAME, message_id, frame.action)

    def _explained(self, payload: bytes, error: BaseException) -> Problem:
        if payload == b"":
            return Problem(ErrorCode.PROTOCOL_ERROR, "The frame has no payload")
        return explain(error, self.version)

    # ------------------------------------------------------------------ our answers

    def reply(self, message_id: str, response: Struct) -> bytes:
        """The CALLRESULT to send for a CALL of the peer.

        Raises:
            LocalProtocolError: no CALL with this id waits for an answer.
        """
        return self._answered(message_id, encode_result(message_id, encode(response)))

    def reply_raw(self, message_id: str, payload: bytes) -> bytes:
        """As `reply`, with the payload as JSON text."""
        return self._answered(message_id, encode_result(message_id, payload))

    def refuse(self, message_id: str, code: ErrorCode, description: str = "", details: bytes = EMPTY) -> bytes:
        """The CALLERROR to send for a CALL of the peer.

        Args:
            description: cut to 255 characters.
            details: JSON object.
        """
        frame = encode_error(message_id, code.spelled(self.version), description, details)
        return self._answered(message_id, frame)

    def result_error(self, message_id: str, problem: Problem) -> bytes | None:
        """The CALLRESULTERROR for an answer we could not use; None before OCPP 2.1, which has none."""
        if self.version is not OcppVersion.V21:
            return None
        return encode_result_error(message_id, problem.code.spelled(self.version), problem.description)

    def waits(self, message_id: str) -> bool:
        """Whether a CALL of the peer with this id waits for our answer."""
        return bool(self._inbound) and message_id in (self._inbound or ())

    @property
    def calls_in_progress(self) -> int:
        """CALLs of the peer that we have not answered."""
        return sum(len(hashes) for hashes in self._inbound.values()) // _HASH if self._inbound else 0

    def _answered(self, message_id: str, frame: bytes) -> bytes:
        inbound = self._inbound
        if not inbound or message_id not in inbound:
            raise LocalProtocolError(f"No call '{message_id}' waits for an answer.")
        digest = inbound.pop(message_id)
        if len(digest) > _HASH:  # several CALLs under one id: answered in the order they came
            inbound[message_id] = digest[_HASH:]
            digest = digest[:_HASH]
        elif not inbound:
            self._inbound = None
        answers = self._answers
        remembered = b"".join((digest, int(self._now).to_bytes(4, "big"), frame))
        if answers is None:
            self._answers = {message_id: remembered}
            return frame
        if message_id in answers:
            del answers[message_id]  # so that the newest stands last
        elif len(answers) >= REMEMBERED_ANSWERS:
            del answers[next(iter(answers))]
        answers[message_id] = remembered
        return frame

    def _error_frame(self, message_id: str, problem: Problem) -> bytes:
        return encode_error(message_id, problem.code.spelled(self.version), problem.description[:MAX_DESCRIPTION])

    # ------------------------------------------------------------------ our calls

    def call(self, message_id: str, action: str, payload: bytes, timeout_s: float, now: float) -> bytes | None:
        """Asks the peer for something, in its turn.

        Args:
            message_id: never used before towards this station; at most 36 characters.
            payload: JSON text, sent as given (check it with `validate_payload`).
            timeout_s: how long the answer may take, counted from sending.
        Returns:
            The frame to send now; None where another CALL is open (the frame comes with the event that ends that one).
        Raises:
            LocalProtocolError: the version has no such action, or it is not ours to send.
            UnavailableError: too many calls wait.
        """
        spec = self._ours(action)
        if spec.response is None:
            raise LocalProtocolError(f"OCPP {self.version} {action} is sent as SEND, not as CALL.")
        call = _OpenCall(message_id, spec, timeout_s, encode_call(message_id, action, payload))
        if self._open is None:
            call.sent_at = now
            self._open = call
            return call.frame
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= MAX_QUEUED:
            raise UnavailableError(f"{len(self._queue)} calls wait for the {self._peer}'s answer already.")
        self._queue.append(call)
        return None

    def send(self, message_id: str, action: str, payload: bytes) -> bytes:
        """A SEND frame, to be sent now; it has no answer and waits for none (OCPP-J 2.1, 4.1.1).

        Raises:
            LocalProtocolError: the version has no such action to SEND, or it is not ours.
        """
        spec = self._ours(action)
        if spec.response is not None:
            raise LocalProtocolError(f"OCPP {self.version} {action} is sent as CALL, not as SEND.")
        return encode_send(message_id, action, payload)

    def withdraw(self, message_id: str) -> bool:
        """Takes a CALL out of the queue; False where it was sent already or is not known."""
        for call in self._queue or ():
            if call.message_id == message_id:
                assert self._queue is not None
                self._queue.remove(call)
                return True
        return False

    @property
    def open_call(self) -> str | None:
        """Message id of our CALL that was sent and waits for its answer."""
        return self._open.message_id if self._open else None

    @property
    def queued_calls(self) -> int:
        """CALLs of ours that wait for their turn."""
        return len(self._queue) if self._queue else 0

    @property
    def deadline(self) -> float | None:
        """When `tick` will have something to report, if no answer comes."""
        return self._open.sent_at + self._open.timeout_s if self._open else None

    def tick(self, now: float) -> CallTimedOut | None:
        """The time-out of our open CALL, if its time is over; call it at `deadline` or every second or so."""
        call = self._open
        if call is None or now < call.sent_at + call.timeout_s:
            return None
        self._last_timeouts = (*self._last_timeouts[-_REMEMBERED_TIMEOUTS + 1 :], call.message_id)
        return CallTimedOut(call.message_id, call.spec, now - call.sent_at, self._next_call(now))

    def closed(self) -> tuple[CallDisconnected, ...]:
        """Ends every CALL of ours; the connection is of no use afterwards. CALLs of the peer stay unanswered."""
        ended = [CallDisconnected(self._open.message_id, self._open.spec, True)] if self._open else []
        ended += [CallDisconnected(call.message_id, call.spec, False) for call in self._queue or ()]
        self._open = None
        self._queue = None
        self._inbound = None
        return tuple(ended)

    def _next_call(self, now: float) -> bytes | None:
        queue = self._queue
        if not queue:
            self._open = None
            return None
        call = queue.popleft()
        if not queue:
            self._queue = None
        call.sent_at = now
        self._open = call
        return call.frame

    def _ours(self, action: str) -> ActionSpec:
        spec = self._table.get(action)
        if spec is None:
            raise LocalProtocolError(f"OCPP {self.version} has no action '{action}'.")
        if not (spec.from_csms if self.role is Role.CSMS else spec.from_station):
            raise LocalProtocolError(f"OCPP {self.version} {action} is not sent by the {self.role.value}.")
        return spec

    @property
    def _peer(self) -> str:
        return Role.STATION.value if self.role is Role.CSMS else Role.CSMS.value
