"""Id tokens over REST."""

from __future__ import annotations

from tests.support.rest import Rest, assert_problem


async def test_a_token_is_any_string_and_compares_without_case(rest: Rest) -> None:
    made = await rest.client.post(
        "/v1/id-tokens", json={"id_token": "Not-Hex Ü", "valid_until": "2030-01-01T00:00:00+02:00"}
    )
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["type"] == "ISO14443"
    assert body["status"] == "Accepted"
    assert body["valid_until"] == "2029-12-31T22:00:00Z"
    assert_problem(await rest.client.post("/v1/id-tokens", json={"id_token": "not-hex ü"}), 409)
    other = await rest.client.post("/v1/id-tokens", json={"id_token": "not-hex ü", "type": "Central"})
    assert other.status_code == 201
    found = (await rest.client.get("/v1/id-tokens", params={"id_token": "NOT-HEX Ü"})).json()["items"]
    assert [t["type"] for t in found] == ["Central", "ISO14443"]


async def test_a_token_is_changed_and_removed(rest: Rest) -> None:
    made = (await rest.client.post("/v1/id-tokens", json={"id_token": "A", "group_id": "G", "note": "n"})).json()
    path = f"/v1/id-tokens/{made['id']}"
    changed = await rest.client.patch(path, json={"status": "Blocked", "group_id": None}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert changed.json()["status"] == "Blocked"
    assert changed.json()["group_id"] is None
    assert changed.json()["note"] == "n"
    assert changed.headers["etag"] == '"2"'
    assert_problem(await rest.client.patch(path, json={"status": "Accepted"}, headers={"If-Match": '"1"'}), 412)
    assert (await rest.client.patch(path, json={})).json()["revision"] == 2
    await rest.client.post("/v1/id-tokens", json={"id_token": "B"})
    assert_problem(await rest.client.patch(path, json={"id_token": "b"}), 409)
    assert (await rest.client.delete(path)).status_code == 204
    assert_problem(await rest.client.get(path), 404)
    assert_problem(await rest.client.delete(path), 404)
    assert_problem(await rest.client.patch(path, json={}), 404)
    audited = await rest.execute(
        "SELECT string_agg(action, ',' ORDER BY id) FROM audit_log WHERE object_kind='id-token'"
    )
    assert audited == "create,update,create,delete"


async def test_wrong_fields_are_named(rest: Rest) -> None:
    for body, pointer in (
        ({"id_token": ""}, "#/id_token"),
        ({"id_token": "x" * 256}, "#/id_token"),
        ({"id_token": "A", "type": "RFID"}, "#/type"),
        ({"id_token": "A", "status": "accepted"}, "#/status"),
        ({"id_token": "A", "valid_until": "tomorrow"}, "#/valid_until"),
        ({"id_token": "A", "concurrent_limit": 0}, "#/concurrent_limit"),
        ({"id_token": "A", "concurrent_limit": 2**31}, "#/concurrent_limit"),
        (
            {"id_token": "A", "valid_from": "2030-01-02T00:00:00Z", "valid_until": "2030-01-01T00:00:00Z"},
            "#/valid_until",
        ),
    ):
        assert_problem(await rest.client.post("/v1/id-tokens", json=body), 422, pointer=pointer)


async def test_filters(rest: Rest) -> None:
    for text, more in (("A1", {"group_id": "G"}), ("B1", {"status": "Blocked"}), ("C1", {"type": "eMAID"})):
        await rest.client.post("/v1/id-tokens", json={"id_token": text, **more})

    async def found(**params: str) -> list[str]:
        return [t["id_token"] for t in (await rest.client.get("/v1/id-tokens", params=params)).json()["items"]]

    assert await found() == ["C1", "B1", "A1"]
    assert await found(group_id="G") == ["A1"]
    assert await found(status="Blocked") == ["B1"]
    assert await found(type="eMAID") == ["C1"]
    assert await found(q="b") == ["B1"]
    assert_problem(await rest.client.get("/v1/id-tokens?type=RFID"), 400, parameter="type")


async def test_times_at_the_edge_of_the_calendar_are_taken(rest: Rest) -> None:
    for number, at in enumerate(("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2030-01-01T00:00:00")):
        made = await rest.client.post("/v1/id-tokens", json={"id_token": f"T{number}", "valid_until": at})
        assert made.status_code == 201, made.text
        assert (await rest.client.get(made.headers["location"])).status_code == 200
