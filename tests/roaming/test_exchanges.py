"""The log of what went over the wire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from chargeplane.app.roaming.exchanges import Exchange, ExchangeLog
from chargeplane.kernel.ids import TenantId
from tests.support.roaming import Node

READERS = 5
NOBODY = 2_000_000_000


async def test_each_exchange_is_written_once_however_many_have_it_written(operator: Node) -> None:
    """Every reader has what waits written before it reads, and the log does so by itself too."""
    database = operator.server.database
    log = ExchangeLog(database)
    for number in range(3):
        log.add(
            Exchange(
                tenant_id=TenantId(NOBODY),
                connection_id=NOBODY,
                at=datetime.now(UTC),
                incoming=True,
                row=None,
                module=None,
                method="GET",
                url=f"/{number}",
                request_id=None,
                correlation_id=None,
            )
        )
    await asyncio.gather(*(log.flush() for _ in range(READERS)))
    async with database.read() as db:
        urls = await db.fetch("SELECT url FROM roaming_exchange WHERE tenant_id = $1 ORDER BY id", NOBODY)
    assert [row["url"] for row in urls] == ["/0", "/1", "/2"]
