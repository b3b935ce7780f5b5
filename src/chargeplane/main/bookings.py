"""Bookings: made and started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.bookings import Agreed, AskAgreement, Bookings, Keeper
from chargeplane.app.bookings.ports import Drivers
from chargeplane.app.bookings.telling import ANNOUNCED, CHARGED, Telling
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.bookings.terms import AgreedTerms
from chargeplane.domain.cdrs.included import reservation_discounts
from chargeplane.edges.http.services import Subjects
from chargeplane.kernel.ids import TenantId
from chargeplane.main.config import Role

if TYPE_CHECKING:
    from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class BookingParts:
    """Their use cases."""

    bookings: Bookings
    keeper: Keeper
    telling: Telling


class AgreedTermsOf:
    """What the agreement that applies says of reservations."""

    def __init__(self, resolving: Resolving) -> None:
        self._resolving = resolving

    async def agreed(self, tenant_id: TenantId, ask: AskAgreement) -> Agreed | None:
        """None where no agreement applies."""
        found = await self._resolving.resolve(
            tenant_id,
            ResolveAsk(
                at=ask.at,
                id_token=ask.id_token,
                id_token_type=ask.id_token_type,
                driver_id=ask.driver_id,
                evse_uid=ask.evse_uid,
                station_id=ask.station_id,
                location_id=ask.location_id,
                country=ask.country,
            ),
        )
        if found is None:
            return None
        said = found.reservation_terms
        discounts = reservation_discounts(found.items)
        terms = AgreedTerms(agreement_id=str(found.agreement_id), agreement_version=found.version, discounts=discounts)
        if said is not None:
            terms = AgreedTerms(
                agreement_id=str(found.agreement_id),
                agreement_version=found.version,
                fee=said.fee,
                no_show_fee=said.no_show_fee,
                free_cancel_s=said.free_cancel_minutes * 60.0,
                max_s=None if said.max_minutes is None else said.max_minutes * 60.0,
                max_ahead_s=None if said.max_ahead_days is None else said.max_ahead_days * 86_400.0,
                max_at_a_time=said.max_at_a_time,
                discounts=discounts,
            )
        tariff = found.tariff
        return Agreed(
            terms=terms,
            tariff_id=None if tariff is None else tariff.tariff_id,
            tariff_version=None if tariff is None else tariff.version,
            currency=found.currency,
            items=found.items,
        )


async def start_bookings(
    parts: Parts, subjects: Subjects, tariffs: Tariffs, resolving: Resolving, drivers: Drivers
) -> BookingParts:
    """Makes the use cases; on nodes that do jobs, bookings are looked after from now on."""
    telling = Telling(parts.database, parts.events, parts.outbox.hint)
    bookings = Bookings(parts.database, tariffs, parts.commands, telling, AgreedTermsOf(resolving), drivers)
    keeper = Keeper(
        parts.database,
        parts.commands,
        tariffs,
        telling,
        subjects.display_messages,
        every_s=parts.config.bookings.look_every_s,
    )
    parts.facts.declare(ANNOUNCED)
    parts.facts.declare((CHARGED,), awaited=True)
    if parts.config.role in (Role.ALL, Role.JOBS):
        await keeper.start()
        parts.on_stop.append(keeper.stop)
    return BookingParts(bookings=bookings, keeper=keeper, telling=telling)
