"""A foreign station's settings: the configuration keys of 1.6, the variables of 2.x."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ocpp.routing import after, on

from tests.foreign.stations.life import now
from tests.foreign.stations.security import Security2x, Security16

NEEDS_RESTART = "VolumeOfTheBuzzer"
"""A setting of the maker's own that takes effect after a restart."""
_MAKERS = "BuzzerCtrlr"


@dataclass
class Setting:
    """What a setting is; of a change that waits for a restart, `later` is the value."""

    value: str
    mutability: str = "ReadWrite"
    data_type: str = "integer"
    later: str | None = None


def of_16() -> dict[str, Setting]:
    return {
        "HeartbeatInterval": Setting("300"),
        "MeterValueSampleInterval": Setting("60"),
        "NumberOfConnectors": Setting("1", "ReadOnly"),
        "SupportedFeatureProfiles": Setting("Core,FirmwareManagement,SmartCharging", "ReadOnly", "MemberList"),
        "AuthorizeRemoteTxRequests": Setting("true", data_type="boolean"),
        "LocalAuthListEnabled": Setting("true", data_type="boolean"),
        "LocalAuthListMaxLength": Setting("100", "ReadOnly"),
        "SendLocalListMaxLength": Setting("20", "ReadOnly"),
        "ChargeProfileMaxStackLevel": Setting("10", "ReadOnly"),
        "ChargingScheduleAllowedChargingRateUnit": Setting("Current,Power", "ReadOnly", "MemberList"),
        "ChargingScheduleMaxPeriods": Setting("24", "ReadOnly"),
        "MaxChargingProfilesInstalled": Setting("20", "ReadOnly"),
        "ReserveConnectorZeroSupported": Setting("false", "ReadOnly", "boolean"),
        "SecurityProfile": Setting("1"),
        NEEDS_RESTART: Setting("7"),
    }


