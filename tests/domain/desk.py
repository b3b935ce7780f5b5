"""A desk that takes a station's reports as the app does, with a store of plain lists: route, look up, advance, keep."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from chargeplane.domain.messages import IdToken, MeterReport, Reading, ReportKind, Sample, TransactionReport
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
    match_values,
    open_transaction,
    refold,
    route,
)
from chargeplane.kernel.ids import TransactionId

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
REGISTER = "Energy.Active.Import.Register"
TAG = IdToken(value="04A1B2C3")


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def wh(value: object, **more: str) -> Sample:
    """An energy register sample."""
    return Sample(REGISTER, Decimal(str(value)), "Wh", **more)  # type: ignore[arg-type]


def reading(minutes: float | None, *samples: Sample | object) -> Reading:
    """Samples at a time; a bare number is the register's total."""
    return Reading(
        None if minutes is None else at(minutes), tuple(s if isinstance(s, Sample) else wh(s) for s in samples)
    )


def start16(minutes: float | None, meter: int, *, connector: int = 1, tag: IdToken | None = TAG) -> TransactionReport:
    """A 1.6 StartTransaction."""
    moment = None if minutes is None else at(minutes)
    return TransactionReport(
        kind=ReportKind.STARTED,
        ocpp_transaction_id=None,
        csms_assigns_id=True,
        at=moment,
        evse_id=connector,
        connector_id=1,
        id_token=tag,
        meter_start=Decimal(meter),
        readings=(Reading(moment, (wh(meter, context="Transaction.Begin"),)),),
    )


def values16(
    minutes: float, *samples: Sample | object, id: int | str | None = 1, connector: int | None = 1
) -> TransactionReport:
    """1.6 MeterValues with a transaction id."""
    return TransactionReport(
        kind=ReportKind.UPDATED,
        ocpp_transaction_id=None if id is None else str(id),
        csms_assigns_id=True,
        at=at(minutes),
        evse_id=connector,
        connector_id=None if connector is None else 1,
        readings=(reading(minutes, *samples),),
    )


def stop16(
    minutes: float | None,
    meter: int,
    *,
    id: int | str | None = 1,
    tag: IdToken | None = None,
    reason: str | None = "Local",
    data: tuple[Reading, ...] = (),
) -> TransactionReport:
    """A 1.6 StopTransaction."""
    moment = None if minutes is None else at(minutes)
    return TransactionReport(
        kind=ReportKind.ENDED,
        ocpp_transaction_id=None if id is None else str(id),
        csms_assigns_id=True,
        at=moment,
        id_token=tag,
        stop_reason=reason,
        meter_stop=Decimal(meter),
        readings=(*data, Reading(moment, (wh(meter, context="Transaction.End"),))),
    )


def event(
    kind: ReportKind,
    minutes: float | None,
    *readings_: object,
    id: str | None = "tx-1",
    seq: int | None = None,
    evse: int | None = 1,
    token: IdToken | None = None,
    **more: object,
) -> TransactionReport:
    """A 2.x TransactionEvent; a bare number is a reading of the total register at the event's time."""
    return TransactionReport(
        kind=kind,
        ocpp_transaction_id=id,
        csms_assigns_id=False,
        at=None if minutes is None else at(minutes),
        seq_no=seq,
        evse_id=evse,
        connector_id=None if evse is None else 1,
        id_token=token,
        readings=tuple(r if isinstance(r, Reading) else reading(minutes, r) for r in readings_),
        **more,  # type: ignore[arg-type]
    )


def started(minutes: float | None, *readings_: object, **more: object) -> TransactionReport:
    """A 2.x Started."""
    return event(ReportKind.STARTED, minutes, *readings_, **more)  # type: ignore[arg-type]


def updated(minutes: float | None, *readings_: object, **more: object) -> TransactionReport:
    """A 2.x Updated."""
    return event(ReportKind.UPDATED, minutes, *readings_, **more)  # type: ignore[arg-type]


def ended(minutes: float | None, *readings_: object, **more: object) -> TransactionReport:
    """A 2.x Ended."""
    return event(ReportKind.ENDED, minutes, *readings_, **more)  # type: ignore[arg-type]


def content(report: object) -> bytes:
    """The content hash of a report."""
    return hashlib.blake2b(msgspec.json.encode(report), digest_size=16).digest()


