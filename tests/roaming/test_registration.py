"""Registration between two installations in every version: handshake, rotation, upgrade, end; and what may go wrong in between."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.roaming.nasty import enveloped, nasty
from tests.support.roaming import VERSIONS, Node, register


def token_header(token: str, *, raw: bool = False) -> dict[str, str]:
    text = token if raw else base64.b64encode(token.encode()).decode()
    return {"Authorization": f"Token {text}"}


async def asked(node: Node, method: str, path: str, token: str | None, **more: Any) -> httpx.Response:
    """A request at a node's door for partners."""
    headers = {} if token is None else token_header(token)
    headers |= more.pop("headers", {})
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.request(method, f"{node.base_url}{path}", headers=headers, **more)


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_sides_hold_the_others_token_after_the_handshake(
    operator: Node, provider: Node, version: str
) -> None:
    await register(operator, provider, version, host_role="CPO", guest_role="EMSP", name=version)
    ours, theirs = await operator.peer(version + "provider"), await provider.peer(version + "operator")
    assert (ours.state, theirs.state) == ("registered", "registered")
    assert ours.version == theirs.version == version
    assert [str(one.id) for one in ours.parties if one.role == "EMSP"] == ["DE*PRO"]
    assert [str(one.id) for one in theirs.parties if one.role == "CPO"] == ["NL*OPE"]
    for one, peer in ((operator, ours), (provider, theirs)):
        outcome = await one.roaming.caller.call(peer, 3)
        assert outcome.ok, outcome


async def test_newest_version_of_both_is_chosen(operator: Node, provider: Node) -> None:
    await register(operator, provider, name="newest")
    assert (await operator.peer("newestprovider")).version == "2.3.0"


async def invited(node: Node, name: str) -> tuple[int, str]:
    """A partner that may register: our id of it and its token."""
    made = await node.post("/v1/roaming/partners", {"name": name})
    return int(made["partner"]["id"]), made["token"]


def credentials(token: str, url: str, party: str = "NST") -> dict[str, Any]:
    """Of a partner of 2.2.1."""
    role = {"role": "EMSP", "party_id": party, "country_code": "FR", "business_details": {"name": "Nasty"}}
    return {"token": token, "url": url, "roles": [role]}


def platform(partner: Any, *, version: str = "2.2.1", modules: tuple[str, ...] = ("credentials", "locations")) -> Any:
    """Answers of a platform with these modules, to the one token."""

    def answer(asked: Any) -> Any:
        if asked.path == "/versions":
            return enveloped([{"version": version, "url": f"{partner().url}/details"}])
        if asked.path == "/details":
            endpoints = [{"identifier": name, "role": "RECEIVER", "url": f"{partner().url}/{name}"} for name in modules]
            return enveloped({"version": version, "endpoints": endpoints})
        return enveloped()

    return answer


async def test_invitation_opens_versions_and_credentials_alone(operator: Node) -> None:
    _, token = await invited(operator, "curious")
    assert (await asked(operator, "GET", "/versions", token)).status_code == 200
    assert (await asked(operator, "GET", "/2.3.0", token)).status_code == 200
    refused = await asked(operator, "GET", "/2.3.0/sender/locations", token)
    assert refused.status_code == 401
    assert refused.json()["status_code"] == 2000


async def test_put_and_delete_before_registration_are_405(operator: Node) -> None:
    _, token = await invited(operator, "hasty")
    body = credentials("t", "http://127.0.0.1:1/versions")
    for method, more in (("PUT", {"json": body}), ("DELETE", {})):
        answer = await asked(operator, method, "/2.2.1/credentials", token, **more)
        assert answer.status_code == 405
        assert answer.json()["status_code"] == 2000


async def test_platform_that_cannot_be_used_is_told_why(operator: Node) -> None:
    _, token = await invited(operator, "broken")

    async def post(url: str) -> int:
        answer = await asked(operator, "POST", "/2.2.1/credentials", token, json=credentials("t", url))
        assert answer.status_code == 200
        return int(answer.json()["status_code"])

    assert await post("http://127.0.0.1:1/versions") == 3001
    holder: list[Any] = []
    async with nasty(platform(lambda: holder[0], version="2.0")) as one:
        holder[:] = [one]
        assert await post(f"{one.url}/versions") == 3002
    async with nasty(platform(lambda: holder[0], modules=("credentials",))) as one:
        holder[:] = [one]
        assert await post(f"{one.url}/versions") == 3003


