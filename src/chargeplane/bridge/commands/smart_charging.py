"""Smart charging, bidirectional charging and DER control as CALLs, and what stations answer to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.bridge.charging_profiles import ABILITIES, reported_schedule, to_set_request, to_wire, update_to_wire
from chargeplane.bridge.commands.checks import invalid
from chargeplane.bridge.commands.subject import Subject, ToCall
from chargeplane.bridge.der_controls import to_set_der_control
from chargeplane.bridge.repairs import fit_response
from chargeplane.domain.charging_profile_rules import OpenCharging, ProfileOrigin, StationAbilities, refusal, validate
from chargeplane.domain.charging_profiles import ChargingProfile, OperationMode, ProfilePurpose
from chargeplane.domain.commands.basics import Start
from chargeplane.domain.commands.smart_charging import (
    AfrrSignal,
    ClearChargingProfile,
    ClearDerControl,
    DerControlsSuperseded,
    GetChargingProfiles,
    GetCompositeSchedule,
    GetDerControl,
    NotifyAllowedEnergyTransfer,
    SetChargingProfile,
    SetDerControl,
    StationSchedule,
    UpdateDynamicSchedule,
    UsePriorityCharging,
)
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_ALL_SOURCES: Final = ("EMS", "Other", "SO", "CSO")

_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (SetChargingProfile, "Rejected"): "The station refused the charging profile.",
    (SetChargingProfile, "NotSupported"): "The station has no smart charging.",
    (ClearChargingProfile, "Unknown"): "The station has no such charging profile.",
    (GetChargingProfiles, "NoProfiles"): "The station has no such charging profiles.",
    (GetCompositeSchedule, "Rejected"): "The station computes no such schedule: it may not know the EVSE or the unit.",
    (UpdateDynamicSchedule, "Rejected"): "The station has no dynamic charging profile of that id.",
    (UsePriorityCharging, "Rejected"): "The station knows no running transaction of that id.",
    (UsePriorityCharging, "NoProfile"): "The station has no PriorityCharging profile for that transaction.",
    (NotifyAllowedEnergyTransfer, "Rejected"): "The station does not change how the transaction transfers energy.",
    (AfrrSignal, "Rejected"): "The station follows no such signal now.",
    (SetDerControl, "NotSupported"): "The station has no DER control of that type.",
    (SetDerControl, "Rejected"): "The station refused the DER control.",
    (GetDerControl, "NotSupported"): "The station has no DER control of that type.",
    (GetDerControl, "NotFound"): "The station has no such DER control set.",
    (ClearDerControl, "NotSupported"): "The station has no DER control of that type.",
    (ClearDerControl, "NotFound"): "The station has no such DER control set.",
}

_NO_REPORT16: Final = "OCPP 1.6 stations do not report their charging profiles: ask with get_composite_schedule."
_NO_DYNAMIC: Final = "has no dynamic charging profiles: set the profile again with its new limit."
_NO_PRIORITY: Final = "has no priority charging: set a TxProfile with a higher limit instead."
_NO_TRANSFER: Final = "does not let the energy transfer of a transaction be changed."
_NO_SIGNAL: Final = "has no aFRR signal: set a charging profile instead."
_NO_DER: Final = "has no DER control: limit the station with charging profiles."
_LACKS_BEFORE_21: Final = {
    UpdateDynamicSchedule: _NO_DYNAMIC,
    UsePriorityCharging: _NO_PRIORITY,
    NotifyAllowedEnergyTransfer: _NO_TRANSFER,
    AfrrSignal: _NO_SIGNAL,
    SetDerControl: _NO_DER,
    GetDerControl: _NO_DER,
    ClearDerControl: _NO_DER,
}
_LACKS: Final[Mapping[tuple[OcppVersion, type], str]] = {
    (OcppVersion.V16, GetChargingProfiles): _NO_REPORT16,
    **{
        (version, command): f"OCPP {version.value} {sentence}"
        for version in (OcppVersion.V16, OcppVersion.V201)
        for command, sentence in _LACKS_BEFORE_21.items()
    },
}


def _at_most(version: OcppVersion, profile: ChargingProfile) -> StationAbilities:
    """What the best station of a version takes: what this one cannot do it says itself."""
    return replace(
        ABILITIES[version],
        operation_modes=frozenset(OperationMode),
        local_time=True,
        randomized_delay=True,
        limit_at_soc=True,
        evse_sleep=True,
        phase_switching=frozenset({profile.evse_id}),
    )


def _refuse_broken(
    version: OcppVersion, profile: ChargingProfile, pointer: str, origin: ProfileOrigin = ProfileOrigin.CSMS
) -> None:
    charging = None
    if profile.purpose is ProfilePurpose.TX:
        charging = OpenCharging(transaction_id=profile.transaction_id or "", needs_reported=True, phases_reported=True)
    broken = validate(profile, _at_most(version, profile), origin=origin, charging=charging)
    if broken:
        raise refusal(profile, broken, pointer)


def _below(pointer: str, error: InvalidInputError) -> InvalidInputError:
    return InvalidInputError(str(error), tuple((f"{pointer}{at}", sentence) for at, sentence in error.fields))


def starting_profile(version: OcppVersion, command: Start) -> Any:
    """The profile of a request to start, in the version's type; None where there is none.

    Raises:
        InvalidInputError: it is not right for a start, or the version cannot express it.
    """
    profile = command.charging_profile
    if profile is None:
        return None
    profile = replace(profile, evse_id=command.evse_id or 0)
    _refuse_broken(version, profile, "/charging_profile", ProfileOrigin.REQUEST_START)
    try:
        return to_wire(version, profile).profile
    except InvalidInputError as error:
        raise _below("/charging_profile", error) from None


def _set(version: OcppVersion) -> ToCall:
    def write(command: SetChargingProfile) -> tuple[str, Struct]:
        profile = command.profile
        _refuse_broken(version, profile, "/profile")
        try:
            request, _ = to_set_request(version, profile)
        except InvalidInputError as error:
            raise _below("/profile", error) from None
        return "SetChargingProfile", request

    return write


def _check_clear(command: ClearChargingProfile, *, all_of_them: bool = False) -> None:
    """K10.FR.02, FR.06: an id, or what they have in common, which is not what an external system set.

    Args:
        all_of_them: nothing at all means every profile (OCPP 1.6, 5.5).
    """
    others = [name for name in ("evse_id", "purpose", "stack_level") if getattr(command, name) is not None]
    if command.id is not None and others:
        raise invalid("A profile that is named by its id is named by that alone.", f"/{others[0]}", "leave it out")
    if command.id is None and not others and not all_of_them:
        raise invalid("Say which charging profiles are to go.", "/id", "an id, or evse_id, purpose, stack_level")
    if command.purpose in (ProfilePurpose.EXTERNAL_CONSTRAINTS, ProfilePurpose.LOCAL_GENERATION):
        raise invalid("What an external system set, it clears.", "/purpose", "another purpose")


def _clear16(command: ClearChargingProfile) -> tuple[str, Struct]:
    _check_clear(command, all_of_them=True)
    if command.purpose is ProfilePurpose.PRIORITY_CHARGING:
        raise invalid("OCPP 1.6 has no PriorityCharging.", "/purpose", "another purpose")
    purpose = None
    if command.purpose is not None:
        wire = v16.ChargingProfilePurposeType
        top = command.purpose is ProfilePurpose.CHARGING_STATION_MAX
        purpose = wire.CHARGE_POINT_MAX_PROFILE if top else wire(command.purpose.value)
    return "ClearChargingProfile", v16.ClearChargingProfileRequest(
        id=command.id, connector_id=command.evse_id, charging_profile_purpose=purpose, stack_level=command.stack_level
    )


def _composite16(command: GetCompositeSchedule) -> tuple[str, Struct]:
    return "GetCompositeSchedule", v16.GetCompositeScheduleRequest(
        connector_id=command.evse_id,
        duration=command.duration_s,
        charging_rate_unit=None if command.unit is None else v16.ChargingRateUnitType(command.unit.value),
    )


def _calls2x(v: Any, version: OcppVersion) -> dict[type, ToCall]:
    def purpose_of(purpose: ProfilePurpose | None) -> Any:
        if purpose is None:
            return None
        if purpose not in ABILITIES[version].purposes:
            raise invalid(f"OCPP {version.value} has no {purpose.value}.", "/purpose", "another purpose")
        return v.ChargingProfilePurposeEnumType(purpose.value)

    def clear(command: ClearChargingProfile) -> tuple[str, Struct]:
        _check_clear(command)
        criteria = None
        if command.id is None:
            criteria = v.ClearChargingProfileType(
                evse_id=command.evse_id,
                charging_profile_purpose=purpose_of(command.purpose),
                stack_level=command.stack_level,
            )
        return "ClearChargingProfile", v.ClearChargingProfileRequest(
            charging_profile_id=command.id, charging_profile_criteria=criteria
        )

    def get(command: GetChargingProfiles) -> tuple[str, Struct]:
        # K09.FR.03: ids, or at least one of the other criteria; evse_id is none of them
        others = command.purpose is not None or command.stack_level is not None or bool(command.sources)
        if command.ids and others:
            raise invalid("Profiles that are named by their ids are named by those alone.", "/ids", "leave it out")
        sources = command.sources or (() if command.ids or others else _ALL_SOURCES)
        if sources and version is OcppVersion.V201:
            words = {word.value: word for word in v201.ChargingLimitSourceEnumType}
            unknown = [name for name in sources if name not in words]
            if unknown:
                raise invalid(
                    f"OCPP 2.0.1 has no charging limit source '{unknown[0]}'.", "/sources", "one of " + ", ".join(words)
                )
            sources = tuple(words[name] for name in sources)
        if command.request_id is None:
            raise invalid("A report is known by a number.", "/request_id", "a whole number")
        return "GetChargingProfiles", v.GetChargingProfilesRequest(
            request_id=command.request_id,
            evse_id=command.evse_id,
            charging_profile=v.ChargingProfileCriterionType(
                charging_profile_purpose=purpose_of(command.purpose),
                stack_level=command.stack_level,
                charging_profile_id=command.ids or None,
                charging_limit_source=sources or None,
            ),
        )

    def composite(command: GetCompositeSchedule) -> tuple[str, Struct]:
        return "GetCompositeSchedule", v.GetCompositeScheduleRequest(
            evse_id=command.evse_id,
            duration=command.duration_s,
            charging_rate_unit=None if command.unit is None else v.ChargingRateUnitEnumType(command.unit.value),
        )

    return {
        SetChargingProfile: _set(version),
        ClearChargingProfile: clear,
        GetChargingProfiles: get,
        GetCompositeSchedule: composite,
    }


def _update(command: UpdateDynamicSchedule) -> tuple[str, Struct]:
    given = msgspec.structs.asdict(command.update)
    if all(value is None for value in given.values()):
        raise invalid("An update has at least one value.", "/update", "limit, setpoint, or another value")
    try:
        update = update_to_wire(command.update)
    except (ValueError, ArithmeticError) as error:
        raise invalid(
            f"The update cannot be sent: {error}.", "/update", "numbers; discharge limits at most 0"
        ) from None
    return "UpdateDynamicSchedule", v21.UpdateDynamicScheduleRequest(
        charging_profile_id=command.profile_id, schedule_update=update
    )


def _priority(command: UsePriorityCharging) -> tuple[str, Struct]:
    return "UsePriorityCharging", v21.UsePriorityChargingRequest(
        transaction_id=command.ocpp_transaction_id, activate=command.activate
    )


def _allowed(command: NotifyAllowedEnergyTransfer) -> tuple[str, Struct]:
    return "NotifyAllowedEnergyTransfer", v21.NotifyAllowedEnergyTransferRequest(
        transaction_id=command.ocpp_transaction_id,
        allowed_energy_transfer=tuple(v21.EnergyTransferModeEnumType(one.value) for one in command.allowed),
    )


def _signal(command: AfrrSignal) -> tuple[str, Struct]:
    return "AFRRSignal", v21.AFRRSignalRequest(timestamp=rfc3339(command.at), signal=command.signal)


def _set_der(command: SetDerControl) -> tuple[str, Struct]:
    return "SetDERControl", to_set_der_control(command.control)


def _get_der(command: GetDerControl) -> tuple[str, Struct]:
    if command.request_id is None:
        raise invalid("A report is known by a number.", "/request_id", "a whole number")
    kind = command.control_type
    return "GetDERControl", v21.GetDERControlRequest(
        request_id=command.request_id,
        is_default=command.is_default,
        control_type=None if kind is None else v21.DERControlEnumType(kind.value),
        control_id=command.control_id,
    )


def _clear_der(command: ClearDerControl) -> tuple[str, Struct]:
    kind = command.control_type
    if kind is not None and command.control_id is not None:
        raise invalid("A control that is named by its id is named by that alone.", "/control_type", "leave it out")
    return "ClearDERControl", v21.ClearDERControlRequest(
        is_default=command.is_default,
        control_type=None if kind is None else v21.DERControlEnumType(kind.value),
        control_id=command.control_id,
    )


# --- Answers ----------------------------------------------------------------------------------------------------------


def composite_reply(version: OcppVersion, payload: bytes) -> StationSchedule | None:
    """The schedule in an answer to GetCompositeSchedule, also where its numbers are not as they should be (`startPeriod` 591.217)."""
    response: Any = fit_response(version, "GetCompositeSchedule", payload)
    if response is None:
        return None
    found = reported_schedule(response)
    if found is None:
        return None
    # seen where stations mean no limit
    periods = tuple(replace(p, limit=None) if p.limit is not None and p.limit < 0 else p for p in found.periods)
    return replace(found, periods=periods)


def _superseded(payload: bytes) -> Struct | None:
    answer = msgspec.json.decode(payload, type=v21.SetDERControlResponse)
    return DerControlsSuperseded(ids=answer.superseded_ids) if answer.superseded_ids else None


def _replies(version: OcppVersion) -> dict[type, Any]:
    def composite(payload: bytes) -> Struct | None:
        return composite_reply(version, payload)

    return {GetCompositeSchedule: composite}


_SINCE_21: Final[Mapping[type, ToCall]] = {
    UpdateDynamicSchedule: _update,
    UsePriorityCharging: _priority,
    NotifyAllowedEnergyTransfer: _allowed,
    AfrrSignal: _signal,
    SetDerControl: _set_der,
    GetDerControl: _get_der,
    ClearDerControl: _clear_der,
}

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {
            SetChargingProfile: _set(OcppVersion.V16),
            ClearChargingProfile: _clear16,
            GetCompositeSchedule: _composite16,
        },
        OcppVersion.V201: _calls2x(v201, OcppVersion.V201),
        OcppVersion.V21: {**_calls2x(v21, OcppVersion.V21), **_SINCE_21},
    },
    lacks=_LACKS,
    reasons=_REASONS,
    replies={
        OcppVersion.V16: _replies(OcppVersion.V16),
        OcppVersion.V201: _replies(OcppVersion.V201),
        OcppVersion.V21: {**_replies(OcppVersion.V21), SetDerControl: _superseded},
    },
)
"""What stations can be asked about smart charging."""
