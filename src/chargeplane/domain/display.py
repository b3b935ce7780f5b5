"""Messages on a charging station's display (OCPP 2.0.1 and 2.1, block O)."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.station_tariffs import ShownText


class MessagePriority(enum.StrEnum):
    """OCPP MessagePriorityEnum."""

    ALWAYS_FRONT = "AlwaysFront"
    IN_FRONT = "InFront"
    NORMAL_CYCLE = "NormalCycle"


class MessageState(enum.StrEnum):
    """In which state of the station a message is shown (OCPP MessageStateEnum; the last two since 2.1)."""

    CHARGING = "Charging"
    FAULTED = "Faulted"
    IDLE = "Idle"
    UNAVAILABLE = "Unavailable"
    SUSPENDED = "Suspended"
    DISCHARGING = "Discharging"


class DisplayMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message on the display.

    Args:
        texts: the first is shown; the others, in other languages, need OCPP 2.1.
        state: None: always.
        start, end: None: from now on, until it is cleared.
        ocpp_transaction_id: it goes when this transaction ends.
    """

    texts: Annotated[tuple[ShownText, ...], Meta(min_length=1, max_length=5)]
    priority: MessagePriority = MessagePriority.NORMAL_CYCLE
    state: MessageState | None = None
    start: Annotated[datetime, Meta(tz=True)] | None = None
    end: Annotated[datetime, Meta(tz=True)] | None = None
    ocpp_transaction_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None


class MessageThere(Struct, frozen=True, kw_only=True):
    """A message that a station says it has; whatever it says."""

    id: int
    priority: str
    state: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    ocpp_transaction_id: str | None = None
    content: str = ""
    format: str = ""
    language: str | None = None


class DisplayMessagesReport(Struct, frozen=True, kw_only=True, tag="display_messages"):
    """NotifyDisplayMessages."""

    request_id: int
    messages: tuple[MessageThere, ...]
    more: bool = False
