"""What a station takes of charging profiles, from what it reported of itself.

What it did not report is taken as possible: the station has the last word when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

from msgspec.structs import replace

from chargeplane.domain.charging_dialects import Electrics
from chargeplane.domain.charging_profile_rules import StationAbilities
from chargeplane.domain.charging_profiles import OperationMode, RateUnit

Reported: TypeAlias = Mapping[tuple[str, str, str, int], str]
"""Values by component, variable, instance and EVSE, all in lower case; OCPP 1.6 keys have no component."""

_UNITS = {"a": RateUnit.A, "w": RateUnit.W, "current": RateUnit.A, "power": RateUnit.W}


def abilities_of(base: StationAbilities, reported: Reported, evse_ids: tuple[int, ...]) -> StationAbilities:
    """What a station takes.

    Args:
        base: what its version can say at most.
        evse_ids: those it told of; empty: not known.
    Source: OCPP 2.1 SmartChargingCtrlr and V2XChargingCtrlr; OCPP 1.6, 9.4.
    """
    known = {name: value for (component, name, _, _), value in reported.items() if component != "evse"}
    v2x = known.get("supportedoperationmodes")
    modes = {mode.value.lower(): mode for mode in OperationMode}
    units = {
        _UNITS[word.strip().lower()]
        for word in (known.get("rateunit") or known.get("chargingscheduleallowedchargingrateunit") or "").split(",")
        if word.strip().lower() in _UNITS
    }
    switching = {
        evse
        for (component, name, _, evse), value in reported.items()
        if component == "evse" and name == "acphaseswitchingsupported" and value.lower() == "true"
    }
    return replace(
        base,
        evse_ids=frozenset(evse_ids) if evse_ids else None,
        units=frozenset(units) or frozenset(RateUnit),
        operation_modes=frozenset(OperationMode)
        if v2x is None
        else frozenset(modes[word.strip().lower()] for word in v2x.split(",") if word.strip().lower() in modes),
        max_stack_level=max_stack_level(reported),
        max_periods=_whole(known.get("periodsperschedule") or known.get("chargingschedulemaxperiods")),
        phase_switching=frozenset(switching),
        local_time=known.get("supportsuselocaltime", "true").lower() == "true",
        randomized_delay=known.get("supportsrandomizeddelay", "true").lower() == "true",
        limit_at_soc=known.get("supportslimitatsoc", "true").lower() == "true",
        evse_sleep=known.get("supportsevsesleep", "true").lower() == "true",
        max_external_id=_whole(known.get("maxexternalconstraintsid")),
    )


def max_stack_level(reported: Reported) -> int | None:
    """The highest stack level that a station takes; None: it did not tell."""
    known = {name: value for (component, name, _, _), value in reported.items() if component != "evse"}
    return _whole(known.get("profilestacklevel") or known.get("chargeprofilemaxstacklevel"))


def electrics_of(reported: Reported, evse_id: int, evses: int) -> Electrics:
    """What limits of a station or EVSE are converted by."""
    phases = _whole(reported.get(("evse", "supplyphases", "", evse_id)))
    if phases is None and evse_id == 0:
        told = {_whole(value) for (_, name, _, _), value in reported.items() if name == "supplyphases"} - {None, 0}
        phases = max((n for n in told if n is not None), default=None)
    voltage = _whole(reported.get(("smartchargingctrlr", "acvoltage", "", 0)))
    return Electrics(voltage=Decimal(voltage or 230), phases=phases if phases in (1, 2, 3) else 3, evses=max(1, evses))


def _whole(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    number = text.removeprefix("-")
    return int(text) if number.isascii() and number.isdecimal() and len(number) < 10 else None
