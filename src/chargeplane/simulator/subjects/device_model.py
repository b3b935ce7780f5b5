"""A virtual station's variables: what it reports, what it lets the CSMS read and change, and its network profiles.

In 2.x everything is one list of rows, made when it is asked for: the settings (`settings.SETTINGS`), the station, its EVSEs and connectors,
and in 2.1 the network configuration. In 1.6 it is the settings that have a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion
from chargeplane.simulator import acts
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.evse import Evse, EvseStatus
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.settings import (
    ACTIVE_NETWORK,
    DATE_TIME,
    DOWNGRADE,
    IDENTITY,
    NETWORK_PRIORITY,
    NUMBER_OF_CONNECTORS,
    PASSWORD,
    SECURITY_PROFILE,
    SETTINGS,
    Access,
    ChangeResult,
    Kind,
    Setting,
    by_key,
    fits,
)

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_ITEMS_PER_PART: Final = 20
_SLOTS: Final = (0, 1, 2)
_FIRST_SLOT: Final = 1


class Row(Struct, frozen=True, kw_only=True):
    """One variable of a 2.x station.

    Args:
        attributes: type and value; None for a value that is not set.
        setting: what it is where it can be changed.
    """

    component: str
    instance: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    variable: str
    variable_instance: str | None = None
    kind: Kind = Kind.STRING
    access: Access = Access.READ_ONLY
    unit: str | None = None
    least: int | None = None
    most: int | None = None
    values: tuple[str, ...] = ()
    monitored: bool = False
    attributes: tuple[tuple[str, str | None], ...]
    setting: Setting | None = None
    abnormal: bool = False

    def named(self, component: Any, variable: Any | None) -> bool:
        """Whether a request means it: what is left out of an EVSE or an instance stands for all (B08.FR.20 to FR.23)."""
        if component.name.casefold() != self.component.casefold():
            return False
        if component.instance and component.instance.casefold() != (self.instance or "").casefold():
            return False
        evse = component.evse
        if evse is not None and (
            evse.id != self.evse_id or (evse.connector_id is not None and evse.connector_id != self.connector_id)
        ):
            return False
        if variable is None:
            return True
        if variable.name.casefold() != self.variable.casefold():
            return False
        return not variable.instance or variable.instance.casefold() == (self.variable_instance or "").casefold()

    def value(self, attribute: str) -> str | None:
        """The value of an attribute; None where it is not set.

        Raises:
            KeyError: it has no such attribute.
        """
        return dict(self.attributes)[attribute]


class NetworkProfiles:
    """A station's network profiles: what was stored in each slot, as variables of NetworkConfiguration (OCPP 2.1 B09)."""

    def __init__(self) -> None:
        self.slots: dict[int, dict[str, str]] = {}


def _text_of(station: VirtualStation, setting: Setting) -> str:
    """The value of a setting, also of those that the station computes."""
    if setting is IDENTITY:
        return station.station_id
    if setting is DATE_TIME:
        return rfc3339(station.clock.now())
    if setting is SECURITY_PROFILE and station.route is None:
        secure = station.options.ssl is not None
        return (
            "0" if station.password is None and not secure else "1" if not secure else "2" if station.password else "3"
        )
    if setting is NUMBER_OF_CONNECTORS:
        return str(len(station.evses))
    return station.settings.text(setting)


# --- what a station is made of ----------------------------------------------------------------------------------------


def _setting_row(station: VirtualStation, setting: Setting) -> Row:
    assert setting.component is not None
    assert setting.variable is not None
    hidden = setting.access is Access.WRITE_ONLY
    return Row(
        component=setting.component,
        variable=setting.variable,
        variable_instance=setting.instance,
        kind=setting.kind,
        access=setting.access,
        unit=setting.unit,
        least=setting.least if setting.kind in (Kind.INTEGER, Kind.DECIMAL) else None,
        most=setting.most,
        values=setting.values,
        attributes=(("Actual", None if hidden else _text_of(station, setting)),),
        setting=setting,
    )


_STATES: Final = {
    EvseStatus.AVAILABLE: "Available",
    EvseStatus.RESERVED: "Reserved",
    EvseStatus.UNAVAILABLE: "Unavailable",
    EvseStatus.FAULTED: "Faulted",
}
_AVAILABILITY: Final = ("Available", "Occupied", "Reserved", "Unavailable", "Faulted")