class Desk:
    """One station's transactions.

    Args:
        newest_told: keep and pass the newest time told, as a caller with memory does.
    """

    def __init__(self, *, newest_told: bool = True) -> None:
        self.states: dict[int, TransactionState] = {}
        self.events: dict[int, list[StoredEvent]] = {}
        self.snapshots: dict[int, bytes] = {}
        self.loose: list[str] = []
        self.repeats = 0
        self.histories = 0
        self.lookups = 0
        self._next = 1
        self._keeps_newest = newest_told
        self._newest = at(-100_000)

    @property
    def open(self) -> list[TransactionState]:
        return [state for state in self.states.values() if state.is_open]

    @property
    def only(self) -> TransactionState:
        """The one transaction there is."""
        assert len(self.states) == 1, [s.ocpp_transaction_id for s in self.states.values()]
        return next(iter(self.states.values()))

    def tell(
        self, report: TransactionReport, *, now: datetime | None = None, message_id: str | None = None
    ) -> TransactionState | None:
        """Takes a report; `now` is a second after the report's own time unless given."""
        if now is None:
            assert report.at is not None
            now = report.at + timedelta(seconds=1)
        message_id = message_id or content(report).hex()
        known: list[TransactionState] | None = None
        newest = self._newest if self._keeps_newest else None
        routed = route(report, message_id, self.open, known, now, newest)
        if isinstance(routed, Lookup):
            self.lookups += 1
            wanted = routed.ocpp_transaction_id
            known = [
                # As stored, which for an open one is older than in memory.
                msgspec.json.decode(self.snapshots[key], type=TransactionState) if state.is_open else state
                for key, state in sorted(self.states.items(), reverse=True)
                if wanted is None or state.ocpp_transaction_id == wanted
            ][:8]
            routed = route(report, message_id, self.open, known, now, newest)
        assert not isinstance(routed, Lookup)
        if isinstance(routed, Loose):
            self.loose.append(routed.reason)
            return None
        if isinstance(routed, Opens):
            if routed.supersedes is not None:
                self._keep(
                    close_by_hand(routed.supersedes, reason="Superseded", flag=Flag.CLOSED_BY_EVIDENCE, now=now), None
                )
            number = self._next
            self._next += 1
            outcome = open_transaction(
                report,
                id=TransactionId(number),
                assigned_id=number if report.csms_assigns_id else None,
                message_id=message_id,
                content_hash=content(report),
                flags=routed.flags,
                now=now,
            )
        else:
            assert isinstance(routed, Belongs)
            state = self.states[routed.transaction.id]
            assert state == routed.transaction, "the router hands on what is in memory"
            outcome = self._advance(state, report, message_id, now)
        if outcome.state.newest_effective is not None:
            self._newest = max(self._newest, outcome.state.newest_effective)
        self._keep(outcome, self._stored(outcome, report, now))
        return outcome.state

    def tell_values(self, report: MeterReport, now: datetime) -> TransactionState | None:
        """Takes MeterValues without a transaction."""
        matched = match_values(report, self.open, now)
        if matched is None:
            self.loose.append("no transaction there")
            return None
        state, update = matched
        outcome = self._advance(state, update, "m", now)
        self._keep(outcome, self._stored(outcome, update, now))
        return outcome.state

    def close(self, flag: Flag, reason: str, now: datetime) -> TransactionState:
        """Closes the one transaction by hand."""
        outcome = close_by_hand(self.only, reason=reason, flag=flag, now=now)
        self._keep(outcome, None)
        return outcome.state

    def recovered(self) -> dict[int, TransactionState]:
        """What a restart would read: the snapshots and the events since."""
        return {
            key: refold(msgspec.json.decode(snapshot, type=TransactionState), self.events[key])
            for key, snapshot in self.snapshots.items()
        }

    def crash(self) -> None:
        """Forgets what is in memory and reads it again."""
        self.states = self.recovered()

    def _advance(self, state: TransactionState, report: TransactionReport, message_id: str, now: datetime) -> Advanced:
        outcome = advance(state, report, message_id=message_id, content_hash=content(report), now=now)
        if isinstance(outcome, NeedsHistory):
            self.histories += 1
            outcome = advance(
                state,
                report,
                message_id=message_id,
                content_hash=content(report),
                now=now,
                history=self.events[state.id],
            )
        assert isinstance(outcome, Advanced)
        return outcome

    def _stored(self, outcome: Advanced, report: TransactionReport, now: datetime) -> StoredEvent | None:
        if outcome.repeat:
            return None
        return StoredEvent(
            ordinal=outcome.state.ordinal,
            kind=report.kind,
            content_hash=content(report),
            seq_no=report.seq_no,
            at=report.at,
            received_at=now,
            readings=report.readings,
        )

    def _keep(self, outcome: Advanced, stored: StoredEvent | None) -> None:
        if outcome.repeat:
            self.repeats += 1
            return
        key = outcome.state.id
        self.states[key] = outcome.state
        if stored is not None:
            self.events.setdefault(key, []).append(stored)
            assert stored.ordinal == len(self.events[key])
        if outcome.snapshot or outcome.opened or outcome.closed:
            self.snapshots[key] = msgspec.json.encode(outcome.state)
