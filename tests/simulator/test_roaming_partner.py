"""The simulated partner speaks OCPI in all versions, and does wrong what it is told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from msgspec import Struct

from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import model_of
from chargeplane.ocpi.paging import read_link
from chargeplane.ocpi.table import TABLE
from chargeplane.ocpi.versions import Version
from chargeplane.simulator.roaming.faults import PartnerFault
from chargeplane.simulator.roaming.partner import Partner
from tests.support.ocpi_documents import tree

TOKEN = "token-a"


@pytest.fixture(params=list(Version), ids=str)
async def partner(request: pytest.FixtureRequest) -> AsyncIterator[Partner]:
    made = Partner(request.param, token_in=TOKEN)
    for kind in (Kind.LOCATION, Kind.TOKEN):
        made.owns[kind] = [document(kind, request.param, seed) for seed in range(3)]
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def document(kind: Kind, version: Version, seed: int) -> dict[str, Any]:
    shape = model_of(kind, version)
    assert issubclass(shape, Struct)
    return tree(shape, random.Random(seed)) | ({"id": f"L{seed}"} if kind is Kind.LOCATION else {"uid": f"U{seed}"})


async def call(partner: Partner, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
    url = path if path.startswith("http") else f"{partner.url}/{partner.version}/{path}"
    headers = {"Authorization": f"Token {token or partner.token_in}"}
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.request(method, url, json=body, headers=headers)


async def test_it_registers_and_changes_its_token(partner: Partner) -> None:
    listed = (await call(partner, "GET", partner.versions_url)).json()["data"]
    details = (await call(partner, "GET", listed[0]["url"])).json()["data"]
    place = next(one["url"] for one in details["endpoints"] if one["identifier"] == "credentials")
    answer = (await call(partner, "POST", place, partner.credentials())).json()["data"]
    assert answer["token"] == partner.token_in != TOKEN
    assert (await call(partner, "GET", partner.versions_url, token=TOKEN)).status_code == 401


async def test_lists_come_in_pages(partner: Partner) -> None:
    seen = []
    url: str | None = f"{partner.url}/{partner.version}/sender/locations?limit=2"
    while url:
        answer = await call(partner, "GET", url)
        assert answer.headers["x-total-count"] == "3"
        seen += [one["id"] for one in answer.json()["data"]]
        url = read_link(answer.headers.get("link"))
    assert seen == ["L0", "L1", "L2"]


async def test_what_is_pushed_is_kept_and_given_back(partner: Partner) -> None:
    sent = document(Kind.TOKEN, partner.version, 7)
    path = "receiver/tokens/NL/TNM/U7"
    assert (await call(partner, "PUT", path, sent)).json()["status_code"] == 1000
    change = {"valid": False, "last_updated": "2031-01-01T00:00:00Z"}
    assert (await call(partner, "PATCH", path, change)).json()["status_code"] == 1000
    assert (await call(partner, "GET", path)).json()["data"]["valid"] is False
    assert [one.values["token_uid"] for one in partner.received] == ["U7", "U7"]
    assert (await call(partner, "PUT", path, {"uid": []})).json()["status_code"] == 2001


async def test_it_authorizes_its_tokens(partner: Partner) -> None:
    partner.allowed = "BLOCKED"
    answer = await call(partner, "POST", "sender/tokens/u1/authorize")
    assert answer.json()["data"]["allowed"] == "BLOCKED"
    unknown = await call(partner, "POST", "sender/tokens/U9/authorize")
    assert (unknown.status_code, unknown.json()["status_code"]) == (404, 2004)


async def test_it_tells_the_result_of_a_command(partner: Partner) -> None:
    other = Partner(partner.version, token_in="theirs")
    await other.start()
    try:
        partner.peer = other.credentials()
        row = next(row for row in TABLE.values() if row.body is Kind.COMMAND_RESULT)
        path = "/".join("x" if part.startswith("{") else part for part in row.path.split("/"))
        place = f"{other.url}/{other.version}/{row.interface.value.lower()}/commands/{path}"
        command = {"response_url": place, "session_id": "S1"}
        answer = await call(partner, "POST", "receiver/commands/STOP_SESSION", command)
        assert answer.json()["data"]["result"] == "ACCEPTED"
        async with asyncio.timeout(20):
            while not other.received:
                await asyncio.sleep(0.01)
        assert (other.received[0].number, other.received[0].tree) == (row.number, {"result": "ACCEPTED"})
    finally:
        await other.stop()


@pytest.mark.parametrize(
    ("fault", "status"),
    [(PartnerFault.FAILS, 500), (PartnerFault.REDIRECTS, 302), (PartnerFault.REFUSES_TOKEN, 401)],
)
async def test_faults_of_http(partner: Partner, fault: PartnerFault, status: int) -> None:
    partner.faults.add(fault)
    assert (await call(partner, "GET", "sender/locations")).status_code == status
    assert (await call(partner, "GET", partner.versions_url)).status_code == 200


async def test_faults_of_bodies(partner: Partner) -> None:
    partner.faults = {PartnerFault.BROKEN_JSON}
    with pytest.raises(ValueError):
        (await call(partner, "GET", "sender/locations")).json()
    partner.faults = {PartnerFault.NO_ENVELOPE}
    assert [one["id"] for one in (await call(partner, "GET", "sender/locations")).json()] == ["L0", "L1", "L2"]
    partner.faults = {PartnerFault.WRONG_TYPES}
    assert (await call(partner, "GET", "sender/locations")).json()["data"][0]["id"] == [1]
    partner.faults = {PartnerFault.WRONG_IDS}
    assert (await call(partner, "GET", "sender/locations")).json()["data"][0]["country_code"] == "XX"
    partner.faults = {PartnerFault.SERVER_ERROR}
    assert (await call(partner, "GET", "sender/locations")).json()["status_code"] == 3000


async def test_pages_that_loop(partner: Partner) -> None:
    partner.faults = {PartnerFault.LOOPING_PAGES}
    url = f"{partner.url}/{partner.version}/sender/locations?offset=0&limit=1"
    assert read_link((await call(partner, "GET", url)).headers["link"]) == url


async def test_a_slow_answer_comes_late(partner: Partner) -> None:
    partner.faults, partner.delay_s = {PartnerFault.SLOW}, 600
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await call(partner, "GET", "sender/locations")
