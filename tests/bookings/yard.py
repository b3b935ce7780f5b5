"""A place with EVSEs, stations that keep reservations, drivers, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chargeplane.app.bookings import Bookings, Keeper
from chargeplane.app.commands import Commands, Wire
from chargeplane.app.events import EventFeed
from chargeplane.app.tariffs import Tariffs
from chargeplane.bridge.commands import call_outcome, reservation_field
from chargeplane.bridge.variables import reported_variables
from chargeplane.domain.commands import (
    CallOutcome,
    CallOutcomeKind,
    CancelReservation,
    Command,
    CommandOutcome,
    CommandState,
    ReserveNow,
)
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import StationKey
from tests.support.rest import Rest

_numbers = itertools.count(1)
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=2)


def ident(word: str) -> str:
    """A name that no other test has."""
    return f"{word}-{next(_numbers)}"


class Clock:
    """Shows what it is set to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        """Moves on."""
        self.at += timedelta(**by)


@dataclass
class KeptStation:
    """A station that keeps reservations by their numbers, as the specifications say.

    Args:
        word: what it answers to ReserveNow; None: nothing, it is away.
    """

    word: str | None = "Accepted"
    kept: dict[int, ReserveNow] = field(default_factory=dict)
    asked: list[Command] = field(default_factory=list)

    def take(self, command: Command) -> CommandOutcome:
        """Carries out a command."""
        self.asked.append(command)
        status = "Accepted"
        if isinstance(command, ReserveNow):
            status = self.word or ""
            if status == "Accepted":
                self.kept[command.reservation_id] = command
        elif isinstance(command, CancelReservation):
            status = "Accepted" if self.kept.pop(command.reservation_id, None) is not None else "Rejected"
        if status == "NotImplemented":
            call = CallOutcome(outcome=CallOutcomeKind.CALLERROR, message_id="m", error_code=status, latency_ms=1.0)
            return CommandOutcome(state=CommandState.FAILED, call=call)
        call = CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="m", payload=b"{}", latency_ms=1.0)
        state = CommandState.ACCEPTED if status == "Accepted" else CommandState.REJECTED
        return CommandOutcome(state=state, call=call, status=status, reason=None if status == "Accepted" else status)


class Stations:
    """The stations' side (a StationReach)."""

    def __init__(self) -> None:
        self.by_key: dict[StationKey, KeptStation] = {}

    async def command(self, key: StationKey, command: Command, timeout_s: float) -> CommandOutcome:
        """Carries it out."""
        station = self.by_key.get(key)
        if station is None or station.word is None:
            raise ConflictError("The station is not connected.")
        await asyncio.sleep(0)
        return station.take(command)

    async def ready(self, key: StationKey, *, pending: bool = False) -> bool:
        """Whether it is there."""
        station = self.by_key.get(key)
        return station is not None and station.word is not None


class Killed(BaseException):
    """The process ends here."""


class MortalDatabase:
    """The database of a process that is killed right after its n-th commit.

    Args:
        commits: how many it lives for; None: for ever.
    """

    def __init__(self, database: Any, commits: int | None) -> None:
        self._database = database
        self._left = commits
        self.dead = False

    def _alive(self) -> None:
        if self.dead:
            raise Killed

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        """Reads, while it lives."""
        self._alive()
        async with self._database.read() as db:
            yield db

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        """Changes something, and perhaps dies of it."""
        self._alive()
        async with self._database.change() as db:
            yield db
            self._alive()
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.dead = True
                raise Killed

    def after_commit(self, db: Any, act: Any) -> None:
        """As the database's."""
        self._database.after_commit(db, act)


class Life:
    """A process that looks after bookings, until it is killed."""

    def __init__(self, rest: Rest, stations: Stations, clock: Clock, commits: int | None = None) -> None:
        self.database: Any = MortalDatabase(rest.database, commits)
        wire = Wire(
            reported_variables=reported_variables, reservation_field=reservation_field, call_outcome=call_outcome
        )
        self.commands = Commands(self.database, stations, rest.events, wire)  # type: ignore[arg-type]
        tariffs = Tariffs(self.database, EventFeed())
        telling = rest.business.booking_telling
        self.bookings = Bookings(self.database, tariffs, self.commands, telling, now=clock)
        self.keeper = Keeper(self.database, self.commands, tariffs, telling, None, ask_valid_s=0.3, now=clock)

    async def end(self) -> None:
        """Lets go of what still runs."""
        self.database.dead = True
        await self.keeper.stop()
        await self.commands.stop()


def location(**more: Any) -> dict[str, Any]:
    """A place, as REST takes it."""
    return {
        "address": "Torstr. 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
    } | more


def connector(**more: Any) -> dict[str, Any]:
    """A connector, as REST takes it."""
    return {
        "id": "1",
        "standard": "IEC_62196_T2_COMBO",
        "format": "CABLE",
        "power_type": "DC",
        "max_voltage": 400,
        "max_amperage": 250,
    } | more


