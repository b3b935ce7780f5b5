"""/v1/sessions and /v1/cdrs over a socket: lists, exports, and what people do to CDRs."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.sessions.making import ENERGY, PARKING, Site, site
from tests.support.charging_house import ChargingHouse


async def charged(made: Site, *visits: int) -> list[Any]:
    """CDRs of visits of so many Wh, in order."""
    tag = (await made.tenant.token())["id_token"]
    station = await made.station("1.6")
    for number, energy in enumerate(visits, 1):
        await station.charge(id_token=tag, energy_wh=energy, meter_interval_s=600)
        await made.settled(number)
    return await made.cdrs()


async def test_pages_follow_each_other_and_filters_hold(house: ChargingHouse) -> None:
    made = await site(house, ENERGY, PARKING)
    await charged(made, 1_000, 2_000, 3_000)
    seen: list[Any] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = await made.tenant.get("/cdrs", **query)
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [cdr["energy_wh"] for cdr in seen] == [3_000, 2_000, 1_000]
    newest = seen[0]
    for query, count in (
        ({"session_id": newest["session_id"]}, 1),
        ({"location_id": made.location_id}, 3),
        ({"evse_uid": newest["evse_uid"], "kind": "original", "currency": "EUR"}, 3),
        ({"tariff_id": made.tariff_id, "held": "false"}, 3),
        ({"held": "true"}, 0),
        ({"driver_id": "1"}, 0),
        ({"ended_from": newest["ended_at"]}, 1),
        ({"ended_to": newest["ended_at"]}, 2),
    ):
        assert len((await made.tenant.get("/cdrs", **query))["items"]) == count, query
    sessions = await made.tenant.get("/sessions", limit=2, state="settled", location_id=made.location_id)
    assert len(sessions["items"]) == 2
    rest = await made.tenant.get("/sessions", state="settled", cursor=sessions["next_cursor"])
    assert len(rest["items"]) == 1
    for path in ("/cdrs?driver_id=x", "/cdrs?cursor=x", "/sessions?state=x", "/cdrs?ended_from=x"):
        assert (await made.tenant.client.get(path)).status_code == 400, path
    for path in ("/cdrs/999999999", "/sessions/999999999", "/sessions/x/explanation", "/cdrs/x/transparency-file"):
        assert (await made.tenant.client.get(path)).status_code == 404, path


async def test_nobody_sees_what_is_another_tenants(house: ChargingHouse) -> None:
    (cdr,) = await charged(await site(house, ENERGY), 1_000)
    other = await house.tenant()
    for path in (f"/cdrs/{cdr['id']}", f"/sessions/{cdr['session_id']}", f"/sessions/{cdr['session_id']}/explanation"):
        assert (await other.client.get(path)).status_code == 404
    refused = await other.client.post(f"/cdrs/{cdr['id']}/credit", json={"reason": "Mine"})
    assert refused.status_code == 404


async def test_a_cdr_is_corrected_with_a_tariff_or_an_energy_and_credited(house: ChargingHouse) -> None:
    made = await site(house)
    (held,) = await charged(made, 10_000)
    assert held["held"] is True
    tariff = await made.tenant.send(
        "POST",
        "/tariffs",
        {
            "currency": "EUR",
            "tax_included": "YES",
            "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "elements": [{"price_components": [{"type": "ENERGY", "price": 0.3, "vat": 19}]}],
        },
    )
    path = f"/cdrs/{held['id']}/correct"
    for body, status, pointer in (
        ({"reason": "Priced", "tariff_id": "none"}, 422, "#/tariff_id"),
        ({"reason": "Priced", "tariff_id": tariff["id"], "tariff_version": 7}, 422, "#/tariff_version"),
        ({"reason": "Priced", "tariff_version": 1}, 422, "#/tariff_version"),
        ({"reason": "Priced", "energy_wh": -1}, 422, "#/energy_wh"),
        ({"energy_wh": 1}, 400, None),
    ):
        refused = await made.tenant.client.post(path, json=body)
        assert refused.status_code in (status, 422), refused.text
        if pointer is not None:
            assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]
    written = await made.tenant.send("POST", path, {"reason": "Priced", "tariff_id": tariff["id"]})
    credit, priced = written["items"]
    assert (credit["credits"], credit["held"]) == (held["id"], True)
    assert (priced["kind"], priced["total_incl"]["amount"], priced["held"]) == ("correction", "3.00", False)
    again = await made.tenant.client.post(path, json={"reason": "Priced", "tariff_id": tariff["id"]})
    assert again.status_code == 409
    assert f"correct CDR {priced['id']}" in again.json()["detail"]
    written = await made.tenant.send(
        "POST", f"/cdrs/{priced['id']}/correct", {"reason": "The meter was wrong", "energy_wh": 5000}
    )
    less = written["items"][1]
    assert (less["energy_wh"], less["total_incl"]["amount"]) == (5_000, "1.50")
    same = await made.tenant.client.post(f"/cdrs/{less['id']}/correct", json={"reason": "Again", "energy_wh": 5000})
    assert same.status_code == 409
    gone = await made.tenant.send("POST", f"/cdrs/{less['id']}/credit", {"reason": "A courtesy"})
    assert gone["total_incl"]["amount"] == "-1.50"
    assert (await made.tenant.client.post(f"/cdrs/{less['id']}/credit", json={"reason": "x"})).status_code == 409
    assert (await made.tenant.client.post(f"/cdrs/{gone['id']}/credit", json={"reason": "x"})).status_code == 409
    session = await made.tenant.get(f"/sessions/{held['session_id']}")
    assert (session["state"], session["priced_by"]) == ("credited", "operator")
    cdrs = await made.cdrs()
    assert sum(Decimal(cdr["total_incl"]["amount"]) for cdr in cdrs if cdr["total_incl"]) == 0
    assert [cdr["number"] for cdr in cdrs] == [1, 2, 3, 4, 5, 6]
    assert await made.cdrs(held="true") == []


async def test_what_is_exported_is_what_is_listed(house: ChargingHouse) -> None:
    made = await site(house, ENERGY)
    cdrs = await charged(made, 1_000, 2_000)
    answer = await made.tenant.client.get("/cdrs/export")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["id"], row["energy_kwh"], row["total_incl"]) for row in rows] == [
        (cdrs[1]["id"], "2", "1.20"),
        (cdrs[0]["id"], "1", "0.60"),
    ]
    lines = (await made.tenant.client.get("/cdrs/export", params={"format": "jsonl"})).text.splitlines()
    whole = [json.loads(line) for line in lines]
    assert [one["id"] for one in whole] == [cdrs[1]["id"], cdrs[0]["id"]]
    assert whole[0] == await made.tenant.get(f"/cdrs/{cdrs[1]['id']}")


async def test_keys_need_the_scopes(house: ChargingHouse) -> None:
    made = await site(house, ENERGY)
    (cdr,) = await charged(made, 1_000)
    key = await house.admin.post(
        "/api-keys", json={"name": "reads", "scopes": ["cdrs:read"], "tenant": made.tenant.slug}
    )
    reader = {"Authorization": f"Bearer {key.json()['key']}"}
    assert (await made.tenant.client.get("/cdrs", headers=reader)).status_code == 200
    assert (await made.tenant.client.get("/sessions", headers=reader)).status_code == 403
    refused = await made.tenant.client.post(f"/cdrs/{cdr['id']}/credit", json={"reason": "x"}, headers=reader)
    assert refused.status_code == 403
