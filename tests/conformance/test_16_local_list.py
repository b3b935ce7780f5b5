"""OCPP 1.6: the cases of the local authorisation list profile."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.test_d_local_list import Listed, sent_by_hand


@case("1.6")
async def test_TC_042_1_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_local_list_version")
    await (await station.expect("GetLocalListVersion")).answer(listVersion=-1)
    view = await doing.done()
    assert view["state"] in {"accepted", "rejected"}
    assert view["answer"] == {"listVersion": -1}


@case("1.6")
async def test_TC_042_2_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_local_list_version")
    await (await station.expect("GetLocalListVersion")).answer(listVersion=0)
    assert (await doing.ends("accepted"))["answer"] == {"listVersion": 0}


async def by_hand(csms: Operator, answer: str) -> None:
    """The operator sends a full list of one id tag."""
    station = await csms.booted("1.6")
    token = await csms.id_token()
    entry: dict[str, Any] = {"id_token": {"value": token.value}}
    called = await sent_by_hand(csms, station, answer, version=1, kind="Full", put=[entry])
    assert called["listVersion"] == 1
    (told,) = called["localAuthorizationList"]
    assert (told["idTag"], told["idTagInfo"]["status"]) == (token.value, "Accepted")


@case("1.6")
async def test_TC_043_1_CSMS(csms: Operator, version: str) -> None:
    await by_hand(csms, "NotSupported")


@case("1.6")
async def test_TC_043_3_CSMS(csms: Operator, version: str) -> None:
    await by_hand(csms, "Failed")


@case("1.6")
async def test_TC_043_4_CSMS(csms: Operator, version: str) -> None:
    listed = await Listed.of(csms, version)
    first = await listed.member()
    called = await listed.update("Full")
    (entry,) = called["localAuthorizationList"]
    assert (entry["idTag"], entry["idTagInfo"]["status"]) == (first.value, "Accepted")


@case("1.6")
async def test_TC_043_5_CSMS(csms: Operator, version: str) -> None:
    listed = await Listed.of(csms, version)
    await listed.filled()
    token = await listed.member()
    called = await listed.update("Differential")
    (entry,) = called["localAuthorizationList"]
    assert (entry["idTag"], entry["idTagInfo"]["status"]) == (token.value, "Accepted")
