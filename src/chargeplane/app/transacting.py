"""A station's transactions: a report is routed, folded, written with what follows from it, and answered.

The rules are in `domain/`; what they need from the store (a transaction's history, earlier transactions, the other driver's token) is
fetched in a pause, and the report is taken up again with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.house import House
from chargeplane.app.ports import AnswerCallback, Received
from chargeplane.app.reports import as_fact
from chargeplane.app.turns import Job, Turns
from chargeplane.domain.authorization import (
    KEY_CODE,
    Asked,
    IdTokenRecord,
    authorize,
    begun_with,
    matching,
    may_stop,
    same_token,
)
from chargeplane.domain.connectors import KnownStatus
from chargeplane.domain.evidence import doubtful
from chargeplane.domain.follow_ups import ReservationUsed, TransactionLimited
from chargeplane.domain.key_codes import KeyCodeGuesses, guessed
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    ConnectorState,
    ConnectorStatus,
    IdToken,
    IdTokenInfo,
    MeterReport,
    ReportKind,
    StationAnswer,
    TransactionAnswer,
    TransactionLimits,
    TransactionReport,
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
    tells_who_began,
    told_who_began,
    two_tokens,
)
from chargeplane.kernel.errors import NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationId, StationKey, TenantId, TransactionId
from chargeplane.kernel.time import EPOCH
from chargeplane.store import rows
from chargeplane.store.commit.fields import timestamp
from chargeplane.store.stations import encode_state

_ACKNOWLEDGED = Acknowledged()
_PLAIN = TransactionAnswer()
_INVALID = IdTokenInfo(status=AuthorizationStatus.INVALID)
_encode_fact = msgspec.json.Encoder(decimal_format="number").encode


class Transacting(Turns):
    """The turns of a station that charges."""

    __slots__ = ("_connectors", "_guesses", "_newest_told", "_open")

    def __init__(self, house: House, key: StationKey, tenant_id: TenantId, station_id: StationId) -> None:
        super().__init__(house, key, tenant_id, station_id)
        self._open: tuple[TransactionState, ...] = ()
        self._newest_told: datetime | None = None
        self._guesses: KeyCodeGuesses | None = None
        self._connectors: dict[tuple[int, int], KnownStatus] | None = None

    def _forget(self) -> None:
        super()._forget()
        self._open = ()
        self._newest_told = None

    @property
    def open_transactions(self) -> tuple[TransactionState, ...]:
        """The open ones, oldest first (empty before the state is loaded)."""
        return self._open

    def _is_running(self, token: IdToken) -> bool:
        return any(same_token(token, state.id_token) for state in self._open)

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

    def _transaction(self, received: Received, answer: AnswerCallback) -> None:
        report = received.message
        assert isinstance(report, TransactionReport)
        token = report.id_token
        if token is None:
            self._fold(received, answer, report, None)
            return

        self._lookup(received, answer, token, lambda records: self._fold(received, answer, report, records))

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
                    id_token_info=self._info(report.id_token, records, report, now, Asked.GO_ON),
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
        if report.id_token is not None and tells_who_began(state, report):
            info = self._info(report.id_token, records, report, received.received_at, Asked.START)
            if info.status is not AuthorizationStatus.ACCEPTED:
                flags = (*(flags or ()), Flag.REFUSED_TOKEN)
        outcome = advance(
            state,
            report,
            message_id=received.message_id,
            content_hash=received.content_hash,
            now=received.received_at,
            history=history,
            flags=flags or (),
            place_is_free=not state.is_open and not any(known.evse_id == state.evse_id for known in self._open),
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
            groups = [one.group_id if one is not None else None for one in (mine, record)]
            stopper, starter = groups if presented is stopped else reversed(groups)
            allowed = may_stop(
                stopped,
                began,
                group_id=stopper,
                started_by_group_id=starter,
                here=self._house.here(self.key),
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
            info = self._info(report.id_token, records, report, now, Asked.START)
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
        limits: TransactionLimits | None = None,
        cost: Sequence[Decimal | None] = (),
    ) -> None:
        """Turns what a report did into rows, memory and the answer.

        Args:
            limits: of the transaction, with those that the station keeps by itself; None where that was not looked up.
            cost: what it cost in all; empty where that was not looked up.
        """
        # OCPP 2.0.1 I03.FR.02: the end is answered with the total, where the transaction has a price.
        if outcome.closed and not cost and outcome.state.id in self._house.final_costs.priced:
            self._read(
                received,
                answer,
                lambda: self._house.final_costs.of(
                    self.tenant_id, outcome.state, report, received.content_hash, received.received_at
                ),
                lambda found: self._apply(received, answer, report, records, outcome, written, limits, found or [None]),
            )
            return
        followed = False
        state = outcome.state
        now = received.received_at
        info = None
        token = report.id_token
        if token is not None:
            # A transaction that is counted already does not stand in its own way.
            starts = (outcome.opened or outcome.authorized) and report.kind is not ReportKind.ENDED
            info = self._info(token, records, report, now, Asked.START if starts else Asked.GO_ON)
            if starts and token.type == KEY_CODE and limits is None and not outcome.repeat:
                self._count_guess(info.status, now)
            if outcome.repeat and info.status is AuthorizationStatus.ACCEPTED and told_who_began(state, report):
                # Its answer may have been lost, and the limits with it.
                info = replace(info, limits=begun_with(token, records or ()))
            named = info.limits
            if named is not None and not report.csms_assigns_id:
                if limits is None:
                    self._read(
                        received,
                        answer,
                        lambda: self._limits(state, named, outcome.repeat),
                        lambda found: self._apply(received, answer, report, records, outcome, written, found[0], cost),
                    )
                    return
                info = replace(info, limits=limits)
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
                told = info if outcome.opened or outcome.authorized else None
                self._write_state(state, outcome, report, told, now, written)
                followed = self._follow_ups(state, report, told, now, written)
            self._remember(state, outcome, now)
            if outcome.opened and state.is_open and self._connectors is not None:
                # A replay may begin with the statuses and lack the stop.
                self._doubt((state,), timeless=False)
        if isinstance(received.message, MeterReport):
            value: StationAnswer = _ACKNOWLEDGED
        else:
            assigned = None
            if report.csms_assigns_id and report.kind is ReportKind.STARTED and state.ocpp_transaction_id is not None:
                assigned = int(state.ocpp_transaction_id)
            value = (
                _PLAIN
                if assigned is None and info is None and not cost
                else TransactionAnswer(assigned_id=assigned, id_token_info=info, total_cost=cost[0] if cost else None)
            )
        after: Job | None = None
        if followed:
            after = self._house.report_committed
        elif state.is_open and not outcome.opened and not outcome.repeat and self._house.feed.active:
            # Start, end and amendment are facts: they come by the outbox.
            def tell() -> None:
                self._emit("transaction.updated", _shown(state))

            after = tell

        self._submit(received, answer, value, written, after)

    async def _limits(
        self, state: TransactionState, limits: TransactionLimits, repeat: bool
    ) -> list[TransactionLimits]:
        """The limits with those that the station keeps by itself; what was told before where it asks again."""
        told = await self._house.limits_told(state.id) if repeat else None
        return [told or replace(limits, kept=frozenset(await self._house.limits_kept(self.key)))]

    def _info(
        self,
        token: IdToken,
        records: tuple[IdTokenRecord, ...] | None,
        report: TransactionReport,
        now: datetime,
        asked: Asked,
    ) -> IdTokenInfo:
        evse = report.evse_id
        info = authorize(
            token,
            records or (),
            now=now,
            evse_ids=(evse,) if evse else (),
            asked=asked,
            here=self._house.here(self.key),
        )
        if token.type == KEY_CODE and asked is Asked.START and self._waits(now):
            return _INVALID
        return info

    def _waits(self, now: datetime) -> bool:
        """Whether so many wrong key codes came from the station that none is looked at for now (OCPP 2.0.1, C04.FR.06)."""
        return self._guesses is not None and self._guesses.refuses(now)

    def _count_guess(self, status: AuthorizationStatus, now: datetime) -> None:
        """Counts a key code that was looked at."""
        if self._waits(now):
            return
        if status is AuthorizationStatus.ACCEPTED:
            self._guesses = None
        elif status is AuthorizationStatus.INVALID:
            self._guesses = guessed(self._guesses, now)
            if self._guesses.refuses(now):
                self._house.key_codes_guessed(self.key)

    def _doubt(self, states: Sequence[TransactionState], *, timeless: bool) -> None:
        """Casts doubt on open transactions that a status we hold speaks against.

        Args:
            timeless: statuses without a time of their own count too, from their arrival.
        """
        for (evse_id, connector_id), known in (self._connectors or {}).items():
            if known.status == ConnectorState.AVAILABLE and (timeless or known.at is not None):
                status = ConnectorStatus(
                    evse_id=evse_id,
                    connector_id=connector_id,
                    status=ConnectorState.AVAILABLE,
                    reported=known.status,
                    at=known.at,
                )
                for state in doubtful(status, states, known.received_at):
                    self._house.doubt(self, state, status, known.received_at)

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
        if outcome.opened or outcome.reopened or outcome.authorized or not state.is_open:
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
        if outcome.reopened:
            written.append(self._fact("transaction.reopened", state))
        if outcome.closed:
            if Flag.UNIT_REPAIRED in state.flags:
                self.repaired((Flag.UNIT_REPAIRED.value,))
            written.append(self._fact("transaction.ended", state))
            if Flag.SEQ_GAP in state.flags:
                self._house.gap(self, state, now)
        elif not state.is_open:
            written.append(self._fact("transaction.amended", state))
            self._house.gap(self, state, now)

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

    def _follow_ups(
        self,
        state: TransactionState,
        report: TransactionReport,
        told: IdTokenInfo | None,
        now: datetime,
        written: list[rows.Write],
    ) -> bool:
        """The facts of the few transactions that use a reservation or have limits; whether there are any."""
        if report.reservation_id is None and (told is None or told.limits is None):
            return False
        facts: list[Struct] = []
        if report.reservation_id is not None:
            facts.append(ReservationUsed(reservation_id=report.reservation_id, transaction_id=state.id))
        if told is not None and told.limits is not None and report.id_token is not None:
            facts.append(TransactionLimited(transaction_id=state.id, id_token=report.id_token, limits=told.limits))
        for fact in facts:
            topic, key, payload = as_fact(self.key, self.station_id, now, fact)
            written.append(rows.fact(self._tenant, topic, key, payload))
        return bool(facts)

    def _remember(self, state: TransactionState, outcome: Advanced, now: datetime) -> None:
        """Keeps the open transactions, and the newest time told (a start with a later one neither repeats nor completes any)."""
        number = state.id
        told = state.newest_effective
        if told is not None and self._newest_told is not None and told > self._newest_told:
            self._newest_told = told
        if state.is_open:
            if outcome.opened:
                self._open = (*self._open, state)
            elif outcome.reopened:
                self._open = tuple(sorted((*self._open, state), key=lambda known: known.id))
            elif len(self._open) == 1:
                self._open = (state,)
            else:
                self._open = tuple(state if known.id == number else known for known in self._open)
            return
        if self._open:
            self._open = tuple(known for known in self._open if known.id != number)

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


def _shown(state: TransactionState) -> dict[str, object]:
    """A transaction in a live event or a fact."""
    return {
        "id": str(state.id),
        "ocpp_transaction_id": state.ocpp_transaction_id,
        "evse_id": state.evse_id,
        "energy_wh": state.energy_wh,
        "state": "open" if state.is_open else "closed",
    }
