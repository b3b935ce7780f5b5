"""Stations that stand at a location and have no EVSEs there get them from what they reported.

A station is given its location when it is registered; what EVSEs it has it tells by its status messages. So that such a station can be
billed at once, EVSEs are made for it: when one of them or
their location is asked for, and by a look that is taken now and then. What was made by itself is marked
so until a person describes it; a station with an EVSE that a person made is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from typing import Final

import structlog

from chargeplane.app.events import EventFeed
from chargeplane.app.locations.facts import tell
from chargeplane.domain.locations.model import EvseContent, PaymentMethod
from chargeplane.domain.locations.reported import described
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import locations as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.locations import Unbound
from chargeplane.store.queries.paging import Db

_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without what looks alike: 0 and o, 1 and l."""

_CODE_LENGTH: Final = 12
"""60 bits: whoever tries a thousand a second for a year hits one of a million EVSEs with a chance of 3 %; the door is slower."""

_AT_ONCE: Final = 100
_ACTOR: Final = "policy: locations"
_UNFIT: Final = re.compile(r"[^!-~]+")

log = structlog.get_logger(__name__)


def make_code() -> str:
    """A new code for an EVSE: short enough to be typed, not to be guessed."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))


def make_id() -> str:
    """An id for what was given none."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))


class Binding:
    """Makes EVSEs of what stations reported.

    Args:
        every_s: between two looks.
    """

    def __init__(self, database: Database, events: EventFeed, *, every_s: float = 120.0) -> None:
        self._database = database
        self._events = events
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks from now on."""
        self._task = asyncio.create_task(self._run(), name="location-binding")

    async def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def bind(self, *, station_key: StationKey | None = None, location_key: int | None = None) -> int:
        """Makes what is missing; how many EVSEs that were.

        Args:
            station_key: of this station only.
            location_key: at this location only.
        """
        async with self._database.read() as db:
            found = await queries.unbound(db, _AT_ONCE, station_key=station_key, location_key=location_key)
        if not found:
            return 0
        made = 0
        changed: list[tuple[TenantId, str]] = []
        async with self._database.change() as db:
            for station in found:
                count = await self._bind(db, station)
                if count:
                    made += count
                    changed.append((station.tenant_id, station.location_id))
        for tenant_id, location_id in changed:
            self._events.publish("location.updated", tenant_id, None, {"location_id": location_id})
        return made

    async def _bind(self, db: Db, station: Unbound) -> int:
        # One at a time for a station: two who ask make its EVSEs once.
        await db.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('chargeplane.binding', $1))", station.station_key
        )
        made = 0
        for evse_id in sorted({evse for evse, _ in station.connectors}):
            if await queries.place_by_station(db, station.tenant_id, station.station_key, evse_id) is not None:
                continue
            uid = _UNFIT.sub("-", station.station_id)[:28] + f"-{evse_id}"
            content = EvseContent(payment_methods=(PaymentMethod.CONTRACT,))
            where = (station.station_key, evse_id)
            key = None
            for ident in (uid[:36], make_id()):
                key = await queries.insert_evse(
                    db,
                    station.tenant_id,
                    station.location_key,
                    ident,
                    make_code(),
                    where,
                    content,
                    made_from_report=True,
                )
                if key is not None:
                    uid = ident
                    break
            if key is None:
                continue
            numbers = sorted({number for evse, number in station.connectors if evse == evse_id and number > 0}) or [1]
            connectors = [described(number, _told(station, evse_id, number)) for number in numbers]
            await queries.put_connectors(db, station.tenant_id, key, connectors, assumed=True)
            await audit(
                db,
                station.tenant_id,
                actor=_ACTOR,
                action="create",
                kind="evse",
                ident=uid,
                after={"made_from_report": True},
            )
            await tell(db, station.tenant_id, "evse.created", uid)
            made += 1
        if made:
            await queries.touch(db, station.location_key)
        return made

    async def _run(self) -> None:
        while True:
            try:
                while await self.bind() >= _AT_ONCE:
                    pass
            except UnavailableError:
                await self._database.wait_available()
            except Exception:
                log.exception("EVSEs could not be made of what stations reported")
            await asyncio.sleep(self._every_s)


def _told(station: Unbound, evse_id: int, connector_id: int) -> dict[str, str]:
    return {
        name: value
        for (evse, connector, name), value in station.variables.items()
        if evse == evse_id and connector in (0, connector_id)
    }
