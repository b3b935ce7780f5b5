"""What a virtual station says and understands in one OCPP version: the seam between its behaviour and the wire."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct

from chargeplane.ocpp.versions import OcppVersion
from chargeplane.simulator.evse import Evse, EvseStatus, Session, StopReason
from chargeplane.simulator.meter import Measured

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation


class Draft(NamedTuple):
    """A message to be sent.

    Args:
        write: makes the payload; called at the first sending, because a 1.6 message of a transaction does not know the
            transaction's id before its start was answered.
    """

    action: str
    write: Callable[[], Struct]


class BootAnswer(NamedTuple):
    """The CSMS's answer to a boot; `status` is Accepted, Pending or Rejected."""

    status: str
    interval_s: int
    current_time: datetime | None


class Moment(enum.Enum):
    """Why meter values are sent."""

    PERIODIC = enum.auto()
    STATE_CHANGED = enum.auto()
    TRIGGERED = enum.auto()
    POWER_BACK = enum.auto()
    RATE_CHANGED = enum.auto()
    RESETTING = enum.auto()
    RESUMED = enum.auto()


class Reply(NamedTuple):
    """What a station answers to a CALL, and what it does after the answer was sent."""

    result: Struct
    then: Callable[[], None] | None = None


class Reading(NamedTuple):
    """What a meter shows at one moment."""

    at: datetime
    values: list[Measured]


class Dialect(Protocol):
    """One OCPP version. Stateless: one object serves all stations of the process."""

    version: OcppVersion

    def boot(self, station: VirtualStation, reason: str) -> Draft:
        """BootNotification; `reason` is an OCPP 2.x BootReasonEnum word."""
        ...

    def heartbeat(self) -> Draft:
        """Heartbeat."""
        ...

    def word(self, status: EvseStatus) -> str:
        """The version's word for an EVSE's status; equal words are told once."""
        ...

    def status(self, station: VirtualStation, evse: Evse | None) -> Draft:
        """StatusNotification of an EVSE; None for the station itself."""
        ...

    def authorize(self, id_token: str) -> Draft:
        """Authorize."""
        ...

    def started(self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, offline: bool) -> Draft:
        """The transaction's first message."""
        ...

    def updated(
        self, station: VirtualStation, evse: Evse, session: Session, reading: Reading, moment: Moment, offline: bool
    ) -> Draft | None:
        """Meter values of a transaction, or a change of its state; None where the version has no message for it."""
        ...

    def ended(
        self,
        station: VirtualStation,
        evse: Evse,
        session: Session,
        reading: Reading,
        reason: StopReason,
        offline: bool,
    ) -> Draft:
        """The transaction's last message."""
        ...

    def meter_values(self, station: VirtualStation, evse: Evse, reading: Reading) -> Draft:
        """Meter values outside of a transaction."""
        ...

    def reservation_ended(self, station: VirtualStation, reservation_id: int, word: str) -> Draft | None:
        """What is told when the station ended a reservation; None where the version has no message for it.

        Args:
            word: OCPP 2.x ReservationUpdateStatusEnum.
        """
        ...

    def read_boot(self, payload: bytes) -> BootAnswer:
        """The answer to a boot."""
        ...

    def read_time(self, payload: bytes) -> datetime | None:
        """The time in the answer to a heartbeat."""
        ...

    def read_authorize(self, payload: bytes) -> str:
        """The status word in the answer to Authorize."""
        ...

    def read_tariff(self, payload: bytes) -> str | None:
        """The id of the driver's own tariff in the answer to Authorize (2.1 I08)."""
        ...

    def read_started(self, session: Session, payload: bytes) -> str | None:
        """Notes the transaction id where the CSMS gives it; returns the status word on the id token, if there is one."""
        ...

    def limit_set(self, station: VirtualStation, evse: Evse, session: Session, reading: Reading) -> Draft | None:
        """What confirms a limit that the CSMS gave the transaction; None where the version knows none (2.1 E16.FR.03)."""
        ...

    def handle(self, station: VirtualStation, action: str, request: Struct) -> Reply | None:
        """Answers a CALL of the CSMS; None for an action this station does not support."""
        ...
