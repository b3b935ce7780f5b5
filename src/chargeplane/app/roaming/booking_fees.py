"""What partners' drivers owe for bookings without a session: a CDR with the booking's id, sent to the partner as any other.

It is written by the fact that the booking costs something, once, like the CDR of a session: the period in which the EVSE was kept, the
tariff that was frozen with the booking, the rating's lines. Statements and settlements take it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import msgspec
from msgspec.structs import replace

from chargeplane.app.bookings.views import Charged
from chargeplane.app.cdrs.writing import CREATED, key_of, payload_of
from chargeplane.app.locations.places import EvsePlace
from chargeplane.app.roaming.commands import Places
from chargeplane.app.sessions.freezing import cdr_place
from chargeplane.domain.authorization import canonical, token_key
from chargeplane.domain.bookings.fees import expired_charge
from chargeplane.domain.cdrs.cdr import CdrKind, cdr_of
from chargeplane.domain.cdrs.session import CdrToken, Frozen, PricedBy
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import bookings as booking_queries
from chargeplane.store.queries import cdrs as cdr_queries
from chargeplane.store.queries import facts, partner_bookings, tariffs
from chargeplane.store.queries.cdrs import NewCdr

_charged = msgspec.json.Decoder(Charged).decode


class EvsePlaces(Places, Protocol):
    """Which EVSE is meant."""

    async def evse_once(self, tenant_id: TenantId, evse_uid: str) -> EvsePlace | None:
        """Also one that was removed; None where there never was one."""
        ...


class PartnerBookingFees:
    """Handler of the fact.

    Args:
        told: that facts were written.
    """

    def __init__(self, database: Database, places: EvsePlaces, told: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._places = places
        self._told = told

    async def charged(self, fact: Fact) -> None:
        """A booking costs something; a repeat does nothing more."""
        said = _charged(fact.payload)
        driver, tenant_id = said.roaming, TenantId(fact.tenant_id)
        if driver is None or said.transaction_id is not None:
            return
        # What is owed stays owed where the EVSE was removed since.
        place = await self._places.evse_once(tenant_id, said.evse_uid)
        if place is None:
            raise NotFoundError("EVSE", said.evse_uid)
        where = await cdr_place(self._database, place)
        async with self._database.change() as db:
            booking = await booking_queries.locked(db, int(said.booking_id))
            stored = None if booking is None else await partner_bookings.of_booking(db, booking.id)
            if booking is None or stored is None or await partner_bookings.cdr_of(db, stored.id) is not None:
                return
            until = min(max(booking.times.no_show_at, said.starts_at), max(said.ends_at, said.starts_at))
            tariff = None
            if booking.tariff_id is not None and booking.tariff_version is not None:
                tariff = await tariffs.version(db, tenant_id, booking.tariff_id, booking.tariff_version)
            content = cdr_of(
                Frozen(
                    place=where,
                    station_id=place.station_id or "",
                    ocpp_evse_id=place.ocpp_evse_id or 0,
                    ocpp_connector_id=None,
                    ocpp_transaction_id=None,
                    token=CdrToken(uid=said.id_token, type=said.id_token_type, contract_id=driver.contract_id),
                    priced_by=PricedBy.CONNECTOR,
                    tariff_id=booking.tariff_id,
                    tariff_version=booking.tariff_version,
                    roaming=driver,
                ),
                expired_charge(said.starts_at, until),
                started_at=said.starts_at,
                ended_at=until,
                energy_wh=Decimal(0),
                stop_reason=None,
                flags=(),
                tariff=tariff,
                rating=said.rating,
                priced_by=PricedBy.CONNECTOR,
            )
            content = replace(content, without_session=True)
            session_id = TransactionId(await db.fetchval("SELECT nextval('transaction_id_seq')"))
            cost = content.totals.cost
            made = await cdr_queries.insert(
                db,
                NewCdr(
                    tenant_id=tenant_id,
                    session_id=session_id,
                    kind=CdrKind.ORIGINAL,
                    number=1,
                    credits=None,
                    location_id=where.id,
                    evse_uid=where.evse_uid,
                    token_key=token_key(canonical(said.id_token, said.id_token_type)),
                    driver_id=None,
                    agreement_id=None,
                    payment_id=None,
                    tariff_id=None if tariff is None else tariff.id,
                    energy_wh=Decimal(0),
                    currency=said.rating.currency,
                    total_excl=None if cost is None else cost.excl,
                    total_incl=None if cost is None else cost.incl,
                    holds=(),
                ),
                content,
            )
            await partner_bookings.note_cdr(db, stored.id, made.id)
            await facts.tell(db, tenant_id, CREATED, key_of(session_id), payload_of(made))
        self._told()
