"""Results that partners are owed outlive the process that waited for the station, and the one that was sending them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from chargeplane.app.roaming.results import Results
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind, CommandOutcome, CommandState
from chargeplane.domain.roaming.commands import Asked, Result
from chargeplane.kernel.errors import PeerError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import commands
from chargeplane.store.queries.roaming_requests import Owed
from tests.support.roaming import until


class Sender:
    """Keeps what is sent; `refuses` so often first, and is slow while `slow`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.refuses = 0
        self.asked = 0
        self.slow: asyncio.Event | None = None

    async def send(self, connection_id: int, kind: Asked, url: str, body: bytes, routing: str | None) -> None:
        self.asked += 1
        if self.slow is not None:
            await self.slow.wait()
        if self.refuses:
            self.refuses -= 1
            raise PeerError("It did not take it.")
        self.sent.append((url, msgspec.json.decode(body)["result"]))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def command(database: Database, outcome: CommandOutcome | None) -> int:
    """A command to a station, written down with how it ended, a while ago."""
    async with database.change() as db:
        key = await db.fetchval(
            "INSERT INTO charging_station (tenant_id, station_id) VALUES (1, 'S' || nextval('command_id_seq')) RETURNING key"
        )
        ident = await commands.insert(
            db,
            TenantId(1),
            StationKey(key),
            type="start",
            request='{"type":"start"}',
            state=CommandState.SENT,
            requested_by="test",
        )
        if outcome is not None:
            await commands.finish(db, ident, outcome)
            await db.execute("UPDATE command SET finished_at = now() - interval '1 minute' WHERE id = $1", ident)
    return ident


async def owed(
    database: Database,
    kind: Asked,
    url: str,
    *,
    command_id: int | None = None,
    in_s: float = 60.0,
    result: str | None = None,
) -> None:
    """A request that nobody waits for any more."""
    async with database.change() as db:
        await db.execute(
            "INSERT INTO roaming_request (tenant_id, connection_id, kind, request, response_url, command_id, deadline, due_at,"
            " result) VALUES (1, 7, $1, '{}', $2, $3, now() + make_interval(secs => $4), now() + make_interval(secs => $4), $5)",
            kind.value,
            url,
            command_id,
            in_s,
            result,
        )


def answered(state: CommandState, status: str | None = None, **more: Any) -> CommandOutcome:
    call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=b"{}")
    return CommandOutcome(state=state, call=call, action="RequestStartTransaction", status=status, **more)


async def test_result_is_made_of_the_answer_that_was_written_down(database: Database) -> None:
    sender = Sender()
    results = Results(database, sender, poll_s=0.02)
    accepted = await command(database, answered(CommandState.ACCEPTED))
    occupied = await command(database, answered(CommandState.REJECTED, "Occupied"))
    silent = await command(database, None)
    await owed(database, Asked.START_SESSION, "accepted", command_id=accepted)
    await owed(database, Asked.RESERVE_NOW, "occupied", command_id=occupied)
    await owed(database, Asked.START_SESSION, "silent", command_id=silent, in_s=-1)
    await owed(database, Asked.STOP_SESSION, "never asked", in_s=-1)
    await owed(database, Asked.STOP_SESSION, "in time yet", command_id=silent)
    await results.start()

    async def four() -> bool:
        return len(sender.sent) == 4

    await until(four)
    await results.stop()
    assert dict(sender.sent) == {
        "accepted": "ACCEPTED",
        "occupied": "EVSE_OCCUPIED",
        "silent": "TIMEOUT",
        "never asked": "TIMEOUT",
    }


async def test_what_a_station_told_beside_its_status_is_found_too(database: Database) -> None:
    results = Results(database, Sender(), poll_s=0.02)
    seen: list[CommandOutcome] = []

    async def told(_: Asked, owed: Owed, outcome: CommandOutcome) -> tuple[Result, dict[str, object] | None]:
        seen.append(outcome)
        return Result.ACCEPTED, {"profile": {"start_date_time": "2026-01-01T00:00:00Z"}}

    results.told[Asked.GET_PROFILE] = told
    ident = await command(database, answered(CommandState.ACCEPTED, reply=b'{"duration_s":5}'))
    await owed(database, Asked.GET_PROFILE, "planned", command_id=ident)
    await results.start()

    async def sent() -> Any:
        async with database.read() as db:
            return await db.fetchval("SELECT result FROM roaming_request WHERE sent_at IS NOT NULL")

    kept = msgspec.json.decode(await until(sent))
    await results.stop()
    assert kept["profile"] == {"start_date_time": "2026-01-01T00:00:00Z"}
    (outcome,) = seen
    assert outcome == answered(CommandState.ACCEPTED, reply=b'{"duration_s":5}')


async def test_result_that_a_dead_process_was_sending_is_sent_by_the_next_one(database: Database) -> None:
    dead, living = Sender(), Sender()
    dead.slow = asyncio.Event()
    first = Results(database, dead, poll_s=0.02, lease_s=0.5)
    await owed(database, Asked.START_SESSION, "url", result='{"result":"ACCEPTED"}', in_s=-1)
    await first.start()

    async def asked() -> bool:
        return dead.asked == 1

    await until(asked)
    await first.stop()  # cut off: nothing of it is written, as where it is killed
    second = Results(database, living, poll_s=0.02, lease_s=0.5)
    await second.start()

    async def sent() -> bool:
        return bool(living.sent)

    await until(sent)
    await second.stop()
    assert living.sent == [("url", "ACCEPTED")]


async def test_address_that_is_slow_is_asked_by_one_process_alone(database: Database) -> None:
    slow, other = Sender(), Sender()
    slow.slow = asyncio.Event()
    first = Results(database, slow, poll_s=0.02, lease_s=0.3)
    second = Results(database, other, poll_s=0.02, lease_s=0.3)
    await owed(database, Asked.START_SESSION, "url", result='{"result":"ACCEPTED"}', in_s=-1)
    await first.start()

    async def asked() -> bool:
        return slow.asked == 1

    await until(asked)
    await second.start()

    async def renewed() -> Any:
        # Twice the lease after it was taken: without a renewal it would have been over.
        async with database.read() as db:
            return await db.fetchval("SELECT due_at > created_at + interval '1.5 seconds' FROM roaming_request")

    await until(renewed)
    slow.slow.set()

    async def sent() -> bool:
        return bool(slow.sent)

    await until(sent)
    await first.stop()
    await second.stop()
    assert (slow.asked, other.asked) == (1, 0)
