"""A session priced: its messages cut into periods and rated, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from chargeplane.app.sessions.ports import TariffSource
from chargeplane.domain.cdrs.charging import ToldEvent, charge_of_transaction
from chargeplane.domain.cdrs.included import SessionTerms
from chargeplane.domain.cdrs.session import PricedBy
from chargeplane.domain.clock import effective
from chargeplane.domain.rating import Charge, Rating, rate, so_far
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.store.queries.session_transactions import MOST_EVENTS, SessionTransaction, told_events
from chargeplane.store.queries.sessions import Session


class Prepared(Struct, frozen=True, kw_only=True):
    """What is rated of a session.

    Args:
        energy_wh: measured, or as a person set it.
        cut_off: it has more messages than are rated.
    """

    transaction: SessionTransaction
    charge: Charge
    told: Sequence[ToldEvent]
    ended_at: datetime
    energy_wh: Decimal
    cut_off: bool


async def prepared(
    transaction: SessionTransaction, session: Session, rows: Sequence[Any], known: Sequence[ToldEvent] = ()
) -> Prepared:
    """The periods of a session.

    Args:
        rows: its messages.
        known: those before them, read already.
    """
    return await asyncio.to_thread(prepare, transaction, session, rows, known)


def prepare(
    transaction: SessionTransaction, session: Session, rows: Sequence[Any], known: Sequence[ToldEvent] = ()
) -> Prepared:
    """As `prepared`, at once: slow with many messages."""
    told = told_events(rows, known)
    ended_at = transaction.stopped_at
    if ended_at is None:
        ended_at = max((effective(one.event.at, one.event.received_at) for one in told), default=transaction.started_at)
    ended_at = max(ended_at, transaction.started_at)
    override = session.override
    energy = transaction.energy_wh
    if override is not None and override.energy_wh is not None:
        energy = override.energy_wh
    return Prepared(
        transaction=transaction,
        charge=charge_of_transaction(
            told,
            started_at=transaction.started_at,
            until=ended_at,
            energy_wh=energy,
            reserved_from=session.frozen.reserved_from,
        ),
        told=told,
        ended_at=ended_at,
        energy_wh=energy,
        cut_off=len(known) + len(rows) > MOST_EVENTS,
    )


async def rated(
    what: Prepared, session: Session, tariff: Tariff, terms: SessionTerms, now: datetime | None = None
) -> Rating:
    """What it costs.

    Args:
        now: of a session that goes on.
    """
    zone = session.frozen.place.zone
    if now is not None:
        return await asyncio.to_thread(so_far, what.charge, tariff, zone, now, terms=terms.terms)
    return await asyncio.to_thread(rate, what.charge, tariff, zone, terms=terms.terms)


async def tariff_of(tariffs: TariffSource, session: Session) -> tuple[Tariff | None, PricedBy]:
    """By which tariff a session is rated, and who said so."""
    override, frozen = session.override, session.frozen
    if override is not None and override.tariff_id is not None and override.tariff_version is not None:
        found = await tariffs.frozen(session.tenant_id, override.tariff_id, override.tariff_version)
        if found is not None:
            return found, PricedBy.OPERATOR
    if frozen.tariff_id is None or frozen.tariff_version is None:
        return None, PricedBy.NOTHING
    return await tariffs.frozen(session.tenant_id, frozen.tariff_id, frozen.tariff_version), frozen.priced_by
