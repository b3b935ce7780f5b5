"""Charging stations over REST."""

from __future__ import annotations

from chargeplane.app.ports import CloseReason
from tests.support.rest import Rest, assert_problem


async def test_registering_shows_a_made_password_once(rest: Rest) -> None:
    made = await rest.client.post("/v1/charging-stations", json={"station_id": "CP1", "location_id": "L1"})
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/charging-stations/CP1"
    body = made.json()
    assert len(body["password"]) == 20
    assert body["security_profile"] == 1
    assert body["registration"] == "accepted"
    assert body["connected"] is False
    again = await rest.client.get("/v1/charging-stations/CP1")
    assert again.status_code == 200
    assert "password" not in again.json()
    assert again.json()["has_password"] is True
    assert again.headers["etag"] == '"1"'


async def test_station_ids_compare_without_case_and_twice_is_a_conflict(rest: Rest) -> None:
    await rest.station("CP1")
    assert_problem(await rest.client.post("/v1/charging-stations", json={"station_id": "cp1"}), 409)
    assert (await rest.client.get("/v1/charging-stations/cp1")).json()["station_id"] == "CP1"


async def test_id_with_slash_and_umlaut_travels_percent_encoded(rest: Rest) -> None:
    made = await rest.client.post("/v1/charging-stations", json={"station_id": "Höfe/7 %2F"})
    assert made.status_code == 201, made.text
    found = await rest.client.get(made.headers["location"])
    assert found.json()["station_id"] == "Höfe/7 %2F"


async def test_passwords_are_16_to_40_characters(rest: Rest) -> None:
    for password in ("short", "x" * 41, "a" * 15 + "\n"):
        response = await rest.client.post("/v1/charging-stations", json={"station_id": "CP1", "password": password})
        assert_problem(response, 422, pointer="#/password")
    given = await rest.client.post("/v1/charging-stations", json={"station_id": "CP1", "password": "x" * 16})
    assert given.status_code == 201
    assert "password" not in given.json()


async def test_profile_0_has_no_password(rest: Rest) -> None:
    made = await rest.client.post("/v1/charging-stations", json={"station_id": "CP0", "security_profile": 0})
    assert made.json()["has_password"] is False
    assert "password" not in made.json()
    refused = await rest.client.post(
        "/v1/charging-stations", json={"station_id": "CP9", "security_profile": 0, "password": "x" * 20}
    )
    assert_problem(refused, 422, pointer="#/password")


async def test_wrong_fields_are_named(rest: Rest) -> None:
    for body, pointer in (
        ({"station_id": 5}, "#/station_id"),
        ({"station_id": ""}, "#/station_id"),
        ({"station_id": "x" * 49}, "#/station_id"),
        ({"station_id": "a:b"}, "#/station_id"),
        ({"station_id": "a\u0000b"}, "#/station_id"),
        ({"station_id": "a", "colour": "red"}, "#/colour"),
        ({"station_id": "a", "security_profile": 4}, "#/security_profile"),
        ({"station_id": "a", "security_profile": "1"}, "#/security_profile"),
        ({"station_id": "a", "registration": "maybe"}, "#/registration"),
        ({"station_id": "a", "metadata": {"k": "\u0000"}}, "#/metadata/k"),
        ({"station_id": "a", "settings": {"heartbeat_interval_s": "60"}}, "#/settings/heartbeat_interval_s"),
        ({"station_id": "a", "settings": {"heartbeat": 60}}, "#/settings/heartbeat"),
        ({"station_id": "a", "settings": {"assumed_version": "1.5"}}, "#/settings/assumed_version"),
        ({}, "#/station_id"),
    ):
        assert_problem(await rest.client.post("/v1/charging-stations", json=body), 422, pointer=pointer)


async def test_credentials_are_everywhere_before_the_answer(rest: Rest) -> None:
    rest.stations.refresh_delay_s = 0.05
    key = await rest.station("CP1")
    assert rest.stations.refreshed == [key]
    changed = await rest.client.patch("/v1/charging-stations/CP1", json={"password": "y" * 20})
    assert changed.status_code == 200
    assert rest.stations.refreshed == [key, key]
    assert rest.stations.closed == [(key, CloseReason.CREDENTIALS_CHANGED)]


