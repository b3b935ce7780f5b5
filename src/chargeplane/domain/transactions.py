"""The transaction's rules: what a report does to the transaction it belongs to.

A transaction is the fold of its events. The state holds what the next event needs and no more; what an event did can
be worked out again from the stored events. Two kinds of facts are folded:

- facts that do not depend on the order of arrival by construction (the start's time, the newest charging state, the
  stop that counts): each keeps the time of the event it came from;
- the energy, folded by the register tracks in the order of the readings' times (see `register`).

So the order of arrival changes nothing but the marks about arrival itself. A report that is older than what is folded,
or that cannot be proved new, asks for the stored events (`NeedsHistory`); live traffic never does.

Repeats are told by content (the same hash within the transaction), not by sequence number, time or message id: some
stations always send sequence number 0, some repeat numbers, and all of them repeat message ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr

from chargeplane.domain.authorization import same_token
from chargeplane.domain.clock import EARLIEST_PLAUSIBLE, FUTURE_TOLERANCE
from chargeplane.domain.messages import IdToken, Reading, ReportKind, TransactionReport
from chargeplane.domain.register import (
    Mark,
    Measured,
    Point,
    Track,
    chosen,
    curve,
    energy,
    extended,
    folded,
    is_interval,
    opened,
    points_of,
)
from chargeplane.domain.routing import Belongs, Lookup, Loose, Opens, Route, is_placeholder, match_values, route
from chargeplane.domain.transaction_state import Flag, StoredEvent, TransactionState
from chargeplane.kernel.ids import TransactionId

__all__ = [
    "Advanced",
    "Belongs",
    "Flag",
    "Lookup",
    "Loose",
    "NeedsHistory",
    "Opens",
    "Route",
    "StoredEvent",
    "TransactionState",
    "advance",
    "close_by_hand",
    "match_values",
    "open_transaction",
    "rebuilt",
    "refold",
    "route",
    "tells_who_began",
    "two_tokens",
]

WINDOW: Final = 16
"""Events whose hashes the state keeps."""

SNAPSHOT_EVERY: Final = 16
"""Events between two snapshots of the state when nothing but numbers changed."""

_HASH: Final = 8
_HALF: Final = WINDOW // 2
_FIRST_YEAR: Final = EARLIEST_PLAUSIBLE.year
_MAX_INTERVALS: Final = 32
_ZERO: Final = Decimal(0)

_DERIVED_FLAGS: Final = frozenset(
    {Flag.METER_RESET, Flag.METER_GLITCH, Flag.METER_JUMP, Flag.UNIT_REPAIRED, Flag.SEQ_GAP}
)
"""Flags that say how things are now and can be withdrawn (a gap is filled, a late value explains a fall)."""


class NeedsHistory(Struct, frozen=True, kw_only=True):
    """The report may be a repeat or older than what is folded: call again with all stored events of the transaction."""


class Advanced(Struct, frozen=True, kw_only=True):
    """What a report did.

    Args:
        state: after the report; the same object where it was a repeat.
        repeat: True where the same content is stored already: nothing is written, the answer is given again.
        opened, closed: the report opened / closed the transaction.
        reopened: the transaction had been closed by evidence, and its station goes on with it.
        authorized: the report tells who began, which was not known so far.
        snapshot: True where `transaction.state` must be written with the event (open, close, anything but the numbers
            changed, every 16 events).
    """

    state: TransactionState
    repeat: bool = False
    opened: bool = False
    closed: bool = False
    snapshot: bool = False
    reopened: bool = False
    authorized: bool = False


_NEEDS_HISTORY: Final = NeedsHistory()


def open_transaction(
    report: TransactionReport,
    *,
    id: TransactionId,
    assigned_id: int | None,
    message_id: str,
    content_hash: bytes,
    flags: tuple[Flag, ...],
    now: datetime,
) -> Advanced:
    """A new transaction from its first report (a start; an update or a stop whose start never came).

    Args:
        assigned_id: the 1.6 transactionId we give: to a start, and to a session opened by a stop or values that carry no
            usable id; None in 2.x.
        content_hash: 16 bytes over station-side content of the message.
        flags: marks from `route` and from the authorisation (`REFUSED_TOKEN`).
        now: when the message came in; stored as the event's `received_at`.
    """
    latest = now + FUTURE_TOLERANCE
    at = report.at
    trusted = at is not None and at.year >= _FIRST_YEAR and at <= latest
    event_at = at if trusted and at is not None else now
    kind = report.kind
    started = kind is ReportKind.STARTED
    ended = kind is ReportKind.ENDED
    points = points_of(report.readings, kind, event_at, trusted, latest) if report.readings else []
    tracks: tuple[Track, ...] = ()
    if len(points) == 1:
        tracks = (opened(points[0]),)
    elif points:
        tracks = folded(points)
    marks = set(flags)
    if report.offline:
        marks.add(Flag.OFFLINE)
    if not started:
        marks.add(Flag.START_UNCONFIRMED)
        if ended:
            marks.add(Flag.OPENED_BY_STOP)
    if not trusted and kind is not ReportKind.UPDATED:
        marks.add(Flag.TIME_UNTRUSTED)
    marks |= _meter_flags(tracks)
    stated = _newest_stated(report)
    token = report.id_token
    stopping = ended or report.trigger_reason == "StopAuthorized"
    ocpp_id = report.ocpp_transaction_id
    id_assigned = False
    if assigned_id is not None and report.csms_assigns_id and (started or is_placeholder(ocpp_id)):
        ocpp_id = str(assigned_id)
        id_assigned = True
    seq = report.seq_no
    state = TransactionState(
        id=id,
        ocpp_transaction_id=ocpp_id,
        id_assigned=id_assigned,
        opened_at=now,
        started_at=event_at,
        evse_id=report.evse_id,
        connector_id=report.connector_id,
        id_token=token,
        ordinal=1,
        is_open=not ended,
        energy_wh=energy(tracks) if tracks else _ZERO,
        meter_start_wh=_meter_start(tracks),
        meter_stop_wh=_meter_stop(tracks) if ended else None,
        stopped_at=event_at if ended else None,
        stop_reason=report.stop_reason if ended else None,
        charging_state=report.charging_state,
        offline=report.offline,
        flags=tuple(sorted(marks)) if marks else (),
        start_message_id=message_id if started else None,
        stop_id_token=token if stopping else None,
        reported_start=at if started else None,
        reported_stop=at if ended else None,
        start_meter=report.meter_start if started else None,
        started_seen=started,
        ended_seen=ended,
        id_token_rank=_token_rank(report),
        tracks=tracks,
        seq_seen=(seq, seq) if seq is not None else (),
        recent=content_hash[:_HASH],
        newest_at=stated,
        newest_effective=event_at,
        charging_state_at=event_at if report.charging_state is not None else None,
    )
    return Advanced(state=state, opened=True, closed=ended, snapshot=True)


def advance(
    state: TransactionState,
    report: TransactionReport,
    *,
    message_id: str,
    content_hash: bytes,
    now: datetime,
    history: Sequence[StoredEvent] | None = None,
    flags: tuple[Flag, ...] = (),
    place_is_free: bool = False,
) -> Advanced | NeedsHistory:
    """The transaction after a report.

    Args:
        content_hash: 16 bytes over station-side content of the message.
        now: when the message came in; stored as the event's `received_at`.
        history: all stored events in the order of their ordinal, given after a `NeedsHistory`.
        flags: marks from the authorisation (`STOPPED_BY_OTHER`) of a report that starts or stops.
        place_is_free: no other transaction is open on its EVSE, so that a closed one may go on.
    Returns:
        What the report did, or `NeedsHistory` where only the stored events can tell.
    """
    short = content_hash[:_HASH]
    if short in state.recent:
        return Advanced(state=state, repeat=True)
    seq = report.seq_no
    seq_seen = state.seq_seen
    seq_is_new = seq is not None and (not seq_seen or seq > seq_seen[-1] or not _contains(seq_seen, seq))
    stated = _newest_stated(report)
    if history is not None:
        for event in history:
            if event.content_hash == content_hash:
                return Advanced(state=state, repeat=True)
    elif not seq_is_new and not _provably_new(state, report, stated):
        return _NEEDS_HISTORY

    latest = now + FUTURE_TOLERANCE
    at = report.at
    trusted = at is not None and at.year >= _FIRST_YEAR and at <= latest
    event_at = at if trusted and at is not None else now
    kind = report.kind
    tracks = state.tracks
    refolded = False
    if report.readings:
        points = points_of(report.readings, kind, event_at, trusted, latest)
        if points:
            advanced = _extended_all(tracks, points)
            if advanced is None:
                if history is None:
                    return _NEEDS_HISTORY
                tracks = folded(_history_points(history) + points)
                refolded = True
            else:
                tracks = advanced

    new = copy(state)
    ordinal = state.ordinal + 1
    force_setattr(new, "ordinal", ordinal)
    recent = state.recent + short
    force_setattr(new, "recent", recent if len(recent) <= _HASH * WINDOW else recent[-_HASH * WINDOW :])
    if stated is not None and (state.newest_at is None or stated > state.newest_at):
        force_setattr(new, "newest_at", stated)
    if not ordinal % _HALF:
        force_setattr(new, "newest_forgotten", state.newest_half)
        force_setattr(new, "newest_half", new.newest_at)
    seq_noted = False
    if seq is not None:
        if seq_is_new:
            seq_seen = (*seq_seen[:-1], seq) if seq_seen and seq == seq_seen[-1] + 1 else _with(seq_seen, seq)
            force_setattr(new, "seq_seen", seq_seen)
            seq_noted = (len(seq_seen) > 2) is not (len(state.seq_seen) > 2)
        else:
            seq_noted = Flag.SEQ_REPEATED not in state.flags
    if tracks is not state.tracks:
        force_setattr(new, "tracks", tracks)
        force_setattr(new, "energy_wh", tracks[0].energy_wh if len(tracks) == 1 else energy(tracks))
    # Everything below changes seldom: an update of a running transaction with nothing but numbers ends here.
    newest_effective = state.newest_effective
    if newest_effective is None or event_at > newest_effective:
        force_setattr(new, "newest_effective", event_at)
    if (
        kind is ReportKind.UPDATED
        and state.is_open
        and not seq_noted
        and not refolded
        and (report.charging_state is None or report.charging_state == state.charging_state)
        and (report.evse_id is None or state.evse_id is not None)
        and (report.connector_id is None or state.connector_id is not None)
        and (report.id_token is None or 1 < _token_rank(report) <= state.id_token_rank)
        and (not report.offline or state.offline)
        and (tracks is state.tracks or _quiet(state.tracks, tracks))
        and (state.started_seen or event_at >= state.started_at)
        and (
            report.ocpp_transaction_id is None
            or report.ocpp_transaction_id == state.ocpp_transaction_id
            or Flag.ID_MISMATCH in state.flags
        )
    ):
        if report.charging_state is not None and (
            state.charging_state_at is None or event_at > state.charging_state_at
        ):
            # Not worth a snapshot: after a restart only a late event could tell the difference.
            force_setattr(new, "charging_state_at", event_at)
        return Advanced(state=new, snapshot=ordinal % SNAPSHOT_EVERY == 0)
    live = place_is_free and trusted and not report.offline and now - event_at <= FUTURE_TOLERANCE
    return _facts(state, new, report, message_id, event_at, trusted, seq_is_new, flags, live)


def _facts(
    state: TransactionState,
    new: TransactionState,
    report: TransactionReport,
    message_id: str,
    event_at: datetime,
    trusted: bool,
    seq_is_new: bool,
    flags: tuple[Flag, ...],
    live: bool,
) -> Advanced:
    """The facts of a report that are not numbers, each decided by the event's time and not by its arrival."""
    kind = report.kind
    marks: set[Flag] = {flag for flag in state.flags if flag not in _DERIVED_FLAGS}
    marks |= _meter_flags(new.tracks)
    marks.update(flags)
    if len(new.seq_seen) > 2:
        marks.add(Flag.SEQ_GAP)
    if report.seq_no is not None and not seq_is_new:
        marks.add(Flag.SEQ_REPEATED)
    if report.offline:
        marks.add(Flag.OFFLINE)
        force_setattr(new, "offline", True)
    if report.ocpp_transaction_id is not None and report.ocpp_transaction_id != state.ocpp_transaction_id:
        if state.ocpp_transaction_id is None:
            force_setattr(new, "ocpp_transaction_id", report.ocpp_transaction_id)
        else:
            marks.add(Flag.ID_MISMATCH)
    # What was closed because nothing was heard of it goes on when its station speaks of it in the present.
    reopened = (
        live
        and not state.is_open
        and not state.ended_seen
        and kind is not ReportKind.ENDED
        and Flag.CLOSED_BY_EVIDENCE in marks
        and (state.stopped_at is None or event_at > state.stopped_at)
    )
    if reopened:
        marks.discard(Flag.CLOSED_BY_EVIDENCE)
        marks.add(Flag.REOPENED)
        for name in ("stopped_at", "stop_reason", "meter_stop_wh"):
            force_setattr(new, name, None)
        force_setattr(new, "is_open", True)
    elif not state.is_open:
        marks.add(Flag.LATE_VALUES)

    if report.evse_id is not None and (
        state.evse_id is None or (kind is ReportKind.STARTED and not state.started_seen)
    ):
        force_setattr(new, "evse_id", report.evse_id)
    if report.connector_id is not None and (
        state.connector_id is None or (kind is ReportKind.STARTED and not state.started_seen)
    ):
        force_setattr(new, "connector_id", report.connector_id)
    if report.charging_state is not None:
        newest = state.charging_state_at
        if newest is None or event_at > newest or (event_at == newest and kind is not ReportKind.STARTED):
            force_setattr(new, "charging_state", report.charging_state)
            force_setattr(new, "charging_state_at", event_at)
    authorized = False
    if report.id_token is not None:
        rank = _token_rank(report)
        authorized = tells_who_began(state, report)
        if rank == 1 and state.stop_id_token is None:
            force_setattr(new, "stop_id_token", report.id_token)
        if rank > state.id_token_rank:
            force_setattr(new, "id_token", report.id_token)
            force_setattr(new, "id_token_rank", rank)

    if kind is ReportKind.STARTED:
        if not state.started_seen:
            marks -= {Flag.START_UNCONFIRMED, Flag.OPENED_BY_STOP}
            force_setattr(new, "started_seen", True)
            force_setattr(new, "started_at", event_at)
            force_setattr(new, "reported_start", report.at)
            force_setattr(new, "start_message_id", message_id)
            if not trusted:
                marks.add(Flag.TIME_UNTRUSTED)
    elif not state.started_seen and event_at < state.started_at:
        force_setattr(new, "started_at", event_at)

    closed = False
    if kind is ReportKind.ENDED:
        closed = state.is_open
        if not trusted:
            marks.add(Flag.TIME_UNTRUSTED)
        if state.ended_seen:
            marks.add(Flag.SECOND_STOP)
        if not state.ended_seen or (state.stopped_at is not None and event_at < state.stopped_at):
            force_setattr(new, "is_open", False)
            force_setattr(new, "ended_seen", True)
            force_setattr(new, "stopped_at", event_at)
            force_setattr(new, "reported_stop", report.at)
            force_setattr(new, "stop_reason", report.stop_reason)
    if not new.is_open and not new.ended_seen and state.stopped_at is not None and event_at > state.stopped_at:
        # Closed by evidence or by hand, and the station goes on: it ended no earlier than this.
        force_setattr(new, "stopped_at", event_at)
    force_setattr(new, "meter_start_wh", _meter_start(new.tracks))
    if kind is ReportKind.STARTED and not state.started_seen:
        force_setattr(new, "start_meter", report.meter_start)
    if not new.is_open:
        force_setattr(new, "meter_stop_wh", _meter_stop(new.tracks))
    sorted_marks = tuple(sorted(marks))
    if sorted_marks != state.flags:
        force_setattr(new, "flags", sorted_marks)
    return Advanced(state=new, closed=closed, snapshot=True, reopened=reopened, authorized=authorized)


