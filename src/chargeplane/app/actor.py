"""One charging station's owner on this node.

It takes the station's messages in order, decides by the rules in `domain/`, submits the rows to the group commit, and answers
when they are committed. There is no lock: everything here runs in the event loop, and whatever must wait (the station's state
being loaded, an id token looked up, a transaction's history) pauses the actor, so that later messages queue behind.

State in memory runs ahead of the commit by what is outstanding. A message that the database refuses takes its successors with it: the
state is dropped, the message is quarantined and answered, and the successors are taken again on reloaded state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from chargeplane.app.house import House, utc_now
from chargeplane.app.ports import AnswerCallback, CloseReason, Received, StationLink
from chargeplane.domain.authorization import IdTokenRecord, authorize, matching, may_stop
from chargeplane.domain.clock import ClockOffset, measure
from chargeplane.domain.connectors import KnownStatus, may_replace, within_bounds
from chargeplane.domain.evidence import doubtful
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    BootAnswer,
    ConnectorState,
    ConnectorStatus,
    Heartbeat,
    HeartbeatAnswer,
    IdToken,
    IdTokenInfo,
    MeterReport,
    Notice,
    Registration,
    ReportKind,
    StationAnswer,
    TransactionAnswer,
    TransactionReport,
    Unusable,
)
from chargeplane.domain.routing import match_values
from chargeplane.domain.transactions import (
    Advanced,
    Belongs,
    Flag,
    Lookup,
    Loose,
    NeedsHistory,
    Opens,
    StoredEvent,
    TransactionState,
    advance,
    close_by_hand,
    open_transaction,
    route,
    two_tokens,
)
from chargeplane.kernel.errors import NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationId, StationKey, TenantId, TransactionId
from chargeplane.kernel.time import EPOCH
from chargeplane.store import rows
from chargeplane.store.commit import Work
from chargeplane.store.commit.fields import int4, int8, timestamp
from chargeplane.store.commit.tables import QUARANTINE
from chargeplane.store.stations import REPEAT_WINDOW, Loaded, encode_state

log = structlog.get_logger(__name__)

_ACKNOWLEDGED = Acknowledged()
_PLAIN = TransactionAnswer()
_QUARANTINE = QUARANTINE.index
_encode_fact = msgspec.json.Encoder(decimal_format="number").encode

Job = Callable[[], None]


class MessageWork(Work):
    """A station's message on its way to disk, with the answer that waits for it."""

    __slots__ = ("actor", "after", "answer", "received", "value")

    def __init__(
        self,
        actor: Actor,
        received: Received,
        answer: AnswerCallback,
        value: StationAnswer | None,
        written: list[rows.Write],
        after: Job | None = None,
    ) -> None:
        self.station = actor.key
        self.rows = written
        self.size = len(received.payload) + 200
        self.cancelled = False
        self.actor = actor
        self.received = received
        self.answer = answer
        self.value = value
        self.after = after

    def committed(self) -> None:
        """Answers the station."""
        self.actor.outstanding.remove(self)
        value = self.value
        if value is None:
            value = self.actor.boot_answer()
        self.answer(value)
        if self.after is not None:
            self.after()

    def refused(self, error: Exception) -> None:
        """Quarantines the message, answers it, and has its successors taken again."""
        self.actor.message_refused(self, error)

    def fenced(self) -> None:
        """Another node owns the station: nothing is answered, the station will ask there."""
        self.actor.fenced()


class JobWork(Work):
    """A change that no station's message made (an operator's, a sweep's), and who waits for it."""

    __slots__ = ("actor", "done")

    def __init__(self, actor: Actor, written: list[rows.Write], done: Callable[[Exception | None], None]) -> None:
        super().__init__(actor.key, written, 500)
        self.actor = actor
        self.done = done

    def committed(self) -> None:
        """Tells that it is safe."""
        self.actor.outstanding.remove(self)
        self.done(None)

    def refused(self, error: Exception) -> None:
        """Tells that it never will be."""
        self.actor.drop_state(self)
        self.done(error)

    def fenced(self) -> None:
        """Another node owns the station."""
        self.actor.fenced()