async def test_changing_the_profile_makes_and_forgets_passwords(rest: Rest) -> None:
    await rest.station("CP1", security_profile=0)
    first = (await rest.client.patch("/v1/charging-stations/CP1", json={"security_profile": 1})).json()
    assert len(first["password"]) == 20
    again = (await rest.client.patch("/v1/charging-stations/CP1", json={"password": None})).json()
    assert again["password"] != first["password"]
    assert len(again["password"]) == 20
    gone = (await rest.client.patch("/v1/charging-stations/CP1", json={"security_profile": 0})).json()
    assert gone["has_password"] is False


async def test_refusing_a_registration_closes_the_socket(rest: Rest) -> None:
    key = await rest.station("CP1", registration="pending")
    changed = await rest.client.patch("/v1/charging-stations/CP1", json={"registration": "rejected"})
    assert changed.json()["registration"] == "rejected"
    assert rest.stations.closed == [(key, CloseReason.REJECTED)]


async def test_if_match_refuses_what_was_changed_meanwhile(rest: Rest) -> None:
    await rest.station("CP1")
    first = await rest.client.patch("/v1/charging-stations/CP1", json={"name": "A"}, headers={"If-Match": '"1"'})
    assert first.status_code == 200
    assert first.headers["etag"] == '"2"'
    second = await rest.client.patch("/v1/charging-stations/CP1", json={"name": "B"}, headers={"If-Match": '"1"'})
    assert_problem(second, 412)
    assert_problem(
        await rest.client.patch("/v1/charging-stations/CP1", json={"name": "B"}, headers={"If-Match": "one"}),
        400,
        parameter="If-Match",
    )


async def test_a_removed_station_leaves_its_id_free_and_its_history(rest: Rest) -> None:
    key = await rest.station("CP1")
    gone = await rest.client.delete("/v1/charging-stations/CP1")
    assert gone.status_code == 204
    assert rest.stations.closed == [(key, CloseReason.DELETED)]
    assert_problem(await rest.client.get("/v1/charging-stations/CP1"), 404)
    assert_problem(await rest.client.delete("/v1/charging-stations/CP1"), 404)
    assert await rest.station("CP1") != key
    assert await rest.execute("SELECT count(*) FROM charging_station") == 2


