"""Two days of four EVSEs with known figures, summed by everything they are summed by: over REST, as CSV and by the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from click.testing import CliRunner

from chargeplane.app.performance.rollups import Rollups
from chargeplane.kernel.ids import StationKey
from chargeplane.main.cli.root import cli
from tests.support.rest import Rest

MIDNIGHT = datetime(2026, 4, 7, tzinfo=UTC)
RANGE = {"from": "2026-04-07", "to": "2026-04-09"}
HOUR = 3600.0


def at(hour: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hour)


@dataclass(frozen=True)
class Known:
    """What a group's figures must be; times in hours."""

    evses: int
    observed: float
    down: float
    excluded: float
    occupied: float
    attempts: int
    successes: int
    sessions: int
    energy_wh: int
    revenue: dict[str, str]
    repairs: int
    to_repair: float | None

    def matches(self, found: dict[str, Any]) -> None:
        """Every figure is the known one."""
        hours = tuple(found[name] / HOUR for name in ("observed_s", "down_s", "excluded_s", "occupied_s"))
        assert hours == pytest.approx((self.observed, self.down, self.excluded, self.occupied))
        assert found["evses"] == self.evses
        assert found["uptime"] == pytest.approx(1 - (self.down - self.excluded) / self.observed, abs=1e-6)
        assert found["utilisation"] == pytest.approx(self.occupied / self.observed, abs=1e-6)
        assert (found["attempts"], found["successes"]) == (self.attempts, self.successes)
        assert found["success_rate"] == pytest.approx(self.successes / self.attempts, abs=1e-6)
        assert (found["sessions"], found["energy_wh"]) == (self.sessions, self.energy_wh)
        assert {one["currency"]: one["amount"] for one in found["revenue"]} == self.revenue
        assert found["repairs"] == self.repairs
        assert found["mean_time_to_repair_s"] == (None if self.to_repair is None else self.to_repair * HOUR)


# A's first EVSE was faulted from 10 to 16 h, planned from 10 to 12 of it; B was offline over midnight, from 18 to 30 h; C was first heard
# of at 12 h and unavailable from 24 to 36 h, for want of grid from 30 to 33 of it.
A1 = Known(1, 48, 6, 2, 3, 3, 1, 2, 10_050, {"EUR": "4.10"}, 1, 6)
A2 = Known(1, 48, 0, 0, 4, 1, 1, 1, 30_000, {"EUR": "12.00"}, 0, None)
A = Known(2, 96, 6, 2, 7, 4, 2, 3, 40_050, {"EUR": "16.10"}, 1, 6)
B = Known(1, 48, 12, 0, 3, 2, 0, 2, 14_000, {"EUR": "3.00"}, 1, 12)
C = Known(1, 36, 12, 3, 1, 1, 1, 1, 5_000, {"SEK": "45.00"}, 1, 12)
A_AND_B = Known(3, 144, 18, 2, 10, 6, 2, 5, 54_050, {"EUR": "19.10"}, 2, 9)
FIRST_DAY = Known(4, 84, 12, 2, 8, 4, 2, 4, 23_050, {"EUR": "7.10", "SEK": "45.00"}, 1, 6)
SECOND_DAY = Known(4, 96, 18, 3, 3, 3, 1, 2, 36_000, {"EUR": "12.00"}, 2, 12)
KNOWN = {
    "day": {"2026-04-07": FIRST_DAY, "2026-04-08": SECOND_DAY},
    "station": {"A": A, "B": B, "C": C},
    "evse": {"A/1": A1, "A/2": A2, "B/1": B, "C/1": C},
    "location": {"NORTH": A_AND_B, "SOUTH": C},
    "model": {"Acme One": A_AND_B, "Bolt Two": C},
    "firmware": {"Acme One 1.0": A, "Acme One 2.0": B, "Bolt Two 1.0": C},
}