class Variables16(Security16):
    """OCPP 1.6: GetConfiguration, ChangeConfiguration."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.settings = of_16()

    def turned_on(self) -> None:
        """What a restart does to the settings."""
        for one in self.settings.values():
            one.value, one.later = one.later or one.value, None

    @on("GetConfiguration")
    def _get16(self, key: list[str] | None = None) -> Any:
        return self.answer(
            "GetConfiguration",
            configuration_key=[
                {"key": name, "readonly": one.mutability == "ReadOnly", "value": one.value}
                for name, one in self.settings.items()
                if not key or name in key
            ],
            unknown_key=[name for name in key or () if name not in self.settings],
        )

    @on("ChangeConfiguration")
    def _change16(self, key: str, value: str) -> Any:
        return self.answer("ChangeConfiguration", status=self._changed16(key, value))

    def _changed16(self, key: str, value: str) -> str:
        if key == "AuthorizationKey":
            secret = bytes.fromhex(value)
            return "Accepted" if 16 <= len(secret) <= 20 else "Rejected"
        one = self.settings.get(key)
        if one is None:
            return "NotSupported"
        if one.mutability == "ReadOnly" or (one.data_type == "integer" and not value.isdecimal()):
            return "Rejected"
        if key == "SecurityProfile":
            fit = any(use == "CentralSystemRootCertificate" for use, _ in self.roots)
            if not fit or int(value) <= self.security_profile or (value == "3" and self.certificate is None):
                return "Rejected"
        if key == NEEDS_RESTART:
            one.later = value
            return "RebootRequired"
        one.value = value
        return "Accepted"

    @after("ChangeConfiguration")
    def _changes16(self, key: str, value: str) -> None:
        if key == "AuthorizationKey":
            self.password = bytes.fromhex(value)
            self.begin(self.come_back())
        elif key == "SecurityProfile" and self.settings[key].value == value:
            self.security_profile = int(value)
            self.begin(self.come_back())


Name = tuple[str, str, str | None]


def of_2x() -> dict[Name, Setting]:
    return {
        ("OCPPCommCtrlr", "HeartbeatInterval", None): Setting("300"),
        ("OCPPCommCtrlr", "NetworkConfigurationPriority", None): Setting("1", data_type="SequenceList"),
        ("OCPPCommCtrlr", "FileTransferProtocols", None): Setting("HTTP,HTTPS", "ReadOnly", "MemberList"),
        ("SampledDataCtrlr", "TxUpdatedInterval", None): Setting("60"),
        ("AuthCtrlr", "AuthorizeRemoteStart", None): Setting("true", data_type="boolean"),
        ("LocalAuthListCtrlr", "Entries", None): Setting("0", "ReadOnly"),
        ("LocalAuthListCtrlr", "ItemsPerMessage", None): Setting("20", "ReadOnly"),
        ("SmartChargingCtrlr", "ProfileStackLevel", None): Setting("10", "ReadOnly"),
        ("SmartChargingCtrlr", "RateUnit", None): Setting("A,W", "ReadOnly", "MemberList"),
        ("SecurityCtrlr", "SecurityProfile", None): Setting("1", "ReadOnly"),
        ("SecurityCtrlr", "BasicAuthPassword", None): Setting("", "WriteOnly", "string"),
        ("DeviceDataCtrlr", "ItemsPerMessage", "GetVariables"): Setting("3", "ReadOnly"),
        ("DeviceDataCtrlr", "ItemsPerMessage", "SetVariables"): Setting("3", "ReadOnly"),
        (_MAKERS, NEEDS_RESTART, None): Setting("7"),
    }


def _name(component: dict[str, Any], variable: dict[str, Any]) -> Name:
    return component["name"], variable["name"], variable.get("instance")


class Variables2x(Security2x):
    """OCPP 2.0.1 and 2.1: GetVariables, SetVariables, reports in parts of five."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.settings = of_2x()

    def turned_on(self) -> None:
        """What a restart does to the settings; the first network connection profile is used then (A05.FR.05)."""
        for one in self.settings.values():
            one.value, one.later = one.later or one.value, None
        order = self.settings["OCPPCommCtrlr", "NetworkConfigurationPriority", None].value
        self.security_profile = self.slots[int(order.split(",")[0])]["security_profile"]
        self.settings["SecurityCtrlr", "SecurityProfile", None].value = str(self.security_profile)

    @on("GetVariables")
    def _get2x(self, get_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        return self.answer("GetVariables", get_variable_result=[self._read(**one) for one in get_variable_data])

    def _read(self, component: Any, variable: Any, attribute_type: str = "Actual", **_: Any) -> dict[str, Any]:
        one = self.settings.get(_name(component, variable))
        said: dict[str, Any] = {"component": component, "variable": variable, "attribute_type": attribute_type}
        if one is None:
            known = any(name == component["name"] for name, _, _ in self.settings)
            return {**said, "attribute_status": "UnknownVariable" if known else "UnknownComponent"}
        if attribute_type != "Actual":
            return {**said, "attribute_status": "NotSupportedAttributeType"}
        if one.mutability == "WriteOnly":
            return {**said, "attribute_status": "Rejected"}
        return {**said, "attribute_status": "Accepted", "attribute_value": one.value}

    @on("SetVariables")
    def _set2x(self, set_variable_data: list[dict[str, Any]], **_: Any) -> Any:
        return self.answer("SetVariables", set_variable_result=[self._write(**one) for one in set_variable_data])

    def _write(self, component: Any, variable: Any, attribute_value: str, **_: Any) -> dict[str, Any]:
        return {
            "component": component,
            "variable": variable,
            "attribute_status": self._written(_name(component, variable), attribute_value),
        }

    def _written(self, name: Name, value: str) -> str:
        one = self.settings.get(name)
        if one is None:
            return "UnknownVariable" if any(name[0] == known for known, _, _ in self.settings) else "UnknownComponent"
        if one.mutability == "ReadOnly" or (one.data_type == "integer" and not value.isdecimal()):
            return "Rejected"
        if name[1] == "BasicAuthPassword":
            if not 16 <= len(value) <= 40:
                return "Rejected"
            self.password = value
        elif name[1] == "NetworkConfigurationPriority":
            if not set(map(int, value.split(","))) <= set(self.slots):
                return "Rejected"
            one.later = value
            return "RebootRequired"
        elif name[1] == NEEDS_RESTART:
            one.later = value
            return "RebootRequired"
        else:
            one.value = value
        return "Accepted"

    @after("SetVariables")
    def _changes2x(self, set_variable_data: list[dict[str, Any]], **_: Any) -> None:
        if any(one["variable"]["name"] == "BasicAuthPassword" for one in set_variable_data):
            self.begin(self.come_back())

    @on("GetBaseReport")
    def _report(self, request_id: int, report_base: str, **_: Any) -> Any:
        return self.answer("GetBaseReport", status="Accepted" if report_base == "FullInventory" else "NotSupported")

    @after("GetBaseReport")
    def _reports(self, request_id: int, report_base: str, **_: Any) -> None:
        if report_base == "FullInventory":
            self.begin(self._tell_all(request_id))

    async def _tell_all(self, request_id: int) -> None:
        rows = [self._row(name, one) for name, one in self.settings.items()]
        parts = [rows[first : first + 5] for first in range(0, len(rows), 5)]
        for number, part in enumerate(parts):
            await self.tell(
                "NotifyReport",
                request_id=request_id,
                generated_at=now(),
                seq_no=number,
                tbc=number < len(parts) - 1,
                report_data=part,
            )

    def _row(self, name: Name, one: Setting) -> dict[str, Any]:
        component, variable, instance = name
        attribute: dict[str, Any] = {"type": "Actual", "mutability": one.mutability}
        if one.mutability != "WriteOnly":
            attribute["value"] = one.value
        return {
            "component": {"name": component},
            "variable": {"name": variable} | ({"instance": instance} if instance else {}),
            "variable_attribute": [attribute],
            "variable_characteristics": {"data_type": one.data_type, "supports_monitoring": True},
        }