def _state(evse: Evse) -> str:
    return _STATES.get(evse.status, "Occupied")


def _flag_row(component: str, variable: str, on: bool, **more: Any) -> Row:
    text = "true" if on else "false"
    return Row(component=component, variable=variable, kind=Kind.BOOLEAN, attributes=(("Actual", text),), **more)


def _state_row(component: str, state: str, **more: Any) -> Row:
    return Row(
        component=component,
        variable="AvailabilityState",
        kind=Kind.OPTION_LIST,
        values=_AVAILABILITY,
        monitored=True,
        attributes=(("Actual", state),),
        abnormal=state in ("Faulted", "Unavailable"),
        **more,
    )


def _station_rows(station: VirtualStation) -> Iterator[Row]:
    model = station.options.model
    faulted = any(evse.faulted for evse in station.evses)
    state = "Available" if station.operative else "Unavailable"
    yield _flag_row("ChargingStation", "Available", station.operative)
    yield _state_row("ChargingStation", state)
    yield _flag_row("ChargingStation", "Problem", faulted, monitored=True, abnormal=faulted)
    for variable, text in (
        ("Model", model.model),
        ("VendorName", model.vendor),
        ("SerialNumber", station.station_id),
        ("FirmwareVersion", model.firmware),
    ):
        yield Row(component="ChargingStation", variable=variable, attributes=(("Actual", text),), most=50)
    phases = max((evse.meter.model.phases for evse in station.evses), default=3)
    yield Row(
        component="ChargingStation", variable="SupplyPhases", kind=Kind.INTEGER, attributes=(("Actual", str(phases)),)
    )
    for evse in station.evses:
        yield from _evse_rows(evse)


def _evse_rows(evse: Evse) -> Iterator[Row]:
    model, meter = evse.meter.model, evse.meter
    phases = "0" if model.dc else str(model.phases)
    place: dict[str, Any] = {"evse_id": evse.id}
    yield _flag_row("EVSE", "Available", evse.operative, **place)
    yield _state_row("EVSE", _state(evse), **place)
    yield _flag_row("EVSE", "AllowReset", True, **place)
    yield _flag_row("EVSE", "Problem", evse.faulted, monitored=True, abnormal=evse.faulted, **place)
    yield Row(
        component="EVSE",
        variable="Power",
        kind=Kind.DECIMAL,
        unit="W",
        most=model.power_w,
        monitored=True,
        # OCPP 2.0.1 EVSE.Power: the limit of the hardware is its MaxSet
        attributes=(("Actual", str(meter.power_w)), ("MaxSet", str(model.power_w))),
        **place,
    )
    yield Row(component="EVSE", variable="SupplyPhases", kind=Kind.INTEGER, attributes=(("Actual", phases),), **place)
    plug = {**place, "connector_id": 1}
    yield _flag_row("Connector", "Available", evse.operative, **plug)
    yield _state_row("Connector", _state(evse), **plug)
    yield Row(component="Connector", variable="ConnectorType", attributes=(("Actual", model.connector),), **plug)
    yield Row(
        component="Connector", variable="SupplyPhases", kind=Kind.INTEGER, attributes=(("Actual", phases),), **plug
    )


_NETWORK: Final[dict[str, tuple[Kind, tuple[str, ...]]]] = {
    "OcppCsmsUrl": (Kind.STRING, ()),
    "OcppInterface": (
        Kind.OPTION_LIST,
        (*(f"{name}{number}" for name in ("Wired", "Wireless") for number in range(4)), "Any"),
    ),
    "OcppTransport": (Kind.OPTION_LIST, ("JSON", "SOAP")),
    "OcppVersion": (Kind.OPTION_LIST, ("OCPP16", "OCPP201", "OCPP21")),
    "MessageTimeout": (Kind.INTEGER, ()),
    "SecurityProfile": (Kind.INTEGER, ()),
    "Identity": (Kind.STRING, ()),
    "VpnEnabled": (Kind.BOOLEAN, ()),
    "ApnEnabled": (Kind.BOOLEAN, ()),
}


def _network_rows(station: VirtualStation) -> Iterator[Row]:
    slots = _profiles(station).slots
    for slot in _SLOTS:
        for variable, (kind, values) in _NETWORK.items():
            yield Row(
                component="NetworkConfiguration",
                instance=str(slot),
                variable=variable,
                kind=kind,
                values=values,
                access=Access.READ_ONLY if variable in ("VpnEnabled", "ApnEnabled") else Access.READ_WRITE,
                attributes=(("Actual", slots.get(slot, {}).get(variable)),),
            )