@dataclass
class Network:
    """The tenant whose stations they are."""

    rest: Rest
    id: int
    key: str
    client: httpx.AsyncClient

    async def station(self, name: str, place: str, vendor: str, model: str, firmware: str) -> StationKey:
        made = await self.client.post("/v1/charging-stations", json={"station_id": name})
        assert made.status_code == 201, made.text
        key: StationKey = await self.rest.execute(
            "UPDATE charging_station SET location_id = $3, vendor = $4, model = $5, firmware_version = $6"
            " WHERE tenant_id = $1 AND station_id = $2 RETURNING key",
            self.id,
            name,
            place,
            vendor,
            model,
            firmware,
        )
        return key

    async def states(self, key: StationKey, evse: int, *begun: tuple[float, str]) -> None:
        ends = [*(hour for hour, _ in begun[1:]), None]
        for (start, state), end in zip(begun, ends, strict=True):
            await self.rest.execute(
                "INSERT INTO evse_availability (tenant_id, station_key, evse_id, state, started_at, ended_at)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                self.id,
                key,
                evse,
                state,
                at(start),
                None if end is None else at(end),
            )

    async def session(
        self,
        key: StationKey,
        evse: int,
        start: float,
        end: float,
        wh: int,
        *billed: str,
        currency: str = "EUR",
        reason: str | None = None,
        unpaid: bool = False,
    ) -> None:
        ident = await self.rest.execute("SELECT coalesce(max(id), 0) + 20000000 FROM transaction")
        await self.rest.execute(
            "INSERT INTO transaction (id, tenant_id, station_key, evse_id, connector_id, token_key, opened_at,"
            " started_at, stopped_at, stop_reason, energy_wh, is_open, offline, flags, ordinal, state, updated_at)"
            " VALUES ($1, $2, $3, $4, 1, 'tag', $5, $5, $6, $7, $8, false, false, '{}', 2, '{}', $6)",
            ident,
            self.id,
            key,
            evse,
            at(start),
            at(end),
            reason,
            wh,
        )
        await self.rest.execute(
            "INSERT INTO charging_session (id, tenant_id, state, location_id, evse_uid, station_key, frozen, started_at)"
            " VALUES ($1, $2, 'settled', 'L', 'E', $3, '{}', $4)",
            ident,
            self.id,
            key,
            at(start),
        )
        for number, amount in enumerate(billed, 1):
            await self.rest.execute(
                "INSERT INTO cdr (tenant_id, session_id, kind, number, started_at, ended_at, location_id, evse_uid,"
                " energy_wh, currency, total_excl, total_incl, holds, body)"
                " VALUES ($1, $2, $3, $4, $5, $6, 'L', 'E', $7, $8, $9::text::numeric, 0, '{}', '{}')",
                self.id,
                ident,
                ("original", "credit", "correction")[number - 1],
                number,
                at(start),
                at(end),
                wh,
                currency,
                amount,
            )
        if unpaid:
            await self.rest.execute(
                "INSERT INTO payment (tenant_id, provider, kind, purpose, key, currency, hold, ended, state, session_id,"
                " created_by) VALUES ($1, 'card', 'simulator', 'session', $2, 'EUR', 10, 'failed', 'failed', $3, 'test')",
                self.id,
                f"unpaid-{ident}",
                ident,
            )

    async def ask(self, by: str, **more: str) -> httpx.Response:
        response = await self.client.get("/v1/performance", params={"by": by, **RANGE, **more})
        assert response.status_code == 200, response.text
        return response

    async def run(self, *arguments: str) -> str:
        environment = {"CHARGEPLANE_URL": self.rest.base_url, "CHARGEPLANE_API_KEY": self.key, "COLUMNS": "200"}
        days = ("--from", RANGE["from"], "--to", RANGE["to"])
        result = await asyncio.to_thread(CliRunner(env=environment).invoke, cli, ["performance", *arguments, *days])
        assert result.exit_code == 0, result.output
        return result.output


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def network(rest: Rest) -> AsyncIterator[Network]:
    """Three stations with their two days, computed."""
    slug = f"t{secrets.token_hex(6)}"
    assert (await rest.client.post("/v1/tenants", json={"slug": slug, "name": slug})).status_code == 201
    made = await rest.client.post("/v1/api-keys", json={"name": slug, "scopes": ["admin"], "tenant": slug})
    ident = await rest.execute("SELECT id FROM tenant WHERE slug = $1", slug)
    async with rest.as_key(made.json()["key"]) as client:
        net = Network(rest, ident, made.json()["key"], client)
        a = await net.station("A", "NORTH", "Acme", "One", "1.0")
        b = await net.station("B", "NORTH", "Acme", "One", "2.0")
        c = await net.station("C", "SOUTH", "Bolt", "Two", "1.0")
        await net.states(a, 1, (0, "up"), (10, "faulted"), (16, "up"))
        await net.states(a, 2, (0, "up"))
        await net.states(b, 1, (0, "up"), (18, "offline"), (30, "up"))
        await net.states(c, 1, (12, "up"), (24, "unavailable"), (36, "up"))
        await net.session(a, 1, 1, 3, 10_000, "4.00")
        await net.session(a, 1, 20, 21, 50, "0.10")  # too little energy
        await net.session(a, 2, 22, 26, 30_000, "12.00")  # ends on the second day
        await net.session(b, 1, 4, 6, 8_000, "3.00", reason="EmergencyStop")
        await net.session(b, 1, 40, 41, 6_000, unpaid=True)
        await net.session(c, 1, 13, 14, 5_000, "50.00", "-50.00", "45.00", currency="SEK")
        await rest.execute(  # told to accept, and nothing began
            "INSERT INTO authorization_attempt (received_on, received_at, tenant_id, station_key, evse_id, id_token,"
            " status, message_id, content_hash) VALUES ($1, $2, $3, $4, 1, 'x', 'Accepted', 'm', '')",
            at(40).date(),
            at(40),
            ident,
            a,
        )
        for kind, place, start, end in (
            ("planned", {"station_id": "A", "evse_id": 1}, 8, 12),
            ("grid", {"location_id": "SOUTH"}, 30, 33),
        ):
            span = {"starts_at": at(start).isoformat(), "ends_at": at(end).isoformat()}
            declared = await client.post("/v1/performance/exclusions", json={"kind": kind, **place, **span})
            assert declared.status_code == 201, declared.text
        assert (await client.post("/v1/performance/recompute", json=RANGE)).status_code == 202
        async with asyncio.timeout(30):
            while await rest.execute("SELECT EXISTS (SELECT FROM performance_due WHERE tenant_id = $1)", ident):
                await Rollups(rest.database).compute()
                await asyncio.sleep(0.02)
        yield net


