"""The device model as CALLs: variables, reports, network profiles (OCPP 2.0.1 B05 to B09; 1.6, 5.3 and 5.8).

In 1.6 a variable is the configuration key that means the same (`domain.standard_keys`), or the key of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands.checks import invalid
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.bridge.variables import LONGEST, configuration, evse_of, wire_results
from chargeplane.domain.commands import (
    CommandState,
    GetBaseReport,
    GetReport,
    GetVariables,
    ReportBase,
    ReportCriterion,
    SetNetworkProfile,
    SetVariables,
    VariableAnswer,
    VariableAnswers,
)
from chargeplane.domain.variables import (
    Attribute,
    Place,
    VariableName,
    canonical,
    canonical_place,
    folded,
    from_common,
    is_secret,
    shown,
    standard_key,
)
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_NOT_ANSWERED: Final = "NotAnswered"
_DONE: Final = frozenset({"Accepted", "RebootRequired"})

_MEANINGS: Final[Mapping[str, str]] = {
    "Rejected": "it refuses",
    "UnknownComponent": "it has no such component",
    "UnknownVariable": "it has no such variable",
    "NotSupportedAttributeType": "it does not have that attribute",
    "NotSupported": "it has no such key",
    _NOT_ANSWERED: "it did not answer for it",
}


def _answer(place: Place, status: str, **more: Any) -> VariableAnswer:
    component, component_instance, evse_id, connector_id, variable, variable_instance, attribute = place
    value = more.pop("value", None)
    return VariableAnswer(
        component=component or None,
        component_instance=component_instance or None,
        evse_id=evse_id or None,
        connector_id=connector_id or None,
        variable=variable,
        variable_instance=variable_instance or None,
        attribute=attribute,
        status=status,
        value=None if is_secret(component, variable) else value,
        **more,
    )


def _understood(results: Sequence[VariableAnswer], *, all_of_them: bool) -> Understood:
    """Reading is accepted where anything could be read, writing where everything was written."""
    refused = [one for one in results if one.status not in _DONE]
    accepted = not refused if all_of_them else len(refused) < len(results)
    status = refused[0].status if refused and not accepted else "Accepted"
    if not refused and any(one.status == "RebootRequired" for one in results):
        status = "RebootRequired"
    reply = VariableAnswers(results=tuple(results))
    if not refused:
        return Understood(state=CommandState.ACCEPTED, status=status, reply=reply)
    first = refused[0]
    told = _MEANINGS.get(first.status, f"it answers {first.status}")
    of = f"{len(refused)} of {len(results)} variables" if len(results) > 1 else "the variable"
    reason = f"The station did not {'write' if all_of_them else 'read'} {of}: {shown(first.place)}: {told}."
    if first.reason:
        reason += f" It says: {first.reason}"
    state = CommandState.ACCEPTED if accepted else CommandState.REJECTED
    return Understood(state=state, status=status, reason=made_storable(reason, 500), reply=reply)


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------


def _key16(name: VariableName, pointer: str) -> str:
    """The configuration key of a variable."""
    if name.attribute is not Attribute.ACTUAL:
        raise invalid("OCPP 1.6 keys have one value only.", f"{pointer}/attribute", "Actual, or leave it out")
    standard = standard_key(name)
    if standard is not None:
        return standard.key
    if name.component is not None:
        raise invalid(
            f"OCPP 1.6 has no key for {name}.",
            f"{pointer}/component",
            "a variable that has a 1.6 key, or a key of the station's by its name and without component",
        )
    return name.variable


def _get16(command: GetVariables) -> tuple[str, Struct]:
    keys = dict.fromkeys(_key16(name, f"/variables/{number}") for number, name in enumerate(command.variables))
    return "GetConfiguration", v16.GetConfigurationRequest(key=tuple(keys))


def _all16(command: GetBaseReport) -> tuple[str, Struct]:
    if command.report is ReportBase.SUMMARY_INVENTORY:
        raise RuleError("OCPP 1.6 has no summary report: its stations tell their state by StatusNotification.")
    return "GetConfiguration", v16.GetConfigurationRequest()


def _set16(command: SetVariables) -> tuple[str, Struct]:
    if len(command.variables) != 1:
        raise RuleError("OCPP 1.6 changes one key at a time.")
    (setting,) = command.variables
    key = _key16(setting, "/variables/0")
    value = from_common(standard_key(setting), setting.value)
    if len(value) > 500:
        raise invalid("OCPP 1.6 values have at most 500 characters.", "/variables/0/value", "at most 500 characters")
    return "ChangeConfiguration", v16.ChangeConfigurationRequest(key=key, value=value)


def _told_all16(command: GetBaseReport, payload: bytes) -> Understood:
    known, _ = configuration(payload)
    results = [
        _answer(one.place, "Accepted", value=one.value, mutability=one.mutability)
        for one in {folded(one.place): one for one in known}.values()
    ]
    return Understood(state=CommandState.ACCEPTED, status="Accepted", reply=VariableAnswers(results=tuple(results)))


def _told_get16(command: GetVariables, payload: bytes) -> Understood:
    known, unknown = configuration(payload)
    by_place = {folded(one.place): one for one in known}
    refused = {folded(canonical_place(key)) for key in unknown}
    results: list[VariableAnswer] = []
    for name in command.variables:
        place = canonical(name).place
        found = by_place.get(folded(place))
        if found is not None:
            # 1.6, 7.29: a key that is known and not set may come without a value
            results.append(_answer(place, "Accepted", value=found.value, mutability=found.mutability))
        else:
            results.append(_answer(place, "UnknownVariable" if folded(place) in refused else _NOT_ANSWERED))
    return _understood(results, all_of_them=False)


class _Status16(Struct, frozen=True):
    status: str


_status16: Final = msgspec.json.Decoder(_Status16).decode


def _told_set16(command: SetVariables, payload: bytes) -> Understood:
    status = made_storable(_status16(payload).status, 64)
    return _understood([_answer(canonical(one.name).place, status) for one in command.variables], all_of_them=True)


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


_BASES: Final = {
    ReportBase.CONFIGURATION_INVENTORY: "ConfigurationInventory",
    ReportBase.FULL_INVENTORY: "FullInventory",
    ReportBase.SUMMARY_INVENTORY: "SummaryInventory",
}
_CRITERIA: Final = {one: one.value.capitalize() for one in ReportCriterion}


def _evse(v: Any, evse_id: int | None, connector_id: int | None, pointer: str) -> Any:
    if evse_id is None:
        if connector_id is not None:
            raise invalid(
                "A connector is named together with its EVSE.", f"{pointer}/evse_id", "the EVSE's number, from 1"
            )
        return None
    return v.EVSEType(id=evse_id, connector_id=connector_id)


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    longest = 1000 if v is v201 else LONGEST

    def names(name: VariableName, pointer: str) -> dict[str, Any]:
        name = canonical(name)
        if name.component is None:
            raise invalid(
                f"OCPP 2.x names variables by their component, and '{name.variable}' is no standard OCPP 1.6 key.",
                f"{pointer}/component",
                "the component's name",
            )
        kind = None if name.attribute is Attribute.ACTUAL else v.AttributeEnumType(name.attribute.value)
        return {
            "component": v.ComponentType(
                name=name.component,
                instance=name.component_instance,
                evse=_evse(v, name.evse_id, name.connector_id, pointer),
            ),
            "variable": v.VariableType(name=name.variable, instance=name.variable_instance),
            # B05.FR.12, B06.FR.11: none is Actual
            "attribute_type": kind,
        }

    def get(command: GetVariables) -> tuple[str, Struct]:
        return "GetVariables", v.GetVariablesRequest(
            get_variable_data=tuple(
                v.GetVariableDataType(**names(name, f"/variables/{number}"))
                for number, name in enumerate(command.variables)
            )
        )

    def put(command: SetVariables) -> tuple[str, Struct]:
        for number, setting in enumerate(command.variables):
            if len(setting.value) > longest:
                raise invalid(
                    f"The station's OCPP version takes values of at most {longest} characters.",
                    f"/variables/{number}/value",
                    f"at most {longest} characters",
                )
        return "SetVariables", v.SetVariablesRequest(
            set_variable_data=tuple(
                v.SetVariableDataType(attribute_value=setting.value, **names(setting, f"/variables/{number}"))
                for number, setting in enumerate(command.variables)
            )
        )

    def base_report(command: GetBaseReport) -> tuple[str, Struct]:
        return "GetBaseReport", v.GetBaseReportRequest(
            request_id=_request_id(command.request_id), report_base=v.ReportBaseEnumType(_BASES[command.report])
        )

    def report(command: GetReport) -> tuple[str, Struct]:
        targets = tuple(
            v.ComponentVariableType(
                component=v.ComponentType(
                    name=one.component,
                    instance=one.component_instance,
                    evse=_evse(v, one.evse_id, one.connector_id, f"/targets/{number}"),
                ),
                variable=None
                if one.variable is None
                else v.VariableType(name=one.variable, instance=one.variable_instance),
            )
            for number, one in enumerate(command.targets)
        )
        criteria = tuple(dict.fromkeys(v.ComponentCriterionEnumType(_CRITERIA[one]) for one in command.criteria))
        return "GetReport", v.GetReportRequest(
            request_id=_request_id(command.request_id),
            component_variable=targets or None,
            component_criteria=criteria or None,
        )

    def network_profile(command: SetNetworkProfile) -> tuple[str, Struct]:
        return "SetNetworkProfile", v.SetNetworkProfileRequest(
            configuration_slot=command.slot, connection_data=_profile(v, command)
        )

    return {
        GetVariables: get,
        SetVariables: put,
        GetBaseReport: base_report,
        GetReport: report,
        SetNetworkProfile: network_profile,
    }


def _request_id(number: int | None) -> int:
    if number is None:
        raise invalid("A report needs a number to find its parts by.", "/request_id", "a whole number")
    return number


_VERSIONS_201: Final = {"1.6": "OCPP16", "2.0.1": "OCPP20"}
_VERSIONS_21: Final = {"1.6": "OCPP16", "2.0.1": "OCPP201", "2.1": "OCPP21"}


def _fits(text: str | None, longest: int, pointer: str) -> str | None:
    if text is not None and len(text) > longest:
        raise invalid(
            f"The station's OCPP version takes at most {longest} characters here.",
            pointer,
            f"at most {longest} characters",
        )
    return text


def _profile(v: Any, command: SetNetworkProfile) -> Any:
    old = v is v201
    versions = _VERSIONS_201 if old else _VERSIONS_21
    word = command.ocpp_version
    if old:
        # 2.0.1 demands a version, and its list of words ends with OCPP20, which the errata reads as 2.0.1
        word = word or "2.0.1"
        if word not in versions:
            raise invalid(
                "An OCPP 2.0.1 station cannot be told of OCPP 2.1.", "/ocpp_version", "one of " + ", ".join(versions)
            )
        if command.identity is not None or command.password is not None:
            field = "identity" if command.identity is not None else "password"
            raise invalid("Network profiles have no such field before OCPP 2.1.", f"/{field}", "leave it out")
        if command.interface == "Any":
            raise invalid(
                "OCPP 2.0.1 has no interface 'Any'.", "/interface", "Wired0 to Wired3, Wireless0 to Wireless3"
            )
    apn, vpn = command.apn, command.vpn
    more: dict[str, Any] = {}
    if not old:
        more = {"identity": command.identity, "basic_auth_password": command.password}
    if word is not None:
        more["ocpp_version"] = v.OCPPVersionEnumType(versions[word])
    return v.NetworkConnectionProfileType(
        ocpp_transport=v.OCPPTransportEnumType.JSON,
        ocpp_csms_url=_fits(command.url, 512 if old else 2000, "/url"),
        message_timeout=command.message_timeout_s,
        security_profile=command.security_profile,
        ocpp_interface=v.OCPPInterfaceEnumType(command.interface),
        apn=None
        if apn is None
        else v.APNType(
            apn=apn.apn,
            apn_authentication=v.APNAuthenticationEnumType(apn.authentication),
            apn_user_name=_fits(apn.user, 20 if old else 50, "/apn/user"),
            apn_password=_fits(apn.password, 20 if old else 64, "/apn/password"),
            sim_pin=apn.sim_pin,
            preferred_network=apn.preferred_network,
            use_only_preferred_network=apn.use_only_preferred_network or None,
        ),
        vpn=None
        if vpn is None
        else v.VPNType(
            server=vpn.server,
            type=v.VPNEnumType(vpn.type),
            user=_fits(vpn.user, 20 if old else 50, "/vpn/user"),
            group=_fits(vpn.group, 20 if old else 50, "/vpn/group"),
            password=_fits(vpn.password, 20 if old else 64, "/vpn/password"),
            key=vpn.key,
        ),
        **more,
    )


def _told2x(names: Iterable[VariableName], payload: bytes) -> list[VariableAnswer]:
    """The answers in the order of the question. Each result names its variable (B05.FR.02, B06.FR.02); one that was asked for and
    is not named takes the result in its place, if that names nothing that was asked for."""
    told = wire_results(payload)
    asked = [canonical(name).place for name in names]
    wanted = {folded(place) for place in asked}
    by_place: dict[Place, Any] = {}
    for one in told:
        by_place.setdefault(folded(_wire_place(one)), one)
    results: list[VariableAnswer] = []
    for number, place in enumerate(asked):
        found = by_place.get(folded(place))
        if found is None and number < len(told) and folded(_wire_place(told[number])) not in wanted:
            found = told[number]
        if found is None:
            results.append(_answer(place, _NOT_ANSWERED))
            continue
        value = found.attribute_value
        results.append(
            _answer(
                place,
                made_storable(found.attribute_status, 64),
                value=None if value is None else made_storable(value, LONGEST),
                reason=found.said,
            )
        )
    return results


def _wire_place(one: Any) -> Place:
    evse_id, connector_id = evse_of(one.component.evse)
    return (
        one.component.name,
        one.component.instance or "",
        evse_id,
        connector_id,
        one.variable.name,
        one.variable.instance or "",
        one.attribute_type or "Actual",
    )


def _told_get2x(command: GetVariables, payload: bytes) -> Understood:
    return _understood(_told2x(command.variables, payload), all_of_them=False)


def _told_set2x(command: SetVariables, payload: bytes) -> Understood:
    return _understood(_told2x([one.name for one in command.variables], payload), all_of_them=True)


_LACKS: Final[Mapping[tuple[OcppVersion, type], str]] = {
    (
        OcppVersion.V16,
        GetReport,
    ): "OCPP 1.6 has no report by criteria: read its keys with get_variables, or all of them with get_base_report.",
    (
        OcppVersion.V16,
        SetNetworkProfile,
    ): "OCPP 1.6 has no network profiles: a station is moved with keys of its vendor.",
}
_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (GetBaseReport, "Rejected"): "The station cannot make the report now; ask again later.",
    (GetBaseReport, "NotSupported"): "The station does not know that report.",
    (GetBaseReport, "EmptyResultSet"): "The station has nothing to report.",
    (GetReport, "Rejected"): "The station cannot make the report now; ask again later.",
    (GetReport, "NotSupported"): "The station does not report by these criteria.",
    (GetReport, "EmptyResultSet"): "The station has nothing that fits.",
    (SetNetworkProfile, "Rejected"): "The station refuses the profile: its slot, its security profile (never below the "
    "one in force) or its contents do not suit it.",
    (SetNetworkProfile, "Failed"): "The station could not store the profile.",
}
_TOLD2X: Final[Mapping[type, Callable[[Any, bytes], Understood]]] = {
    GetVariables: _told_get2x,
    SetVariables: _told_set2x,
}

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {GetVariables: _get16, SetVariables: _set16, GetBaseReport: _all16},
        OcppVersion.V201: _calls2x(v201),
        OcppVersion.V21: _calls2x(v21),
    },
    lacks=_LACKS,
    reasons=_REASONS,
    told={
        OcppVersion.V16: {GetVariables: _told_get16, SetVariables: _told_set16, GetBaseReport: _told_all16},
        OcppVersion.V201: _TOLD2X,
        OcppVersion.V21: _TOLD2X,
    },
)
"""What a station's variables can be asked and told."""
