"""Stations of all three versions that charge all the time, and what they have a right to find in the database."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
from msgspec.structs import replace

from chargeplane.simulator import FAST, Entry, Ledger, Line, Options, Session, VirtualStation
from tests.support.served import Served

VERSIONS = ("1.6", "2.0.1", "2.1")
PASSWORD = "a-password-of-20-chars"
TAG = "TAG1"
CHARGING = replace(FAST, speed=2000.0, answer_timeout_s=20.0, reconnect_max_s=0.2, record_calls=False)
"""A meter value every 30 ms, on the wall's time: sessions go on while nobody answers."""

IN_TRANSACTIONS = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})
_LAST_COUNTS = frozenset({"BootNotification", "StatusNotification", "Heartbeat"})
"""Of these only the newest is kept."""

LINES = (
    "SELECT c.station_id, e.message_id, e.payload FROM transaction_event e JOIN charging_station c ON c.key = e.station_key "
    "UNION ALL SELECT c.station_id, m.message_id, m.payload FROM station_meter_value m "
    "JOIN charging_station c ON c.key = m.station_key"
)
ATTEMPTS = (
    "SELECT c.station_id, a.message_id FROM authorization_attempt a JOIN charging_station c ON c.key = a.station_key"
)
VARIABLES = (
    "SELECT c.station_id, v.component, v.component_instance, v.evse_id, v.connector_id, v.variable, v.variable_instance "
    "FROM station_variable v JOIN charging_station c ON c.key = v.station_key"
)
GAPS = (
    "SELECT transaction_id, count(*), min(ordinal), max(ordinal), count(DISTINCT ordinal) FROM transaction_event "
    "GROUP BY 1 HAVING NOT (min(ordinal) = 1 AND count(*) = max(ordinal) AND count(*) = count(DISTINCT ordinal))"
)


def reported(line: Line) -> list[tuple[str, str, str, int, int, str, str]]:
    """What a NotifyReport tells of, as rows of `VARIABLES`."""
    found = []
    for told in json.loads(line.payload)["reportData"]:
        component, variable = told["component"], told["variable"]
        evse = component.get("evse", {})
        found.append(
            (
                line.station_id,
                component["name"],
                component.get("instance", ""),
                evse.get("id", 0),
                evse.get("connectorId", 0),
                variable["name"],
                variable.get("instance", ""),
            )
        )
    return found


