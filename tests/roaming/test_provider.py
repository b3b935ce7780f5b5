"""A provider and an operator over the wire, in every version: what the operator owns is kept, our tokens are known and answered about, commands
go and their results come, CDRs are taken once."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chargeplane.app.roaming.ports import Failure
from chargeplane.domain.roaming.connection import Peer
from chargeplane.edges.ocpi_server.call import Call, Reply
from tests.support.roaming import VERSIONS, Node, register, until

REGISTERED: set[str] = set()


async def both(operator: Node, provider: Node, version: str) -> tuple[Peer, Peer]:
    """The provider as the operator knows it, and the operator as the provider does, in a version."""
    if version not in REGISTERED:
        host, guest = ("CPO", "EMSP") if version == "2.1.1" else (None, None)
        await register(operator, provider, version, name=version, host_role=host, guest_role=guest)
        REGISTERED.add(version)
    return await operator.peer(version + "provider"), await provider.peer(version + "operator")


OWN = {"country_code": "NL", "party_id": "OPE"}


def location(ident: str, **more: Any) -> dict[str, Any]:
    stamp = "2026-01-01T00:00:00Z"
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "last_updated": stamp,
    }  # fmt: skip
    return {
        **OWN, "id": ident, "publish": True, "name": "Hof", "address": "Weg 1", "city": "Hof", "postal_code": "95028",
        "country": "NLD", "coordinates": {"latitude": "52.100000", "longitude": "5.100000"}, "time_zone": "Europe/Amsterdam",
        "evses": [{"uid": "E1", "status": "AVAILABLE", "connectors": [connector], "last_updated": stamp}],
        "last_updated": stamp, **more,
    }  # fmt: skip


async def card(node: Node) -> str:
    """A driver's new card."""
    driver = await node.post("/v1/drivers", {"email": f"{secrets.token_hex(6)}@example.com"})
    uid = f"C{secrets.token_hex(5).upper()}"
    await node.post(f"/v1/drivers/{driver['id']}/id-tokens", {"id_token": uid})
    return uid


@pytest.mark.parametrize("version", VERSIONS)
async def test_location_is_put_patched_read_and_found(operator: Node, provider: Node, version: str) -> None:
    peer, _ = await both(operator, provider, version)
    call = operator.roaming.caller.call
    ident = f"L{version}"
    path = {**OWN, "location_id": ident}
    put = await call(peer, 14, path, body=json.dumps(location(ident)).encode())
    assert (put.ok, put.http_status) == (True, 201), put.sentence
    patch = b'{"status":"CHARGING","last_updated":"2026-01-01T01:00:00Z"}'
    patched = await call(peer, 18, {**path, "evse_uid": "E1"}, body=patch)
    assert patched.ok, patched.sentence
    evse = await call(peer, 12, {**path, "evse_uid": "E1"})
    assert json.loads(evse.data or b"")["status"] == "CHARGING"
    whole = json.loads((await call(peer, 11, path)).data or b"")
    assert whole["last_updated"].startswith("2026-01-01T01:00:00")
    found = await provider.rest.get(
        "/v1/roaming/locations", params={"latitude": 52.1, "longitude": 5.1, "q": ident.lower()}
    )
    assert found.status_code == 200, found.text
    (place,) = found.json()["items"]
    assert (place["partner"], place["id"], place["evses"][0]["status"]) == ("NL*OPE", ident, "CHARGING")


@pytest.mark.parametrize("version", VERSIONS)
async def test_wrong_writes_are_told_what_is_wrong(operator: Node, provider: Node, version: str) -> None:
    peer, _ = await both(operator, provider, version)
    call = operator.roaming.caller.call
    path = {**OWN, "location_id": f"W{version}"}
    unknown = await call(
        peer, 18, {**path, "evse_uid": "E1"}, body=b'{"status":"CHARGING","last_updated":"2026-01-01T01:00:00Z"}'
    )
    assert (unknown.ok, unknown.status_code) == (False, 2003)
    other = await call(peer, 14, path, body=json.dumps(location("OTHER")).encode())
    assert (other.http_status, other.status_code, other.failure) == (200, 2001, Failure.REFUSED)
    stranger = await call(peer, 11, {**path, "party_id": "XYZ"})
    assert not stranger.ok


