"""What is published of ours, as it is now: gathered from the store, made into documents by the bridge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.cdrs.cdr import ChargingPeriod
from chargeplane.domain.cdrs.session import CdrPlace, RoamingDriver, SessionState
from chargeplane.domain.locations.model import ConnectorContent, EvseContent, EvseStatus


class ConnectorNow(Struct, frozen=True, kw_only=True):
    """A connector with when it was described."""

    content: ConnectorContent
    last_updated: datetime


class EvseNow(Struct, frozen=True, kw_only=True):
    """An EVSE as it is.

    Args:
        bound: to a charging station, which can be asked to start and stop.
        last_updated: when it, one of its connectors or its status changed last.
    """

    content: EvseContent
    uid: str
    status: EvseStatus
    bound: bool
    connectors: Sequence[ConnectorNow]
    last_updated: datetime


class SessionNow(Struct, frozen=True, kw_only=True):
    """A session as it is.

    Args:
        cost: so far, before and after taxes; None where no tariff holds, or nothing was rated yet.
        periods: so far.
    """

    id: int
    place: CdrPlace
    driver: RoamingDriver
    state: SessionState
    started_at: datetime
    stopped_at: datetime | None
    energy_wh: Decimal
    currency: str | None
    cost: tuple[Decimal, Decimal] | None
    tariff_id: str | None
    periods: Sequence[ChargingPeriod]
    last_updated: datetime


class SignedValue(Struct, frozen=True, kw_only=True):
    """A signed meter value as the station sent it.

    Args:
        nature: which event it belongs to: `Start`, `End`, `Intermediate`.
    """

    nature: str
    data: str