def tells_who_began(state: TransactionState, report: TransactionReport) -> bool:
    """Whether a report brings the id token of who began, which was not known so far (a start that comes late; OCPP 2.x
    transactions that begin before anybody presents a token)."""
    return report.id_token is not None and state.id_token_rank < 2 and _token_rank(report) > 1


def told_who_began(state: TransactionState, report: TransactionReport) -> bool:
    """Whether a report that is counted already is one by whose id token the transaction began."""
    token, began = report.id_token, state.id_token
    if token is None or began is None or not same_token(token, began):
        return False
    return state.id_token_rank == _token_rank(report) > 1


def two_tokens(state: TransactionState, report: TransactionReport) -> tuple[IdToken, IdToken] | None:
    """Who began and who stopped, where the report makes both known and they are not the same token."""
    token = report.id_token
    if token is None:
        return None
    began: IdToken | None
    stopped: IdToken | None
    if report.kind is ReportKind.STARTED:
        began, stopped = token, state.stop_id_token
    elif report.kind is ReportKind.ENDED or report.trigger_reason == "StopAuthorized":
        began, stopped = state.id_token if state.id_token_rank > 1 else None, token
    else:
        return None
    return None if began is None or stopped is None or same_token(began, stopped) else (began, stopped)


def refold(state: TransactionState, tail: Sequence[StoredEvent]) -> TransactionState:
    """The state after a restart: a snapshot plus the stored events since it (ordinal > state.ordinal).

    Everything that is not in a stored event was written as a snapshot with the event that changed it, so the tail
    brings numbers only: register tracks, sequence numbers, hashes and times.
    """
    for event in tail:
        if event.ordinal <= state.ordinal:
            continue
        latest = event.received_at + FUTURE_TOLERANCE
        at = event.at
        trusted = at is not None and at.year >= _FIRST_YEAR and at <= latest
        event_at = at if trusted and at is not None else event.received_at
        new = copy(state)
        tracks = state.tracks
        points = points_of(event.readings, event.kind, event_at, trusted, latest)
        if points:
            advanced = _extended_all(tracks, points)
            if advanced is not None and advanced is not tracks:
                tracks = advanced
                force_setattr(new, "tracks", tracks)
                force_setattr(new, "energy_wh", energy(tracks))
        stated = _newest_of(event.at, event.readings)
        if stated is not None and (state.newest_at is None or stated > state.newest_at):
            force_setattr(new, "newest_at", stated)
        if not event.ordinal % _HALF:
            force_setattr(new, "newest_forgotten", state.newest_half)
            force_setattr(new, "newest_half", new.newest_at)
        if state.newest_effective is None or event_at > state.newest_effective:
            force_setattr(new, "newest_effective", event_at)
        if event.seq_no is not None and not _contains(state.seq_seen, event.seq_no):
            force_setattr(new, "seq_seen", _with(state.seq_seen, event.seq_no))
        force_setattr(new, "recent", (state.recent + event.content_hash[:_HASH])[-_HASH * WINDOW :])
        force_setattr(new, "ordinal", event.ordinal)
        state = new
    return state


