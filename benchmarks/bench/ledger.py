"""What is stored, compared with what was acknowledged: a fast server that forgets is worth nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from benchmarks.bench.processes import Server
from benchmarks.bench.provision import Rest

_STORED = """
SELECT
    (SELECT count(*) FROM transaction WHERE tenant_id = 1 AND opened_at >= $1) AS started,
    (SELECT count(*) FROM transaction WHERE tenant_id = 1 AND opened_at >= $1 AND NOT is_open) AS stopped,
    (SELECT coalesce(sum(energy_wh), 0) FROM transaction WHERE tenant_id = 1 AND opened_at >= $1 AND NOT is_open) AS energy_wh,
    (SELECT count(*) FROM transaction_event WHERE opened_on >= ($1 AT TIME ZONE 'UTC')::date) AS events,
    (SELECT count(*) FROM station_meter_value WHERE received_on >= ($1 AT TIME ZONE 'UTC')::date) AS meter_values,
    (SELECT count(*) FROM authorization_attempt WHERE received_on >= ($1 AT TIME ZONE 'UTC')::date) AS authorizations,
    (SELECT count(*) FROM quarantine) AS quarantined
"""

_EVENTS_16 = ("StartTransaction", "StopTransaction")


class Ledger:
    """Counts rows before and after a run.

    Args:
        server: whose database is counted.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._since = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self._before = self._stored()

    def _stored(self) -> dict[str, Decimal]:
        async def read() -> dict[str, Decimal]:
            connection = await asyncpg.connect(self._server.database_url)
            try:
                row = await connection.fetchrow(_STORED, self._since)
                assert row is not None
            finally:
                await connection.close()
            return {name: Decimal(value) for name, value in row.items()}

        return asyncio.run(read())

    def compare(self, scenario: str, totals: dict[str, int], unsure: int) -> dict[str, Any]:
        """What a run added to the database, against what the server acknowledged to the generator.

        Args:
            totals: acknowledged calls by action, and the generator's own book.
            unsure: calls that got no answer; each may have been stored or not.
        Returns:
            Both sides of each figure, and `agrees`.
        """
        after = self._stored()
        in_transactions = scenario in ("transaction", "metervalues-tx")
        meter = totals.get("MeterValues", 0)
        expected = {
            "started": totals.get("transactions.started", 0),
            "stopped": totals.get("transactions.stopped", 0),
            "energy_wh": totals.get("energy_wh", 0),
            "events": totals.get("TransactionEvent", 0)
            + sum(totals.get(action, 0) for action in _EVENTS_16)
            + (meter if in_transactions else 0),
            "meter_values": 0 if in_transactions else meter,
            "authorizations": totals.get("Authorize", 0),
            "quarantined": 0,
        }
        found = {name: after[name] - self._before[name] for name in expected}
        wrong = [
            name
            for name, value in expected.items()
            if not (found[name] == value or (name != "energy_wh" and value <= found[name] <= value + unsure))
        ]
        return {
            "acknowledged": expected,
            "stored": {name: str(value) for name, value in found.items()},
            "unsure": unsure,
            "agrees": not wrong,
            "wrong": wrong,
        }


async def _sample(server: Server, stations: int) -> dict[str, Any]:
    checked, wrong = 0, []
    async with Rest(server) as rest:
        for i in range(stations):
            page = await rest.get("/v1/transactions", station_id=f"LOAD{i:06d}", state="closed", limit=5)
            for item in page["items"]:
                checked += 1
                if item["energy_wh"] != item["meter_stop_wh"] - item["meter_start_wh"] or not item["energy_wh"]:
                    wrong.append(item["id"])
    return {"transactions": checked, "wrong": wrong}


def sample_by_rest(server: Server, stations: int = 10) -> dict[str, Any]:
    """The newest transactions of some stations as REST shows them: the energy must be what the meter says."""
    return asyncio.run(_sample(server, stations))
