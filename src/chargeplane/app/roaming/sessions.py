"""Sessions and CDRs of partners' drivers: told to the partner whose driver it is, and to nobody else.

A session's document is made in the database transaction that moves the session, its CDR's by the fact that the CDR was written or
released. While energy flows a session is told no more often than a setting says; that it begins and that it is over is told at once.
A CDR that is held, or that no tariff prices, is not told. A credit is told where what it takes back was.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.house import utc_now
from chargeplane.app.roaming.authorizing import Authorizing
from chargeplane.app.roaming.publishing import Parties, Telling
from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind, ChargingPeriod
from chargeplane.domain.cdrs.session import RoamingDriver, SessionState
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.published import SessionNow
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import bookings as booking_queries
from chargeplane.store.queries import cdrs as cdr_queries
from chargeplane.store.queries import meter_keys
from chargeplane.store.queries import roaming_documents as queries
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_documents import CDRS, SESSIONS, NewDocument
from chargeplane.store.queries.session_transactions import SessionTransaction
from chargeplane.store.queries.sessions import Session

log = structlog.get_logger(__name__)

TOPICS: Final = ("cdr.created", "cdr.released")
"""Facts that are heard."""

_OVER: Final = frozenset({SessionState.SETTLED, SessionState.CREDITED})


class SessionMaking(Struct, frozen=True, kw_only=True):
    """Makes canonical documents; the bridge's."""

    session: Callable[[SessionNow, PartyId], bytes]
    cdr: Callable[
        [str, int, CdrContent, RoamingDriver, PartyId, datetime, str | None, Sequence[str], str | None], bytes | None
    ]


class SessionsOfPartners:
    """Tells of them; implements `RoamingSessions` of the sessions.

    Args:
        every_s: a session that goes on is told no more often than this.
    """

    def __init__(
        self,
        database: Database,
        authorizing: Authorizing,
        parties: Parties,
        telling: Telling,
        making: SessionMaking,
        *,
        every_s: float = 60.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._authorizing = authorizing
        self._parties = parties
        self._telling = telling
        self._making = making
        self._every = timedelta(seconds=every_s)
        self._now = now

    async def driver(self, transaction: SessionTransaction) -> RoamingDriver | None:
        """Whose driver began a transaction; None where no partner's did."""
        found = await self._authorizing.driver(transaction)
        if found is None:
            return None
        ours = await self._parties.operator_of(transaction.tenant_id)
        async with self._database.read() as db:
            booking = await booking_queries.for_transaction(db, transaction.tenant_id, transaction.id)
        if booking is not None and booking.roaming is not None:
            # OCPI 2.3.0 mod_bookings, Booking: its authorization_reference is that of the session and the CDR.
            found = replace(
                found,
                booking_id=booking.roaming.booking_id,
                authorization_reference=booking.roaming.authorization_reference,
            )
        elif found.booking_id is not None:
            found = replace(found, booking_id=None)
        return replace(found, operator=None if ours is None else (ours.country_code, ours.party_id))

    async def moved(self, db: Db, session: Session, periods: Sequence[ChargingPeriod]) -> None:
        """A partner's driver's session began, went on or ended."""
        driver = session.frozen.roaming
        if driver is None or driver.operator is None:
            return
        now = _truncated(self._now())
        before = await queries.one(db, session.tenant_id, SESSIONS, str(session.id))
        over = session.state in _OVER
        if before is not None and not over and now - before.last_updated < self._every:
            return
        party = PartyId(country_code=driver.operator[0], party_id=driver.operator[1])
        told = SessionNow(
            id=session.id,
            place=session.frozen.place,
            driver=driver,
            state=session.state,
            started_at=session.started_at,
            stopped_at=session.stopped_at,
            energy_wh=session.energy_wh,
            currency=session.currency,
            cost=None
            if session.cost_excl is None or session.cost_incl is None
            else (session.cost_excl, session.cost_incl),
            tariff_id=session.frozen.tariff_id,
            periods=periods,
            last_updated=now,
        )
        # Equal but for its time: nothing is to be told.
        shape = hashlib.blake2b(
            self._making.session(replace(told, last_updated=session.started_at), party), digest_size=16
        ).digest()
        if before is not None and (await queries.shapes(db, session.tenant_id, SESSIONS, [str(session.id)])) == {
            str(session.id): shape
        }:
            return
        document = NewDocument(
            module=SESSIONS,
            id=str(session.id),
            connection_id=driver.connection_id,
            country_code=party.country_code,
            party_id=party.party_id,
            body=self._making.session(told, party),
            shape=shape,
        )
        await queries.put(db, session.tenant_id, [document], now)
        await self._telling.note(db, session.tenant_id, SESSIONS, document.id, connections=[driver.connection_id])

    def committed(self) -> None:
        """What `moved` wrote is committed."""
        self._telling.hint()

    async def settled(self, fact: Fact) -> None:
        """A CDR was written or released (a fact of `TOPICS`)."""
        said: dict[str, Any] = msgspec.json.decode(fact.payload)
        await self.tell_cdr(TenantId(fact.tenant_id), int(said["cdr_id"]))

    async def tell_cdr(self, tenant_id: TenantId, ident: int) -> bool:
        """Tells a CDR to the partner whose driver charged, once; whether there was anything to tell."""
        async with self._database.change() as db:
            found = await cdr_queries.one(db, tenant_id, ident)
            if found is None:
                return False
            cdr, content = found
            driver = content.roaming
            if driver is None or driver.operator is None or cdr.is_held:
                return False
            if await queries.one(db, tenant_id, CDRS, str(ident)) is not None:
                return False
            credits = None
            if cdr.kind is CdrKind.CREDIT and cdr.credits is not None:
                credits = str(cdr.credits)
                if await queries.one(db, tenant_id, CDRS, credits) is None:
                    return False  # what was never told need not be taken back
            values = await meter_keys.values_of(db, tenant_id, cdr.session_id)
            keys = await meter_keys.keys_by_id(db, [one.key_id for one in values if one.key_id is not None])
            key = next(iter(keys.values()), None)
            if key is None and values:
                # Nobody registered it: the one that the station sent along is better than none.
                session = await session_queries.one(db, tenant_id, cdr.session_id)
                known = (
                    []
                    if session is None
                    else await meter_keys.in_use(db, session.station_key, session.frozen.ocpp_evse_id)
                )
                key = known[0].key if known else None
            public = None if key is None else base64.b64encode(key.der).decode()
            party = PartyId(country_code=driver.operator[0], party_id=driver.operator[1])
            now = _truncated(self._now())
            body = self._making.cdr(
                str(ident), cdr.session_id, content, driver, party, now, credits, [one.data for one in values], public
            )
            if body is None:
                log.warning("cdr_without_price_not_told", cdr=ident)
                return False
            document = NewDocument(
                module=CDRS,
                id=str(ident),
                connection_id=driver.connection_id,
                country_code=party.country_code,
                party_id=party.party_id,
                body=body,
                shape=hashlib.blake2b(body, digest_size=16).digest(),
            )
            await queries.put(db, tenant_id, [document], now)
            await self._telling.note(db, tenant_id, CDRS, document.id, connections=[driver.connection_id])
        self._telling.hint()
        return True


def _truncated(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
