"""SIGTERM under load: what was begun is finished, everything stored was answered, and the process ends well and soon."""

from __future__ import annotations

import asyncio
import time

import pytest

from chargeplane.simulator import Entry
from tests.faults.town import ATTEMPTS, LINES, database, town
from tests.support.served import Served


@pytest.mark.parametrize("after_s", [0.3, 0.75])
async def test_a_stop_finishes_what_was_begun(server: Served, after_s: float) -> None:
    async with town(server, 12) as stations:
        stations.charge()
        await asyncio.sleep(after_s)
        begun = time.monotonic()
        assert await server.stop() == 0
        assert time.monotonic() - begun < 30
        acknowledged = {(line.station_id, line.message_id) for line in stations.ledger.of(Entry.ACKNOWLEDGED)}
        await server.start()
        async with database(server.database_url()) as db:
            await stations.check_acknowledged(db)
        await asyncio.sleep(0.2)
        await stations.finish()
        async with database(server.database_url()) as db:
            await stations.check_all(db)
            # What was stored before the stop had its answer before the socket closed: nothing of it was sent again.
            again = [
                line for line in stations.ledger.of(Entry.SENT) if (line.station_id, line.message_id) in acknowledged
            ]
            assert len(again) == len(acknowledged)
            assert {tuple(row)[:2] for row in [*await db.fetch(LINES), *await db.fetch(ATTEMPTS)]} >= {
                (line.station_id, line.message_id)
                for line in stations.ledger.of(Entry.ACKNOWLEDGED)
                if line.action in ("StartTransaction", "StopTransaction", "TransactionEvent", "Authorize")
            }
        events = [line["event"] for line in server.log()]
        assert "stopping" in events
        assert "stopped" in events
        assert [line for line in server.log() if line.get("level") in ("error", "critical")] == []
