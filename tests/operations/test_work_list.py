"""/v1/work-items: causes become items, most at risk first, and go away with their causes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from chargeplane.app.events import EventFeed
from chargeplane.app.work_list import Finder
from chargeplane.domain.languages import say
from chargeplane.domain.work_list import WorkKind
from chargeplane.kernel.ids import StationKey
from tests.support.rest import Rest, StationDouble, assert_problem

_numbers = itertools.count(1)


async def station(rest: Rest) -> tuple[str, StationKey]:
    name = f"WK{next(_numbers)}"
    return name, await rest.station(name)


async def look(rest: Rest) -> None:
    await Finder(rest.database, EventFeed()).look()


async def items(rest: Rest, **asked: Any) -> list[dict[str, Any]]:
    response = await rest.client.get("/v1/work-items", params=asked)
    assert response.status_code == 200, response.text
    return list(response.json()["items"])


async def down(rest: Rest, key: StationKey, state: str) -> None:
    await rest.execute(
        "INSERT INTO evse_availability (tenant_id, station_key, evse_id, state, started_at)"
        " VALUES (1, $1, 1, $2, now() - interval '1 hour')",
        key,
        state,
    )


async def earned(rest: Rest, key: StationKey, amount: str) -> None:
    await rest.execute(
        "INSERT INTO performance_day (tenant_id, day, station_key, evse_id, observed_s, down_s, excluded_s, occupied_s,"
        " repairs, repair_s, attempts, successes, sessions, energy_wh, revenue)"
        " VALUES (1, now()::date - 5, $1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2800, jsonb_build_object('EUR', $2::text))",
        key,
        amount,
    )


async def test_a_fault_is_seen_acknowledged_assigned_acted_on_and_resolved_by_itself(rest: Rest) -> None:
    name, key = await station(rest)
    await down(rest, key, "faulted")
    await look(rest)
    await look(rest)  # the same cause is the same item
    (item,) = await items(rest, station_id=name)
    assert (item["kind"], item["evse_id"], item["state"]) == ("faulted", 1, "seen")
    path = f"/v1/work-items/{item['id']}"
    assert (await rest.client.post(f"{path}/acknowledge", json={})).json()["state"] == "acknowledged"
    assert_problem(await rest.client.post(f"{path}/acknowledge", json={}), 409)
    assigned = await rest.client.post(f"{path}/assign", json={"assignee": "Ada", "note": "Yours"})
    assert (assigned.json()["state"], assigned.json()["assignee"]) == ("assigned", "Ada")
    await rest.client.post(f"{path}/notes", json={"note": "Spare part ordered"})
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (await rest.client.post(f"{path}/snooze", json={"until": until})).status_code == 200
    assert await items(rest, station_id=name, snoozed=False) == []
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert_problem(await rest.client.post(f"{path}/snooze", json={"until": past}), 422, pointer="#/until")
    rest.stations.connected[key] = StationDouble()
    acted = await rest.client.post(f"{path}/actions", json={"action": "reset"})
    assert acted.status_code == 202, acted.text
    assert await rest.execute("SELECT type FROM command WHERE station_key = $1", key) == "reset"
    assert_problem(await rest.client.post(f"{path}/actions", json={"action": "stop"}), 409)
    await rest.execute("UPDATE evse_availability SET ended_at = now() WHERE station_key = $1", key)
    await look(rest)
    shown = (await rest.client.get(path)).json()
    assert shown["item"]["state"] == "resolved"
    assert [one["what"] for one in shown["history"]] == [
        "seen",
        "acknowledged",
        "assigned",
        "noted",
        "snoozed",
        "acted",
        "resolved",
    ]
    assert shown["history"][3]["note"] == "Spare part ordered"
    assert await items(rest, station_id=name) == []
    assert [one["id"] for one in await items(rest, station_id=name, resolved=True)] == [item["id"]]
    assert_problem(await rest.client.post(f"{path}/assign", json={"assignee": "Ada"}), 409)


async def test_what_costs_most_stands_first_and_pages_go_on(rest: Rest) -> None:
    made = []
    for amount in ("28.00", "2800.00", "280.00"):
        name, key = await station(rest)
        await down(rest, key, "offline")
        await earned(rest, key, amount)
        made.append(name)
    await look(rest)
    cheap, dear, middle = made
    wanted = [dear, middle, cheap]
    listed = [one for one in await items(rest, kind="offline", limit=1000) if one["station_id"] in made]
    assert [one["station_id"] for one in listed] == wanted
    assert listed[0]["risk"] == {"amount": "100.00", "currency": "EUR", "energy_wh": 100.0}
    paged: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await rest.client.get("/v1/work-items", params={"kind": "offline", "limit": 1, **cursor})).json()
        paged += [one["station_id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [name for name in paged if name in made] == wanted


async def test_each_cause_is_found(rest: Rest) -> None:
    name, key = await station(rest)
    await rest.execute(
        "INSERT INTO quarantine (tenant_id, station_key, action, message_id, content_hash, payload, reason, received_at)"
        " VALUES (1, $1, 'A', 'm', '\\x00', '\\x00', 'odd', now())",
        key,
    )
    for number in range(3):
        await rest.execute(
            "INSERT INTO transaction (id, tenant_id, station_key, evse_id, opened_at, started_at, stopped_at, energy_wh,"
            " is_open, offline, flags, ordinal, state, updated_at)"
            " VALUES ($1, 1, $2, 2, now(), now(), now(), 0, false, false, '{}', 2, '{}', now())",
            20_000_000 + next(_numbers) * 10 + number,
            key,
        )
    old = 30_000_000 + next(_numbers)
    await rest.execute(
        "INSERT INTO transaction (id, tenant_id, station_key, ocpp_transaction_id, evse_id, opened_at, started_at, energy_wh,"
        " is_open, offline, flags, ordinal, state, updated_at) VALUES ($1, 1, $2, 'T9', 1, now() - interval '4 days',"
        " now() - interval '4 days', 0, true, false, '{}', 2, '{}', now())",
        old,
        key,
    )
    await rest.execute(
        "INSERT INTO open_transaction (transaction_id, tenant_id, station_key, opened_on, ordinal, state)"
        " VALUES ($1, 1, $2, now()::date - 4, 1, '{}')",
        old,
        key,
    )
    await rest.execute(
        "INSERT INTO alert (tenant_id, station_key, kind, severity, title) VALUES (1, $1, 'x', 'warning', 'Look')", key
    )
    topic = f"odd.topic{next(_numbers)}"
    await rest.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload, parked_at, error) VALUES (1, $1, 'k', '{}', now(), 'no')",
        topic,
    )
    await look(rest)
    found = {one["kind"]: one for one in await items(rest, station_id=name)}
    assert set(found) == {"quarantine", "failed_starts", "eternal_session", "alert"}
    assert found["failed_starts"]["evse_id"] == 2
    (parked,) = [one for one in await items(rest, kind="parked_facts", limit=1000) if one["ident"] == topic]
    acted = await rest.client.post(f"/v1/work-items/{parked['id']}/actions", json={"action": "retry"})
    assert acted.status_code == 202, acted.text
    assert await rest.execute("SELECT parked_at IS NULL FROM outbox WHERE topic = $1", topic)
    await look(rest)
    assert (await rest.client.get(f"/v1/work-items/{parked['id']}")).json()["item"]["state"] == "resolved"


async def test_a_cursor_that_was_made_up_is_refused(rest: Rest) -> None:
    assert_problem(await rest.client.get("/v1/work-items", params={"cursor": "abc"}), 400, parameter="cursor")


async def test_items_are_told_in_the_language_asked_for(rest: Rest) -> None:
    key = await rest.station("LANG-1")
    await rest.execute(
        "INSERT INTO evse_availability (tenant_id, station_key, evse_id, state, started_at)"
        " VALUES (1, $1, 1, 'faulted', now() - interval '1 hour')",
        key,
    )
    await Finder(rest.database, EventFeed()).look()
    said = {}
    for language in ("", "de", "sv-SE", "xx"):
        page = await rest.client.get("/v1/work-items", params={"station_id": "LANG-1", "language": language or "en"})
        (item,) = [one for one in page.json()["items"] if one["kind"] == "faulted"]
        one = await rest.client.get(f"/v1/work-items/{item['id']}", params={"language": language or "en"})
        assert one.json()["item"]["title"] == item["title"]
        said[language] = (item["title"], item["words"]["text"])
    assert said[""] == said["xx"] == ("The EVSE is faulted.", "Faulted.")
    assert said["de"] == ("Der Ladepunkt ist gestört.", "Gestört.")
    assert said["sv-SE"] == ("Det är fel på laddpunkten.", "Fel.")


def test_every_kind_but_alerts_has_its_sentence() -> None:
    for kind in set(WorkKind) - {WorkKind.ALERT}:
        assert say(f"work.{kind.value}", "en").endswith(".")