def rows_of(station: VirtualStation) -> list[Row]:
    """Every variable of a 2.x station."""
    is_21 = station.version is OcppVersion.V21
    rows = [
        _setting_row(station, setting)
        for setting in SETTINGS
        if setting.component is not None and (is_21 or setting.since == "2.0.1")
    ]
    rows += _station_rows(station)
    if is_21:
        rows += _network_rows(station)
    return rows


def _find(rows: Sequence[Row], component: Any, variable: Any) -> Row | str:
    """The one variable a request names, or the status word for none (B05.FR.04, FR.05, B06.FR.06, FR.07, FR.15)."""
    evse = component.evse
    place = (None, None) if evse is None else (evse.id, evse.connector_id)
    known = [
        row
        for row in rows
        if row.component.casefold() == component.name.casefold()
        and (row.instance or "").casefold() == (component.instance or "").casefold()
        and (row.evse_id, row.connector_id) == place
    ]
    if not known:
        return "UnknownComponent"
    for row in known:
        if (row.variable.casefold(), (row.variable_instance or "").casefold()) == (
            variable.name.casefold(),
            (variable.instance or "").casefold(),
        ):
            return row
    return "UnknownVariable"


# --- reading and writing ----------------------------------------------------------------------------------------------


def _place(wanted: Any) -> tuple[v201.ComponentType, v201.VariableType]:
    """What was asked for, as it is named in the answer."""
    evse = wanted.component.evse
    component = v201.ComponentType(
        name=wanted.component.name,
        instance=wanted.component.instance,
        evse=None if evse is None else v201.EVSEType(id=evse.id, connector_id=evse.connector_id),
    )
    return component, v201.VariableType(name=wanted.variable.name, instance=wanted.variable.instance)


def _read(rows: Sequence[Row], wanted: Any) -> v201.GetVariableResultType:
    component, variable = _place(wanted)
    attribute = "Actual" if wanted.attribute_type is None else wanted.attribute_type.value
    found = _find(rows, wanted.component, wanted.variable)
    value: str | None = None
    if isinstance(found, str):
        status = found
    elif attribute not in dict(found.attributes):
        status = "NotSupportedAttributeType"  # B06.FR.08
    elif found.access is Access.WRITE_ONLY:
        status = "Rejected"  # B06.FR.09
    else:
        # B06.FR.13: what is not set is empty
        status, value = "Accepted", found.value(attribute) or ""
    return v201.GetVariableResultType(
        attribute_status=v201.GetVariableStatusEnumType(status),
        component=component,
        variable=variable,
        attribute_type=v201.AttributeEnumType(attribute),  # B06.FR.11
        attribute_value=value,
    )


def _get_variables(station: VirtualStation, request: v201.GetVariablesRequest | v21.GetVariablesRequest) -> Reply:
    rows = rows_of(station)
    results = tuple(_read(rows, wanted) for wanted in request.get_variable_data)
    return Reply(v201.GetVariablesResponse(get_variable_result=results))


def _write(station: VirtualStation, rows: Sequence[Row], wanted: Any) -> tuple[str, str | None, Setting | None]:
    """Status, reason and the setting that was changed."""
    attribute = "Actual" if wanted.attribute_type is None else wanted.attribute_type.value
    found = _find(rows, wanted.component, wanted.variable)
    if isinstance(found, str):
        return found, None, None
    if attribute not in dict(found.attributes):
        return "NotSupportedAttributeType", None, None  # B05.FR.06
    if station.has(Fault.REJECTS_ALL):
        return "Rejected", None, None
    if station.has(Fault.ACCEPTS_AND_IGNORES):
        return "Accepted", None, None
    if found.access is Access.READ_ONLY or attribute != "Actual":
        return "Rejected", "ReadOnly", None
    value = wanted.attribute_value
    if found.component == "NetworkConfiguration":
        return _write_network(station, found, value)
    setting = found.setting
    if setting is NETWORK_PRIORITY and not _all_configured(station, value):
        return "Rejected", "InvalidNetworkConf", None  # B10.FR.02
    result = station.settings.change(setting, value)
    if result is ChangeResult.ACCEPTED:
        return "Accepted", None, setting
    if result is ChangeResult.NEEDS_REBOOT:
        return "RebootRequired", None, setting
    return "Rejected", "ReadOnly" if result is ChangeResult.READ_ONLY else "InvalidValue", None


