"""Connector statuses: which one is the newest, and how many connectors a station can have."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.domain.clock import plausible
from chargeplane.domain.messages import ConnectorStatus

MAX_EVSE_ID: Final = 1000
"""No charging station has more; one reported 1,634,030,126 connectors. Higher numbers go to quarantine."""

MAX_CONNECTOR_ID: Final = 100
"""Connectors of one EVSE."""


class KnownStatus(Struct, frozen=True):
    """The status of a connector as we hold it.

    Args:
        status: OCPP 2.x ConnectorStatusEnum word.
        at: the station's time as received.
        received_at: ours.
    """

    status: str
    at: datetime | None
    received_at: datetime


def within_bounds(evse_id: int, connector_id: int | None = None) -> bool:
    """Whether an EVSE and connector number may be stored. 0 stands for the whole station (or EVSE)."""
    return 0 <= evse_id <= MAX_EVSE_ID and (connector_id is None or 0 <= connector_id <= MAX_CONNECTOR_ID)


def may_replace(known: KnownStatus | None, message: ConnectorStatus, received_at: datetime) -> bool:
    """Whether a status is not older than the one we hold.

    A station that was offline replays its statuses with their old times after the live ones; those must not win. The
    times are compared only where both can be believed; else the order of arrival decides.

    Args:
        known: None where the connector is new.
        received_at: when the message came in.
    """
    if known is None or message.at is None or known.at is None:
        return True
    if not plausible(message.at, received_at) or not plausible(known.at, known.received_at):
        return True
    return message.at >= known.at


def replaced(known: KnownStatus | None, message: ConnectorStatus, received_at: datetime) -> KnownStatus | None:
    """The status to hold after a message; the same object where the message is older than it."""
    if not may_replace(known, message, received_at):
        return known
    return KnownStatus(message.status.value, message.at, received_at)
