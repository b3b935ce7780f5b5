"""/v1/locations and /v1/evses over a socket, with the real database."""

from __future__ import annotations

import itertools
from typing import Any

from chargeplane.app.locations.codes import CodeAddresses, as_svg
from tests.support.rest import Rest, StationDouble, assert_problem

_numbers = itertools.count(1)


def ident(word: str) -> str:
    return f"{word}~{next(_numbers)}"


def location(**more: Any) -> dict[str, Any]:
    made = {
        "id": ident("LOC"),
        "name": "Am Markt",
        "address": "Torstr. 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
    }
    return made | more


def connector(**more: Any) -> dict[str, Any]:
    made = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
    }
    return made | more


async def make(rest: Rest, **more: Any) -> dict[str, Any]:
    response = await rest.client.post("/v1/locations", json=location(**more))
    assert response.status_code == 201, response.text
    return dict(response.json())


async def add(rest: Rest, location_id: str, **more: Any) -> dict[str, Any]:
    body = {"uid": ident("EVSE"), "connectors": [connector()], **more}
    response = await rest.client.post(f"/v1/locations/{location_id}/evses", json=body)
    assert response.status_code == 201, response.text
    return dict(response.json())


async def test_a_location_is_made_read_replaced_and_deleted(rest: Rest) -> None:
    made = await make(rest, opening_times={"twentyfourseven": True}, facilities=["CAFE"])
    path = f"/v1/locations/{made['id'].lower()}"
    got = await rest.client.get(path)
    assert got.json() == made
    assert got.headers["ETag"] == '"1"'
    assert (made["publish"], made["charging_when_closed"], made["evses"]) == (True, True, [])
    body = {name: value for name, value in location(name="Neu").items() if name != "id"}
    replaced = await rest.client.put(path, json=body, headers={"If-Match": '"1"'})
    assert (replaced.json()["name"], replaced.json()["facilities"], replaced.headers["ETag"]) == ("Neu", [], '"2"')
    stale = await rest.client.put(path, json=body, headers={"If-Match": '"1"'})
    assert stale.status_code == 412, stale.text
    assert_problem(await rest.client.post("/v1/locations", json=location(id=made["id"].upper())), 409)
    evse = await add(rest, made["id"])
    assert (await rest.client.delete(path)).status_code == 204
    assert_problem(await rest.client.get(path), 404)
    assert (await rest.client.get(f"/v1/evses/{evse['uid']}")).json()["status"] == "REMOVED"
    written = await rest.execute(
        "SELECT count(*) FROM audit_log WHERE object_kind = 'location' AND object_id = $1", made["id"]
    )
    assert written == 3


async def test_what_cannot_be_names_its_field(rest: Rest) -> None:
    hours = {
        "twentyfourseven": False,
        "regular_hours": [{"weekday": 1, "period_begin": "18:00", "period_end": "08:00"}],
    }
    for change, pointer in (
        ({"country": "DDR"}, "#/country"),
        ({"time_zone": "Europe/Bonn"}, "#/time_zone"),
        ({"time_zone": "../etc/passwd"}, "#/time_zone"),
        ({"coordinates": {"latitude": "91.00000", "longitude": "13.40100"}}, "#/coordinates/latitude"),
        ({"opening_times": hours}, "#/opening_times/regular_hours/0/period_end"),
        ({"publish_allowed_to": [{"uid": "1", "type": "RFID"}]}, "#/publish_allowed_to"),
        ({"publish": False, "publish_allowed_to": [{}]}, "#/publish_allowed_to/0"),
    ):
        problem = await rest.client.post("/v1/locations", json=location(**change))
        assert_problem(problem, 422, pointer=pointer)
    place = await make(rest)
    path = f"/v1/locations/{place['id']}/evses"
    for change, pointer in (
        ({"station_id": "nobody", "ocpp_evse_id": 1}, "#/station_id"),
        ({"ocpp_evse_id": 1}, "#/station_id"),
        ({"parking": [{"parking_id": "P1"}]}, "#/parking/0/parking_id"),
        ({"connectors": [connector(), connector()]}, "#/connectors/1/id"),
        ({"connectors": [connector(tariff_ids=["none"])]}, "#/connectors/0/tariff_ids/0"),
        ({"payment_methods": ["web", "web"]}, "#/payment_methods"),
    ):
        body = {"connectors": [connector()], **change}
        assert_problem(await rest.client.post(path, json=body), 422, pointer=pointer)