async def test_registration_whose_answer_was_lost_can_be_repeated_until_the_token_is_used(operator: Node) -> None:
    ident, token = await invited(operator, "forgetful")
    holder: list[Any] = []
    async with nasty(platform(lambda: holder[0])) as one:
        holder[:] = [one]
        body = credentials("theirs", f"{one.url}/versions", "FGT")
        first = await asked(operator, "POST", "/2.2.1/credentials", token, json=body)
        assert first.json()["status_code"] == 1000, first.text
        second = await asked(operator, "POST", "/2.2.1/credentials", token, json=body)
        newest = second.json()["data"]["token"]
        assert newest != first.json()["data"]["token"]
        assert (await asked(operator, "GET", "/2.2.1/sender/locations", newest)).status_code == 200
        # Used: what was before it is over.
        assert (await asked(operator, "POST", "/2.2.1/credentials", token, json=body)).status_code == 401
        assert (await asked(operator, "POST", "/2.2.1/credentials", newest, json=body)).status_code == 405

        changed = await asked(operator, "PUT", "/2.2.1/credentials", newest, json=body)
        rotated = changed.json()["data"]["token"]
        assert (await asked(operator, "GET", "/2.2.1/sender/locations", newest)).status_code == 200
        assert (await asked(operator, "GET", "/2.2.1/sender/locations", rotated)).status_code == 200
        assert (await asked(operator, "GET", "/2.2.1/sender/locations", newest)).status_code == 401

        assert (await asked(operator, "DELETE", "/2.2.1/credentials", rotated)).json()["status_code"] == 1000
        assert (await asked(operator, "GET", "/versions", rotated)).status_code == 401
    assert (await operator.peer(ident)).state == "ended"


async def test_party_of_ours_cannot_be_taken(operator: Node) -> None:
    _, token = await invited(operator, "thief")
    body = credentials("t", "http://127.0.0.1:1/versions", "OPE")
    body["roles"][0]["country_code"] = "nl"
    answer = await asked(operator, "POST", "/2.2.1/credentials", token, json=body)
    assert (answer.status_code, answer.json()["status_code"]) == (200, 2000)


async def test_rotation_and_upgrade_keep_both_sides_talking(operator: Node, provider: Node) -> None:
    await register(operator, provider, "2.2.1", host_role="CPO", guest_role="EMSP", name="rotating")
    theirs = await provider.peer("rotatingoperator")
    before = await provider.roaming.connections.token_of(theirs)
    await provider.post(f"/v1/roaming/partners/{theirs.id}/rotate", {"version": "2.3.0"}, status=200)
    theirs, ours = await provider.peer("rotatingoperator"), await operator.peer("rotatingprovider")
    assert theirs.version == ours.version == "2.3.0"
    assert await provider.roaming.connections.token_of(theirs) != before
    assert (await provider.roaming.caller.call(theirs, 7)).http_status == 200
    assert (await operator.roaming.caller.call(ours, 33)).http_status == 200
    answer = await provider.rest.delete(f"/v1/roaming/partners/{theirs.id}")
    assert answer.json() == {"untold": None}
    assert (await operator.peer("rotatingprovider")).state == "ended"


async def test_every_error_of_the_door_is_the_envelope(operator: Node, provider: Node) -> None:
    await register(operator, provider, "2.2.1", host_role="CPO", guest_role="EMSP", name="wrong")
    token = await provider.roaming.connections.token_of(await provider.peer("wrongoperator"))
    assert token is not None
    tokens = "/2.2.1/receiver/tokens/DE/PRO/T1"
    good = {
        "country_code": "DE",
        "party_id": "PRO",
        "uid": "T1",
        "type": "RFID",
        "contract_id": "DE-PRO-1",
        "issuer": "Pro",
        "valid": True,
        "whitelist": "ALWAYS",
        "last_updated": "2026-01-01T00:00:00Z",
    }
    cases: list[tuple[str, str, dict[str, Any], int, int]] = [
        ("GET", "/2.2.1/sender/nothing", {}, 404, 2000),
        ("GET", "/nothing", {}, 404, 2000),
        ("DELETE", "/2.2.1/sender/locations", {}, 405, 2000),
        ("PUT", tokens, {"content": b"{"}, 400, 2001),
        ("PUT", tokens, {"json": {"uid": "T1"}}, 200, 2001),
        ("PUT", tokens, {"json": good | {"uid": "T2"}}, 200, 2001),
        ("PUT", tokens.replace("PRO", "XXX"), {"json": good | {"party_id": "XXX"}}, 200, 2001),
        ("PATCH", tokens, {"json": {"valid": False}}, 200, 2001),
        ("GET", "/2.2.1/sender/locations?date_from=yesterday", {}, 200, 2001),
        ("GET", "/2.2.1/sender/locations?limit=-1", {}, 200, 2001),
        ("GET", "/2.2.1/sender/locations/no-such", {}, 404, 2000),
    ]
    for method, path, more, http_status, status in cases:
        answer = await asked(operator, method, path, token, **more)
        found = (answer.status_code, answer.json()["status_code"])
        assert found[0] == http_status, (method, path, answer.text)
        assert found[1] // 1000 == status // 1000, (method, path, answer.text)
        assert answer.headers["x-request-id"]
    raw = await asked(operator, "GET", "/2.2.1/sender/locations/", None, headers=token_header(token, raw=True))
    assert raw.status_code == 200
    assert raw.headers["x-total-count"].isdecimal()
    assert raw.headers["x-limit"] == "1000"
