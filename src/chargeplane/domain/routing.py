"""Which transaction a report belongs to.

The station's own id decides where it can; where it cannot (`-1`, `0`, none, an id that was never given out here), the
connector, the id token and the time do. What matches nothing still counts: a stop opens a session of its own, values
are kept as the station's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.clock import effective, plausible
from chargeplane.domain.messages import IdToken, MeterReport, Reading, ReportKind, TransactionReport
from chargeplane.domain.register import MATCHED, REGISTER
from chargeplane.domain.transaction_state import Flag, TransactionState


class Belongs(Struct, frozen=True, kw_only=True):
    """The report belongs to this transaction (perhaps a repeat: `advance` tells)."""

    transaction: TransactionState


class Opens(Struct, frozen=True, kw_only=True):
    """The report opens a new transaction.

    Args:
        flags: why, where it is not a plain start.
        supersedes: an open transaction on the same EVSE that the station evidently no longer has; the app closes it by
            evidence in the same commit.
    """

    flags: tuple[Flag, ...] = ()
    supersedes: TransactionState | None = None


class Lookup(Struct, frozen=True, kw_only=True):
    """Undecided without the store: load the station's transactions with this id (open or closed; newest 8), or, where
    the id is None, its transactions of the last 8 that match by connector and token; then call `route` again."""

    ocpp_transaction_id: str | None


class Loose(Struct, frozen=True, kw_only=True):
    """Belongs to no transaction: kept as station meter values with the reason (quarantine if it carries energy)."""

    reason: str


Route = Belongs | Opens | Lookup | Loose

_PLACEHOLDERS: Final = frozenset({"", "-1", "0", "null", "None", "undefined"})
"""Ids a station writes when it has none."""

_PLAIN_OPENS: Final = Opens()
_LOOKUP_BY_MATCH: Final = Lookup(ocpp_transaction_id=None)


def is_placeholder(ocpp_transaction_id: str | None) -> bool:
    """Whether the id is what stations write when they have none (`-1`, `0`, empty)."""
    return ocpp_transaction_id is None or ocpp_transaction_id in _PLACEHOLDERS


def route(
    report: TransactionReport,
    message_id: str,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
    newest_told: datetime | None = None,
) -> Route:
    """Which transaction a report belongs to.

    Args:
        open_transactions: the station's open ones, oldest first.
        known: what the store answered to an earlier `Lookup`, newest first; None before that.
        now: when the message came in.
        newest_told: the newest time in any transaction event of this station so far (`newest_effective` over all its
            transactions), where the caller keeps it. A start with a newer time neither repeats nor completes an earlier
            transaction, so it needs no `Lookup`.
    """
    if known:
        known = _current(known, open_transactions)
    if report.kind is ReportKind.STARTED:
        if report.csms_assigns_id:
            return _route_16_start(report, message_id, open_transactions, known, now, newest_told)
        return _route_2x_start(report, message_id, open_transactions, known, now, newest_told)
    ocpp_id = report.ocpp_transaction_id
    if ocpp_id is not None:
        found = _with_id(ocpp_id, open_transactions)
        if found is not None and not _evidently_another(found, report, now):
            return Belongs(transaction=found)
    if report.csms_assigns_id:
        if report.kind is ReportKind.ENDED:
            return _route_16_stop(report, open_transactions, known, now)
        return _route_16_values(report, open_transactions, known, now)
    return _route_2x_event(report, open_transactions, known, now)


# --- starts ---------------------------------------------------------------------------------------------------------


def _route_16_start(
    report: TransactionReport,
    message_id: str,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
    newest_told: datetime | None,
) -> Route:
    """OCPP 1.6, 4.8: a start has no id of its own; it is told by connector, tag, time and meter."""
    for state in open_transactions:
        if _repeats_16_start(state, report):
            return Belongs(transaction=state)
    if known is None:
        if not _provably_first(report.at, newest_told, now):
            return _LOOKUP_BY_MATCH
    else:
        for state in known:
            # A closed one is meant only where the message is the very same: drivers do start twice at one minute's time.
            if _repeats_16_start(state, report) and (state.is_open or state.start_message_id == message_id):
                return Belongs(transaction=state)
            if (
                not state.started_seen
                and not state.is_open
                and _same_token(state, report)
                and state.evse_id in (None, report.evse_id)
                and state.id_assigned
                and _start_fits_loose_stop(state, report)
            ):
                return Belongs(transaction=state)
    return _opens(report, open_transactions, now)


def _start_fits_loose_stop(state: TransactionState, report: TransactionReport) -> bool:
    """The start of a session that only its stop had opened: earlier than the stop and with a register not above its."""
    if state.reported_stop is None or report.at is None or report.at > state.reported_stop:
        return False
    if report.meter_start is None or state.meter_stop_wh is None:
        return False
    return report.meter_start <= state.meter_stop_wh


def _repeats_16_start(state: TransactionState, report: TransactionReport) -> bool:
    return (
        state.started_seen
        and state.reported_start == report.at
        and state.evse_id == report.evse_id
        and state.start_meter == report.meter_start
        and _token_key(state.id_token) == _token_key(report.id_token)
    )


def _route_2x_start(
    report: TransactionReport,
    message_id: str,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
    newest_told: datetime | None,
) -> Route:
    """OCPP 2.0.1 E01: the station names the transaction. Ids come back after a boot, so the time decides with them."""
    ocpp_id = report.ocpp_transaction_id
    if ocpp_id is not None:
        for state in open_transactions:
            if state.ocpp_transaction_id == ocpp_id:
                if _continues(state, report):
                    return Belongs(transaction=state)
                return Opens(supersedes=state)
    if known is None:
        if not _provably_first(report.at, newest_told, now) or _awaits_start(open_transactions):
            return Lookup(ocpp_transaction_id=ocpp_id)
    else:
        for state in known:
            # A Started with another time on a closed id is a new transaction.
            if state.ocpp_transaction_id == ocpp_id and (
                state.reported_start == report.at if state.started_seen else _start_before_stop(state, report, now)
            ):
                return Belongs(transaction=state)
        for state in open_transactions:
            # Updated and Ended under "0", Started under another id, the Started last.
            if not state.started_seen and is_placeholder(state.ocpp_transaction_id) and _on_evse(state, report):
                return Belongs(transaction=state)
    return _opens(report, open_transactions, now)


def _awaits_start(open_transactions: Sequence[TransactionState]) -> bool:
    return any(not state.started_seen for state in open_transactions)


def _start_before_stop(state: TransactionState, report: TransactionReport, now: datetime) -> bool:
    """Whether a start that comes late can be that of a transaction known from later events only."""
    return effective(report.at, now) <= (state.stopped_at or now) and effective(report.at, now) <= (
        state.newest_effective or now
    )


def _continues(state: TransactionState, report: TransactionReport) -> bool:
    """Whether a Started under the id of an open transaction is that one's (its start, a repeat, a second Started)."""
    if not state.started_seen or report.at is None or report.at == state.reported_start:
        return True
    if state.newest_at is not None and report.at <= state.newest_at:
        return True  # older than what we have: it is from the same life
    seen = state.seq_seen
    # Sequence numbers go on within a transaction and begin again with a new one (OCPP 2.0.1 E01.FR.07).
    return report.seq_no is not None and bool(seen) and report.seq_no > seen[-1]