async def test_pages_are_stable_newest_first(rest: Rest) -> None:
    for number in range(7):
        await rest.station(f"CP{number}")
    seen: list[str] = []
    cursor = None
    for _ in range(4):
        response = await rest.client.get(
            "/v1/charging-stations", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        page = response.json()
        seen += [item["station_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        await rest.station(f"later{len(seen)}")
    assert cursor is None
    assert seen == [f"CP{n}" for n in reversed(range(7))]


async def test_filters_find_connected_status_location_model_and_text(rest: Rest) -> None:
    a = await rest.station("A1", location_id="L1", name="North_gate")
    b = await rest.station("B1", location_id="L2")
    await rest.station("C1")
    await rest.execute("INSERT INTO node (name, instance) VALUES ('n', gen_random_uuid())")
    await rest.execute(
        "INSERT INTO station_connection (station_key, node_id, connected, ocpp_version, remote_address)"
        " SELECT $1, id, true, '1.6', '10.0.0.1' FROM node",
        a,
    )
    await rest.execute("UPDATE charging_station SET model = 'M500', vendor = 'V' WHERE key = $1", b)
    for evse, status in ((1, "Occupied"), (2, "Available")):
        await rest.execute(
            "INSERT INTO connector (station_key, evse_id, connector_id, status, reported, received_at)"
            " VALUES ($1, $2, 1, $3, $3, now())",
            a,
            evse,
            status,
        )

    async def found(**params: str) -> list[str]:
        response = await rest.client.get("/v1/charging-stations", params=params)
        assert response.status_code == 200, response.text
        return [item["station_id"] for item in response.json()["items"]]

    assert await found(connected="true") == ["A1"]
    assert await found(connected="false") == ["C1", "B1"]
    assert await found(status="Available") == ["A1"]
    assert await found(status="Unknown") == ["C1", "B1"]
    assert await found(location_id="L2") == ["B1"]
    assert await found(model="m500") == ["B1"]
    assert await found(q="north_") == ["A1"]
    assert await found(q="%") == []
    one = (await rest.client.get("/v1/charging-stations/A1")).json()
    assert one["status"] == "Available"
    assert one["connection"]["remote_address"] == "10.0.0.1"
    assert [e["status"] for e in one["evses"]] == ["Occupied", "Available"]
    assert one["evses"][0]["connectors"][0]["connector_id"] == 1


async def test_unknown_filters_and_bad_values_are_refused(rest: Rest) -> None:
    get = rest.client.get
    assert_problem(await get("/v1/charging-stations?colour=red"), 400, parameter="colour")
    assert_problem(await get("/v1/charging-stations?limit=0"), 400, parameter="limit")
    assert_problem(await get("/v1/charging-stations?limit=1001"), 400, parameter="limit")
    assert_problem(await get("/v1/charging-stations?limit=99999999999999999999"), 400, parameter="limit")
    assert_problem(await get("/v1/charging-stations?connected=perhaps"), 400, parameter="connected")
    assert_problem(await get("/v1/charging-stations?status=Busy"), 400, parameter="status")
    assert_problem(await get("/v1/charging-stations?q=%00"), 400, parameter="q")
    for cursor in ("x", "AAAA", "W10", "W251bGxd", "WyJ0cmFuc2FjdGlvbnMiLDFd", "%00"):
        assert_problem(await get(f"/v1/charging-stations?cursor={cursor}"), 400, parameter="cursor")


async def test_variables_of_a_station(rest: Rest) -> None:
    key = await rest.station("CP1")
    for variable in ("HeartbeatInterval", "AuthorizeRemoteTxRequests"):
        await rest.execute(
            "INSERT INTO station_variable (station_key, variable, value, mutability, reported_at)"
            " VALUES ($1, $2, '300', 'ReadWrite', now())",
            key,
            variable,
        )
    first = (await rest.client.get("/v1/charging-stations/CP1/variables?limit=1")).json()
    assert first["items"][0]["variable"] == "AuthorizeRemoteTxRequests"
    assert first["items"][0]["component"] is None
    second = (
        await rest.client.get(
            "/v1/charging-stations/CP1/variables", params={"limit": 1, "cursor": first["next_cursor"]}
        )
    ).json()
    assert [v["variable"] for v in second["items"]] == ["HeartbeatInterval"]
    assert second["next_cursor"] is None
    assert_problem(await rest.client.get("/v1/charging-stations/none/variables"), 404)


async def test_settings_and_metadata_are_kept(rest: Rest) -> None:
    await rest.station("CP1", settings={"heartbeat_interval_s": 60}, metadata={"own": [1, None, "x"]})
    one = (await rest.client.get("/v1/charging-stations/CP1")).json()
    assert one["settings"] == {"heartbeat_interval_s": 60}
    assert one["metadata"] == {"own": [1, None, "x"]}
    changed = await rest.client.patch("/v1/charging-stations/CP1", json={"settings": {"assumed_version": "1.6"}})
    assert changed.json()["settings"] == {"assumed_version": "1.6"}
    assert len(rest.stations.refreshed) == 2


async def test_unknown_stations_are_listed_until_they_are_registered(rest: Rest) -> None:
    for number, station_id in enumerate(("X1", "X2", "X3")):
        await rest.execute(
            "INSERT INTO unknown_station (tenant_id, station_id, remote_address, last_seen_at)"
            " VALUES (1, $1, '10.0.0.9', now() + make_interval(secs => $2))",
            station_id,
            number,
        )
    first = (await rest.client.get("/v1/unknown-stations?limit=2")).json()
    assert [u["station_id"] for u in first["items"]] == ["X3", "X2"]
    second = await rest.client.get("/v1/unknown-stations", params={"limit": 2, "cursor": first["next_cursor"]})
    assert [u["station_id"] for u in second.json()["items"]] == ["X1"]
    await rest.station("x3")
    assert len((await rest.client.get("/v1/unknown-stations")).json()["items"]) == 2
