"""What a station does in a measured run: generators that yield (action, payload) and are sent the answer.

They also keep book in `ctl.totals` of what the server has acknowledged (`transactions.started`, `transactions.stopped`,
`energy_wh`), so that a run can be compared with what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from benchmarks.load import payloads
from benchmarks.load.station import Answer, Script, Station, now_ns


def heartbeat(station: Station) -> Script:
    """Heartbeat."""
    while not station.ctl.stop:
        yield "Heartbeat", b"{}"


def status(station: Station) -> Script:
    """StatusNotification."""
    turn = 0
    while not station.ctl.stop:
        turn += 1
        yield "StatusNotification", payloads.status(station.ctl.v16, turn)


def meter_values(station: Station) -> Script:
    """MeterValues with 6 sampled values outside of a transaction."""
    wh = 1000
    while not station.ctl.stop:
        wh += 10
        yield "MeterValues", payloads.meter_16(1, wh) if station.ctl.v16 else payloads.meter_2x(wh)


def _note(station: Station, action: str, answer: Answer) -> None:
    info = (answer or {}).get("idTagInfo") or (answer or {}).get("idTokenInfo")
    if info:
        station.ctl.statuses[f"{action}.{info['status']}"] += 1


def _start_16(station: Station) -> Generator[tuple[str, bytes], Answer, int | None]:
    answer = yield "StartTransaction", payloads.start_16(station.tag, 1000)
    if answer is None:
        return None
    _note(station, "StartTransaction", answer)
    station.ctl.totals["transactions.started"] += 1
    return int(answer["transactionId"])


def _stop_16(station: Station, transaction: int, wh: int) -> Generator[tuple[str, bytes], Answer, bool]:
    answer = yield "StopTransaction", payloads.stop_16(transaction, station.tag, wh)
    if answer is None:
        return False
    _note(station, "StopTransaction", answer)
    station.ctl.totals["transactions.stopped"] += 1
    station.ctl.totals["energy_wh"] += wh - 1000
    return True


def _started_2x(station: Station) -> Generator[tuple[str, bytes], Answer, tuple[bytes, bool]]:
    transaction = b"%b%012x" % (station.msg_prefix, next(station.ctl.counter))
    answer = yield (
        "TransactionEvent",
        payloads.event_2x(b"Started", b"Authorized", transaction, 0, b"EVConnected", 1000, id_token=station.id_token),
    )
    _note(station, "Started", answer)
    station.ctl.totals["transactions.started"] += answer is not None
    return transaction, answer is not None


def _ended_2x(station: Station, transaction: bytes, seq_no: int, wh: int) -> Generator[tuple[str, bytes], Answer, bool]:
    answer = yield (
        "TransactionEvent",
        payloads.event_2x(
            b"Ended",
            b"StopAuthorized",
            transaction,
            seq_no,
            b"Idle",
            wh,
            id_token=station.id_token,
            stopped=b"Local",
        ),
    )
    _note(station, "Ended", answer)
    if answer is None:
        return False
    station.ctl.totals["transactions.stopped"] += 1
    station.ctl.totals["energy_wh"] += wh - 1000
    return True


def _updated_2x(transaction: bytes, seq_no: int, wh: int) -> tuple[str, bytes]:
    return "TransactionEvent", payloads.event_2x(
        b"Updated", b"MeterValuePeriodic", transaction, seq_no, b"Charging", wh, six=True
    )


def meter_values_in_transaction(station: Station) -> Script:
    """6 sampled values at a time within one transaction per station: 1.6 MeterValues, 2.x TransactionEvent Updated."""
    wh = 1000
    if station.ctl.v16:
        transaction = (yield from _start_16(station)) or 0
        while not station.ctl.stop:
            wh += 10
            yield "MeterValues", payloads.meter_16(1, wh, transaction)
        yield from _stop_16(station, transaction, wh)
        return
    name, _ = yield from _started_2x(station)
    seq_no = 0
    while not station.ctl.stop:
        wh += 10
        seq_no += 1
        yield _updated_2x(name, seq_no, wh)
    yield from _ended_2x(station, name, seq_no + 1, wh)


def authorize(station: Station) -> Script:
    """Authorize."""
    while not station.ctl.stop:
        if station.ctl.v16:
            answer = yield "Authorize", b'{"idTag":"%b"}' % station.tag
        else:
            answer = yield "Authorize", b'{"idToken":%b}' % station.id_token
        _note(station, "Authorize", answer)


def _session_16(station: Station) -> Generator[tuple[str, bytes], Answer, bool]:
    answer = yield "Authorize", b'{"idTag":"%b"}' % station.tag
    _note(station, "Authorize", answer)
    good = answer is not None
    transaction = yield from _start_16(station)
    answer = yield "MeterValues", payloads.meter_16(1, 2000, transaction or 0)
    stopped = yield from _stop_16(station, transaction or 0, 3000)
    return good and transaction is not None and answer is not None and stopped


def _session_2x(station: Station) -> Generator[tuple[str, bytes], Answer, bool]:
    transaction, good = yield from _started_2x(station)
    for seq_no in (1, 2, 3):
        answer = yield _updated_2x(transaction, seq_no, 1000 + 500 * seq_no)
        good = good and answer is not None
    ended = yield from _ended_2x(station, transaction, 4, 3000)
    return good and ended


def session(station: Station) -> Script:
    """1.6: Authorize, StartTransaction, MeterValues, StopTransaction (4 calls).

    2.x: TransactionEvent Started, Updated three times (6 sampled values each), Ended (5 calls).
    """
    ctl = station.ctl
    while not ctl.stop:
        begin = now_ns()
        good = yield from (_session_16 if ctl.v16 else _session_2x)(station)
        ctl.totals["sessions" if good else "sessions.failed"] += 1
        end = now_ns()
        if ctl.window is not None and ctl.window[0] <= end < ctl.window[1] and good:
            ctl.sequence_latencies.append(end - begin)


SCENARIOS: dict[str, Callable[[Station], Script]] = {
    "heartbeat": heartbeat,
    "status": status,
    "metervalues": meter_values,
    "metervalues-tx": meter_values_in_transaction,
    "authorize": authorize,
    "transaction": session,
}