def rebuilt(facts: TransactionState, history: Sequence[StoredEvent]) -> TransactionState:
    """A transaction whose state was lost or cannot be read any more, from what else is known of it.

    The energy, the sequence numbers, the hashes and the times are exactly what they were; of the facts that were decided
    since the transaction opened, those that only a message's own words tell (the newest charging state, a flag about
    the arrival) stay as they were at the opening.

    Args:
        facts: what the transaction's columns say; numbers that its events bring are ignored.
        history: all stored events in the order of their ordinal.
    """
    new = copy(facts)
    for name, value in (("tracks", ()), ("energy_wh", _ZERO), ("seq_seen", ()), ("recent", b""), ("ordinal", 0)):
        force_setattr(new, name, value)
    for name in ("newest_at", "newest_half", "newest_forgotten", "newest_effective"):
        force_setattr(new, name, None)
    new = copy(refold(new, history))
    tracks = folded(_history_points(history))
    force_setattr(new, "tracks", tracks)
    force_setattr(new, "energy_wh", energy(tracks) if tracks else _ZERO)
    for event in history:
        if event.kind is ReportKind.STARTED and not new.started_seen:
            force_setattr(new, "started_seen", True)
            force_setattr(new, "reported_start", event.at)
        elif event.kind is ReportKind.ENDED and not new.ended_seen:
            force_setattr(new, "ended_seen", True)
            force_setattr(new, "reported_stop", event.at)
    marks = {flag for flag in facts.flags if flag not in _DERIVED_FLAGS} | _meter_flags(tracks)
    if len(new.seq_seen) > 2:
        marks.add(Flag.SEQ_GAP)
    force_setattr(new, "flags", tuple(sorted(marks)))
    force_setattr(new, "meter_start_wh", _meter_start(tracks) if tracks else facts.meter_start_wh)
    if new.charging_state is not None:
        force_setattr(new, "charging_state_at", new.started_at)
    if new.id_token is not None:
        force_setattr(new, "id_token_rank", 3 if new.started_seen else 2)
    return new