def _set_variables(station: VirtualStation, request: v201.SetVariablesRequest | v21.SetVariablesRequest) -> Reply:
    rows = rows_of(station)
    results: list[v201.SetVariableResultType] = []
    password: str | None = None
    changed = False
    for wanted in request.set_variable_data:
        status, reason, setting = _write(station, rows, wanted)
        changed = changed or status == "Accepted"
        if setting is PASSWORD and status == "Accepted":
            password = wanted.attribute_value
        component, variable = _place(wanted)
        results.append(
            v201.SetVariableResultType(
                attribute_status=v201.SetVariableStatusEnumType(status),
                component=component,
                variable=variable,
                attribute_type=v201.AttributeEnumType(wanted.attribute_type or "Actual"),  # B05.FR.12
                attribute_status_info=None if reason is None else v201.StatusInfoType(reason_code=reason),
            )
        )
    return Reply(
        v201.SetVariablesResponse(set_variable_result=tuple(results)), partial(_changed, station, password, changed)
    )


def _changed(station: VirtualStation, password: str | None, changed: bool) -> None:
    if password is not None:
        station.reconnect_with_password(password)
    station.settings_changed()
    if changed and station.has(Fault.REBOOTS_ON_CHANGE):
        station.reboot("RemoteReset", stop=None)


# --- reports ----------------------------------------------------------------------------------------------------------


def _reported(row: Row) -> v201.ReportDataType:
    evse = None if row.evse_id is None else v201.EVSEType(id=row.evse_id, connector_id=row.connector_id)
    return v201.ReportDataType(
        component=v201.ComponentType(name=row.component, instance=row.instance, evse=evse),
        variable=v201.VariableType(name=row.variable, instance=row.variable_instance),
        variable_attribute=tuple(
            v201.VariableAttributeType(
                type=v201.AttributeEnumType(kind),
                value=value,
                mutability=v201.MutabilityEnumType(row.access.value if kind == "Actual" else "ReadOnly"),
                persistent=True,
                constant=False,
            )
            for kind, value in row.attributes
        ),
        variable_characteristics=v201.VariableCharacteristicsType(
            data_type=v201.DataEnumType(row.kind.value),
            supports_monitoring=row.monitored,
            unit=row.unit,
            min_limit=None if row.least is None else Decimal(row.least),
            max_limit=None if row.most is None else Decimal(row.most),
            values_list=",".join(row.values) or None,
        ),
    )


def _parts(station: VirtualStation, request_id: int, rows: Sequence[Row]) -> list[Draft]:
    reported = [_reported(row) for row in rows]
    parts = [tuple(reported[at : at + _ITEMS_PER_PART]) for at in range(0, len(reported), _ITEMS_PER_PART)] or [()]
    if station.has(Fault.REPORT_WITH_EMPTY_PART):
        parts.append(())
    generated_at = rfc3339(station.clock.now())
    drafts: list[Draft] = []
    for number, part in enumerate(parts):
        more = number + 1 < len(parts) and not station.has(Fault.REPORT_WITHOUT_TBC)
        request = v201.NotifyReportRequest(
            request_id=request_id,
            generated_at=generated_at,
            seq_no=number,  # B07.FR.10
            report_data=part or None,
            tbc=True if more else None,
        )
        drafts.append(Draft("NotifyReport", partial(_same, request)))
    return drafts[-1:] if station.has(Fault.NOTIFY_REPORT_LAST_PART_ONLY) else drafts


def _same(request: Struct) -> Struct:
    return request


def _get_base_report(station: VirtualStation, request: Any) -> Reply:
    statuses = v201.GenericDeviceModelStatusEnumType
    rows = rows_of(station)
    if request.report_base.value == "ConfigurationInventory":
        rows = [row for row in rows if row.access is not Access.READ_ONLY]  # B07.FR.07
    elif request.report_base.value == "SummaryInventory":
        rows = [row for row in rows if row.variable == "AvailabilityState" or row.abnormal]  # B07.FR.09
    return Reply(
        v201.GetBaseReportResponse(status=statuses.ACCEPTED),
        lambda: acts.send_all(station, _parts(station, request.request_id, rows), first=True),
    )