def _provably_first(at: datetime | None, newest_told: datetime | None, now: datetime) -> bool:
    return newest_told is not None and at is not None and at > newest_told and plausible(at, now)


def _opens(report: TransactionReport, open_transactions: Sequence[TransactionState], now: datetime) -> Opens:
    superseded = _superseded(report, open_transactions, now)
    return _PLAIN_OPENS if superseded is None else Opens(supersedes=superseded)


def _superseded(
    report: TransactionReport, open_transactions: Sequence[TransactionState], now: datetime
) -> TransactionState | None:
    """An EVSE has one transaction at a time: the open one there is over if the new one began after all it told us."""
    if not report.evse_id:
        return None
    at = effective(report.at, now)
    for state in reversed(open_transactions):
        if (
            state.is_open
            and state.evse_id == report.evse_id
            and at > state.started_at
            and (state.newest_effective is None or at >= state.newest_effective)
        ):
            return state
    return None


# --- 1.6 ------------------------------------------------------------------------------------------------------------


def _route_16_stop(
    report: TransactionReport,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
) -> Route:
    """OCPP 1.6, 4.10: a stop must be taken whatever id it carries."""
    ocpp_id = report.ocpp_transaction_id
    if is_placeholder(ocpp_id):
        if known is None:
            return _LOOKUP_BY_MATCH
        repeated = _stopped_by(report, known)
        if repeated is not None:
            return Belongs(transaction=repeated)
        matched = _only_match(report, open_transactions, now, placeholder=True)
        if matched is not None:
            return Belongs(transaction=matched)
    else:
        if known is None:
            return Lookup(ocpp_transaction_id=ocpp_id)
        found = _closed_with_id(ocpp_id, known, report, now)
        if found is not None:
            return Belongs(transaction=found)
        matched = _only_match(report, open_transactions, now, placeholder=False)
        if matched is not None:
            return Belongs(transaction=matched)
    return Opens(flags=(Flag.OPENED_BY_STOP, Flag.START_UNCONFIRMED))


