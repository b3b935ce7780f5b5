"""One EVSE with its connector, the car at it, and the charging that goes on; no wire, no time of its own."""

from __future__ import annotations

import asyncio
import enum
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.simulator.car import Car
from chargeplane.simulator.meter import EvseModel, Meter
from chargeplane.simulator.noise import Noise
from chargeplane.simulator.script import Resume


class EvseStatus(enum.StrEnum):
    """The nine states of OCPP 1.6 (4.9); 2.x shows them as five."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    SUSPENDED_EVSE = "SuspendedEVSE"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class ChargingState(enum.StrEnum):
    """OCPP 2.x ChargingStateEnum."""

    IDLE = "Idle"
    EV_CONNECTED = "EVConnected"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    SUSPENDED_EVSE = "SuspendedEVSE"


class StopReason(enum.Enum):
    """Why charging ends; each version has its own words for it."""

    LOCAL = enum.auto()
    REMOTE = enum.auto()
    EV_DISCONNECTED = enum.auto()
    POWER_LOSS = enum.auto()
    HARD_RESET = enum.auto()
    SOFT_RESET = enum.auto()
    DEAUTHORIZED = enum.auto()
    UNLOCK = enum.auto()
    EMERGENCY_STOP = enum.auto()
    ENERGY_LIMIT = enum.auto()
    TRANSFER_REFUSED = enum.auto()
    TIME_LIMIT = enum.auto()
    MASTER_PASS = enum.auto()


class Plan(Struct, frozen=True, kw_only=True):
    """What a driver wants.

    Args:
        energy_wh: stop after exactly so many Wh; None for no such limit.
        duration_s: stop after so many seconds of charging time; None for no such limit.
        meter_interval_s: charging seconds between meter values; None takes the station's setting (0: none are sent).
        hold: when the limit is reached, or the car is full, stay until somebody stops the transaction.
        reason: why it ends when nothing else ended it.
        unplug: the car drives off afterwards.
    """

    energy_wh: int | None = None
    duration_s: float | None = None
    meter_interval_s: float | None = None
    hold: bool = False
    reason: StopReason = StopReason.LOCAL
    unplug: bool = True


class Session:
    """The record of one charging: what the station knows of it, to the last Wh. Filled while it goes on.

    Attributes:
        accepted: False where the id token was refused; None while unknown (offline).
        status: the CSMS's last word on the id token.
        group: of the id token, as last told.
        stop_id_token: who stopped, where it was another.
        max_energy_wh: the CSMS's limit (2.1).
        tariff_id: of the driver's own tariff, which the CSMS gave with its word on the id token (2.1 I08).
        transaction_id: the station's own (2.x) or the CSMS's (1.6, None until the start was answered), as text.
        meter_start_wh, meter_stop_wh: the register in whole Wh.
        energy_wh: what the messages add up to: the rises of the register, also over a meter that restarted.
        acknowledged: the stop was answered.
        priority: it follows the PriorityCharging profile.
    """

    __slots__ = (
        "_before_restart_wh",
        "_ended",
        "_segment_start_wh",
        "accepted",
        "acknowledged",
        "charging_state",
        "evse_id",
        "group",
        "id_token",
        "last_reported_wh",
        "max_energy_wh",
        "meter_start_wh",
        "meter_stop_wh",
        "power_lost",
        "priority",
        "remote_start_id",
        "reservation_id",
        "seq_no",
        "started",
        "started_at",
        "status",
        "stop_id_token",
        "stop_reason",
        "stop_request",
        "stopped_at",
        "tariff_id",
        "transaction_id",
        "updates",
        "waiting",
        "wake",
    )

    def __init__(self, evse_id: int, id_token: str) -> None:
        self.evse_id = evse_id
        self.id_token = id_token
        self.accepted: bool | None = None
        self.status: str | None = None
        self.transaction_id: str | None = None
        self.started = False
        self.started_at: datetime | None = None
        self.stopped_at: datetime | None = None
        self.stop_reason: StopReason | None = None
        self.stop_request: StopReason | None = None
        self.group: str | None = None
        self.stop_id_token: str | None = None
        self.max_energy_wh: int | None = None
        self.tariff_id: str | None = None
        self.meter_start_wh = 0
        self.meter_stop_wh: int | None = None
        self.last_reported_wh = 0
        self.charging_state = ChargingState.IDLE
        self.seq_no = 0
        self.updates = 0
        self.remote_start_id: int | None = None
        self.reservation_id: int | None = None
        self.acknowledged = False
        self.power_lost = False
        self.priority = False
        self.wake: Resume | None = None
        self.waiting: Resume | None = None
        self._segment_start_wh = 0
        self._before_restart_wh = 0
        self._ended: asyncio.Future[None] | None = None

    @property
    def energy_wh(self) -> Decimal:
        """Energy in whole Wh that the messages sent so far add up to."""
        return Decimal(self._before_restart_wh + self.last_reported_wh - self._segment_start_wh)

    def begin(self, register_wh: int, at: datetime) -> None:
        """Charging is authorised and the register read."""
        self.started = True
        self.started_at = at
        self.meter_start_wh = self.last_reported_wh = self._segment_start_wh = register_wh

    def reported(self, register_wh: int) -> None:
        """A message with this register value was written."""
        self.last_reported_wh = register_wh

    def meter_restarted(self, register_wh: int) -> None:
        """The register went back in the middle of the transaction."""
        self._before_restart_wh += self.last_reported_wh - self._segment_start_wh
        self._segment_start_wh = self.last_reported_wh = register_wh

    def next_seq_no(self) -> int:
        """OCPP 2.x seqNo, from 0."""
        number = self.seq_no
        self.seq_no += 1
        return number

    def request_stop(self, reason: StopReason) -> None:
        """Asks the charging to end; the first reason counts."""
        if self.stop_request is None:
            self.stop_request = reason
        self.rouse()

    def rouse(self) -> None:
        """Wakes the script where it waits for time to pass."""
        wake, self.wake = self.wake, None
        if wake is not None:
            wake(None)

    @property
    def over(self) -> bool:
        """Charging has ended or never began."""
        return self.stopped_at is not None or self.accepted is False

    async def ended(self) -> Session:
        """Waits until charging has ended (its last message may still wait for an answer)."""
        if not self.over:
            if self._ended is None:
                self._ended = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._ended)
        return self

    def tell_ended(self) -> None:
        """Wakes who waits in `ended`."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def __repr__(self) -> str:
        return (
            f"<Session {self.transaction_id} of '{self.id_token}' at EVSE {self.evse_id}: {self.energy_wh} Wh, "
            f"{self.stop_reason or self.charging_state}>"
        )


