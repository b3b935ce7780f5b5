"""What a look at a session that goes on costs, by the number of its messages: CPU of one core, without the database.

    .venv/bin/python -m benchmarks.session_looks [--messages 1000 10000]

A message comes every 10 s with a register value and power, as an OCPP 2.x TransactionEvent of a few hundred bytes; the tariff has a fee,
energy by the time of day and parking. The first look reads all messages; each later one ten more.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from chargeplane.app.sessions.looks import Looks
from chargeplane.domain.cdrs.charging import charge_of_transaction
from chargeplane.domain.messages import Reading, Sample
from chargeplane.domain.rating import so_far
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.ids import TransactionId
from chargeplane.store.queries.session_transactions import told_events

_BEGIN = datetime(2026, 3, 2, 6, tzinfo=UTC)
_ZONE = ZoneInfo("Europe/Berlin")
_NEW = 10


def _tariff() -> Tariff:
    def price(kind: str, amount: str) -> dict[str, Any]:
        return {"type": kind, "price": amount, "vat": 19, "step_size": 1}

    day = {"start_time": "07:00", "end_time": "20:00"}
    elements = [
        {"price_components": [price("ENERGY", "0.49")], "restrictions": day},
        {"price_components": [price("FLAT", "0.5"), price("ENERGY", "0.39"), price("PARKING_TIME", "5")]},
    ]
    raw = {"id": "B", "currency": "EUR", "tax_included": "NO", "last_updated": "2026-01-01T00:00:00Z"}
    return msgspec.convert({**raw, "elements": elements}, Tariff, strict=False)


def rows_of(count: int, first: int = 1) -> list[dict[str, Any]]:
    """Rows of messages as they are kept, from an ordinal on."""
    made = []
    for ordinal in range(first, first + count):
        at = _BEGIN + timedelta(seconds=10 * ordinal)
        register, power = 1000 + ordinal * 30, 10_800
        samples = [
            Sample(measurand="Energy.Active.Import.Register", value=Decimal(register), unit="Wh"),
            Sample(measurand="Power.Active.Import", value=Decimal(power), unit="W"),
        ]
        made.append(
            {
                "ordinal": ordinal,
                "kind": "Started" if ordinal == 1 else "Updated",
                "content_hash": ordinal.to_bytes(16, "big"),
                "seq_no": ordinal,
                "at": at,
                "received_at": at + timedelta(seconds=1),
                "payload": msgspec.json.encode(
                    {
                        "eventType": "Updated",
                        "seqNo": ordinal,
                        "transactionInfo": {"transactionId": "T1", "chargingState": "Charging"},
                        "meterValue": [{"timestamp": at, "sampledValue": samples}],
                    }
                ).decode(),
                "readings": msgspec.json.encode([Reading(at=at, samples=tuple(samples))]).decode(),
            }
        )
    return made


def _look(looks: Looks, rows: list[dict[str, Any]]) -> float:
    """CPU seconds of one look."""
    began = time.process_time()
    ident = TransactionId(1)
    told = told_events(rows, looks.known(ident))
    looks.note(ident, told)
    until = _BEGIN + timedelta(seconds=10 * len(told))
    charge = charge_of_transaction(told, started_at=_BEGIN, until=until, energy_wh=Decimal(30 * (len(told) - 1)))
    so_far(charge, _tariff(), _ZONE, until + timedelta(seconds=5))
    return time.process_time() - began


def main() -> None:
    """Prints a line for each number of messages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[100, 1000, 10_000])
    for count in parser.parse_args().messages:
        firsts, later = [], []
        for _ in range(3):
            looks = Looks()
            rows = rows_of(count)
            firsts.append(_look(looks, rows))
            later += [_look(looks, rows_of(_NEW, count + 1 + more * _NEW)) for more in range(3)]
        first, other = statistics.median(firsts) * 1000, statistics.median(later) * 1000
        print(f"{count:,} messages: first look {first:,.1f} ms, later ones {other:,.1f} ms")


if __name__ == "__main__":
    main()