@dataclass
class Yard:
    """A location with EVSEs, each with a station of its own, and a driver.

    Args:
        uids: of the EVSEs.
        keys: of their stations.
    """

    rest: Rest
    clock: Clock
    stations: Stations
    location_id: str
    uids: list[str]
    keys: list[StationKey]
    token: str

    def station(self, number: int = 0) -> KeptStation:
        """The station of an EVSE."""
        return self.stations.by_key[self.keys[number]]

    def reservations(self) -> list[tuple[int, ReserveNow]]:
        """What all stations keep: the number of the EVSE, and what was asked."""
        return [
            (number, kept) for number, key in enumerate(self.keys) for kept in self.stations.by_key[key].kept.values()
        ]

    def life(self, commits: int | None = None) -> Life:
        """A process."""
        return Life(self.rest, self.stations, self.clock, commits)

    async def send(self, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """A request that succeeds, or ends with the status."""
        answer = await self.rest.client.request(method, path, json=body)
        expected = answer.status_code == status if status else answer.status_code < 300
        assert expected, answer.text
        return answer.json() if answer.content else None

    async def book(self, minutes: float = 60, lasts: float = 60, **more: Any) -> Any:
        """A booking so many minutes after the clock's time."""
        start = self.clock() + timedelta(minutes=minutes)
        body = {
            "evse_uid": self.uids[0],
            "id_token": self.token,
            "starts_at": start.isoformat(),
            "ends_at": (start + timedelta(minutes=lasts)).isoformat(),
        }
        return await self.send("POST", "/v1/bookings", body | more)

    async def state(self, booking: Any) -> Any:
        """The booking now."""
        return await self.send("GET", f"/v1/bookings/{booking['id']}")

    async def facts(self, booking: Any) -> list[str]:
        """The topics of a booking's facts, in order; those that announce are taken by the server meanwhile."""
        async with self.rest.database.read() as db:
            rows = await db.fetch("SELECT topic FROM outbox WHERE key = $1 ORDER BY id", f"booking {booking['id']}")
        return [row["topic"] for row in rows]

    async def show(self, number: int, status: str) -> None:
        """The status of an EVSE's connector, as its station told it, connected to a node that lives."""
        key = self.keys[number]
        await self.rest.execute(
            "INSERT INTO connector (station_key, evse_id, connector_id, status, reported, received_at)"
            " VALUES ($1, 1, 1, $2, $2, now()) ON CONFLICT (station_key, evse_id, connector_id) DO UPDATE SET status = $2",
            key,
            status,
        )
        node = await self.rest.execute(
            "INSERT INTO node (name, instance, seen_at) VALUES ($1, gen_random_uuid(), now() + interval '1 day') RETURNING id",
            ident("node"),
        )
        await self.rest.execute(
            "INSERT INTO station_connection (station_key, node_id, connected, changed_at) VALUES ($1, $2, true, '2026-01-01Z')",
            key,
            node,
        )

    async def transaction(
        self, number: int, token: str, *, minutes_ago: float = 0, reservation: int | None = None
    ) -> int:
        """An open transaction at an EVSE."""
        at = self.clock() - timedelta(minutes=minutes_ago)
        made: int = await self.rest.execute(
            "INSERT INTO transaction (id, tenant_id, station_key, ocpp_transaction_id, evse_id, connector_id, id_token,"
            " token_key, opened_at, started_at, energy_wh, is_open, offline, flags, ordinal, state, updated_at, reservation_id)"
            " VALUES ($1, 1, $2, $3, 1, 1, $4, $5, $6, $6, 0, true, false, '{}', 1, '{}', now(), $7) RETURNING id",
            next(_numbers) + 10_000_000,
            self.keys[number],
            ident("tx"),
            token,
            token.casefold(),
            at,
            reservation,
        )
        await self.rest.execute(
            "INSERT INTO open_transaction (transaction_id, tenant_id, station_key, opened_on, token_key, ordinal, state)"
            " VALUES ($1, 1, $2, current_date, $3, 1, '{}')",
            made,
            self.keys[number],
            token.casefold(),
        )
        return made

    async def end_transaction(self, transaction: int) -> None:
        """It has ended."""
        await self.rest.execute(
            "UPDATE transaction SET is_open = false, stopped_at = $2 WHERE id = $1", transaction, self.clock()
        )
        await self.rest.execute("DELETE FROM open_transaction WHERE transaction_id = $1", transaction)


async def new_token(rest: Rest, **more: Any) -> str:
    """A driver's id token."""
    value = ident("TAG")
    answer = await rest.client.post("/v1/id-tokens", json={"id_token": value, **more})
    assert answer.status_code == 201, answer.text
    return value


async def new_yard(rest: Rest, evses: int = 1, *, place: dict[str, Any] | None = None, **more: Any) -> Yard:
    """A yard; its policy is the default one.

    Args:
        place: of the location.
        more: of the connectors.
    """
    clock, stations = Clock(), Stations()
    location_id = ident("YARD")
    answer = await rest.client.post("/v1/locations", json=location(id=location_id, **(place or {})))
    assert answer.status_code == 201, answer.text
    uids, keys = [], []
    for _ in range(evses):
        station_id = ident("BOOK")
        key = await rest.station(station_id)
        uid = ident("E")
        body = {"uid": uid, "station_id": station_id, "ocpp_evse_id": 1, "connectors": [connector(**more)]}
        answer = await rest.client.post(f"/v1/locations/{location_id}/evses", json=body)
        assert answer.status_code == 201, answer.text
        uids.append(uid)
        keys.append(key)
        stations.by_key[key] = KeptStation()
    return Yard(rest, clock, stations, location_id, uids, keys, await new_token(rest))