def close_by_hand(state: TransactionState, *, reason: str, flag: Flag, now: datetime) -> Advanced:
    """Closes an open transaction with the last known value (operator, or evidence such as the EVSE being free).

    A stop that arrives later still counts: it brings its own time, reason and value.

    Args:
        flag: CLOSED_BY_OPERATOR or CLOSED_BY_EVIDENCE.
        now: our time; the transaction is taken to have ended with its newest event, or now where a person closed it.
    """
    if not state.is_open:
        return Advanced(state=state)
    new = copy(state)
    ended_at = now
    if flag is Flag.CLOSED_BY_EVIDENCE and state.newest_effective is not None:
        ended_at = min(now, state.newest_effective)
    force_setattr(new, "is_open", False)
    force_setattr(new, "stopped_at", ended_at)
    force_setattr(new, "stop_reason", reason)
    force_setattr(new, "meter_stop_wh", _meter_stop(state.tracks))
    force_setattr(new, "flags", tuple(sorted({*state.flags, flag})))
    return Advanced(state=new, closed=True, snapshot=True)


def _provably_new(state: TransactionState, report: TransactionReport, stated: datetime | None) -> bool:
    """Whether a report whose hash is not in the window, and whose sequence number proves nothing, is no repeat.

    A repeat has the same content, so the same times and the same register values as an event that is stored.
    """
    if state.ordinal <= WINDOW:
        return True  # the window holds every event
    if stated is not None:
        # Every event with a newer time than this is in the window, and so would be a repeat of it.
        forgotten = state.newest_forgotten
        return forgotten is None or stated > forgotten
    # Without any time: newer than all where the register is higher; without a register a repeat would change nothing.
    track = state.tracks[0] if state.tracks else None
    values = [
        sample.value
        for reading in report.readings
        for sample in reading.samples
        if sample.measurand == "Energy.Active.Import.Register" and sample.value is not None
    ]
    return not values or track is None or max(values) > track.last