@pytest.mark.parametrize("by", list(KNOWN))
async def test_every_figure_is_the_known_one(network: Network, by: str) -> None:
    found = {one["group"]: one for one in (await network.ask(by)).json()["items"]}
    assert list(found) == list(KNOWN[by])
    for group, known in KNOWN[by].items():
        known.matches(found[group])


@pytest.mark.parametrize("by", list(KNOWN))
async def test_the_table_of_figures_and_its_json_and_csv_say_the_same(network: Network, by: str) -> None:
    items = (await network.ask(by)).json()["items"]
    assert json.loads(await network.run("--by", by, "--json"))["items"] == items
    told = list(csv.DictReader(io.StringIO((await network.ask(by, format="csv")).text)))
    assert [(one["group"], float(one["uptime"]), int(one["sessions"])) for one in told] == [
        (one["group"], one["uptime"], one["sessions"]) for one in items
    ]
    head, *lines = (await network.run("--by", by)).splitlines()
    assert head.split("\t") == [by.upper(), "UPTIME", "", "SUCCESS", "USE", "SESSIONS", "KWH", "REVENUE", "REPAIR"]
    for line, (group, known) in zip(lines, KNOWN[by].items(), strict=True):
        name, uptime, _, success, use, sessions, kwh, revenue, repair = line.split("\t")
        assert name == group
        assert uptime == f"{(1 - (known.down - known.excluded) / known.observed) * 100:.1f} %"
        assert success == f"{known.successes / known.attempts * 100:.1f} %"
        assert use == f"{known.occupied / known.observed * 100:.1f} %"
        assert sessions == str(known.sessions)
        assert float(kwh) == pytest.approx(known.energy_wh / 1000, abs=0.0501)
        assert revenue == " ".join(f"{amount} {currency}" for currency, amount in known.revenue.items())
        assert repair == ("" if known.to_repair is None else f"{known.to_repair:.1f} h")


async def test_one_station_or_place_is_picked_out(network: Network) -> None:
    (of_station,) = (await network.ask("model", station_id="B")).json()["items"]
    B.matches(of_station)
    (of_place,) = (await network.ask("model", location_id="south")).json()["items"]
    C.matches(of_place)
    assert (await network.run("--by", "station", "--location", "SOUTH")).splitlines()[1].startswith("C\t75.0 %")
