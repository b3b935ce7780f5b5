"""Sessions are kept within their agreement's limits while they run: power by a charging profile, money by their end.

Asked once a session begins and whenever it is rated, never while a station waits. The agreement is the version that the session froze.
What id tokens may still begin with is a matter of their holds (app/agreements/following.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.display_messages import DisplayMessages
from chargeplane.app.house import utc_now
from chargeplane.domain.agreements.limits import LimitKind, spent
from chargeplane.domain.agreements.model import Limits
from chargeplane.domain.cdrs.session import FrozenAgreement
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.commands import Stop
from chargeplane.domain.display import DisplayMessage, MessagePriority
from chargeplane.domain.languages import known, number, say
from chargeplane.domain.languages import money as money_words
from chargeplane.domain.rating import Rating
from chargeplane.domain.station_tariffs import ShownText
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.kernel.ids import StationId, TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import agreement_limits as queries
from chargeplane.store.queries import agreements, booking_holds
from chargeplane.store.queries import charging_profiles as profiles
from chargeplane.store.queries.sessions import Session

log = structlog.get_logger(__name__)

AGREEMENT_IDS: Final = 1_200_000_000
"""Charging profiles of agreements have ids from here on."""
ORIGIN: Final = "agreement"
_AGAIN: Final = timedelta(minutes=2)
_STOP_VALID_S: Final = 86_400.0
_SHOW_VALID_S: Final = 20.0
_KEPT: Final = 10_000
_NONE: Final = Limits()


class SessionLimits:
    """Keeps sessions within limits.

    Args:
        display: None: drivers are told nothing at the station.
        kick: tells the keeper of charging profiles that a station has something to settle.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        display: DisplayMessages | None,
        kick: Callable[[], None],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._commands = commands
        self._display = display
        self._kick = kick
        self._now = now
        self._limits: dict[tuple[int, int], Limits] = {}

    async def look(self, session: Session, rating: Rating | None) -> None:
        """An open session began, or was rated."""
        agreement = session.frozen.agreement
        if agreement is None or session.frozen.ocpp_transaction_id is None:
            return
        limits = await self._of(session.tenant_id, agreement)
        if limits == _NONE:
            return
        if limits.kw is not None:
            await self._power(session, agreement, limits)
        if rating is None:
            return
        least = limits.hold_per_session
        if (
            least is not None
            and session.payment_id is None
            and least.currency == rating.currency
            and await self._money(session, agreement, rating, LimitKind.SESSION_COST, least)
        ):
            return
        if limits.credit is not None and limits.credit.currency == rating.currency:
            await self._money(session, agreement, rating, LimitKind.CREDIT, limits.credit)

    async def _of(self, tenant_id: TenantId, agreement: FrozenAgreement) -> Limits:
        key = (agreement.id, agreement.version)
        found = self._limits.get(key)
        if found is None:
            async with self._database.read() as db:
                stored = await agreements.one(db, tenant_id, agreement.id)
            # A version that is accepted does not change.
            found = _NONE if stored is None else stored.agreement.numbered(agreement.version).terms.limits
            if len(self._limits) >= _KEPT:
                self._limits.clear()
            self._limits[key] = found
        return found

    async def _power(self, session: Session, agreement: FrozenAgreement, limits: Limits) -> None:
        assert limits.kw is not None
        frozen = session.frozen
        text = f"{number(limits.kw, 'en')} kW"
        async with self._database.change() as db:
            act, _ = await queries.note(
                db,
                session.tenant_id,
                session.id,
                agreement.id,
                LimitKind.POWER,
                text,
                stopped=False,
                again_before=session.started_at,  # once
            )
            if not act:
                return
            ident = await profiles.free_id(db, session.station_key, AGREEMENT_IDS)
            profile = ChargingProfile(
                id=ident,
                evse_id=frozen.ocpp_evse_id,
                stack_level=0,
                purpose=ProfilePurpose.TX,
                kind=ProfileKind.RELATIVE,
                schedules=(
                    ChargingSchedule(
                        id=ident, unit=RateUnit.W, periods=(ChargingPeriod(start_s=0, limit=limits.kw * 1000),)
                    ),
                ),
                transaction_id=frozen.ocpp_transaction_id,
            )
            by = f"agreement {agreement.number}: {text}"
            await profiles.put(db, session.tenant_id, session.station_key, profile, origin=ORIGIN, set_by=by)
        self._kick()
        log.info("session_power_limited", session=session.id, agreement=agreement.id, limit=text)

    async def _money(
        self, session: Session, agreement: FrozenAgreement, rating: Rating, kind: LimitKind, limit: Money
    ) -> bool:
        if rating.start is None or rating.end is None:
            return False
        now = self._now()
        cost, lasted = rating.due.incl, rating.end - rating.start
        async with self._database.read() as db:
            before = (
                await queries.owed(db, session.tenant_id, agreement.id, limit.currency, session.id)
                if kind is LimitKind.CREDIT
                else limit.amount * 0
            )
        if not spent(limit.amount, before, cost, lasted, max(timedelta(), now - rating.end)):
            return False
        text = money_words(limit.amount, limit.currency, "en")
        async with self._database.change() as db:
            act, first = await queries.note(
                db, session.tenant_id, session.id, agreement.id, kind, text, stopped=True, again_before=now - _AGAIN
            )
        if not act:
            return True
        assert session.frozen.ocpp_transaction_id is not None
        await self._commands.give(
            session.tenant_id,
            session.station_key,
            Stop(ocpp_transaction_id=session.frozen.ocpp_transaction_id),
            by=f"agreement {agreement.number}: {kind.value.replace('_', ' ')} of {text} is used up",
            valid_s=_STOP_VALID_S,
        )
        log.info("session_stopped_by_agreement", session=session.id, agreement=agreement.id, limit=kind.value)
        if first:
            await self._show(session, kind, limit)
        return True

    async def _show(self, session: Session, kind: LimitKind, limit: Money) -> None:
        """Tells the driver at the station why charging ends, where it has a display."""
        if self._display is None:
            return
        async with self._database.read() as db:
            if not await booking_holds.has_display(db, session.station_key):
                return
            language = known(await booking_holds.language_of(db, session.id))
        text = say(f"limit.{kind.value}", language, limit=money_words(limit.amount, limit.currency, language))
        message = DisplayMessage(
            texts=(ShownText(content=text, language=language),),
            priority=MessagePriority.IN_FRONT,
            end=self._now() + timedelta(minutes=10),
            ocpp_transaction_id=session.frozen.ocpp_transaction_id,
        )
        caller = Caller(key_id=0, tenant_id=session.tenant_id, name="agreement limits", scopes=frozenset())
        try:
            await self._display.put(caller, StationId(session.frozen.station_id), None, message, _SHOW_VALID_S)
        except ChargeplaneError as error:
            log.warning("limit_not_shown", session=session.id, error=str(error))