def _newest_stated(report: TransactionReport) -> datetime | None:
    """The newest time in a report, as the station wrote it."""
    return _newest_of(report.at, report.readings)


def _newest_of(at: datetime | None, readings: Sequence[Reading]) -> datetime | None:
    newest = at
    for reading in readings:
        moment = reading.at
        if moment is not None and (newest is None or moment > newest):
            newest = moment
    return newest


def _extended_all(tracks: tuple[Track, ...], points: list[Point]) -> tuple[Track, ...] | None:
    """The tracks after a message's values; None where they must be folded again; the same object if nothing changed."""
    if len(points) == 1 and len(tracks) == 1 and points[0].source == tracks[0].source:
        track = extended(tracks[0], points[0])
        if track is None:
            return None
        return tracks if track is tracks[0] else (track,)
    if len(points) > 1:
        points = sorted(points, key=lambda p: (p.source, p.place if p.place != 1 else 1, p.at, p.value))
    by_source = {track.source: track for track in tracks}
    changed = False
    for point in points:
        known = by_source.get(point.source)
        if known is None:
            by_source[point.source] = opened(point)
            changed = True
            continue
        following = extended(known, point)
        if following is None:
            return None
        if following is not known:
            by_source[point.source] = following
            changed = True
    if not changed:
        return tracks
    return tuple(by_source[source] for source in sorted(by_source))


