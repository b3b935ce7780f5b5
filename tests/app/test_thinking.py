"""Waiting for somebody's answer to a station's question: it ends, whatever becomes of what is waited for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec import Struct

from chargeplane.app import revocation
from chargeplane.app.reports import Place
from chargeplane.app.revocation import Found, RevocationChecks
from chargeplane.app.thinking import think
from chargeplane.domain.contracts import HashData, OcspAsk, RevocationState
from chargeplane.kernel.errors import PeerError
from chargeplane.kernel.ids import StationId, StationKey, TenantId

PLACE = Place(
    tenant_id=TenantId(1), key=StationKey(7), station_id=StationId("CS"), received_at=datetime(2026, 1, 31, tzinfo=UTC)
)
ASK = OcspAsk(
    certificate=HashData(algorithm="SHA256", issuer_name_hash="ab" * 32, issuer_key_hash="cd" * 32, serial_number="1f"),
    responder_url="http://ocsp.example/",
)


class Question(Struct, frozen=True, kw_only=True):
    of: str = ""


class Slow:
    """A responder that answers when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.times = 0

    async def get(self, url: str, *, limit: int) -> bytes:
        raise AssertionError

    async def post(self, url: str, body: bytes, content_type: str, *, limit: int) -> bytes:
        self.times += 1
        self.asked.set()
        await self.go_on.wait()
        raise PeerError("It says nothing.")


async def test_who_gives_up_a_check_takes_it_from_nobody_else() -> None:
    responder = Slow()
    checks = RevocationChecks(responder)
    impatient = asyncio.create_task(checks.by_ocsp(ASK, ()))
    await responder.asked.wait()
    patient = asyncio.create_task(checks.by_ocsp(ASK, ()))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})
    responder.go_on.set()
    found = await asyncio.wait_for(patient, 30)
    assert found.state is RevocationState.FAILED
    assert found.reason == "It says nothing."
    assert responder.times == 1


async def test_a_question_ends_also_where_what_its_desk_waited_for_was_cancelled() -> None:
    forever = asyncio.get_running_loop().create_future()

    async def desk(place: Place, asks: Struct) -> Struct | None:
        await forever
        return None

    thinking = asyncio.create_task(think(desk, PLACE, Question()))
    await asyncio.sleep(0)
    forever.cancel()
    assert await asyncio.wait_for(thinking, 30) is None


async def test_a_question_is_cancelled_with_who_asked() -> None:
    async def desk(place: Place, asks: Struct) -> Struct | None:
        await asyncio.Event().wait()
        return None

    thinking = asyncio.create_task(think(desk, PLACE, Question()))
    await asyncio.sleep(0)
    thinking.cancel()
    await asyncio.wait({thinking})
    assert thinking.cancelled()


async def test_a_desk_whose_own_server_refuses_is_not_asked_for_ever() -> None:
    async def desk(place: Place, asks: Struct) -> Struct | None:
        raise ConnectionRefusedError

    assert await asyncio.wait_for(think(desk, PLACE, Question()), 30) is None


async def test_what_is_remembered_of_revocations_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "_KEPT_BYTES", 2500)
    checks = RevocationChecks(Slow())
    long = Found(state=RevocationState.FAILED, until=datetime(2100, 1, 1, tzinfo=UTC), der=b"x" * 1000)

    async def ask() -> Found:
        return long

    for number in [*range(10), 9]:
        assert await checks._once(number, ask) is long
    assert list(checks._known) == [8, 9]
    assert checks._known_bytes == 2000