def _route_16_values(
    report: TransactionReport,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
) -> Route:
    """Values without, or with a garbage, transaction id are kept and matched when possible."""
    ocpp_id = report.ocpp_transaction_id
    if not is_placeholder(ocpp_id):
        if known is None:
            return Lookup(ocpp_transaction_id=ocpp_id)
        found = _closed_with_id(ocpp_id, known, report, now)
        if found is not None:
            return Belongs(transaction=found)
    at = _time_of(report, now)
    matched = _running_at(report.evse_id, at, open_transactions)
    if matched is not None:
        return Belongs(transaction=matched)
    if known is None:
        return _LOOKUP_BY_MATCH
    for state in known:
        if (
            report.evse_id
            and state.evse_id == report.evse_id
            and state.stopped_at is not None
            and state.started_at <= at <= state.stopped_at
        ):
            return Belongs(transaction=state)
    return Loose(reason=f"Meter values of no transaction: the id {ocpp_id!r} is unknown and none ran there then.")


# --- 2.x ------------------------------------------------------------------------------------------------------------


def _route_2x_event(
    report: TransactionReport,
    open_transactions: Sequence[TransactionState],
    known: Sequence[TransactionState] | None,
    now: datetime,
) -> Route:
    """Updated and Ended under an id that is not open here: late, foreign, a placeholder, or the start never came."""
    ocpp_id = report.ocpp_transaction_id
    ended = report.kind is ReportKind.ENDED
    placeholder = is_placeholder(ocpp_id)
    if placeholder and not ended:
        running = _running_at(report.evse_id, _time_of(report, now), open_transactions)
        if running is not None:
            return Belongs(transaction=running)
    if known is None:
        return Lookup(ocpp_transaction_id=None if placeholder else ocpp_id)
    if placeholder:
        if ended:
            repeated = _stopped_by(report, known)
            if repeated is not None:
                return Belongs(transaction=repeated)
        matched = _only_match(report, open_transactions, now, placeholder=True)
        if matched is not None:
            return Belongs(transaction=matched)
    found = _closed_with_id(ocpp_id, known, report, now)
    if found is not None:
        return Belongs(transaction=found)
    if ended:
        return Opens(flags=(Flag.OPENED_BY_STOP, Flag.START_UNCONFIRMED))
    if ocpp_id is None:
        return Loose(reason="An update without a transaction id, and no transaction ran there then.")
    return Opens(flags=(Flag.START_UNCONFIRMED,), supersedes=_superseded(report, open_transactions, now))


# --- values without a transaction -----------------------------------------------------------------------------------


def match_values(
    report: MeterReport, open_transactions: Sequence[TransactionState], now: datetime
) -> tuple[TransactionState, TransactionReport] | None:
    """The running transaction that an EVSE's MeterValues without transaction belong to, with them as its update.

    The register values carry the mark `MATCHED` and count in a track of their own, used only where the transaction's
    own events bring none: nothing says that both read the same register.

    Returns:
        The transaction and the report to `advance` it with, or None where no (one) transaction ran there then.
    """
    if not report.evse_id or not report.readings:
        return None
    at: datetime | None = None
    for reading in report.readings:
        if reading.at is not None and (at is None or reading.at > at):
            at = reading.at
    state = _running_at(report.evse_id, effective(at, now), open_transactions)
    if state is None:
        return None
    update = TransactionReport(
        kind=ReportKind.UPDATED,
        ocpp_transaction_id=state.ocpp_transaction_id,
        csms_assigns_id=False,
        at=at,
        evse_id=report.evse_id,
        connector_id=report.connector_id,
        readings=tuple(_marked(reading) for reading in report.readings),
    )
    return state, update


def _marked(reading: Reading) -> Reading:
    return Reading(
        reading.at,
        tuple(
            replace(sample, repaired=MATCHED if sample.repaired is None else f"{MATCHED}+{sample.repaired}")
            if sample.measurand == REGISTER
            else sample
            for sample in reading.samples
        ),
    )


def _current(
    known: Sequence[TransactionState], open_transactions: Sequence[TransactionState]
) -> list[TransactionState]:
    """What the store answered, with the open ones as they are now: a stored state may be older."""
    now_open = {state.id: state for state in open_transactions}
    return [now_open.get(state.id, state) for state in known]


