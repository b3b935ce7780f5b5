"""Partners that set the charging profile of a session are kept told of what limits it (OCPI 2.3.0 mod_charging_profiles, Flow).

Other profiles, static limits and external systems change it. What all of it adds up to is computed anew for sessions at whose station
something of that changed, and told where it is other than the partner knows. What was told first is what came of the profile that the
partner set.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec

from chargeplane.app.charging_profiles import ChargingProfiles
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse, paced
from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.outgoing import Message
from chargeplane.app.roaming.ports import Route
from chargeplane.domain.charging_profiles import RateUnit
from chargeplane.domain.roaming.connection import PartyId, Peer
from chargeplane.domain.roaming.profiles import ActiveProfile, is_other, profile_id, told_of
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as stored
from chargeplane.store.queries import roaming_profiles as queries
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_profiles import Watched

MODULE: Final = "chargingprofiles"
PUT_ACTIVE: Final = 48
"""Row of the table of endpoints."""

_AT_ONCE: Final = 500
_WINDOW_S: Final = 86_400

_decode: Final = msgspec.json.Decoder(ActiveProfile).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Telling(Protocol):
    """Who sends to partners."""

    def hint(self) -> None:
        """Something was noted and committed."""
        ...


class ActiveProfiles:
    """Tells them; a `Renderer` of the module.

    Args:
        every_s: how often it is looked.
    """

    def __init__(
        self,
        database: Database,
        profiles: ChargingProfiles,
        telling: Telling,
        *,
        every_s: float = 2.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._telling = telling
        self._now = now
        self._since: datetime | None = None
        self._pulse = Pulse("roaming charging profiles", every_s, self.look)

    async def start(self) -> None:
        """Looks from now on."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def look(self) -> None:
        """Tells of what changed since the last look; at first of all that partners do not know."""
        async with self._database.read() as db:
            clock = await queries.clock(db)
        after, told = 0, False
        while True:
            async with self._database.read() as db:
                found = await queries.watched(db, self._since, after, _AT_ONCE)
            async for one in paced(found):
                told = await self._look_at(one) or told
            if len(found) < _AT_ONCE:
                break
            after = found[-1].session_id
        self._since = clock
        if told:
            self._telling.hint()

    async def _look_at(self, one: Watched) -> bool:
        async with self._database.change() as db:
            now = await self._holding(db, one)
            if now is None or (one.told is not None and not is_other(_decode(one.told), now)):
                return False
            await queries.tell(db, one.session_id, _encode(now).decode())
            await outgoing.note(db, one.tenant_id, MODULE, str(one.session_id), connections=[one.connection_id])
        return True

    async def _holding(self, db: Db, one: Watched) -> ActiveProfile | None:
        """What limits the session from now on; None: it is over."""
        session = await session_queries.one(db, one.tenant_id, one.session_id)
        if session is None:
            return None
        asked = await stored.one(db, session.station_key, profile_id(session.id))
        unit = RateUnit.W if asked is None else asked.profile.schedules[0].unit
        schedule = await self._profiles.composite(
            db,
            session.station_key,
            evse_id=session.frozen.ocpp_evse_id,
            start=self._now().replace(microsecond=0),
            duration_s=_WINDOW_S,
            unit=unit,
        )
        return told_of(schedule)

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The PUT that tells a partner what limits a session now (a `Renderer`)."""
        async with self._database.read() as db:
            session = await session_queries.one(db, peer.tenant_id, int(key))
            told = await queries.told(db, peer.id, int(key))
        if session is None or told is None:
            return None
        driver = session.frozen.roaming
        route = None
        if driver is not None and driver.operator is not None:
            route = Route(from_party=PartyId(*driver.operator), to_party=PartyId(driver.country_code, driver.party_id))
        return Message(
            row=PUT_ACTIVE,
            path={"session_id": str(session.id)},
            body=msgspec.json.encode(_decode(told).document),
            route=route,
        )
