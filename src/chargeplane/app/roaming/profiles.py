"""Charging profiles of partners for sessions of their drivers (OCPI 2.3.0 mod_charging_profiles, Receiver).

A profile goes to the station as one of the session's transaction; the partner is answered at once and told the result afterwards. The
station gives it up with the transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.house import utc_now
from chargeplane.app.roaming.commands import Partner, PartnerCommands, Said, decoded
from chargeplane.domain.cdrs.session import SessionState
from chargeplane.domain.commands import ClearChargingProfile, CommandOutcome, GetCompositeSchedule, SetChargingProfile
from chargeplane.domain.commands.smart_charging import StationSchedule
from chargeplane.domain.roaming.commands import Asked, Response, Result, SetProfile, result_of
from chargeplane.domain.roaming.profiles import active_profile, profile_id, station_profile
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_requests as queries
from chargeplane.store.queries.sessions import Session

_KEPT: Final = 10_000
_LONGEST_S: Final = 7 * 86_400


class PartnerProfiles:
    """Takes them.

    Args:
        every_s: a session is asked about no more often than this.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        asking: PartnerCommands,
        *,
        every_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._commands = commands
        self._asking = asking
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

        async def noted(outcome: CommandOutcome) -> tuple[Result, dict[str, object] | None]:
            result = result_of(Asked.SET_PROFILE, outcome)
            if result is Result.ACCEPTED:
                async with self._database.change() as db:
                    await queries.note_profile(db, session.id, partner.tenant_id, partner.connection_id, None)
            return result, None

        return await self._asking.ask(
            partner,
            Asked.SET_PROFILE,
            body,
            ask.response_url,
            session.station_key,
            SetChargingProfile(profile=profile),
            noted,
        )

    async def clear(self, partner: Partner, session_id: str, response_url: str) -> Said:
        """Removes the profile that the partner set."""
        session = await self._session(partner, session_id, Asked.CLEAR_PROFILE)
        if isinstance(session, Said):
            return session
        return await self._asking.ask(
            partner,
            Asked.CLEAR_PROFILE,
            b"{}",
            response_url,
            session.station_key,
            ClearChargingProfile(id=profile_id(session.id)),
        )

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

        async def told(outcome: CommandOutcome) -> tuple[Result, dict[str, object] | None]:
            schedule = reply_of(outcome, StationSchedule)
            result = result_of(Asked.GET_PROFILE, outcome)
            if result is not Result.ACCEPTED:
                return result, None
            if schedule is None:
                return Result.REJECTED, None
            return result, {"profile": active_profile(schedule, self._now())}

        return await self._asking.ask(
            partner,
            Asked.GET_PROFILE,
            b"{}",
            response_url,
            session.station_key,
            GetCompositeSchedule(evse_id=session.frozen.ocpp_evse_id, duration_s=duration_s),
            told,
        )

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