def measured(history: Sequence[StoredEvent]) -> list[Measured]:
    """How a transaction's energy came about, from its stored events in any order."""
    return curve(_history_points(history))


def _history_points(history: Sequence[StoredEvent]) -> list[Point]:
    points: list[Point] = []
    for event in history:
        latest = event.received_at + FUTURE_TOLERANCE
        at = event.at
        trusted = at is not None and at.year >= _FIRST_YEAR and at <= latest
        event_at = at if trusted and at is not None else event.received_at
        points += points_of(event.readings, event.kind, event_at, trusted, latest)
    return points


def _quiet(before: tuple[Track, ...], after: tuple[Track, ...]) -> bool:
    """Whether only the numbers of the tracks moved."""
    if len(before) != len(after):
        return False
    if len(after) == 1:
        old, new = before[0], after[0]
        return old.resets == new.resets and old.marks == new.marks
    return all(
        old.source == new.source
        and old.resets == new.resets
        and old.marks == new.marks
        and (old.points > 1) == (new.points > 1)
        for old, new in zip(before, after, strict=True)
    )


def _meter_flags(tracks: tuple[Track, ...]) -> set[Flag]:
    flags: set[Flag] = set()
    track = chosen(tracks)
    if track is not None and (track.resets or track.marks):
        if track.resets:
            flags.add(Flag.METER_RESET)
        if track.marks & Mark.UNIT:
            flags.add(Flag.UNIT_REPAIRED)
        if track.marks & Mark.GLITCH:
            flags.add(Flag.METER_GLITCH)
        if track.marks & Mark.JUMP:
            flags.add(Flag.METER_JUMP)
        if track.marks & Mark.CLOCK:
            flags.add(Flag.CLOCK_STEPPED)
    return flags


