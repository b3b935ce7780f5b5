"""/v1/tariffs and prices over a socket, with the real database."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.rest import Rest, assert_problem

_numbers = itertools.count(1)


def ident(word: str) -> str:
    return f"{word}.{next(_numbers)}"


def tariff(**more: Any) -> dict[str, Any]:
    night = {"start_time": "22:00", "end_time": "06:00"}
    made = {
        "id": ident("TAR"),
        "name": "House",
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [
            {"price_components": [{"type": "ENERGY", "price": 0.29, "vat": 19}], "restrictions": night},
            {"price_components": [{"type": "ENERGY", "price": 0.39, "vat": 19}]},
            {"price_components": [{"type": "PARKING_TIME", "price": 6, "vat": 19, "step_size": 60}]},
        ],
    }
    return made | more


async def make(rest: Rest, **more: Any) -> dict[str, Any]:
    response = await rest.client.post("/v1/tariffs", json=tariff(**more))
    assert response.status_code == 201, response.text
    return dict(response.json())


async def evse_with(rest: Rest, *tariff_ids: str) -> str:
    place = await rest.client.post(
        "/v1/locations",
        json={
            "address": "Torstr. 1",
            "city": "Berlin",
            "country": "DEU",
            "time_zone": "Europe/Berlin",
            "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
        },
    )
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 16,
        "max_electric_power": 11_000,
        "tariff_ids": list(tariff_ids),
    }
    uid = ident("E")
    made = await rest.client.post(
        f"/v1/locations/{place.json()['id']}/evses", json={"uid": uid, "connectors": [connector]}
    )
    assert made.status_code == 201, made.text
    return uid


async def test_a_tariff_goes_through_versions_and_retires(rest: Rest) -> None:
    made = await make(rest)
    path = f"/v1/tariffs/{made['id']}"
    assert made["elements"][0]["price_components"][0] == {"type": "ENERGY", "price": 0.29, "vat": 19}
    assert (await rest.client.get(path)).json() == made
    body = {name: value for name, value in tariff(name="Dearer").items() if name != "id"}
    put = await rest.client.put(path, json=body, headers={"If-Match": '"1"'})
    assert (put.json()["version"], put.json()["name"], put.headers["ETag"]) == (2, "Dearer", '"2"')
    assert (await rest.client.put(path, json=body, headers={"If-Match": '"1"'})).status_code == 412
    versions = (await rest.client.get(f"{path}/versions", params={"limit": 1})).json()
    assert [one["version"] for one in versions["items"]] == [2]
    rest_of_them = (await rest.client.get(f"{path}/versions", params={"cursor": versions["next_cursor"]})).json()
    assert [(one["version"], one["name"]) for one in rest_of_them["items"]] == [(1, "Dearer")]
    assert (await rest.client.get(f"{path}/versions/1")).json()["version"] == 1
    assert_problem(await rest.client.get(f"{path}/versions/3"), 404)
    assert_problem(await rest.client.get(f"{path}/versions/x"), 404)
    assert "retire it" in assert_problem(await rest.client.delete(path), 409)["detail"]
    retired = await rest.client.post(f"{path}/retire", json={})
    assert retired.json()["retired_at"] is not None
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    future = await make(rest, valid_from=later)
    assert (await rest.client.delete(f"/v1/tariffs/{future['id']}")).status_code == 204
    listed = (await rest.client.get("/v1/tariffs", params={"q": made["id"], "retired": True})).json()["items"]
    assert [one["id"] for one in listed] == [made["id"]]


async def test_what_cannot_be_meant_names_its_field(rest: Rest) -> None:
    energy = {"type": "ENERGY", "price": 0.5}

    def only(component: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
        return {"elements": [{"price_components": [component], "restrictions": restrictions}]}

    for change, pointer in (
        (only(energy | {"price": -1}), "#/elements/0/price_components/0/price"),
        (only(energy | {"price": 1e30}), "#/elements/0/price_components/0/price"),
        (only(energy | {"vat": 101}), "#/elements/0/price_components/0/vat"),
        (only(energy | {"step_size": -1}), "#/elements/0/price_components/0/step_size"),
        (only(energy, reservation="RESERVATION"), "#/elements/0/price_components/0/type"),
        (only(energy, start_time="24:00"), "#/elements/0/restrictions/start_time"),
        (only(energy, start_date="2026-02-30"), "#/elements/0/restrictions/start_date"),
        (only(energy, min_kwh=5, max_kwh=5), "#/elements/0/restrictions/max_kwh"),
        (only(energy, min_duration=10, max_duration=5), "#/elements/0/restrictions/max_duration"),
        ({"elements": []}, "#/elements"),
        ({"elements": [{"price_components": [energy, energy]}]}, "#/elements/0/price_components/1/type"),
        ({"max_price": {"before_taxes": 5, "after_taxes": 4}}, "#/max_price/after_taxes"),
        ({"min_price": {"before_taxes": 5}, "max_price": {"before_taxes": 4}}, "#/max_price/before_taxes"),
        ({"start_date_time": "2026-01-02T00:00:00Z", "end_date_time": "2026-01-01T00:00:00Z"}, "#/end_date_time"),
        ({"currency": "euro"}, "#/currency"),
        ({"tax_included": "MAYBE"}, "#/tax_included"),
        ({"surprise": 1}, None),
    ):
        assert_problem(await rest.client.post("/v1/tariffs", json=tariff(**change)), 422, pointer=pointer)


async def test_an_estimate_explains_itself_in_the_drivers_language(rest: Rest) -> None:
    made = await make(rest)
    path = f"/v1/tariffs/{made['id']}/estimate"
    uid = await evse_with(rest, made["id"])
    body = {"at": "2026-03-02T20:00:00Z", "energy_wh": 22_000, "evse_uid": uid, "parking_s": 90, "language": "de-AT"}
    answer = await rest.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    rated = answer.json()
    # 11 kW: one hour until 22:00 in Berlin at 0.39, one after it at 0.29, two minutes of parking at 6 an hour.
    assert rated["due"]["incl"] == {"amount": "7.68", "currency": "EUR"}
    assert [line["text"] for line in rated["lines"]] == [
        "11 kWh zu 0,39 EUR je kWh",
        "11 kWh zu 0,29 EUR je kWh",
        "2 Min. angesteckt ohne zu laden zu 6,00 EUR je Stunde (1 Min. 30 Sek. gemessen, berechnet in Schritten von 1 Min.)",
    ]
    assert rated["lines"][1]["start"] == "2026-03-02T21:00:00Z"
    assert rated["charging_s"] == 7200
    terms = {"allowances": [{"dimension": "ENERGY", "volume": 11_000}], "discounts": [{"kind": "percent", "value": 50}]}
    less = (await rest.client.post(path, json=body | {"terms": terms, "language": "xx"})).json()
    assert less["due"]["incl"]["amount"] == "1.70"
    assert less["lines"][-1]["text"] == "50 % off the whole price"
    for change, pointer in (
        ({"evse_uid": "nowhere"}, "#/evse_uid"),
        ({"energy_wh": None}, None),
        ({"energy_wh": 1e20}, "#/energy_wh"),
        ({"power_w": 1}, "#/power_w"),
        ({"evse_uid": None, "time_zone": "Mars/Olympus"}, "#/time_zone"),
        ({"profile": [{"power_w": -1, "duration_s": 1}]}, "#/profile/0/power_w"),
    ):
        answer = await rest.client.post(path, json=body | {"evse_uid": uid} | change)
        if pointer is not None:
            assert_problem(answer, 422, pointer=pointer)
        else:
            assert answer.json()["energy_wh"] == 0


async def test_the_price_at_an_evse_is_that_of_the_moment(rest: Rest) -> None:
    public = await make(rest, type="AD_HOC_PAYMENT")
    regular = await make(rest, type="REGULAR", elements=[{"price_components": [{"type": "ENERGY", "price": 0.2}]}])
    uid = await evse_with(rest, regular["id"], public["id"])
    path = f"/v1/evses/{uid}/price"
    day = (await rest.client.get(path, params={"at": "2030-03-02T20:00:00Z"})).json()
    assert (day["tariff_id"], day["per_kwh"]["incl"]) == (public["id"], {"amount": "0.39", "currency": "EUR"})
    assert day["until"] == "2030-03-02T21:00:00Z"
    assert day["fee"] is None
    night = (await rest.client.get(path, params={"at": "2030-03-02T21:00:00Z"})).json()
    assert night["per_kwh"]["incl"]["amount"] == "0.29"
    contract = (await rest.client.get(path, params={"audience": "contract"})).json()
    assert contract["tariff_id"] == regular["id"]
    assert_problem(await rest.client.get(path, params={"connector_id": "9"}), 404)
    assert_problem(await rest.client.get("/v1/evses/nowhere/price"), 404)
    assert_problem(await rest.client.get(path, params={"at": "yesterday"}), 400, parameter="at")


async def test_a_tariff_is_put_on_connectors_and_taken_off(rest: Rest) -> None:
    made, uid = await make(rest), await evse_with(rest)
    path = f"/v1/tariffs/{made['id']}"
    assert (await rest.client.post(f"{path}/assign", json={"connectors": [{"evse_uid": uid}]})).json() == {"changed": 1}
    shown = (await rest.client.get(f"/v1/evses/{uid}")).json()
    assert shown["connectors"][0]["tariff_ids"] == [made["id"]]
    found = (await rest.client.get("/v1/locations", params={"tariff_id": made["id"]})).json()["items"]
    assert [one["evses"][0]["uid"] for one in found] == [uid]
    wrong = {"connectors": [{"evse_uid": uid, "connector_id": "7"}]}
    assert_problem(await rest.client.post(f"{path}/assign", json=wrong), 422, pointer="#/connectors/0/connector_id")
    off = {"connectors": [{"evse_uid": uid, "connector_id": "1"}]}
    assert (await rest.client.post(f"{path}/unassign", json=off)).json() == {"changed": 1}


async def test_the_tariff_for_stations_says_what_they_do_otherwise(rest: Rest) -> None:
    made = await make(rest)
    shown = (await rest.client.get(f"/v1/tariffs/{made['id']}/station-tariff")).json()
    assert shown["tariff"]["tariff_id"] == f"{made['id']}:1"
    night, day = shown["tariff"]["energy"]["prices"]
    assert (night["price_kwh"], night["conditions"]["start_time_of_day"]) == (0.24369748, "22:00")
    assert day["conditions"] is None
    assert {loss["pointer"] for loss in shown["losses"]} == {
        "/elements/0/price_components/0/price",
        "/elements/1/price_components/0/price",
        "/elements/2/price_components/0/step_size",
        "/elements/2/price_components/0/price",
    }
