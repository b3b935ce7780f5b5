"""/v1/performance: history of states, days, exclusions, over a socket with the real database."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from chargeplane.app.performance.rollups import Rollups
from chargeplane.kernel.ids import StationKey
from tests.support.rest import Rest, assert_problem

_numbers = itertools.count(1)
DAY = date(2026, 3, 10)
MORNING = datetime(2026, 3, 10, tzinfo=UTC)


async def station(rest: Rest) -> tuple[str, StationKey]:
    name = f"PF{next(_numbers)}"
    return name, await rest.station(name)


async def span(rest: Rest, key: StationKey, state: str, start: float, end: float | None, evse: int = 1) -> None:
    await rest.execute(
        "INSERT INTO evse_availability (tenant_id, station_key, evse_id, state, started_at, ended_at)"
        " VALUES (1, $1, $2, $3, $4, $5)",
        key,
        evse,
        state,
        MORNING + timedelta(hours=start),
        None if end is None else MORNING + timedelta(hours=end),
    )


async def transaction(rest: Rest, key: StationKey, start: float, end: float, wh: int, reason: str | None = None) -> int:
    ident = 10_000_000 + next(_numbers)
    await rest.execute(
        "INSERT INTO transaction (id, tenant_id, station_key, evse_id, connector_id, token_key, opened_at, started_at,"
        " stopped_at, stop_reason, energy_wh, is_open, offline, flags, ordinal, state, updated_at)"
        " VALUES ($1, 1, $2, 1, 1, 'tag', $3, $3, $4, $5, $6, false, false, '{}', 2, '{}', $4)",
        ident,
        key,
        MORNING + timedelta(hours=start),
        MORNING + timedelta(hours=end),
        reason,
        wh,
    )
    return ident


async def settled(rest: Rest) -> None:
    """Days that were due are computed, by whoever is at it."""
    async with asyncio.timeout(30):
        while await rest.execute(
            "SELECT EXISTS (SELECT FROM performance_due WHERE day BETWEEN '2026-03-09' AND '2026-03-12')"
        ):
            await Rollups(rest.database).compute()
            await asyncio.sleep(0.02)


async def computed(rest: Rest) -> None:
    response = await rest.client.post("/v1/performance/recompute", json={"from": "2026-03-09", "to": "2026-03-12"})
    assert response.status_code == 202, response.text
    await settled(rest)


async def of(rest: Rest, name: str, by: str = "station") -> list[dict[str, Any]]:
    asked = {"by": by, "from": "2026-03-10", "to": "2026-03-11", "station_id": name}
    response = await rest.client.get("/v1/performance", params=asked)
    assert response.status_code == 200, response.text
    return list(response.json()["items"])


async def test_a_day_has_its_figures_and_exclusions_change_them(rest: Rest) -> None:
    name, key = await station(rest)
    await span(rest, key, "up", -5, 6)
    await span(rest, key, "faulted", 6, 9)
    await span(rest, key, "up", 9, None)
    await transaction(rest, key, 10, 14, 20_000)
    await transaction(rest, key, 15, 15.1, 10, "EVDisconnected")
    paid = await transaction(rest, key, 16, 17, 9_000)
    await rest.execute(
        "INSERT INTO charging_session (id, tenant_id, state, location_id, evse_uid, station_key, frozen, started_at)"
        " VALUES ($1, 1, 'settled', 'L', 'E', $2, '{}', $3)",
        paid,
        key,
        MORNING,
    )
    await rest.execute(
        "INSERT INTO cdr (tenant_id, session_id, kind, number, started_at, ended_at, location_id, evse_uid, energy_wh,"
        " currency, total_excl, total_incl, holds, body)"
        " VALUES (1, $1, 'original', 1, $2, $3, 'L', 'E', 9000, 'EUR', 4.20, 5, '{}', '{}')",
        paid,
        MORNING + timedelta(hours=16),
        MORNING + timedelta(hours=17),
    )
    await computed(rest)
    (found,) = await of(rest, name)
    assert found["group"] == name
    assert found["uptime"] == pytest.approx(21 / 24)
    assert found["utilisation"] == pytest.approx(5.1 / 24)
    assert (found["attempts"], found["successes"], found["sessions"]) == (3, 2, 3)
    assert found["success_rate"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["energy_wh"] == 29_010
    assert (found["repairs"], found["mean_time_to_repair_s"]) == (1, 3 * 3600)
    assert found["revenue"] == [{"amount": "4.20", "currency": "EUR"}]
    made = await rest.client.post(
        "/v1/performance/exclusions",
        json={
            "kind": "grid",
            "station_id": name,
            "starts_at": (MORNING + timedelta(hours=7)).isoformat(),
            "ends_at": (MORNING + timedelta(hours=20)).isoformat(),
        },
    )
    assert made.status_code == 201, made.text
    await settled(rest)
    assert (await of(rest, name))[0]["uptime"] == pytest.approx(23 / 24, abs=1e-6)
    listed = (await rest.client.get("/v1/performance/exclusions")).json()["items"]
    assert made.json() in listed
    assert (await rest.client.delete(f"/v1/performance/exclusions/{made.json()['id']}")).status_code == 204
    await settled(rest)
    assert (await of(rest, name))[0]["uptime"] == pytest.approx(21 / 24)
    asked = {"by": "evse", "from": "2026-03-10", "to": "2026-03-11", "station_id": name, "format": "csv"}
    lines = (await rest.client.get("/v1/performance", params=asked)).text.splitlines()
    assert lines[0].startswith("group,evses,uptime,")
    assert lines[1].startswith(f"{name}/1,1,0.875,")
    assert "4.20 EUR" in lines[1]


async def test_computing_a_day_again_changes_nothing(rest: Rest) -> None:
    name, key = await station(rest)
    await span(rest, key, "offline", 0, 12)
    await computed(rest)
    once = await of(rest, name, "day")
    await computed(rest)
    assert await of(rest, name, "day") == once
    assert once[0]["group"] == "2026-03-10"
    assert once[0]["uptime"] == 0


async def test_states_are_noted_when_they_change(rest: Rest) -> None:
    name, key = await station(rest)
    rollups = Rollups(rest.database)
    node = await rest.execute(
        "INSERT INTO node (name, instance) VALUES ($1, gen_random_uuid()) RETURNING id", f"node of {name}"
    )
    await rest.execute(
        "INSERT INTO station_connection (station_key, node_id, connected) VALUES ($1, $2, true)", key, node
    )

    async def report(connector: int, status: str) -> None:
        await rest.execute(
            "INSERT INTO connector (station_key, evse_id, connector_id, status, reported, received_at)"
            " VALUES ($1, 1, $2, $3, $3, now()) ON CONFLICT (station_key, evse_id, connector_id)"
            " DO UPDATE SET status = excluded.status, received_at = now()",
            key,
            connector,
            status,
        )

    async def seen() -> list[str]:
        async with rest.database.change() as db:
            await db.execute("UPDATE node SET seen_at = now() WHERE id = $1", node)
        await rollups.note_states()
        async with rest.database.read() as db:
            rows = await db.fetch(
                "SELECT state, ended_at IS NULL AS open FROM evse_availability WHERE station_key = $1 ORDER BY id", key
            )
        assert [row["open"] for row in rows] == [False] * (len(rows) - 1) + [True]
        return [row["state"] for row in rows]

    await report(1, "Available")
    await report(2, "Faulted")
    assert await seen() == ["up"]  # one of its connectors works
    await report(1, "Faulted")
    assert await seen() == ["up", "faulted"]
    assert await seen() == ["up", "faulted"]
    await report(1, "Unavailable")
    assert await seen() == ["up", "faulted", "unavailable"]
    await report(1, "Occupied")
    assert await seen() == ["up", "faulted", "unavailable", "up"]
    await rest.execute(
        "UPDATE station_connection SET connected = false, changed_at = now() WHERE station_key = $1", key
    )
    assert await seen() == ["up", "faulted", "unavailable", "up", "offline"]


async def test_what_cannot_be_a_range_is_refused_by_field(rest: Rest) -> None:
    assert_problem(await rest.client.get("/v1/performance", params={"from": "yesterday"}), 400, parameter="from")
    swapped = {"from": "2026-03-10", "to": "2026-03-10"}
    assert (await rest.client.get("/v1/performance", params=swapped)).status_code == 422
    body = {"kind": "planned", "starts_at": MORNING.isoformat(), "ends_at": MORNING.isoformat()}
    assert_problem(await rest.client.post("/v1/performance/exclusions", json=body), 422, pointer="#/ends_at")