def _meter_start(tracks: tuple[Track, ...]) -> Decimal | None:
    for track in tracks:
        if track.begin is not None:
            return track.begin
    track = chosen(tracks)  # type: ignore[assignment]
    return track.origin if track is not None and not is_interval(track.source) else None


def _meter_stop(tracks: tuple[Track, ...]) -> Decimal | None:
    for track in tracks:
        if track.end is not None:
            return track.end
    track = chosen(tracks)  # type: ignore[assignment]
    return track.last if track is not None and not is_interval(track.source) else None


def _token_rank(report: TransactionReport) -> int:
    """How much an id token in this report says about who started: 3 the start, 2 an update, 1 a stop."""
    if report.id_token is None:
        return 0
    if report.kind is ReportKind.STARTED:
        return 3
    if report.kind is ReportKind.ENDED or report.trigger_reason == "StopAuthorized":
        return 1
    return 2


def _contains(intervals: tuple[int, ...], seq: int) -> bool:
    return any(intervals[i] <= seq <= intervals[i + 1] for i in range(0, len(intervals), 2))


def _with(intervals: tuple[int, ...], seq: int) -> tuple[int, ...]:
    """The intervals with one more number; beyond a bound the two lowest are joined (their gap is forgotten)."""
    pairs = sorted([(intervals[i], intervals[i + 1]) for i in range(0, len(intervals), 2)] + [(seq, seq)])
    merged = [pairs[0]]
    for low, high in pairs[1:]:
        if low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    while len(merged) > _MAX_INTERVALS:
        merged[0:2] = [(merged[0][0], merged[1][1])]
    return tuple(number for pair in merged for number in pair)