# --- matching -------------------------------------------------------------------------------------------------------


def _with_id(ocpp_id: str, states: Iterable[TransactionState]) -> TransactionState | None:
    for state in states:
        if state.ocpp_transaction_id == ocpp_id:
            return state
    return None


def _evidently_another(state: TransactionState, report: TransactionReport, now: datetime) -> bool:
    """Whether an open transaction with the same id cannot be meant: a placeholder id on another EVSE."""
    return (
        is_placeholder(state.ocpp_transaction_id)
        and report.evse_id is not None
        and state.evse_id is not None
        and state.evse_id != report.evse_id
    )


def _closed_with_id(
    ocpp_id: str | None, known: Iterable[TransactionState], report: TransactionReport, now: datetime
) -> TransactionState | None:
    """Of the transactions with the id, the newest that had begun by the time of the report, else the newest."""
    at = _time_of(report, now)
    newest: TransactionState | None = None
    for state in known:
        if state.ocpp_transaction_id != ocpp_id or is_placeholder(ocpp_id):
            continue
        if state.started_at <= at:
            return state
        newest = newest or state
    return newest


def _stopped_by(report: TransactionReport, known: Iterable[TransactionState]) -> TransactionState | None:
    """The closed transaction that this very stop has closed: same time, same register, same token."""
    if report.at is None:
        return None
    for state in known:
        if (
            state.ended_seen
            and state.reported_stop == report.at
            and (report.meter_stop is None or state.meter_stop_wh is None or report.meter_stop == state.meter_stop_wh)
            and (report.id_token is None or _token_key(report.id_token) == _token_key(state.stop_id_token))
        ):
            return state
    return None


def _only_match(
    report: TransactionReport, open_transactions: Sequence[TransactionState], now: datetime, *, placeholder: bool
) -> TransactionState | None:
    """The one open transaction that fits a report without a usable id by connector, token and time.

    Args:
        placeholder: the id says "none" (so being the only one that fits is enough); else it says another one, and the
            token must be the starter's.
    """
    at = _time_of(report, now)
    token = _token_key(report.id_token)
    fitting: list[TransactionState] = []
    exact: list[TransactionState] = []
    for state in open_transactions:
        if not state.is_open or at < state.started_at:
            continue
        if report.evse_id and state.evse_id and report.evse_id != state.evse_id:
            continue
        if report.meter_stop is not None and state.meter_start_wh is not None:
            rise = report.meter_stop - state.meter_start_wh
            if rise > _ABSURD_WH:
                continue  # another meter
        if token is not None and token == _token_key(state.id_token):
            exact.append(state)
        fitting.append(state)
    candidates = exact or (fitting if placeholder else [])
    if len(candidates) == 1:
        return candidates[0]
    if len(candidates) > 1 and report.meter_stop is not None:
        return _nearest_register(report, candidates)
    return None


_ABSURD_WH: Final = 1_000_000


def _nearest_register(report: TransactionReport, candidates: list[TransactionState]) -> TransactionState | None:
    """Of several that fit, the one whose register is the nearest below the stop's."""
    stop = report.meter_stop
    if stop is None:
        return None
    best: TransactionState | None = None
    best_rise = None
    for state in candidates:
        last = state.tracks[0].last if state.tracks else state.meter_start_wh
        if last is None or last > stop:
            continue
        rise = stop - last
        if best_rise is None or rise < best_rise:
            best, best_rise = state, rise
    return best


def _running_at(
    evse_id: int | None, at: datetime, open_transactions: Sequence[TransactionState]
) -> TransactionState | None:
    """The transaction that ran on an EVSE at a time."""
    if not evse_id:
        return None
    for state in reversed(open_transactions):
        if state.is_open and state.evse_id == evse_id and state.started_at <= at:
            return state
    return None


def _time_of(report: TransactionReport, now: datetime) -> datetime:
    at = report.at
    if at is None:
        for reading in report.readings:
            if reading.at is not None and (at is None or reading.at > at):
                at = reading.at
    return effective(at, now)


def _on_evse(state: TransactionState, report: TransactionReport) -> bool:
    return state.evse_id is None or report.evse_id is None or state.evse_id == report.evse_id


def _same_token(state: TransactionState, report: TransactionReport) -> bool:
    known = _token_key(state.id_token)
    return known is None or report.id_token is None or known == _token_key(report.id_token)


def _token_key(token: IdToken | None) -> str | None:
    """Tokens compare without case (OCPP 1.6 CiString20Type, 2.x identifierString)."""
    return token.value.casefold() if token is not None and token.value else None