@pytest.mark.parametrize("version", VERSIONS)
async def test_our_cards_are_pushed_listed_and_answered_about(operator: Node, provider: Node, version: str) -> None:
    peer, known = await both(operator, provider, version)
    uid = await card(provider)

    async def pushed() -> Any:
        return await operator.execute(
            "SELECT convert_from(document, 'UTF8') FROM partner_object WHERE module = 'tokens' AND id = $1",
            uid,
        )  # fmt: skip

    token = json.loads(await until(pushed))
    assert (token["uid"], token["valid"], token["whitelist"]) == (uid, True, "ALLOWED")
    uids = [
        json.loads(document)["uid"]
        async for page in operator.roaming.caller.pages(peer, 33)
        for document in page.documents
    ]
    assert uid in uids
    answer = await operator.roaming.caller.call(peer, 34, {"token_uid": uid.lower()})
    assert answer.ok, answer.sentence
    info = json.loads(answer.data or b"")
    assert info["allowed"] == "ALLOWED"
    assert info["token"]["uid"] == uid  # 2.1.1 does not say it: it is the one that was pushed
    assert ("authorization_reference" in info) is (version != "2.1.1")
    nobody = await operator.roaming.caller.call(peer, 34, {"token_uid": "NOBODY"})
    assert (nobody.http_status, nobody.status_code) == (404, 2004)
    assert known.usable


@pytest.mark.parametrize("version", VERSIONS)
async def test_blocked_card_is_told_and_refused(operator: Node, provider: Node, version: str) -> None:
    peer, _ = await both(operator, provider, version)
    uid = await card(provider)
    tokens = (await provider.rest.get("/v1/id-tokens", params={"id_token": uid})).json()["items"]
    changed = await provider.rest.patch(f"/v1/id-tokens/{tokens[0]['id']}", json={"status": "Blocked"})
    assert changed.status_code == 200, changed.text

    async def told() -> Any:
        return await operator.execute(
            "SELECT 1 FROM partner_object WHERE module = 'tokens' AND id = $1"
            " AND NOT (convert_from(document, 'UTF8')::json ->> 'valid')::boolean",
            uid,
        )  # fmt: skip

    await until(told)
    answer = await operator.roaming.caller.call(peer, 34, {"token_uid": uid})
    assert (answer.http_status, json.loads(answer.data or b"")["allowed"]) == (200, "BLOCKED")


async def test_card_that_was_never_pushed_is_answered_about_in_2_1_1_whose_answer_names_no_token(
    operator: Node, provider: Node
) -> None:
    peer, _ = await both(operator, provider, "2.1.1")
    uid = await card(provider)

    async def pushed() -> Any:
        return await operator.execute(
            "SELECT 1 FROM partner_object WHERE module = 'tokens' AND id = $1", uid
        ) and not await provider.execute("SELECT count(*) FROM roaming_outgoing WHERE module = 'tokens'")

    # As if it had not been: when all connections have told it, it is forgotten.
    await until(pushed, 30)
    await operator.execute("DELETE FROM partner_object WHERE module = 'tokens' AND id = $1", uid)
    answer = await operator.roaming.caller.call(peer, 34, {"token_uid": uid})
    assert answer.ok, answer.sentence
    info = json.loads(answer.data or b"")
    assert info["allowed"] == "ALLOWED"
    assert (info["token"]["uid"], info["token"]["contract_id"]) == (uid, uid)
    assert (info["token"]["country_code"], info["token"]["party_id"]) == ("DE", "PRO")


