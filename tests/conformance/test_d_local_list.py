"""Block D: the local authorisation list, kept by policy and sent by hand."""

from __future__ import annotations

import itertools
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import IdToken, Operator
from tests.conformance.station import Asked, Station

_groups = itertools.count(1)


class Listed:
    """A station whose list holds the id tokens of a group, and the list as the station has it."""

    def __init__(self, csms: Operator, station: Station, group: str) -> None:
        self.csms = csms
        self.station = station
        self.group = group
        self.version = 0
        word = "listVersion" if station.version == "1.6" else "versionNumber"
        station.background["GetLocalListVersion"] = lambda asked: {word: self.version}

    @classmethod
    async def of(cls, csms: Operator, version: str) -> Listed:
        """Booted; the group has no id tokens yet."""
        group = f"LIST-{csms.ocpp_port}-{next(_groups)}"
        policy = {"local_list": {"tokens": "groups", "group_ids": [group]}}
        return cls(csms, await csms.booted(version, settings=policy), group)

    async def member(self) -> IdToken:
        """A new id token of the group."""
        return await self.csms.id_token(group_id=self.group)

    async def update(self, kind: str) -> Asked:
        """The next update that the server sends by itself; the station takes it."""
        called = await self.station.expect("SendLocalList", updateType=kind)
        number = called["listVersion" if self.station.version == "1.6" else "versionNumber"]
        assert number > self.version
        assert called["localAuthorizationList"]
        self.version = number
        await called.answer(status="Accepted")
        return called

    async def filled(self) -> IdToken:
        """The list holds one id token."""
        token = await self.member()
        await self.update("Full")
        return token


@case()
async def test_TC_D_01_CSMS(csms: Operator, version: str) -> None:
    listed = await Listed.of(csms, version)
    token = await listed.member()
    listed.version = 1
    called = await listed.update("Full")
    (entry,) = called["localAuthorizationList"]
    assert entry["idToken"] == token.wire
    assert entry["idTokenInfo"]["status"] == "Accepted"


@case()
async def test_TC_D_02_CSMS(csms: Operator, version: str) -> None:
    listed = await Listed.of(csms, version)
    await listed.filled()
    token = await listed.member()
    called = await listed.update("Differential")
    (entry,) = called["localAuthorizationList"]
    assert entry["idToken"] == token.wire
    assert entry["idTokenInfo"]["status"] == "Accepted"


@case()
async def test_TC_D_03_CSMS(csms: Operator, version: str) -> None:
    listed = await Listed.of(csms, version)
    token = await listed.filled()
    await csms.delete(f"/id-tokens/{token.id}")
    called = await listed.update("Differential")
    (entry,) = called["localAuthorizationList"]
    assert set(entry) == {"idToken"}
    assert entry["idToken"] == token.wire


async def sent_by_hand(csms: Operator, station: Station, answer: str, **command: Any) -> Asked:
    """The operator sends a list, and the station says what it does with it."""
    doing = csms.command(station, "send_local_list", **command)
    called = await station.expect("SendLocalList", updateType=command["kind"])
    await called.answer(status=answer)
    await doing.ends("accepted" if answer == "Accepted" else "rejected", answer)
    return called


@case()
async def test_TC_D_04_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    called = await sent_by_hand(csms, station, "Accepted", version=5, kind="Full")
    assert not called.payload.get("localAuthorizationList")


async def version_asked(csms: Operator, version: str, number: int) -> None:
    """The operator asks which list the station has."""
    station = await csms.booted(version)
    doing = csms.command(station, "get_local_list_version")
    called = await station.expect("GetLocalListVersion")
    word = "listVersion" if version == "1.6" else "versionNumber"
    await called.answer(**{word: number})
    assert (await doing.ends("accepted"))["answer"] == {word: number}


@case()
async def test_TC_D_08_CSMS(csms: Operator, version: str) -> None:
    await version_asked(csms, version, 7)


@case()
async def test_TC_D_09_CSMS(csms: Operator, version: str) -> None:
    await version_asked(csms, version, 0)