def _get_report(station: VirtualStation, request: v201.GetReportRequest | v21.GetReportRequest) -> Reply:
    statuses = v201.GenericDeviceModelStatusEnumType
    rows = rows_of(station)
    if request.component_criteria:
        chosen = _of_criteria(rows, [one.value for one in request.component_criteria])
        rows = [row for row in rows if _component(row) in chosen]
    if request.component_variable:
        rows = [
            row
            for row in rows
            if any(row.named(wanted.component, wanted.variable) for wanted in request.component_variable)
        ]
    if not rows:
        return Reply(v201.GetReportResponse(status=statuses.EMPTY_RESULT_SET))  # B08.FR.15
    return Reply(
        v201.GetReportResponse(status=statuses.ACCEPTED),
        lambda: acts.send_all(station, _parts(station, request.request_id, rows), first=True),
    )


def _component(row: Row) -> tuple[str, str | None, int | None, int | None]:
    return row.component, row.instance, row.evse_id, row.connector_id


def _of_criteria(rows: Sequence[Row], criteria: Sequence[str]) -> set[Any]:
    """Components that fit at least one (B08.FR.07 to FR.10, FR.13): the variable is true, or is not there; Problem must be there."""
    there = {(_component(row), row.variable): row.value("Actual") for row in rows}
    return {
        component
        for component in {_component(row) for row in rows}
        if any(
            there.get((component, criterion), None if criterion == "Problem" else "true") == "true"
            for criterion in criteria
        )
    }


# --- network profiles -------------------------------------------------------------------------------------------------


def _profiles(station: VirtualStation) -> NetworkProfiles:
    """The profiles; the one in use is there from the beginning."""
    profiles = station.state_of(NetworkProfiles)
    if not profiles.slots:
        profiles.slots[_FIRST_SLOT] = {
            "OcppCsmsUrl": station.url,
            "OcppInterface": "Wired0",
            "OcppTransport": "JSON",
            "OcppVersion": "OCPP" + station.version.value.replace(".", ""),
            "MessageTimeout": "30",
            "SecurityProfile": _text_of(station, SECURITY_PROFILE),
            "Identity": station.station_id,
            "VpnEnabled": "false",
            "ApnEnabled": "false",
        }
    return profiles


def _priority(value: str) -> list[int]:
    return [int(part) for part in value.split(",") if part.strip().isdigit()]


def _all_configured(station: VirtualStation, value: str) -> bool:
    slots = _profiles(station).slots
    return fits(NETWORK_PRIORITY, value) and all(slots.get(slot, {}).get("OcppCsmsUrl") for slot in _priority(value))


def _write_network(station: VirtualStation, row: Row, value: str) -> tuple[str, str | None, Setting | None]:
    slot = int(row.instance or -1)
    if slot in _priority(station.settings.text(NETWORK_PRIORITY)):
        return "Rejected", "PriorityNetworkConf", None  # B09.FR.22
    kind, values = _NETWORK[row.variable]
    if not fits(Setting(kind=kind, values=values), value):
        return "Rejected", "InvalidValue", None
    _profiles(station).slots.setdefault(slot, {})[row.variable] = value
    return "Accepted", None, None


def _set_network_profile(station: VirtualStation, request: Any) -> Reply:
    statuses = v201.SetNetworkProfileStatusEnumType
    data = request.connection_data
    address = urlsplit(data.ocpp_csms_url)
    lower = data.security_profile < int(_text_of(station, SECURITY_PROFILE))
    if station.version is OcppVersion.V21 and station.settings.is_on(DOWNGRADE):
        lower = False
    # B09.FR.02, FR.04, FR.05
    if (
        request.configuration_slot not in _SLOTS
        or lower
        or address.scheme not in ("ws", "wss")
        or not address.hostname
        or (address.scheme == "ws" and data.security_profile > 1)
    ):
        return Reply(v201.SetNetworkProfileResponse(status=statuses.REJECTED))
    profile = {
        "OcppCsmsUrl": data.ocpp_csms_url,
        "OcppInterface": data.ocpp_interface.value,
        "OcppTransport": data.ocpp_transport.value,
        "MessageTimeout": str(data.message_timeout),
        "SecurityProfile": str(data.security_profile),
        "VpnEnabled": "false" if data.vpn is None else "true",  # B09.FR.11, FR.12
        "ApnEnabled": "false" if data.apn is None else "true",
        "Identity": getattr(data, "identity", None) or station.station_id,
    }
    if data.ocpp_version is not None:
        profile["OcppVersion"] = data.ocpp_version.value
    _profiles(station).slots[request.configuration_slot] = profile
    return Reply(v201.SetNetworkProfileResponse(status=statuses.ACCEPTED))


