"""How fast the first page of /v1/cdrs is where a tenant has very many CDRs.

    python benchmarks/cdr_list.py [--rows 1000000] [--asks 200]

Starts the real server with its embedded PostgreSQL (durable), writes generated rows into the table, and asks over HTTP, one at a time. What is
measured is what a client waits for: the whole answer with 50 CDRs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from chargeplane.store.database import Database
from chargeplane.store.queries.cdrs import CDR_SORTS

KEY = "an-admin-key-of-the-benchmark"
_ROWS = """
    INSERT INTO cdr (tenant_id, session_id, kind, number, started_at, ended_at, location_id, evse_uid, token_key, driver_id,
        agreement_id, tariff_id, energy_wh, currency, total_excl, total_incl, holds, body)
    SELECT 1, n, 'original', 1, now() - interval '1 hour' - n * interval '31 seconds', now() - n * interval '31 seconds',
        'LOC' || n % 400, 'EVSE' || n % 3000, 'tag' || n % 50000, n % 40000, n % 300, 'TARIFF' || n % 12, (n % 60000)::numeric,
        'EUR', round((n % 60000) * 0.0005, 2), round((n % 60000) * 0.0006, 2),
        CASE WHEN n % 1000 = 0 THEN ARRAY['energy_doubtful'] ELSE '{}'::text[] END, $3
    FROM generate_series($1::bigint, $2::bigint) n
"""
ASKED = {
    "newest": {},
    "of a driver": {"driver_id": "77"},
    "of a location": {"location_id": "LOC7"},
    "of an agreement, since": {"agreement_id": "5", "ended_from": "2020-01-01T00:00:00Z"},
    "held": {"held": "true"},
    **{f"sort={sort}": {"sort": sort} for sort in CDR_SORTS.choices},
}


async def fill(database: Database, rows: int) -> None:
    """Writes the rows, a hundred thousand at a time, each with a content of 3,000 characters."""
    body = '{"x":"' + "x" * 3000 + '"}'
    for first in range(1, rows + 1, 100_000):
        connection = await database.connect_writer("benchmark")
        try:
            await connection.execute(_ROWS, first, min(first + 99_999, rows), body, timeout=600)
        finally:
            await connection.close()
    connection = await database.connect_writer("benchmark")
    try:
        await connection.execute("VACUUM ANALYZE cdr", timeout=600)
    finally:
        await connection.close()


async def measure(folder: str, rows: int, asks: int) -> None:
    """Prints what was measured."""
    config = Config(bind="127.0.0.1", http_port=0, ocpp_port=0, data_dir=folder, admin_key=KEY)
    server = Server(config)
    await server.start()
    try:
        assert server.http is not None
        began = time.perf_counter()
        await fill(server.database, rows)
        print(f"{rows:,} CDRs written in {time.perf_counter() - began:.0f} s")
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.http.port}/v1",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        ) as client:
            for name, query in ASKED.items():
                taken = []
                for _ in range(asks):
                    began = time.perf_counter()
                    answer = await client.get("/cdrs", params=query)
                    taken.append((time.perf_counter() - began) * 1000)
                    assert answer.status_code == 200, answer.text
                    assert answer.json()["items"]
                taken.sort()
                print(
                    f"{name:26} at most {max(taken):6.1f} ms, median {statistics.median(taken):5.1f} ms,"
                    f" p99 {taken[int(len(taken) * 0.99)]:5.1f} ms"
                )
    finally:
        await server.stop()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chargeplane-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        asyncio.run(measure(folder, given.rows, given.asks))


if __name__ == "__main__":
    main()
