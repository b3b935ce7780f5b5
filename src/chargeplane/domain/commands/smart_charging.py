"""What a charging station can be asked to do about charging profiles, bidirectional charging and DER control."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    PeriodUpdate,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.der_controls import DerControl, DerControlType
from chargeplane.domain.smart_charging import EnergyTransfer

EvseNumber = Annotated[int, Meta(ge=0, le=2**31 - 1)]
ProfileNumber = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
StackLevel = Annotated[int, Meta(ge=0, le=2**31 - 1)]
OcppTransactionId = Annotated[str, Meta(min_length=1, max_length=36)]


class SetChargingProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_charging_profile"):
    """Install a charging profile, as it is: nothing is kept of it here but the command (2.x SetChargingProfile; 1.6, 5.16).

    Args:
        profile: of any version; what the station's version cannot express is refused.
    """

    profile: ChargingProfile


class ClearChargingProfile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear_charging_profile"):
    """Remove charging profiles: one by its id, or all that have everything that is given; in 1.6 every one where nothing is.

    Args:
        id: alone.
        evse_id: 0: those of the whole station.
    """

    id: ProfileNumber | None = None
    evse_id: EvseNumber | None = None
    purpose: ProfilePurpose | None = None
    stack_level: StackLevel | None = None


class GetChargingProfiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_charging_profiles"):
    """Have a station report what is installed on it (2.x only; the report comes in messages of its own).

    Args:
        request_id: by which the report is known; the house chooses one where it is left out.
        evse_id: 0: of the whole station; left out: of all.
        ids: these alone; else what fits all of the other fields.
        sources: CSO, EMS, Other, SO; all unless given.
    """

    request_id: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    evse_id: EvseNumber | None = None
    ids: Annotated[tuple[ProfileNumber, ...], Meta(max_length=100)] = ()
    purpose: ProfilePurpose | None = None
    stack_level: StackLevel | None = None
    sources: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=20)], ...], Meta(max_length=4)] = ()


class GetCompositeSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_composite_schedule"):
    """Ask for the composite schedule that the station computes. Reply: `StationSchedule`.

    Args:
        evse_id: 0: the whole station.
        unit: the station's choice where it is left out.
    """

    evse_id: EvseNumber = 0
    duration_s: Annotated[int, Meta(ge=1, le=366 * 86_400)]
    unit: RateUnit | None = None


class UpdateDynamicSchedule(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="update_dynamic_schedule"
):
    """New values for a dynamic profile (2.1 K28)."""

    profile_id: ProfileNumber
    update: PeriodUpdate


class UsePriorityCharging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="use_priority_charging"):
    """Have a transaction follow its PriorityCharging profile, or no more (2.1 K21)."""

    ocpp_transaction_id: OcppTransactionId
    activate: bool = True


class NotifyAllowedEnergyTransfer(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="notify_allowed_energy_transfer"
):
    """Tell how a transaction's EV may transfer energy from now on (2.1 Q02)."""

    ocpp_transaction_id: OcppTransactionId
    allowed: Annotated[tuple[EnergyTransfer, ...], Meta(min_length=1, max_length=11)]


class AfrrSignal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="afrr_signal"):
    """Hand on the grid operator's signal for frequency support (2.1 Q07, Q08).

    Args:
        at: when the signal holds; now where it is left out.
    """

    signal: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
    at: Annotated[datetime, Meta(tz=True)]


class SetDerControl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_der_control"):
    """Set how the station behaves when the grid misbehaves (2.1 R04). Reply: `DerControlsSuperseded`."""

    control: DerControl


class GetDerControl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_der_control"):
    """Have a station report its DER controls (2.1 R04); the report comes in messages of its own. All where nothing is given."""

    request_id: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    is_default: bool | None = None
    control_type: DerControlType | None = None
    control_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None


class ClearDerControl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="clear_der_control"):
    """Remove DER controls: the one of an id, all of a type, or all (2.1 R04).

    Args:
        is_default: the default ones, else the scheduled ones.
    """

    is_default: bool
    control_type: DerControlType | None = None
    control_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None


class DerControlsSuperseded(Struct, frozen=True, kw_only=True):
    """What a new DER control overrules, or, where its own id is among them, is overruled by."""

    ids: tuple[str, ...] = ()


class StationSchedule(Struct, frozen=True, kw_only=True):
    """A composite schedule as the station told it; what it left out is None. A `limit` of None is no limit."""

    evse_id: int | None = None
    start: datetime | None = None
    duration_s: int | None = None
    unit: RateUnit
    periods: tuple[ChargingPeriod, ...]