async def test_an_evse_follows_its_station(rest: Rest) -> None:
    place, station = await make(rest), ident("CP")
    key = await rest.station(station)
    evse = await add(rest, place["id"], station_id=station, ocpp_evse_id=1)
    path = f"/v1/evses/{evse['uid']}"
    assert (evse["status"], evse["station_id"]) == ("UNKNOWN", station)
    node = await rest.execute("INSERT INTO node (name, instance) VALUES ($1, gen_random_uuid()) RETURNING id", station)
    await rest.execute(
        "INSERT INTO station_connection (station_key, node_id, connected) VALUES ($1, $2, true)", key, node
    )
    await rest.execute(
        "INSERT INTO connector (station_key, evse_id, connector_id, status, reported, received_at)"
        " VALUES ($1, 1, 1, 'Available', 'Available', now())",
        key,
    )
    rest.stations.connected[key] = StationDouble()
    for status, shown in (
        ("Available", "AVAILABLE"),
        ("Occupied", "CHARGING"),
        ("Reserved", "RESERVED"),
        ("Faulted", "OUTOFORDER"),
        ("Unavailable", "INOPERATIVE"),
    ):
        await rest.execute("UPDATE connector SET status = $2 WHERE station_key = $1", key, status)
        assert (await rest.client.get(path)).json()["status"] == shown
        found = await rest.client.get("/v1/locations", params={"available": True, "station_id": station})
        assert len(found.json()["items"]) == (status == "Available")
    body = {"declared_status": "BLOCKED", "station_id": station, "ocpp_evse_id": 1}
    assert (await rest.client.put(path, json=body)).json()["status"] == "BLOCKED"
    released = await rest.client.put(path, json={})
    assert (released.json()["station_id"], released.json()["status"]) == (None, "UNKNOWN")
    assert len(released.json()["connectors"]) == 1


async def test_connectors_are_added_described_and_removed(rest: Rest) -> None:
    place = await make(rest)
    evse = await add(rest, place["id"])
    path = f"/v1/evses/{evse['uid']}"
    dc = connector(
        id="2", ocpp_connector_id=2, power_type="DC", max_voltage=900, max_amperage=500, max_electric_power=150_000
    )
    added = await rest.client.put(f"{path}/connectors/2", json=dc, headers={"If-Match": f'"{evse["revision"]}"'})
    assert [one["max_power_w"] for one in added.json()["connectors"]] == [22_080, 150_000]
    assert_problem(await rest.client.put(f"{path}/connectors/3", json=dc), 422, pointer="#/id")
    assert (await rest.client.delete(f"{path}/connectors/1")).status_code == 204
    assert_problem(await rest.client.delete(f"{path}/connectors/1"), 404)
    assert "last connector" in assert_problem(await rest.client.delete(f"{path}/connectors/2"), 409)["detail"]


