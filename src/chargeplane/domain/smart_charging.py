"""What stations tell about smart charging, and what they ask: free of OCPP versions.

Reports are committed and handed to `app/`; questions are answered by it. Of an EV's needs those fields are read that a plan is made
of; the rest is carried as JSON text.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.charging_profiles import ChargingProfile, ChargingSchedule, PeriodUpdate

# Reports.


class ChargingProfilesReported(Struct, frozen=True, kw_only=True, tag="charging_profiles"):
    """A part of what a station says is installed on it (OCPP 2.x K09).

    Args:
        request_id: ours, of GetChargingProfiles.
        source: who set these: CSO, EMS, Other, SO, or a word of 2.1.
        more: further parts follow.
    """

    request_id: int
    source: str
    evse_id: int
    profiles: tuple[ChargingProfile, ...]
    more: bool = False


class ChargingLimitTold(Struct, frozen=True, kw_only=True, tag="charging_limit"):
    """An external system limits charging (OCPP 2.x K11, K12).

    Args:
        source: EMS, Other, SO, or a word of 2.1.
        evse_id: None: the whole station.
        schedules: what it allows, where the station tells.
        local_generation: more may be drawn, because it is generated on the spot (2.1).
    """

    source: str
    evse_id: int | None = None
    schedules: tuple[ChargingSchedule, ...] = ()
    grid_critical: bool | None = None
    local_generation: bool | None = None


class ChargingLimitCleared(Struct, frozen=True, kw_only=True, tag="charging_limit_cleared"):
    """An external system limits charging no more (OCPP 2.x K13)."""

    source: str
    evse_id: int | None = None


class PriorityChargingTold(Struct, frozen=True, kw_only=True, tag="priority_charging"):
    """A transaction follows its PriorityCharging profile, or does so no more (OCPP 2.1 K21, K22)."""

    ocpp_transaction_id: str
    activated: bool


class DerAlarmTold(Struct, frozen=True, kw_only=True, tag="der_alarm"):
    """A grid event makes the station deviate from its charging profiles (OCPP 2.1 R05).

    Args:
        control_type: OCPP 2.1 DERControlEnum word of the control that acts.
        fault: OCPP 2.1 GridEventFaultEnum word.
        at: the station's time; None where it is no time.
    """

    control_type: str
    ended: bool = False
    fault: str | None = None
    at: datetime | None = None
    info: str | None = None


class DerControlSwitched(Struct, frozen=True, kw_only=True, tag="der_start_stop"):
    """A scheduled DER control began or ended (OCPP 2.1 R04.FR.20 to FR.22)."""

    control_id: str
    started: bool
    at: datetime | None = None
    superseded: tuple[str, ...] = ()


class DerControlSeen(Struct, frozen=True, kw_only=True):
    """A DER control as a station reports it.

    Args:
        settings: JSON text of the control's settings, as OCPP 2.1 writes them.
    """

    id: str
    control_type: str
    is_default: bool = False
    superseded: bool = False
    settings: str


class DerControlsReported(Struct, frozen=True, kw_only=True, tag="der_controls"):
    """A part of the DER controls that a station has (OCPP 2.1 R04.FR.31)."""

    request_id: int
    controls: tuple[DerControlSeen, ...]
    more: bool = False


# Questions and their answers.


class EnergyTransfer(enum.StrEnum):
    """Ways to transfer energy (OCPP 2.1 EnergyTransferModeEnum; 2.0.1 has the first four)."""

    AC_SINGLE_PHASE = "AC_single_phase"
    AC_TWO_PHASE = "AC_two_phase"
    AC_THREE_PHASE = "AC_three_phase"
    DC = "DC"
    AC_BPT = "AC_BPT"
    AC_BPT_DER = "AC_BPT_DER"
    AC_DER = "AC_DER"
    DC_BPT = "DC_BPT"
    DC_ACDP = "DC_ACDP"
    DC_ACDP_BPT = "DC_ACDP_BPT"
    WPT = "WPT"

    @property
    def bidirectional(self) -> bool:
        """The EV may discharge."""
        return "BPT" in self.value


ONLY_CHARGING = tuple(mode for mode in EnergyTransfer if not mode.bidirectional)
"""What every EV may do without being allowed to."""


class ControlMode(enum.StrEnum):
    """Who follows the schedule: the EV knows it, or is led by the EVSE (OCPP 2.1 ControlModeEnum)."""

    SCHEDULED = "ScheduledControl"
    DYNAMIC = "DynamicControl"


class AcNeeds(Struct, frozen=True, kw_only=True):
    """What an EV needs of alternating current: Wh, A per phase, V (OCPP 2.x ACChargingParametersType)."""

    energy_wh: Decimal
    min_current: Decimal
    max_current: Decimal
    max_voltage: Decimal


class DcNeeds(Struct, frozen=True, kw_only=True):
    """What an EV needs of direct current: A, V, W, Wh, percent (OCPP 2.x DCChargingParametersType)."""

    max_current: Decimal
    max_voltage: Decimal
    max_power: Decimal | None = None
    energy_capacity_wh: Decimal | None = None
    energy_wh: Decimal | None = None
    soc: int | None = None
    full_soc: int | None = None
    bulk_soc: int | None = None


class V2xNeeds(Struct, frozen=True, kw_only=True):
    """What an EV of ISO 15118-20 can and needs: W, A, Wh, percent (OCPP 2.1 V2XChargingParametersType).

    Args:
        max_discharge_power, max_discharge_current: as the EV tells them, without a sign.
    """

    min_charge_power: Decimal | None = None
    max_charge_power: Decimal | None = None
    max_charge_power_l2: Decimal | None = None
    max_charge_power_l3: Decimal | None = None
    min_discharge_power: Decimal | None = None
    max_discharge_power: Decimal | None = None
    min_charge_current: Decimal | None = None
    max_charge_current: Decimal | None = None
    max_discharge_current: Decimal | None = None
    min_voltage: Decimal | None = None
    max_voltage: Decimal | None = None
    energy_wh: Decimal | None = None
    min_energy_wh: Decimal | None = None
    max_energy_wh: Decimal | None = None
    target_soc: int | None = None


class EvChargingNeeds(Struct, frozen=True, kw_only=True, tag="ev_charging_needs"):
    """An EV told what it needs; the answer says whether it gets a schedule (OCPP 2.x K15, K17 to K20).

    Args:
        requested: OCPP EnergyTransferModeEnum word.
        available: what the EV can do beside that (2.1).
        departure_at: when the driver leaves.
        max_periods: most periods the EV takes in a schedule.
        told_at: when the EV told, where that was earlier.
        carried: (wire name, JSON text) of what no rule of ours reads.
    """

    evse_id: int
    requested: str
    available: tuple[str, ...] = ()
    departure_at: datetime | None = None
    control_mode: str | None = None
    mobility_needs_mode: str | None = None
    max_periods: int | None = None
    told_at: datetime | None = None
    ac: AcNeeds | None = None
    dc: DcNeeds | None = None
    v2x: V2xNeeds | None = None
    carried: tuple[tuple[str, str], ...] = ()

    @property
    def max_power_w(self) -> Decimal | None:
        """The most the EV takes, in W; None where it does not tell.

        AC without a number of phases is read with those of the transfer it asks for.
        """
        if self.v2x is not None and self.v2x.max_charge_power is not None:
            lines = (self.v2x.max_charge_power, self.v2x.max_charge_power_l2, self.v2x.max_charge_power_l3)
            return sum((line for line in lines if line is not None), Decimal(0))
        if self.dc is not None:
            power = self.dc.max_current * self.dc.max_voltage
            return power if self.dc.max_power is None else min(power, self.dc.max_power)
        if self.ac is not None:
            return self.ac.max_current * self.ac.max_voltage * _PHASES.get(self.requested, 3)
        return None

    @property
    def wanted_wh(self) -> Decimal | None:
        """The energy the EV asks for, in Wh."""
        if self.ac is not None:
            return self.ac.energy_wh
        if self.dc is not None:
            return self.dc.energy_wh
        return None if self.v2x is None else self.v2x.energy_wh

    @property
    def phases_told(self) -> bool:
        """The EV told values for L2 or L3 (OCPP 2.1 K01.FR.142)."""
        return self.v2x is not None and (
            self.v2x.max_charge_power_l2 is not None or self.v2x.max_charge_power_l3 is not None
        )


_PHASES = {EnergyTransfer.AC_SINGLE_PHASE.value: 1, EnergyTransfer.AC_TWO_PHASE.value: 2}


class NeedsStatus(enum.StrEnum):
    """Whether a schedule comes (OCPP 2.1 NotifyEVChargingNeedsStatusEnum; 2.0.1 has no NoChargingProfile)."""

    ACCEPTED = "Accepted"
    PROCESSING = "Processing"
    REJECTED = "Rejected"
    NO_PROFILE = "NoChargingProfile"


class NeedsAnswer(Struct, frozen=True, kw_only=True):
    """Answer to `EvChargingNeeds`."""

    status: NeedsStatus


class EvChargingSchedule(Struct, frozen=True, kw_only=True, tag="ev_charging_schedule"):
    """The schedule an EV says it will follow; the answer says whether it is within the limits (OCPP 2.x K15 to K18).

    Args:
        time_base: the schedule's periods count from here; None where the station sent no time.
        selected_schedule_id: which of the offered schedules it chose (2.1).
    """

    evse_id: int
    time_base: datetime | None
    schedule: ChargingSchedule
    selected_schedule_id: int | None = None
    power_tolerance_accepted: bool | None = None


class ScheduleAnswer(Struct, frozen=True, kw_only=True):
    """Answer to `EvChargingSchedule`."""

    accepted: bool
    reason: str | None = None


class DynamicValuesAsked(Struct, frozen=True, kw_only=True, tag="dynamic_values"):
    """A station asks for the present values of a dynamic profile (OCPP 2.1 K28.FR.07)."""

    profile_id: int


class DynamicValuesAnswer(Struct, frozen=True, kw_only=True):
    """Answer to `DynamicValuesAsked`. `update` None: no such dynamic profile (K28.FR.12)."""

    update: PeriodUpdate | None = None