class Actor:
    """One station's owner on this node; outlives sockets."""

    __slots__ = (
        "_attempts",
        "_clock",
        "_clock_written",
        "_connectors",
        "_generation",
        "_held",
        "_house",
        "_inbox",
        "_loaded",
        "_loaded_at",
        "_newest_told",
        "_notices",
        "_open",
        "_quirks",
        "_station",
        "_tenant",
        "booted",
        "connected_at",
        "key",
        "last_seen",
        "link",
        "outstanding",
        "station_id",
        "tenant_id",
    )

    def __init__(self, house: House, key: StationKey, tenant_id: TenantId, station_id: StationId) -> None:
        self._house = house
        self.key = key
        self.tenant_id = tenant_id
        self.station_id = station_id
        self._station = int8(key)
        self._tenant = int4(tenant_id)
        self.link: StationLink | None = None
        self.last_seen: datetime | None = None
        self.connected_at: datetime | None = None
        self.booted = False
        self.outstanding: list[Work] = []
        self._loaded = False
        self._generation = 0
        self._held: tuple[Received, AnswerCallback] | None = None
        self._inbox: list[tuple[Received | None, AnswerCallback | Job]] | None = None
        self._open: tuple[TransactionState, ...] = ()
        self._connectors: dict[tuple[int, int], KnownStatus] | None = None
        self._newest_told: datetime | None = None
        self._loaded_at: datetime | None = None
        self._attempts: dict[tuple[str, bytes], AuthorizationStatus] | None = None
        self._notices: set[tuple[str, bytes]] | None = None
        self._quirks: dict[str, int] | None = None
        self._clock: ClockOffset | None = None
        self._clock_written: ClockOffset | None = None

    # -- what the edge calls ---------------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """Messages taken and not yet answered."""
        return len(self.outstanding) + (len(self._inbox) if self._inbox is not None else 0)

    def receive(self, received: Received, answer: AnswerCallback) -> None:
        """Takes a message in its turn."""
        self.last_seen = received.received_at
        if self._inbox is not None:
            self._inbox.append((received, answer))
        elif self._loaded:
            self._handle(received, answer)
        else:
            self._inbox = [(received, answer)]
            self._house.request_load(self)

    def repaired(self, rules: tuple[str, ...]) -> None:
        """Counts repair rules that a message needed."""
        if self._quirks is None:
            self._quirks = {}
        for rule in rules:
            self._quirks[rule] = self._quirks.get(rule, 0) + 1

    # -- in turn ---------------------------------------------------------------------------------------------------------------

    def run(self, job: Job) -> None:
        """Runs a job in its turn, on loaded state."""
        if self._inbox is not None:
            self._inbox.append((None, job))
        elif self._loaded:
            job()
        else:
            self._inbox = [(None, job)]
            self._house.request_load(self)

    def ensure_loaded(self) -> None:
        """Has the state loaded (and the station taken over where another node owned it)."""
        if not self._loaded and self._inbox is None:
            self._inbox = []
            self._house.request_load(self)

    def loaded(self, state: Loaded, now: datetime) -> None:
        """The state as committed has arrived; what queued meanwhile is handled. A second answer to an older question is ignored."""
        if self._loaded:
            return
        self._open = tuple(state.open)
        self._connectors = {
            (row.evse_id, row.connector_id): KnownStatus(row.status, row.at, row.received_at)
            for row in state.connectors
        } or None
        self._attempts = {(a.message_id, a.content_hash): a.status for a in state.attempts} or None
        self._notices = set(state.notices) or None
        self._newest_told = None
        self._loaded_at = now
        self._loaded = True
        if self._open:
            self._doubt_again()
        self._resume()

    def _doubt_again(self) -> None:
        """Doubts are not stored: those of the last process arise again from the connectors' statuses."""
        for (evse_id, connector_id), known in self.connectors.items():
            if known.status == ConnectorState.AVAILABLE:
                status = ConnectorStatus(
                    evse_id=evse_id,
                    connector_id=connector_id,
                    status=ConnectorState.AVAILABLE,
                    reported=known.status,
                    at=known.at,
                )
                for state in doubtful(status, self._open, known.received_at):
                    self._house.doubt(self, state, status, known.received_at)

    def _resume(self) -> None:
        """Handles what queued during a pause, until the next pause."""
        waiting, self._inbox = self._inbox, None
        while waiting:
            received, answer = waiting.pop(0)
            if received is None:
                answer()  # type: ignore[call-arg]
            else:
                self._handle(received, answer)  # type: ignore[arg-type]
            if self._inbox is not None:
                self._inbox += waiting
                return

    def _hold(self, received: Received, answer: AnswerCallback) -> int:
        """Pauses for a message; `_continue` ends the pause. Returns the generation to give it."""
        self._inbox = []
        self._held = (received, answer)
        return self._generation

    def _continue(self, generation: int, step: Job) -> None:
        """Goes on with the message that the pause was for, then with what queued behind it.

        Where the state was dropped meanwhile, that message is queued again already, to be taken from its beginning.
        """
        if generation != self._generation or self._held is None:
            return
        received, answer = self._held
        self._held = None
        waiting, self._inbox = self._inbox, None
        try:
            step()
        except Exception as error:
            self._not_handled(received, answer, error)
        if waiting:
            if self._inbox is not None:
                self._inbox += waiting
            else:
                self._inbox = waiting
                self._resume()

    def _handle(self, received: Received, answer: AnswerCallback) -> None:
        try:
            _HANDLERS[type(received.message)](self, received, answer)
        except Exception as error:
            self._not_handled(received, answer, error)

    def _not_handled(self, received: Received, answer: AnswerCallback, error: Exception) -> None:
        """A bug of ours must not cost a message: it is kept and answered, and the log says where. What the failed attempt left in
        memory is not trusted: the state is loaded again once everything outstanding is committed."""
        log.error("message_not_handled", station=self.station_id, action=received.action, exc_info=error)
        self._quarantine(received, answer, f"Handling it failed: {type(error).__name__}: {error}")
        self._inbox = [*(self._inbox or ())]
        generation = self._generation

        def reload(_: Exception | None) -> None:
            if generation == self._generation:
                self._forget()
                self._house.request_load(self)

        self._submit_job([], reload)

    def _forget(self) -> None:
        """The state in memory is void; whoever waits with an old generation is no longer waited for."""
        self._generation += 1
        self._loaded = False
        self._held = None
        self._open = ()
        self._newest_told = None

    def _submit(
        self,
        received: Received,
        answer: AnswerCallback,
        value: StationAnswer | None,
        written: list[rows.Write],
        after: Job | None = None,
    ) -> None:
        work = MessageWork(self, received, answer, value, written, after)
        self.outstanding.append(work)
        self._house.committer.submit(work)

    def _measure(self, at: datetime | None, now: datetime) -> None:
        """Learns how far the station's clock is from ours."""
        if at is not None:
            self._clock = measure(self._clock, at, now)

    # -- messages --------------------------------------------------------------------------------------------------------------

    def _heartbeat(self, received: Received, answer: AnswerCallback) -> None:
        answer(HeartbeatAnswer(now=received.received_at))

    def _boot(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Boot)
        self.booted = True
        after: Job | None = None
        if self._house.feed.active:

            def tell() -> None:
                self._emit(
                    "station.booted",
                    {"vendor": message.vendor, "model": message.model, "firmware_version": message.firmware_version},
                )

            after = tell

        self._submit(received, answer, None, [rows.boot(message, self._station, received.received_at)], after)

    def boot_answer(self) -> BootAnswer:
        """Made when it is sent, so that the station gets the time of then (OCPP 1.6, 4.2; 2.0.1 B01.FR.02)."""
        house = self._house
        status = house.registration(self.key)
        interval = (
            house.heartbeat_interval(self.key) if status is Registration.ACCEPTED else house.settings.retry_interval_s
        )
        return BootAnswer(status=status, interval_s=interval, now=utc_now())

    def _status(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, ConnectorStatus)
        if not within_bounds(message.evse_id, message.connector_id):
            self._quarantine(
                received, answer, f"EVSE {message.evse_id}, connector {message.connector_id}: no station has so many."
            )
            return
        self._measure(message.at, received.received_at)
        place = (message.evse_id, message.connector_id)
        known = self._connectors.get(place) if self._connectors is not None else None
        written: list[rows.Write] = []
        after: Job | None = None
        if known is None or may_replace(known, message, received.received_at):
            if self._connectors is None:
                self._connectors = {}
            self._connectors[place] = KnownStatus(message.status.value, message.at, received.received_at)
            if self._open:
                for state in doubtful(message, self._open, received.received_at):
                    self._house.doubt(self, state, message, received.received_at)
            written.append(rows.connector(message, self._station, received.received_at))
            if self._house.feed.active:

                def tell() -> None:
                    self._emit(
                        "connector.status",
                        {
                            "evse_id": message.evse_id,
                            "connector_id": message.connector_id,
                            "status": message.status.value,
                            "reported": message.reported,
                            "error_code": message.error_code,
                        },
                    )

                after = tell

        self._submit(received, answer, _ACKNOWLEDGED, written, after)

    def _authorize(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Authorize)
        token = message.id_token

        def decided(records: tuple[IdTokenRecord, ...]) -> None:
            info = authorize(token, records, now=received.received_at)
            repeat = self._attempts is not None and (received.message_id, received.content_hash) in self._attempts
            written: list[rows.Write] = []
            if not repeat:
                evse = message.evse_ids[0] if message.evse_ids else None
                written.append(
                    rows.attempt(
                        token,
                        evse,
                        info.status.value,
                        self._tenant,
                        self._station,
                        received.message_id,
                        received.content_hash,
                        received.received_at,
                    )
                )
            self._submit(received, answer, AuthorizeAnswer(id_token_info=info), written)

        self._lookup(received, answer, token, decided)

    def _lookup(
        self,
        received: Received,
        answer: AnswerCallback,
        token: IdToken,
        step: Callable[[tuple[IdTokenRecord, ...]], None],
    ) -> None:
        """Pauses until the token's records are here, then goes on with `step`."""
        generation = self._hold(received, answer)
        self._house.tokens.lookup(
            self.tenant_id, token.value, lambda records: self._continue(generation, lambda: step(records))
        )

    def _meter(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, MeterReport)
        if self._open:
            matched = match_values(message, self._open, received.received_at)
            if matched is not None:
                state, report = matched
                self._advance(received, answer, report, None, None, state, None)
                return
        written = [
            rows.meter_value(
                message,
                self._station,
                received.message_id,
                received.content_hash,
                received.payload,
                received.received_at,
            )
        ]
        self._submit(received, answer, _ACKNOWLEDGED, written)

    def _notice(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Notice)
        written: list[rows.Write] = []
        if self._notices is None or (received.message_id, received.content_hash) not in self._notices:
            written.append(
                rows.notice(
                    message,
                    self._station,
                    received.message_id,
                    received.content_hash,
                    received.payload,
                    received.received_at,
                )
            )
            if message.variables:
                written += [rows.variable(one, self._station, received.received_at) for one in message.variables]
        after: Job | None = None
        if self._house.feed.active:

            def tell() -> None:
                self._emit("station.notice", {"action": message.action, "tells": message.tells})

            after = tell

        self._submit(received, answer, _ACKNOWLEDGED, written, after)

    def _unusable(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Unusable)
        self._quarantine(received, answer, message.reason)

    def _quarantine(
        self, received: Received, answer: AnswerCallback, reason: str, value: StationAnswer | None = None
    ) -> None:
        written = [
            rows.quarantine(
                self._tenant,
                self._station,
                received.action,
                received.message_id,
                received.content_hash,
                received.payload,
                reason,
                received.received_at,
            )
        ]
        after: Job | None = None
        if self._house.feed.active:

            def tell() -> None:
                self._emit("quarantine.added", {"action": received.action, "reason": reason})

            after = tell

        self._submit(received, answer, value or self._answer_unmatched(received), written, after)

    def _answer_unmatched(self, received: Received) -> StationAnswer:
        """What lets a station's queue go on although its message could not be used."""
        message = received.message
        if isinstance(message, TransactionReport):
            assigned = None
            if message.csms_assigns_id and message.kind is ReportKind.STARTED:
                assigned = self._house.ocpp16_ids.take()
            info = IdTokenInfo(status=AuthorizationStatus.INVALID) if message.id_token is not None else None
            return TransactionAnswer(assigned_id=assigned, id_token_info=info)
        if isinstance(message, Unusable) and message.action == "StartTransaction":
            return TransactionAnswer(
                assigned_id=self._house.ocpp16_ids.take(), id_token_info=IdTokenInfo(status=AuthorizationStatus.INVALID)
            )
        if isinstance(message, Authorize):
            return AuthorizeAnswer(id_token_info=IdTokenInfo(status=AuthorizationStatus.INVALID))
        if isinstance(message, Boot):
            return self.boot_answer()
        return _ACKNOWLEDGED

    # -- transactions ----------------------------------------------------------------------------------------------------------

    def _transaction(self, received: Received, answer: AnswerCallback) -> None:
        report = received.message
        assert isinstance(report, TransactionReport)
        token = report.id_token
        if token is None:
            self._fold(received, answer, report, None)
            return

        self._lookup(received, answer, token, lambda records: self._fold(received, answer, report, records))

    def _fold(
        self,
        received: Received,
        answer: AnswerCallback,
        report: TransactionReport,
        records: tuple[IdTokenRecord, ...] | None,
        known: Sequence[TransactionState] | None = None,
        history: Sequence[StoredEvent] | None = None,
    ) -> None:
        """Routes and applies a report; where it needs the store, pauses and comes back."""
        now = received.received_at
        routed = route(report, received.message_id, self._open, known, now, self._newest_told)
        kind = type(routed)
        if kind is Belongs:
            self._advance(received, answer, report, records, known, routed.transaction, history)  # type: ignore[union-attr]
        elif kind is Opens:
            self._open_new(received, answer, report, records, routed)  # type: ignore[arg-type]
        elif kind is Lookup:
            named = routed.ocpp_transaction_id  # type: ignore[union-attr]
            self._read(
                received,
                answer,
                lambda: self._earlier(named),
                lambda found: self._fold(received, answer, report, records, found),
            )
        else:
            assert isinstance(routed, Loose)
            value: StationAnswer | None = None
            if report.id_token is not None:
                value = TransactionAnswer(
                    assigned_id=self._house.ocpp16_ids.take()
                    if report.csms_assigns_id and report.kind is ReportKind.STARTED
                    else None,
                    id_token_info=authorize(report.id_token, records or (), now=now),
                )
            self._quarantine(received, answer, routed.reason, value)

    def _advance(
        self,
        received: Received,
        answer: AnswerCallback,
        report: TransactionReport,
        records: tuple[IdTokenRecord, ...] | None,
        known: Sequence[TransactionState] | None,
        state: TransactionState,
        history: Sequence[StoredEvent] | None,
        flags: tuple[Flag, ...] | None = None,
    ) -> None:
        if flags is None and report.id_token is not None and (tokens := two_tokens(state, report)) is not None:
            self._compare(received, answer, report, records, known, state, history, tokens)
            return
        outcome = advance(
            state,
            report,
            message_id=received.message_id,
            content_hash=received.content_hash,
            now=received.received_at,
            history=history,
            flags=flags or (),
        )
        if type(outcome) is not NeedsHistory:
            self._apply(received, answer, report, records, outcome, [])  # type: ignore[arg-type]
        elif type(received.message) is MeterReport:
            self._read(
                received,
                answer,
                lambda: self._house.history(state),
                lambda events: self._advance(received, answer, report, records, known, state, events),
            )
        else:
            self._read(
                received,
                answer,
                lambda: self._house.history(state),
                lambda events: self._fold(received, answer, report, records, known, events),
            )

    def _compare(
        self,
        received: Received,
        answer: AnswerCallback,
        report: TransactionReport,
        records: tuple[IdTokenRecord, ...] | None,
        known: Sequence[TransactionState] | None,
        state: TransactionState,
        history: Sequence[StoredEvent] | None,
        tokens: tuple[IdToken, IdToken],
    ) -> None:
        """One token began and another stopped: where they are not of one group, that is marked."""
        began, stopped = tokens
        presented, other = (began, stopped) if report.kind is ReportKind.STARTED else (stopped, began)
        mine = matching(presented, records or ())

        def decided(others: tuple[IdTokenRecord, ...]) -> None:
            record = matching(other, others)
            allowed = may_stop(
                stopped,
                began,
                group_id=mine.group_id if mine is not None else None,
                started_by_group_id=record.group_id if record is not None else None,
            )
            flags = () if allowed else (Flag.STOPPED_BY_OTHER,)
            self._advance(received, answer, report, records, known, state, history, flags)

        self._lookup(received, answer, other, decided)

    def _open_new(
        self,
        received: Received,
        answer: AnswerCallback,
        report: TransactionReport,
        records: tuple[IdTokenRecord, ...] | None,
        routed: Opens,
    ) -> None:
        house = self._house
        now = received.received_at
        if house.ocpp16_ids.empty or house.transaction_ids.empty:
            self._read(
                received,
                answer,
                self._more_ids,
                lambda _: self._open_new(received, answer, report, records, routed),
            )
            return
        assigned = None
        if report.csms_assigns_id and (report.kind is ReportKind.STARTED or report.ocpp_transaction_id is None):
            assigned = house.ocpp16_ids.take()
            if house.ocpp16_ids.low:
                house.spawn(house.ocpp16_ids.refill())
        number = TransactionId(house.transaction_ids.take())
        if house.transaction_ids.low:
            house.spawn(house.transaction_ids.refill())
        flags = routed.flags
        if report.id_token is not None and report.kind is ReportKind.STARTED:
            info = authorize(report.id_token, records or (), now=now)
            if info.status is not AuthorizationStatus.ACCEPTED:
                flags = (*flags, Flag.REFUSED_TOKEN)
        written: list[rows.Write] = []
        if routed.supersedes is not None:
            self._write_closed(
                close_by_hand(
                    routed.supersedes,
                    reason="The station began another on this EVSE",
                    flag=Flag.CLOSED_BY_EVIDENCE,
                    now=now,
                ),
                now,
                written,
            )
        outcome = open_transaction(
            report,
            id=number,
            assigned_id=assigned,
            message_id=received.message_id,
            content_hash=received.content_hash,
            flags=flags,
            now=now,
        )
        self._apply(received, answer, report, records, outcome, written)

    def _apply(
        self,
        received: Received,
        answer: AnswerCallback,
        report: TransactionReport,
        records: tuple[IdTokenRecord, ...] | None,
        outcome: Advanced,
        written: list[rows.Write],
    ) -> None:
        """Turns what a report did into rows, memory and the answer."""
        state = outcome.state
        now = received.received_at
        info = None
        token = report.id_token
        if token is not None:
            # A transaction that is counted already does not stand in its own way.
            info = authorize(token, records or (), now=now, starting=outcome.opened)
        if not outcome.repeat:
            written.append(
                rows.event(
                    state,
                    report,
                    self._station,
                    received.action,
                    received.message_id,
                    received.content_hash,
                    received.payload,
                    timestamp(now),
                )
            )
            if outcome.opened or outcome.closed or outcome.snapshot or not state.is_open:
                if not report.offline:
                    self._measure(report.at, now)
                self._write_state(state, outcome, report, info if outcome.opened else None, now, written)
            self._remember(state, outcome, now)
        if isinstance(received.message, MeterReport):
            value: StationAnswer = _ACKNOWLEDGED
        else:
            assigned = None
            if report.csms_assigns_id and report.kind is ReportKind.STARTED and state.ocpp_transaction_id is not None:
                assigned = int(state.ocpp_transaction_id)
            value = (
                _PLAIN
                if assigned is None and info is None
                else TransactionAnswer(assigned_id=assigned, id_token_info=info)
            )
        after: Job | None = None
        if state.is_open and not outcome.opened and not outcome.repeat and self._house.feed.active:
            # Start, end and amendment are facts: they come by the outbox.
            def tell() -> None:
                self._emit("transaction.updated", _shown(state))

            after = tell

        self._submit(received, answer, value, written, after)

    def _write_state(
        self,
        state: TransactionState,
        outcome: Advanced,
        report: TransactionReport | None,
        info: IdTokenInfo | None,
        now: datetime,
        written: list[rows.Write],
    ) -> None:
        """The rows of a transaction that opened, closed, is due for a snapshot, or changed after it closed."""
        encoded = encode_state(state)
        stamp = timestamp(now)
        if outcome.opened or not state.is_open:
            written.append(
                rows.transaction(
                    state,
                    encoded,
                    self._tenant,
                    self._station,
                    report,
                    info.status.value if info is not None else None,
                    stamp,
                )
            )
        if state.is_open:
            written.append(rows.open_transaction(state, encoded, self._tenant, self._station))
        elif outcome.closed:
            written.append(rows.closed_transaction(state))
        if outcome.opened:
            written.append(self._fact("transaction.started", state))
        if outcome.closed:
            if Flag.UNIT_REPAIRED in state.flags:
                self.repaired((Flag.UNIT_REPAIRED.value,))
            written.append(self._fact("transaction.ended", state))
        elif not state.is_open:
            written.append(self._fact("transaction.amended", state))

    def _write_closed(self, outcome: Advanced, now: datetime, written: list[rows.Write]) -> None:
        """Rows and memory of a transaction closed by something other than its station's message."""
        self._write_state(outcome.state, outcome, None, None, now, written)
        self._remember(outcome.state, outcome, now)

    def _fact(self, topic: str, state: TransactionState) -> rows.Write:
        return rows.fact(
            self._tenant,
            topic,
            str(state.id),
            _encode_fact({"station_id": self.station_id, **_shown(state)}),
        )

    def _remember(self, state: TransactionState, outcome: Advanced, now: datetime) -> None:
        """Keeps the open transactions, and the newest time told (a start with a later one neither repeats nor completes any)."""
        number = state.id
        told = state.newest_effective
        if told is not None and self._newest_told is not None and told > self._newest_told:
            self._newest_told = told
        if state.is_open:
            if outcome.opened:
                self._open = (*self._open, state)
            elif len(self._open) == 1:
                self._open = (state,)
            else:
                self._open = tuple(state if known.id == number else known for known in self._open)
            return
        if self._open:
            self._open = tuple(known for known in self._open if known.id != number)

    # -- waiting for the store -------------------------------------------------------------------------------------------------

    def _read(
        self,
        received: Received,
        answer: AnswerCallback,
        read: Callable[[], Awaitable[list[Any]]],
        step: Callable[[list[Any]], None],
    ) -> None:
        """Pauses until what is outstanding is committed and `read` has its rows, then goes on with `step`."""
        generation = self._hold(received, answer)

        async def wait() -> None:
            settled = asyncio.get_running_loop().create_future()

            def done(_: Exception | None) -> None:
                if not settled.done():
                    settled.set_result(None)

            self._submit_job([], done)
            await settled
            found = await read() if generation == self._generation else []
            self._continue(generation, lambda: step(found))

        self._house.spawn(wait())

    async def _more_ids(self) -> list[Any]:
        await self._house.ocpp16_ids.refill()
        await self._house.transaction_ids.refill()
        return []

    async def _earlier(self, ocpp_transaction_id: str | None) -> list[TransactionState]:
        """The station's transactions with this id, or its newest; learns the newest time told the first time."""
        newest: list[TransactionState] | None = None
        if self._newest_told is None:
            newest = await self._house.earlier(self.key, None)
            told = [state.newest_effective for state in newest if state.newest_effective is not None]
            told += [state.newest_effective for state in self._open if state.newest_effective is not None]
            self._newest_told = max(told, default=EPOCH)
        if ocpp_transaction_id is None:
            return newest if newest is not None else await self._house.earlier(self.key, None)
        return await self._house.earlier(self.key, ocpp_transaction_id)

    def _submit_job(self, written: list[rows.Write], done: Callable[[Exception | None], None]) -> None:
        work = JobWork(self, written, done)
        self.outstanding.append(work)
        self._house.committer.submit(work)

    # -- when something goes wrong ---------------------------------------------------------------------------------------------

    def message_refused(self, work: MessageWork, error: Exception) -> None:
        """The database will never take this message's rows: they are kept as bytes, and the message is answered."""
        cause = error.__cause__ or error
        received = work.received
        self.drop_state(work)
        if any(index == _QUARANTINE for index, _ in work.rows):
            log.critical("quarantine_refused", station=self.station_id, action=received.action, error=str(cause))
            if self.link is not None:
                self.link.close(CloseReason.UNSTORABLE)
        else:
            self._quarantine(received, work.answer, f"The database refused it: {cause}")

    def drop_state(self, refused: Work) -> None:
        """Forgets the state that ran ahead of a refused work; its successors are taken again on reloaded state."""
        again: list[tuple[Received | None, AnswerCallback | Job]] = []
        outstanding, self.outstanding = self.outstanding, []
        jobs: list[JobWork] = []
        for work in outstanding:
            if work is refused:
                continue
            work.cancelled = True
            if isinstance(work, MessageWork):
                again.append((work.received, work.answer))
            elif isinstance(work, JobWork):
                jobs.append(work)
        if self._held is not None:
            again.append(self._held)
        self._forget()
        self._inbox = [*again, *(self._inbox or ())]
        self._house.request_load(self)
        for job in jobs:
            job.done(UnavailableError("The station's state was reloaded meanwhile; try again."))

    def fenced(self) -> None:
        """Another node owns the station: its socket here is closed, nothing more is answered, the state is forgotten."""
        self._forget()
        waiting, self._inbox = self._inbox, None
        self._connectors = None
        outstanding, self.outstanding = self.outstanding, []
        link, self.link = self.link, None
        if link is not None:
            link.close(CloseReason.FENCED)
        for work in outstanding:
            work.cancelled = True
            if isinstance(work, JobWork):
                work.done(UnavailableError("Another node owns the station now; try again."))
        for received, job in waiting or ():
            if received is None:
                job()  # type: ignore[call-arg]  # it finds the state gone and says so

    # -- what operators and sweeps do ------------------------------------------------------------------------------------------

    async def close_transaction(
        self, number: TransactionId, *, reason: str, flag: Flag, now: datetime
    ) -> TransactionState:
        """Closes an open transaction with its last known value; returns it when that is committed.

        Raises:
            NotFoundError: the station has no such open transaction.
            UnavailableError: the station moved to another node meanwhile.
        """
        settled: asyncio.Future[TransactionState] = asyncio.get_running_loop().create_future()

        def job() -> None:
            if not self._loaded:
                settled.set_exception(UnavailableError("Another node owns the station now; try again."))
                return
            state = next((known for known in self._open if known.id == number), None)
            if state is None:
                settled.set_exception(NotFoundError("open transaction", str(number)))
                return
            outcome = close_by_hand(state, reason=reason, flag=flag, now=now)
            written: list[rows.Write] = []
            self._write_closed(outcome, now, written)

            def done(error: Exception | None) -> None:
                if settled.done():
                    return
                if error is None:
                    settled.set_result(outcome.state)
                else:
                    settled.set_exception(error)

            self._submit_job(written, done)

        self.run(job)
        return await settled

    @property
    def open_transactions(self) -> tuple[TransactionState, ...]:
        """The open ones, oldest first (empty before the state is loaded)."""
        return self._open

    def connector_status(self, evse_id: int, connector_id: int) -> KnownStatus | None:
        """A connector's last status."""
        return self._connectors.get((evse_id, connector_id)) if self._connectors is not None else None

    @property
    def connectors(self) -> dict[tuple[int, int], KnownStatus]:
        """Last status by (EVSE, connector)."""
        return self._connectors or {}

    @property
    def is_loaded(self) -> bool:
        """Whether the state is in memory and the station is ours."""
        return self._loaded

    def sweep(self, now: datetime) -> list[rows.Write]:
        """What has gathered since the last sweep and is to be written: repair counts. Forgets what need not be kept."""
        written: list[rows.Write] = []
        quirks, self._quirks = self._quirks, None
        if quirks is not None:
            written = [rows.quirk(self._station, rule, hits, now) for rule, hits in quirks.items()]
        if self._attempts is not None or self._notices is not None:
            since = self._loaded_at
            if since is None or now - since > REPEAT_WINDOW:
                self._attempts = None
                self._notices = None
        return written

    def connection_row(
        self, link: StationLink, connected: bool, changed_at: datetime, seen: datetime | None
    ) -> rows.Write:
        """The row that says whether the station is connected."""
        clock = self._clock if self._clock is not self._clock_written else None
        self._clock_written = self._clock
        return rows.connection(
            self._station,
            self._house.node.id,
            connected,
            changed_at,
            link.ocpp_version,
            link.remote_address,
            seen,
            clock,
        )

    def submit_rows(self, written: list[rows.Write]) -> None:
        """Writes rows that nobody waits for."""
        self._submit_job(written, _nobody_waits)

    def _emit(self, kind: str, data: dict[str, object]) -> None:
        self._house.feed.emit(kind, self.tenant_id, self.station_id, data)


def _nobody_waits(error: Exception | None) -> None:
    """For rows whose loss is worth no more than a log line."""
    if error is not None:
        log.warning("rows_not_written", error=str(error))


def _shown(state: TransactionState) -> dict[str, object]:
    """A transaction in a live event or a fact."""
    return {
        "id": str(state.id),
        "ocpp_transaction_id": state.ocpp_transaction_id,
        "evse_id": state.evse_id,
        "energy_wh": state.energy_wh,
        "state": "open" if state.is_open else "closed",
    }


_HANDLERS: dict[type, Callable[[Actor, Received, AnswerCallback], None]] = {
    Boot: Actor._boot,
    Heartbeat: Actor._heartbeat,
    ConnectorStatus: Actor._status,
    Authorize: Actor._authorize,
    TransactionReport: Actor._transaction,
    MeterReport: Actor._meter,
    Notice: Actor._notice,
    Unusable: Actor._unusable,
}