async def test_the_nearest_come_first_page_after_page_also_over_the_date_line(rest: Rest) -> None:
    city = ident("Fiji")
    places = {}
    for longitude in ("179.90000", "-179.95000", "179.50000", "178.00000"):
        point = {"latitude": "-16.50000", "longitude": longitude}
        places[longitude] = await make(rest, coordinates=point, city=city, country="FJI", time_zone="Pacific/Fiji")
    query: dict[str, Any] = {"latitude": -16.5, "longitude": 179.99, "radius_m": 60_000, "limit": 1, "q": city}
    seen = []
    while True:
        page = (await rest.client.get("/v1/locations", params=query)).json()
        seen += [(item["coordinates"]["longitude"], item["distance_m"]) for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [longitude for longitude, _ in seen] == ["-179.95000", "179.90000", "179.50000"]
    # 0.06, 0.09 and 0.49 degrees of longitude at 16.5 degrees south.
    assert [distance // 100 for _, distance in seen] == [63, 95, 522]
    assert_problem(await rest.client.get("/v1/locations", params={"latitude": 5}), 400, parameter="longitude")
    pole = await rest.client.get("/v1/locations", params={"latitude": 90, "longitude": 0, "radius_m": 1000})
    assert pole.json()["items"] == []


async def test_filters_on_evses_are_met_by_one_evse_together(rest: Rest) -> None:
    city = ident("Malmo")
    place = await make(rest, city=city, facilities=["HOTEL"], publish=False)
    await add(rest, place["id"], payment_methods=["web"])
    fast = connector(standard="IEC_62196_T2_COMBO", power_type="DC", max_voltage=900, max_amperage=300)
    await add(rest, place["id"], connectors=[fast], payment_methods=["contract"])
    for query, found in (
        ({}, 1),
        ({"current": "DC", "min_power_w": 200_000, "payment_method": "contract"}, 1),
        ({"current": "DC", "payment_method": "web"}, 0),
        ({"standard": "IEC_62196_T2"}, 1),
        ({"standard": "CHADEMO"}, 0),
        ({"facility": "HOTEL", "publish": False}, 1),
        ({"facility": "CAFE"}, 0),
        ({"country": "SWE"}, 0),
    ):
        page = await rest.client.get("/v1/locations", params={"q": city, **query})
        assert len(page.json()["items"]) == found, query


async def test_opening_times_are_local_and_closings_go_first(rest: Rest) -> None:
    city = ident("Bonn")
    hours = {
        "twentyfourseven": False,
        "regular_hours": [{"weekday": 1, "period_begin": "08:00", "period_end": "20:00"}],
        "exceptional_openings": [{"period_begin": "2026-03-03T10:00:00Z", "period_end": "2026-03-03T12:00:00Z"}],
        "exceptional_closings": [{"period_begin": "2026-03-02T10:00:00Z", "period_end": "2026-03-02T11:00:00Z"}],
    }
    await make(rest, city=city, opening_times=hours)
    for at, found in (
        ("2026-03-02T07:30:00Z", 1),
        ("2026-03-02T06:59:59Z", 0),
        ("2026-03-02T10:30:00Z", 0),
        ("2026-03-02T19:00:00Z", 0),
        ("2026-03-03T11:00:00Z", 1),
        ("2026-03-03T12:00:00Z", 0),
    ):
        page = await rest.client.get("/v1/locations", params={"q": city, "open_at": at})
        assert len(page.json()["items"]) == found, at


async def test_a_qr_code_leads_to_the_page_for_guests_and_changes_with_the_code(rest: Rest) -> None:
    place, station = await make(rest), ident("CP")
    await rest.station(station)
    evse = await add(rest, place["id"], station_id=station, ocpp_evse_id=1, payment_methods=["web"])
    path = f"/v1/evses/{evse['uid']}"
    svg = await rest.client.get(f"{path}/qr-code")
    assert svg.headers["content-type"].startswith("image/svg+xml")
    address = CodeAddresses(None).of(evse["code"], rest.base_url + "/")
    assert svg.content == as_svg(address)
    # The page for guests, which says here that nobody takes payments; what leads nowhere is answered by a problem.
    assert (await rest.client.get(address)).headers["content-type"].startswith("text/html")
    png = await rest.client.get(f"{path}/qr-code", params={"format": "png", "scale": 4})
    assert png.content.startswith(b"\x89PNG")
    renewed = await rest.client.post(f"{path}/renew-code")
    assert renewed.json()["code"] != evse["code"]
    assert (await rest.client.get(f"{path}/qr-code")).content != svg.content


async def test_scopes_and_tenants_keep_locations_apart(rest: Rest) -> None:
    place = await make(rest)
    made = await rest.client.post("/v1/api-keys", json={"name": "reader", "scopes": ["locations:read"]})
    async with rest.as_key(made.json()["key"]) as reader:
        assert (await reader.get(f"/v1/locations/{place['id']}")).status_code == 200
        assert_problem(await reader.delete(f"/v1/locations/{place['id']}"), 403)
        assert_problem(await reader.get("/v1/tariffs"), 403)
    slug = "t" + str(next(_numbers))
    await rest.client.post("/v1/tenants", json={"slug": slug, "name": "Other"})
    other = await rest.client.post("/v1/api-keys", json={"name": "other", "scopes": ["admin"], "tenant": slug})
    assert other.status_code == 201, other.text
    async with rest.as_key(other.json()["key"]) as stranger:
        assert_problem(await stranger.get(f"/v1/locations/{place['id']}"), 404)
        assert (await stranger.post("/v1/locations", json=location(id=place["id"]))).status_code == 201


async def test_ways_to_pay_are_told_to_a_station_that_has_switches_for_them(rest: Rest) -> None:
    place, station = await make(rest), ident("CP")
    key = await rest.station(station)
    for component, evse, variable, value in (
        ("WebPaymentsCtrlr", 1, "Enabled", "false"),
        ("WebPaymentsCtrlr", 2, "Enabled", "true"),
        ("PaymentCtrlr", 0, "Enabled", "true"),
        ("ISO15118Ctrlr", 0, "PnCEnabled", "false"),
    ):
        await rest.execute(
            "INSERT INTO station_variable (station_key, component, evse_id, variable, value, mutability, reported_at)"
            " VALUES ($1, $2, $3, $4, $5, 'ReadWrite', now())",
            key,
            component,
            evse,
            variable,
            value,
        )
    bound = {"station_id": station, "ocpp_evse_id": 1}
    evse = await add(rest, place["id"], **bound)
    changes = f"/v1/charging-stations/{station}/variable-changes"
    assert (await rest.client.get(changes)).json()["items"] == []
    body = {**bound, "payment_methods": ["web", "contract"]}
    assert (await rest.client.put(f"/v1/evses/{evse['uid']}", json=body)).status_code == 200
    asked = (await rest.client.get(changes)).json()["items"]
    assert len(asked) == 1
    assert [(one["component"], one.get("evse_id"), one["value"]) for one in asked[0]["variables"]] == [
        ("PaymentCtrlr", None, "false"),
        ("WebPaymentsCtrlr", 1, "true"),
    ]
