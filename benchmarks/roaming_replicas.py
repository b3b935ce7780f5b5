"""How fast partners' writes are kept: PATCHes of EVSE status, durable before each is answered, and a pull of many Locations; and how soon
a partner that asks about one of our id tokens is answered.

Runs the use cases on a PostgreSQL of their own with fsync on; the doors of OCPI are not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.roaming.own_tokens import OwnTokens
from chargeplane.app.roaming.ports import PulledPage
from chargeplane.app.roaming.pulling import Pulling
from chargeplane.app.roaming.replicas import Owner, Replicas
from chargeplane.domain.roaming.connection import (
    BusinessDetails,
    ConnectionState,
    ModuleUrl,
    PartnerParty,
    PartyId,
    PartyRole,
    Peer,
)
from chargeplane.domain.roaming.own_tokens import LocationReferences
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.embedded import EmbeddedPostgres
from chargeplane.store.migrations import upgrade_database

TENANT = TenantId(1)
PARTNER = Peer(
    id=7,
    tenant_id=TENANT,
    name="ABC",
    state=ConnectionState.REGISTERED,
    version="2.3.0",
    versions_url="http://partner",
    modules=(ModuleUrl("locations", "SENDER", "http://partner/locations"),),
    parties=(PartnerParty(id=PartyId("DE", "ABC"), role=PartyRole.CPO, business_details=BusinessDetails(name="ABC")),),
)


def location(number: int, evses: int) -> bytes:
    """A Location of some 1.5 KB with two EVSEs."""
    stamp = "2026-01-01T00:00:00Z"
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": ["T1"], "last_updated": stamp,
    }  # fmt: skip
    body = {
        "country_code": "DE", "party_id": "ABC", "id": f"LOC{number}", "publish": True, "name": f"Ladeplatz {number}",
        "address": "Hauptstraße 1", "city": "Würzburg", "postal_code": "97070", "country": "DEU",
        "coordinates": {"latitude": f"{47 + number % 8000 / 1000:.4f}", "longitude": f"{6 + number % 9000 / 1000:.4f}"},
        "operator": {"name": "ABC Strom"}, "time_zone": "Europe/Berlin", "opening_times": {"twentyfourseven": True},
        "evses": [
            {"uid": f"{number}-{n}", "evse_id": f"DE*ABC*E{number}*{n}", "status": "AVAILABLE",
             "capabilities": ["RFID_READER", "REMOTE_START_STOP_CAPABLE"], "connectors": [connector], "last_updated": stamp}
            for n in range(evses)
        ],
        "last_updated": stamp,
    }  # fmt: skip
    return json.dumps(body).encode()


class Lists:
    """A partner whose list is made while it is read."""

    def __init__(self, count: int, page: int) -> None:
        self._pages = [
            tuple(location(n, 2) for n in range(start, min(start + page, count))) for start in range(0, count, page)
        ]

    async def call(self, *_: Any, **__: Any) -> Any:
        """Nothing is asked for but the list."""
        raise NotImplementedError

    async def pages(self, peer: Peer, row: int, **_: Any) -> AsyncIterator[PulledPage]:
        """The list."""
        for documents in self._pages:
            yield PulledPage(documents=documents)


class Peers:
    """Nobody else."""

    async def get(self, ident: int) -> Peer | None:
        """The partner."""
        return PARTNER

    async def every(self, tenant_id: TenantId | None) -> list[Peer]:
        """Nobody is read from by itself."""
        return []


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="chargeplane-bench-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs both parts."""
    folder = _folder()
    postgres = EmbeddedPostgres(folder)
    url = await postgres.start()
    database = Database(url)
    replicas = Replicas(database)
    found: dict[str, Any] = {}
    try:
        await upgrade_database(url)
        await replicas.start()
        lists = Lists(options.locations, options.page)
        pulling = Pulling(database, lists, Peers(), replicas)
        began = time.perf_counter()
        done = await pulling.pull(PARTNER, "locations", full=True)
        took = time.perf_counter() - began
        found["pull"] = {
            "locations": done.changed, "seconds": round(took, 2), "per_second": round(done.changed / took),
            "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }  # fmt: skip
        began = time.perf_counter()
        again = await pulling.pull(PARTNER, "locations", full=True)
        took = time.perf_counter() - began
        found["pull_again"] = {"changed": again.changed, "per_second": round(again.objects / took)}
        found["patch"] = await patches(replicas, options)
        found["authorize"] = await authorizations(database, options)
    finally:
        await replicas.stop()
        await database.close()
        await postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return found


async def patches(replicas: Replicas, options: argparse.Namespace) -> dict[str, Any]:
    """So many clients, each of which waits for its answer before it sends the next status."""
    owner = Owner(TENANT, 7, "DE", "ABC")
    until = time.perf_counter() + options.seconds
    waited: list[float] = []
    commits = replicas.commits

    async def client(number: int) -> None:
        turn = 0
        while (at := time.perf_counter()) < until:
            place = (number + turn * options.clients) % options.locations
            stamp = datetime.fromtimestamp(1_800_000_000 + turn, UTC).isoformat()
            body = b'{"status":"%s","last_updated":"%s"}' % ((b"CHARGING", b"AVAILABLE")[turn % 2], stamp.encode())
            await replicas.patch_evse(owner, f"LOC{place}", f"{place}-{turn % 2}", body)
            waited.append(time.perf_counter() - at)
            turn += 1

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(options.clients)))
    took = time.perf_counter() - began
    waited.sort()
    return {
        "per_second": round(len(waited) / took),
        "per_commit": round(len(waited) / (replicas.commits - commits), 1),
        "p50_ms": round(waited[len(waited) // 2] * 1000, 2),
        "p99_ms": round(waited[len(waited) * 99 // 100] * 1000, 2),
    }


async def authorizations(database: Database, options: argparse.Namespace) -> dict[str, Any]:
    """So many questions a second, each at its time whether or not others are answered."""
    async with database.change() as db:
        await db.execute(
            "INSERT INTO roaming_party (tenant_id, country_code, party_id, roles, business_details)"
            " VALUES (1, 'DE', 'EMP', '{EMSP}', '{\"name\": \"EMP\"}')"
        )
        await db.execute(
            "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) SELECT 1, 'ISO14443', 'CARD' || n, 'card' || n,"
            " 'Accepted' FROM generate_series(1, 100000) n"
        )
        await db.execute("ANALYZE id_token")
    tokens = OwnTokens(database, Resolving(database))
    waited: list[float] = []
    place = LocationReferences(location_id="LOC1", evse_uids=("1-0", "1-1"))

    async def ask(number: int) -> None:
        at = time.perf_counter()
        await tokens.authorize(PARTNER, f"card{1 + number * 37 % 100_000}", "RFID", place, None)
        waited.append(time.perf_counter() - at)

    began = time.perf_counter()
    asked: list[asyncio.Task[None]] = []
    while (passed := time.perf_counter() - began) < options.seconds:
        while len(asked) < passed * options.rate:
            asked.append(asyncio.create_task(ask(len(asked))))
        await asyncio.sleep(0.001)
    await asyncio.gather(*asked)
    await tokens.stop()
    waited.sort()
    return {
        "per_second": round(len(waited) / (time.perf_counter() - began)),
        "p50_ms": round(waited[len(waited) // 2] * 1000, 2),
        "p99_ms": round(waited[len(waited) * 99 // 100] * 1000, 2),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locations", type=int, default=100_000)
    parser.add_argument("--page", type=int, default=500)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=500, help="questions about id tokens a second")
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
