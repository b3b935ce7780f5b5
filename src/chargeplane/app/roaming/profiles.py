"""Charging profiles of partners for sessions of their drivers (OCPI 2.3.0 mod_charging_profiles, Receiver).

A profile goes to the station as one of the session's transaction, by whoever brings all profiles to stations: within the static limits of
the EVSE, in a form that its model takes, and again after a boot. The partner is answered at once and told the result afterwards. The
station gives it up with the transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.charging_profiles import ChargingProfiles
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.house import utc_now
from chargeplane.app.reach import StationReach
from chargeplane.app.roaming.commands import Partner, PartnerCommands, Said, decoded
from chargeplane.domain.cdrs.session import SessionState
from chargeplane.domain.commands import CommandOutcome, GetCompositeSchedule
from chargeplane.domain.commands.smart_charging import StationSchedule
from chargeplane.domain.roaming.commands import Asked, Response, Result, SetProfile, result_of
from chargeplane.domain.roaming.profiles import active_profile, level_of, profile_id, station_profile
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as stored
from chargeplane.store.queries import roaming_requests as queries
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries import smart_charging as smart
from chargeplane.store.queries.roaming_requests import Owed
from chargeplane.store.queries.sessions import Session

ORIGIN: Final = "partner"
"""Whose a profile is, as it is kept."""

_KEPT: Final = 10_000
_LOOK_EVERY_S: Final = 0.1
_GONE: Final = ("removed", "refused")
_TOO_LATE: Final = "policy: no answer in time"
_LONGEST_S: Final = 7 * 86_400


class PartnerProfiles:
    """Takes them.

    Args:
        kick: tells who brings profiles to stations that there is one.
        every_s: a session is asked about no more often than this.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        asking: PartnerCommands,
        profiles: ChargingProfiles,
        reach: StationReach,
        kick: Callable[[], None],
        *,
        every_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._commands = commands
        self._asking = asking
        self._profiles = profiles
        self._reach = reach
        self._kick = kick
        self._every_s = every_s
        self._now = now
        self._last: dict[tuple[int, Asked], float] = {}

    async def put(self, partner: Partner, session_id: str, body: bytes) -> Said:
        """Sets the profile of a session.

        Raises:
            InvalidInputError: the body lacks something, or has it wrong; names the field.
        """
        ask = decoded(body, SetProfile)
        session = await self._session(partner, session_id, Asked.SET_PROFILE)
        if isinstance(session, Said):
            return session
        profile = station_profile(ask.charging_profile, session.id, session.frozen.ocpp_evse_id, _name(session))
        if not await self._reach.ready(session.station_key):
            return self._asking.said(Response.REJECTED, "The charging station is not connected.")
        try:
            async with self._database.change() as db:
                reported = await smart.variables_of(db, session.station_key)
                profile = replace(profile, stack_level=level_of(reported))
                await self._profiles.check(db, session.station_key, profile)
                await stored.put(
                    db,
                    partner.tenant_id,
                    session.station_key,
                    profile,
                    origin=ORIGIN,
                    set_by=f"partner: {partner.name}",
                )
                found = await stored.one(db, session.station_key, profile.id)
        except InvalidInputError as error:
            return self._asking.said(Response.NOT_SUPPORTED, str(error))
        assert found is not None
        revision = found.revision
        self._kick()

        async def settled() -> tuple[Result, None]:
            state = await self._settled(session, profile.id, revision)
            if state == "installed":
                async with self._database.change() as db:
                    await queries.note_profile(db, session.id, partner.tenant_id, partner.connection_id, None)
                return Result.ACCEPTED, None
            if state is None:
                # What the partner is told that it is not set must not come to be set afterwards.
                async with self._database.change() as db:
                    await stored.remove(db, session.station_key, profile.id, _TOO_LATE)
                self._kick()
                return Result.TIMEOUT, None
            return Result.REJECTED, None

        return await self._asking.work(partner, Asked.SET_PROFILE, _about(session, body), ask.response_url, settled)

    async def clear(self, partner: Partner, session_id: str, response_url: str) -> Said:
        """Removes the profile that the partner set."""
        session = await self._session(partner, session_id, Asked.CLEAR_PROFILE)
        if isinstance(session, Said):
            return session
        ident = profile_id(session.id)
        async with self._database.change() as db:
            there = await stored.one(db, session.station_key, ident, lock=True)
            if there is not None and there.state not in _GONE:
                await stored.remove(db, session.station_key, ident, f"partner: {partner.name}")
                there = await stored.one(db, session.station_key, ident)
        self._kick()

        async def settled() -> tuple[Result, None]:
            if there is None or there.state in _GONE:
                return Result.REJECTED, None  # told as UNKNOWN: there is none
            state = await self._settled(session, ident, there.revision)
            return (Result.ACCEPTED if state == "removed" else Result.TIMEOUT), None

        return await self._asking.work(partner, Asked.CLEAR_PROFILE, _about(session, b"{}"), response_url, settled)

    async def found(self, owed: Owed) -> tuple[Result, dict[str, object] | None]:
        """What became of a profile by the end of its time, where the process died that waited for it (`Results.found`)."""
        async with self._database.change() as db:
            session = await session_queries.one(db, owed.tenant_id, int(_subject(owed.request).session_id))
            if session is None:
                return Result.TIMEOUT, None
            ident = profile_id(session.id)
            there = await stored.one(db, session.station_key, ident, lock=True)
            gone = there is None or there.state in _GONE
            if Asked(owed.kind) is Asked.CLEAR_PROFILE:
                return (Result.ACCEPTED if gone else Result.TIMEOUT), None
            if gone or there is None:
                return Result.REJECTED, None
            if there.state == "installed":
                await queries.note_profile(db, session.id, owed.tenant_id, owed.connection_id, None)
                return Result.ACCEPTED, None
            await stored.remove(db, session.station_key, ident, _TOO_LATE)
        self._kick()
        return Result.TIMEOUT, None

    async def _settled(self, session: Session, ident: int, revision: int) -> str | None:
        """How bringing a profile to its station ended; None: it did not in time. Another one in its place ends it, too."""
        until = time.monotonic() + self._asking.timeout_s
        while time.monotonic() < until:
            async with self._database.read() as db:
                found = await stored.one(db, session.station_key, ident)
            if found is None or found.revision != revision or found.state in ("refused", "removed"):
                return "removed" if found is None else found.state if found.revision == revision else "replaced"
            if found.state == "installed":
                return found.state
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def get(self, partner: Partner, session_id: str, duration_s: int, response_url: str) -> Said:
        """Has the station say what it plans.

        Raises:
            InvalidInputError: the duration is none.
        """
        if not 0 < duration_s <= _LONGEST_S:
            sentence = f"Between 1 and {_LONGEST_S} seconds"
            raise InvalidInputError(f"'duration' is wrong: {sentence}.", (("/duration", sentence),))
        session = await self._session(partner, session_id, Asked.GET_PROFILE)
        if isinstance(session, Said):
            return session

        async with self._database.read() as db:
            there = await stored.one(db, session.station_key, profile_id(session.id))
        # In the unit in which the station took the partner's own.
        unit = None if there is None or there.state != "installed" else there.held.schedules[0].unit

        return await self._asking.ask(
            partner,
            Asked.GET_PROFILE,
            b"{}",
            response_url,
            session.station_key,
            GetCompositeSchedule(evse_id=session.frozen.ocpp_evse_id, duration_s=duration_s, unit=unit),
            self._planned,
        )

    async def planned(
        self, _asked: Asked, _owed: Owed, outcome: CommandOutcome
    ) -> tuple[Result, dict[str, object] | None]:
        """The same of an answer that is found written down (`Results.told`)."""
        return await self._planned(outcome)

    async def _planned(self, outcome: CommandOutcome) -> tuple[Result, dict[str, object] | None]:
        """What the station plans, as a partner is told."""
        schedule = reply_of(outcome, StationSchedule)
        result = result_of(Asked.GET_PROFILE, outcome)
        if result is not Result.ACCEPTED:
            return result, None
        if schedule is None:
            return Result.REJECTED, None
        return result, {"profile": active_profile(schedule, self._now())}

    async def _session(self, partner: Partner, session_id: str, asked: Asked) -> Session | Said:
        session = await self._asking.session(partner, session_id)
        if session is None:
            return self._asking.said(Response.UNKNOWN_SESSION)
        if session.state is not SessionState.ACTIVE or session.frozen.ocpp_transaction_id is None:
            return self._asking.said(Response.REJECTED, "The session is over.")
        now = time.monotonic()
        last = self._last.get((session.id, asked))
        if last is not None and now - last < self._every_s:
            return self._asking.said(Response.TOO_OFTEN)
        if len(self._last) >= _KEPT:
            self._last.clear()
        self._last[(session.id, asked)] = now
        return session


def _name(session: Session) -> str:
    name = session.frozen.ocpp_transaction_id
    assert name is not None
    return name


class _Subject(Struct):
    session_id: str


_subject = msgspec.json.Decoder(_Subject).decode


def _about(session: Session, body: bytes) -> bytes:
    """What was asked, with the session that its URL named: a request is found again by it."""
    return msgspec.json.encode({**msgspec.json.decode(body), "session_id": str(session.id)})