class Resident(VirtualStation):
    """A station whose incoming frames somebody may withhold."""

    __slots__ = ("withhold",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.withhold: Callable[[Resident, bytes], bool] | None = None

    def _receive(self, data: bytes) -> None:
        if self.withhold is None or not self.withhold(self, data):
            super()._receive(data)

    def move(self, url: str) -> None:
        """Loses its socket and connects to another address."""
        self.url = url
        self.drop()

    @property
    def asking(self) -> str | None:
        """Action of the CALL that waits for its answer."""
        letter = self._outbox.in_flight
        return None if letter is None else letter.action


class Town:
    """The stations and their ledger.

    Args:
        server: takes stations already.
        count: stations.
        energy_wh: of the first session of each; later ones are a little larger.
    """

    def __init__(
        self, server: Served, count: int = 6, *, prefix: str = "T", energy_wh: int = 9_000, options: Options = CHARGING
    ) -> None:
        self.server = server
        self.ledger = Ledger()
        self.sessions: list[tuple[Resident, Session]] = []
        self.on_line: Callable[[Line], None] | None = None
        self.after_restart: list[Callable[[], Awaitable[None]]] = []
        self.going = False
        self._energy_wh = energy_wh
        self._drivers: list[asyncio.Task[None]] = []
        self.stations = [
            Resident(
                server.url,
                f"{prefix}{number:02d}",
                VERSIONS[number % 3],
                password=PASSWORD,
                seed=number,
                options=options,
                record=self._record,
            )
            for number in range(count)
        ]

    def _record(self, line: Line) -> None:
        self.ledger.add(line)
        if self.on_line is not None:
            self.on_line(line)

    async def open(self) -> None:
        """Registers the stations and boots them."""
        await self.server.ask("POST", "/v1/id-tokens", {"id_token": TAG})
        for station in self.stations:
            made = await self.server.ask(
                "POST", "/v1/charging-stations", {"station_id": station.station_id, "password": PASSWORD}
            )
            assert made.status_code == 201, made.text
        await asyncio.gather(*(self._boot(station) for station in self.stations))

    async def _boot(self, station: Resident) -> None:
        await station.connect()
        await station.boot()

    def charge(self) -> None:
        """From now on a driver follows the other at every station, until `finish`."""
        self.going = True
        self._drivers = [
            asyncio.create_task(self._drive(station, number)) for number, station in enumerate(self.stations)
        ]

    async def _drive(self, station: Resident, number: int) -> None:
        energy = self._energy_wh + 311 * number
        while self.going:
            session = await station.charge(id_token=TAG, energy_wh=energy, meter_interval_s=60)
            self.sessions.append((station, session))
            energy += 17

    async def finish(self, timeout_s: float = 150.0) -> None:
        """No more drivers; every session comes to its end, every message to its answer."""
        self.going = False
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*self._drivers)
                for station in self.stations:
                    await station.wait_online(timeout_s)
                    await station.drain(timeout_s, everything=True)
        except TimeoutError:
            raise AssertionError(f"Stations did not come to their end: {self.state()}") from None

    def state(self) -> list[str]:
        """What every station is at, in words."""
        return [
            f"{station.station_id} {station.version.value}: online {station.online}, accepted {station.accepted}, "
            f"asking {station.asking}, unsent {station.unsent}, refused {station.last_refusal}"
            for station in self.stations
        ]

    async def close(self) -> None:
        """Ends everything where it stands."""
        self.going = False
        for driver in self._drivers:
            driver.cancel()
        await asyncio.gather(*self._drivers, return_exceptions=True)
        for station in self.stations:
            await station.close()

    @property
    def unanswered(self) -> list[str]:
        """Actions that wait for their answer at this moment."""
        return [action for station in self.stations if (action := station.asking) is not None]

    # What the database must hold

    async def check_acknowledged(self, db: asyncpg.Connection) -> int:
        """Everything that was acknowledged is stored, as it was said, and nothing is stored twice; how many lines."""
        mine = {station.station_id for station in self.stations}
        acknowledged = self.ledger.of(Entry.ACKNOWLEDGED)  # before the rows are read: meanwhile more is acknowledged
        lines = await db.fetch(LINES)
        stored = Counter((row[0], row[1]) for row in lines if row[0] in mine)
        said = {(row[0], row[1]): row[2] for row in lines}
        attempts = Counter((row[0], row[1]) for row in await db.fetch(ATTEMPTS) if row[0] in mine)
        assert [key for key, count in (stored + attempts).items() if count > 1] == []
        variables = {tuple(row) for row in await db.fetch(VARIABLES)}
        lost: list[Any] = []
        other: list[Any] = []
        for line in acknowledged:
            key = (line.station_id, line.message_id)
            if line.action in IN_TRANSACTIONS:
                if key not in stored:
                    lost.append(line)
                elif said[key].encode() != line.payload:
                    other.append((line, said[key]))
            elif line.action == "Authorize":
                if key not in attempts:
                    lost.append(line)
            elif line.action == "NotifyReport":
                lost += [(line, told) for told in reported(line) if told not in variables]
            else:
                assert line.action in _LAST_COUNTS, line
        assert lost == []
        assert other == []
        assert await db.fetch(GAPS) == []
        return len(acknowledged)

    async def check_all(self, db: asyncpg.Connection) -> None:
        """After `finish`: as above, and every session is one transaction with exactly the energy of the car's register."""
        await self.check_acknowledged(db)
        assert self.ledger.of(Entry.REFUSED) == []
        mine = {station.station_id for station in self.stations}
        rows = [row for row in await self.server.items("/v1/transactions") if row["station_id"] in mine]
        booked = sorted((row["station_id"], row["ocpp_transaction_id"], row["energy_wh"], row["state"]) for row in rows)
        charged = sorted(
            (station.station_id, session.transaction_id, session.energy_wh, "closed")
            for station, session in self.sessions
        )
        assert booked == charged
        assert all(
            session.energy_wh == (session.meter_stop_wh or 0) - session.meter_start_wh for _, session in self.sessions
        )
        for table in ("quarantine", "open_transaction"):
            rest = await db.fetch(
                f"SELECT s.station_id, x.* FROM {table} x JOIN charging_station s ON s.key = x.station_key"
            )
            assert [row for row in rest if row[0] in mine] == []
        told = {station.station_id: station.dialect.word(station.evse(1).status) for station in self.stations}
        known = await db.fetch(
            "SELECT s.station_id, c.reported FROM connector c JOIN charging_station s ON s.key = c.station_key "
            "WHERE c.evse_id = 1"
        )
        assert {row[0]: row[1] for row in known if row[0] in mine} == told


@contextlib.asynccontextmanager
async def town(server: Served, count: int = 6, **named: Any) -> AsyncIterator[Town]:
    """Stations that have booted; closed at the end."""
    made = Town(server, count, **named)
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def database(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    db = await asyncpg.connect(url)
    try:
        yield db
    finally:
        db.terminate()