class Evse:
    """One EVSE with one connector."""

    __slots__ = (
        "car",
        "faulted",
        "finishing",
        "id",
        "meter",
        "operative",
        "operative_later",
        "reservation_group",
        "reservation_id",
        "reservation_token",
        "reservation_until",
        "session",
        "told",
    )

    def __init__(self, id: int, model: EvseModel, noise: Noise) -> None:
        self.id = id
        self.meter = Meter(model, noise, register_wh=noise.below(5_000_000))
        self.car: Car | None = None
        self.session: Session | None = None
        self.operative = True
        self.operative_later: bool | None = None
        self.faulted = False
        self.finishing = False
        self.reservation_id: int | None = None
        self.reservation_token: str | None = None
        self.reservation_group: str | None = None
        self.reservation_until: datetime | None = None
        self.told: str | None = None

    @property
    def status(self) -> EvseStatus:
        """What a StatusNotification would say now."""
        if self.faulted:
            return EvseStatus.FAULTED
        session = self.session
        if session is not None and session.started and not session.over:
            state = session.charging_state
            if state is ChargingState.CHARGING:
                return EvseStatus.CHARGING
            if state is ChargingState.SUSPENDED_EV:
                return EvseStatus.SUSPENDED_EV
            if state is ChargingState.SUSPENDED_EVSE:
                return EvseStatus.SUSPENDED_EVSE
            return EvseStatus.PREPARING
        if not self.operative:
            return EvseStatus.UNAVAILABLE
        if self.car is not None:
            return EvseStatus.FINISHING if self.finishing else EvseStatus.PREPARING
        if session is not None and not session.over:
            return EvseStatus.PREPARING
        if self.reservation_id is not None:
            return EvseStatus.RESERVED
        return EvseStatus.AVAILABLE

    @property
    def busy(self) -> bool:
        """A charging goes on or begins."""
        return self.session is not None and not self.session.over

    @property
    def free(self) -> bool:
        """A driver could begin to charge here."""
        return self.operative and not self.faulted and not self.busy

    def takes(self, id_token: str, group: str | None = None) -> bool:
        """Whether a reservation leaves this EVSE to the driver (ids compare without case), or to the driver's group."""
        if self.reservation_token is None or self.reservation_token == id_token.casefold():
            return True
        return self.reservation_group is not None and group is not None and self.reservation_group == group.casefold()

    def forget_reservation(self) -> None:
        """The reservation is used, cancelled or expired."""
        self.reservation_id = self.reservation_token = self.reservation_until = self.reservation_group = None
