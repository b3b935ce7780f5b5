"""How long a station waits for us where a partner's driver is asked about: what was pushed is looked up, the provider asked, the grant made durable.

Runs the use case on a PostgreSQL of its own with fsync on, at an even rate; the provider answers at once, so that what is measured is ours. The
doors of OCPP and OCPI are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from chargeplane.app.roaming.authorizing import Authorizing, Provider
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from chargeplane.domain.roaming.authorization import Allowed, Answer, KnownToken
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.embedded import EmbeddedPostgres
from chargeplane.store.migrations import upgrade_database
from chargeplane.store.queries import roaming_operator as queries
from chargeplane.store.queries.paging import Db

TENANT = TenantId(1)


class Us:
    """An operator."""

    async def operator_of(self, tenant_id: TenantId) -> PartyId | None:
        """The party."""
        return PartyId("DE", "CPO")

    async def operating_tenants(self) -> Sequence[TenantId]:
        """The tenant."""
        return [TENANT]


class Partner:
    """A provider that says yes at once to what it pushed."""

    async def of_tenant(self, tenant_id: TenantId) -> Sequence[Provider]:
        """Nobody is asked about what was not pushed."""
        return []

    async def pushed(self, db: Db, tenant_id: TenantId, uid: str) -> Sequence[KnownToken]:
        """As stored."""
        return await queries.pushed_tokens(db, tenant_id, uid)

    async def ask(self, connection_id: int, uid: str, kind: str, place: Any, timeout_s: float) -> Answer | None:
        """Yes."""
        token = KnownToken(
            connection_id=connection_id, country_code="NL", party_id="TNM", uid=uid, type=kind, contract_id="C", valid=True,
            whitelist=queries.Whitelist.NEVER,
        )  # fmt: skip
        return Answer(allowed=Allowed.ALLOWED, token=token, authorization_reference=f"REF-{uid}")


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="chargeplane-bench-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Pushes tokens, then asks about them at the rate."""
    folder = _folder()
    postgres = EmbeddedPostgres(folder)
    url = await postgres.start()
    database = Database(url)
    try:
        await upgrade_database(url)
        document = (
            '{"country_code":"NL","party_id":"TNM","uid":"\' || n || \'","type":"RFID","contract_id":"NL-TNM-C1","issuer":"T",'
            '"valid":true,"whitelist":"NEVER","last_updated":"2026-01-01T00:00:00Z"}'
        )
        async with database.change() as db:
            connection = await db.fetchval(
                "INSERT INTO roaming_connection (tenant_id, name, state) VALUES ($1, 'TNM', 'registered') RETURNING id",
                TENANT,
            )
            await db.execute(
                "INSERT INTO partner_object (tenant_id, module, country_code, party_id, id_key, variant, connection_id, id,"
                " last_updated, document) SELECT $1, 'tokens', 'NL', 'TNM', 'card' || n, 'RFID', $2, 'CARD' || n, now(),"
                f" convert_to('{document}', 'UTF8') FROM generate_series(1, $3::int) n",
                TENANT, connection, options.tokens,
            )  # fmt: skip
        authorizing = Authorizing(database, Us(), Partner())
        waited: list[float] = []

        async def one(number: int) -> None:
            began = time.perf_counter()
            token = IdToken(value=f"CARD{number % options.tokens + 1}")
            (record,) = await authorizing.records(TENANT, StationKey(number % 10_000), token, starts=True, begins=False)
            assert record.status is AuthorizationStatus.ACCEPTED
            waited.append(time.perf_counter() - began)

        total = int(options.rate * options.seconds)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(total):
                pause = began + number / options.rate - time.perf_counter()
                if pause > 0:
                    await asyncio.sleep(pause)
                group.create_task(one(number * 7919))
        took = time.perf_counter() - began
        await authorizing.stop()
        waited.sort()
        return {
            "per_second": round(total / took),
            "p50_ms": round(waited[total // 2] * 1000, 2),
            "p99_ms": round(waited[total * 99 // 100] * 1000, 2),
            "max_ms": round(waited[-1] * 1000, 2),
        }
    finally:
        await database.close()
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=20)
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