def cdr(uid: str, contract: str, ident: str, **more: Any) -> dict[str, Any]:
    stamp = "2026-01-01T00:00:00Z"
    element = {"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]}
    tariff = {**OWN, "id": "T1", "currency": "EUR", "tax_included": "NO", "elements": [element], "last_updated": stamp}
    return {
        **OWN, "id": ident, "start_date_time": "2026-03-02T10:00:00Z", "end_date_time": "2026-03-02T12:00:00Z",
        "session_id": f"S{ident}", "auth_method": "WHITELIST", "currency": "EUR", "tariffs": [tariff],
        "cdr_token": {"country_code": "DE", "party_id": "PRO", "uid": uid, "type": "RFID", "contract_id": contract},
        "cdr_location": {
            "id": "L1", "name": "Hof", "address": "Weg 1", "city": "Hof", "postal_code": "95028", "country": "NLD",
            "coordinates": {"latitude": "52.100000", "longitude": "5.100000"}, "evse_uid": "E1", "evse_id": "NL*OPE*E1",
            "connector_id": "1", "connector_standard": "IEC_62196_T2", "connector_format": "SOCKET",
            "connector_power_type": "AC_3_PHASE",
        },
        "charging_periods": [{"start_date_time": "2026-03-02T10:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 20}]}],
        "total_cost": {"before_taxes": 10.0}, "total_energy": 20, "total_time": 2, "last_updated": stamp, **more,
    }  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
async def test_cdr_is_taken_once_checked_and_billed(operator: Node, provider: Node, version: str) -> None:
    peer, _ = await both(operator, provider, version)
    uid = await card(provider)

    async def known() -> Any:
        return await provider.execute("SELECT contract_key FROM provider_token WHERE uid = $1", uid)

    body = json.dumps(cdr(uid, str(await until(known)).upper(), f"CDR{version}")).encode()
    call = operator.roaming.caller.call
    first = await call(peer, 26, body=body)
    again = await call(peer, 26, body=body)
    assert first.ok and again.ok, (first.sentence, again.sentence)  # noqa: PT018
    assert first.location is not None
    assert first.location == again.location
    read = await call(peer, 27, url=first.location)
    assert json.loads(read.data or b"")["id"] == f"CDR{version}"

    async def checked() -> Any:
        found = (
            await provider.rest.get(
                "/v1/roaming/cdrs", params={"partner_id": str(provider.peers[version + "operator"])}
            )
        ).json()
        return next((one for one in found["items"] if one["cdr_id"] == f"CDR{version}" and one["billed_by"]), None)

    one = await until(checked)
    assert one["verdict"] == "agrees", one["check"]
    assert one["total_excl"]["amount"] == "10.00"
    ours = await provider.rest.get(f"/v1/cdrs/{one['billed_by']}")
    assert ours.status_code == 200, ours.text


@pytest.mark.parametrize("version", VERSIONS)
async def test_command_goes_out_and_its_result_comes_back_by_a_url_of_its_own(
    operator: Node, provider: Node, version: str
) -> None:
    peer, _ = await both(operator, provider, version)
    uid = await card(provider)
    heard: list[dict[str, Any]] = []

    async def start(call: Call) -> Reply:
        heard.append(json.loads(call.body))
        return Reply(document=b'{"result":"ACCEPTED","timeout":30}')

    operator.roaming.door.offer({38: start})
    order = {"type": "start_session", "partner": "NL*OPE", "location_id": "L1", "evse_uid": "E1", "id_token": uid}
    async with only(provider, version):
        given = await provider.post("/v1/roaming/commands", order, 202)
    assert (given["state"], given["response"]) == ("waiting", "ACCEPTED"), given
    assert heard[-1]["token"]["uid"] == uid
    url = heard[-1]["response_url"]
    wrong = await operator.roaming.caller.call(peer, 43, url=url + "x", body=b'{"result":"ACCEPTED"}')
    assert (wrong.ok, wrong.status_code) == (False, 2000)
    result = await operator.roaming.caller.call(peer, 43, url=url, body=b'{"result":"EVSE_OCCUPIED"}')
    assert result.ok, result.sentence
    found = (await provider.rest.get(f"/v1/roaming/commands/{given['id']}")).json()
    # OCPI 2.1.1 knows fewer results.
    assert (found["state"], found["result"]) == ("refused", "REJECTED" if version == "2.1.1" else "EVSE_OCCUPIED")


@contextlib.asynccontextmanager
async def only(provider: Node, version: str) -> AsyncIterator[None]:
    """Lets the operator be reached in this version alone."""
    others = []
    for ident in {*provider.peers.values()} - {provider.peers[version + "operator"]}:
        known = await provider.roaming.connections.get(ident)  # also those that other tests made
        if known is not None and known.state == "registered":
            others.append(ident)
    for ident in others:
        await provider.post(f"/v1/roaming/partners/{ident}/suspend", {}, 200)
    yield
    for ident in others:
        await provider.post(f"/v1/roaming/partners/{ident}/resume", {}, 200)