def rebooted(station: VirtualStation) -> None:
    """What waited for a restart holds now; the station connects by the first profile of its priority (B10.FR.04)."""
    station.settings.rebooted()
    slots = _priority(station.settings.text(NETWORK_PRIORITY))
    url = _profiles(station).slots.get(slots[0], {}).get("OcppCsmsUrl") if slots else None
    if url is not None:
        station.settings.put(ACTIVE_NETWORK, str(slots[0]))
        station.url = url.rstrip("/")


def fall_back(station: VirtualStation) -> None:
    """The CSMS of a profile did not answer as often as was to be tried: the next one of the priority is (B10.FR.03, FR.08)."""
    slots = _priority(station.settings.text(NETWORK_PRIORITY))
    active = station.settings.number(ACTIVE_NETWORK)
    if len(slots) > 1:
        following = slots[(slots.index(active) + 1) % len(slots)] if active in slots else slots[0]
        url = _profiles(station).slots.get(following, {}).get("OcppCsmsUrl")
        if url is not None:
            station.settings.put(ACTIVE_NETWORK, str(following))
            station.url = url.rstrip("/")


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------


def _get_configuration(station: VirtualStation, request: v16.GetConfigurationRequest) -> Reply:
    known: list[Setting] = []
    unknown: list[str] = []
    if not request.key or station.has(Fault.ALL_KEYS):
        known = [setting for setting in SETTINGS if setting.key is not None]
    else:
        for key in request.key:
            setting = by_key(key)
            if setting is None:
                unknown.append(key)
            else:
                known.append(setting)
    return Reply(
        v16.GetConfigurationResponse(
            configuration_key=tuple(_key_value(station, setting) for setting in known) or None,
            unknown_key=tuple(unknown) or None,
        )
    )


def _key_value(station: VirtualStation, setting: Setting) -> v16.KeyValue:
    assert setting.key is not None
    hidden = setting.access is Access.WRITE_ONLY or station.has(Fault.KEYS_WITHOUT_VALUES)
    return v16.KeyValue(
        key=setting.key,
        readonly=setting.access is Access.READ_ONLY,
        value=None if hidden else _text_of(station, setting),
    )


_CHANGES: Final = {
    ChangeResult.ACCEPTED: v16.ConfigurationStatus.ACCEPTED,
    ChangeResult.REJECTED: v16.ConfigurationStatus.REJECTED,
    ChangeResult.READ_ONLY: v16.ConfigurationStatus.REJECTED,
    ChangeResult.UNKNOWN: v16.ConfigurationStatus.NOT_SUPPORTED,
    ChangeResult.UNKNOWN_COMPONENT: v16.ConfigurationStatus.NOT_SUPPORTED,
    ChangeResult.NEEDS_REBOOT: v16.ConfigurationStatus.REBOOT_REQUIRED,
}


def _change_configuration(station: VirtualStation, request: v16.ChangeConfigurationRequest) -> Reply:
    setting = by_key(request.key)
    if setting is not None and station.has(Fault.REJECTS_ALL):
        return Reply(v16.ChangeConfigurationResponse(status=v16.ConfigurationStatus.REJECTED))
    if setting is not None and station.has(Fault.ACCEPTS_AND_IGNORES):
        return Reply(v16.ChangeConfigurationResponse(status=v16.ConfigurationStatus.ACCEPTED))
    status = _CHANGES[station.settings.change(setting, request.value)]
    then: Callable[[], None] | None = None
    if status is v16.ConfigurationStatus.ACCEPTED:
        then = partial(_changed, station, request.value if setting is PASSWORD else None, True)
    return Reply(v16.ChangeConfigurationResponse(status=status), then)


HANDLERS16: Final = {
    "ChangeConfiguration": _change_configuration,
    "GetConfiguration": _get_configuration,
}
"""What a 1.6 station is asked about its keys."""

HANDLERS2X: Final = {
    "GetBaseReport": _get_base_report,
    "GetReport": _get_report,
    "GetVariables": _get_variables,
    "SetNetworkProfile": _set_network_profile,
    "SetVariables": _set_variables,
}
"""What a 2.x station is asked about its variables."""
