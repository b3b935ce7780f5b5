"""What a virtual station lets the CSMS configure: one table for 1.6 keys and the 2.x device model.

The table is shared by all stations of the process; a station keeps only what differs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

from msgspec import Struct


class Access(enum.Enum):
    """Who may do what with a setting."""

    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"
    WRITE_ONLY = "WriteOnly"


class Kind(enum.Enum):
    """Type of the value, as OCPP 2.x DataEnum names it."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    MEMBER_LIST = "MemberList"
    OPTION_LIST = "OptionList"


class Setting(Struct, frozen=True, kw_only=True):
    """One configurable value.

    Args:
        key: OCPP 1.6 configuration key, None where 1.6 has none.
        component, variable, instance: OCPP 2.x names; component None where 2.x has none.
        needs_reboot: a change is answered RebootRequired.
    """

    key: str | None = None
    component: str | None = None
    variable: str | None = None
    instance: str | None = None
    default: str = ""
    kind: Kind = Kind.STRING
    access: Access = Access.READ_WRITE
    unit: str | None = None
    needs_reboot: bool = False


class ChangeResult(enum.Enum):
    """How a change ended; each version has its own words for it."""

    ACCEPTED = enum.auto()
    REJECTED = enum.auto()
    READ_ONLY = enum.auto()
    UNKNOWN_COMPONENT = enum.auto()
    UNKNOWN = enum.auto()
    NEEDS_REBOOT = enum.auto()


def _integer(
    key: str | None,
    component: str | None,
    variable: str | None,
    default: int,
    *,
    unit: str | None = None,
    access: Access = Access.READ_WRITE,
    instance: str | None = None,
) -> Setting:
    return Setting(
        key=key,
        component=component,
        variable=variable,
        instance=instance,
        default=str(default),
        kind=Kind.INTEGER,
        unit=unit,
        access=access,
    )


def _flag(
    key: str | None,
    component: str | None,
    variable: str | None,
    default: bool,
    *,
    access: Access = Access.READ_WRITE,
) -> Setting:
    text = "true" if default else "false"
    return Setting(key=key, component=component, variable=variable, default=text, kind=Kind.BOOLEAN, access=access)


_MEASURANDS = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"

HEARTBEAT_INTERVAL: Final = _integer("HeartbeatInterval", "OCPPCommCtrlr", "HeartbeatInterval", 300, unit="s")
SAMPLE_INTERVAL: Final = _integer("MeterValueSampleInterval", "SampledDataCtrlr", "TxUpdatedInterval", 60, unit="s")
SAMPLED_DATA: Final = Setting(
    key="MeterValuesSampledData",
    component="SampledDataCtrlr",
    variable="TxUpdatedMeasurands",
    default=_MEASURANDS,
    kind=Kind.MEMBER_LIST,
)
MESSAGE_TIMEOUT: Final = _integer(
    None, "OCPPCommCtrlr", "MessageTimeout", 30, unit="s", access=Access.READ_ONLY, instance="Default"
)
MESSAGE_ATTEMPTS: Final = _integer(
    "TransactionMessageAttempts", "OCPPCommCtrlr", "MessageAttempts", 3, instance="TransactionEvent"
)
MESSAGE_RETRY_INTERVAL: Final = _integer(
    "TransactionMessageRetryInterval",
    "OCPPCommCtrlr",
    "MessageAttemptInterval",
    10,
    unit="s",
    instance="TransactionEvent",
)
PASSWORD: Final = Setting(
    key="AuthorizationKey", component="SecurityCtrlr", variable="BasicAuthPassword", access=Access.WRITE_ONLY
)
STOP_ON_INVALID_ID: Final = _flag("StopTransactionOnInvalidId", "TxCtrlr", "StopTxOnInvalidId", True)
AUTHORIZE_REMOTE: Final = _flag("AuthorizeRemoteTxRequests", "AuthCtrlr", "AuthorizeRemoteStart", False)
LOCAL_PRE_AUTHORIZE: Final = _flag("LocalPreAuthorize", "AuthCtrlr", "LocalPreAuthorize", False)
LOCAL_LIST_ENABLED: Final = _flag("LocalAuthListEnabled", "LocalAuthListCtrlr", "Enabled", True)
LOCAL_LIST_MOST: Final = _integer(
    "LocalAuthListMaxLength", "LocalAuthListCtrlr", "Entries", 1000, access=Access.READ_ONLY
)
LOCAL_LIST_PER_MESSAGE: Final = _integer(
    "SendLocalListMaxLength", "LocalAuthListCtrlr", "ItemsPerMessage", 100, access=Access.READ_ONLY
)
LOCAL_AUTHORIZE_OFFLINE: Final = _flag("LocalAuthorizeOffline", "AuthCtrlr", "LocalAuthorizeOffline", True)
OFFLINE_UNKNOWN: Final = _flag("AllowOfflineTxForUnknownId", "AuthCtrlr", "OfflineTxForUnknownIdEnabled", True)
CACHE_ENABLED: Final = _flag("AuthorizationCacheEnabled", "AuthCacheCtrlr", "Enabled", True)
MASTER_PASS_GROUP: Final = Setting(component="AuthCtrlr", variable="MasterPassGroupId")
RESERVE_ANY: Final = _flag("ReserveConnectorZeroSupported", "ReservationCtrlr", "NonEvseSpecific", True)
TX_STOP_POINT: Final = Setting(
    component="TxCtrlr",
    variable="TxStopPoint",
    default="Authorized,EVConnected",
    kind=Kind.MEMBER_LIST,
)

SETTINGS: Final = (
    LOCAL_LIST_MOST,
    LOCAL_LIST_PER_MESSAGE,
    LOCAL_AUTHORIZE_OFFLINE,
    OFFLINE_UNKNOWN,
    CACHE_ENABLED,
    MASTER_PASS_GROUP,
    RESERVE_ANY,
    TX_STOP_POINT,
    HEARTBEAT_INTERVAL,
    SAMPLE_INTERVAL,
    SAMPLED_DATA,
    MESSAGE_TIMEOUT,
    MESSAGE_ATTEMPTS,
    MESSAGE_RETRY_INTERVAL,
    PASSWORD,
    STOP_ON_INVALID_ID,
    AUTHORIZE_REMOTE,
    LOCAL_PRE_AUTHORIZE,
    LOCAL_LIST_ENABLED,
    _integer("ConnectionTimeOut", "TxCtrlr", "EVConnectionTimeOut", 60, unit="s"),
    _integer("WebSocketPingInterval", "OCPPCommCtrlr", "WebSocketPingInterval", 60, unit="s"),
    _integer("ResetRetries", "OCPPCommCtrlr", "ResetRetries", 1),
    _integer("ClockAlignedDataInterval", "AlignedDataCtrlr", "Interval", 0, unit="s"),
    _integer("GetConfigurationMaxKeys", None, None, 100, access=Access.READ_ONLY),
    _integer("ChargeProfileMaxStackLevel", "SmartChargingCtrlr", "ProfileStackLevel", 10, access=Access.READ_ONLY),
    _integer("ChargingScheduleMaxPeriods", "SmartChargingCtrlr", "PeriodsPerSchedule", 100, access=Access.READ_ONLY),
    _integer("MaxChargingProfilesInstalled", "SmartChargingCtrlr", "Entries", 50, access=Access.READ_ONLY),
    _flag("StopTransactionOnEVSideDisconnect", "TxCtrlr", "StopTxOnEVSideDisconnect", True),
    _flag("UnlockConnectorOnEVSideDisconnect", None, None, True),
    Setting(
        key="SupportedFeatureProfiles",
        access=Access.READ_ONLY,
        kind=Kind.MEMBER_LIST,
        default=("Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"),
    ),
    Setting(
        key="ChargingScheduleAllowedChargingRateUnit",
        component="SmartChargingCtrlr",
        variable="RateUnit",
        default="Current,Power",
        kind=Kind.MEMBER_LIST,
        access=Access.READ_ONLY,
    ),
    Setting(key="MeterValuesAlignedData", component="AlignedDataCtrlr", variable="Measurands", kind=Kind.MEMBER_LIST),
    Setting(
        key="StopTxnSampledData",
        component="SampledDataCtrlr",
        variable="TxEndedMeasurands",
        default="Energy.Active.Import.Register",
        kind=Kind.MEMBER_LIST,
    ),
    Setting(
        component="SampledDataCtrlr",
        variable="TxStartedMeasurands",
        default="Energy.Active.Import.Register",
        kind=Kind.MEMBER_LIST,
    ),
    Setting(
        component="TxCtrlr",
        variable="TxStartPoint",
        default="Authorized",
        kind=Kind.MEMBER_LIST,
        access=Access.READ_ONLY,
    ),
    Setting(component="SecurityCtrlr", variable="OrganizationName", default="Chargeplane"),
    Setting(component="ClockCtrlr", variable="TimeSource", default="Heartbeat", kind=Kind.MEMBER_LIST),
    Setting(component="OCPPCommCtrlr", variable="NetworkConfigurationPriority", default="1", needs_reboot=True),
    _integer(None, "DeviceDataCtrlr", "ItemsPerMessage", 20, access=Access.READ_ONLY, instance="GetReport"),
)
"""Every setting a virtual station knows."""

_BY_KEY: Final = {setting.key.casefold(): setting for setting in SETTINGS if setting.key is not None}
_BY_NAME: Final = {
    (setting.component.casefold(), setting.variable.casefold(), (setting.instance or "").casefold()): setting
    for setting in SETTINGS
    if setting.component is not None and setting.variable is not None
}
_COMPONENTS: Final = frozenset(setting.component.casefold() for setting in SETTINGS if setting.component is not None)


def by_key(key: str) -> Setting | None:
    """The setting of a 1.6 configuration key; keys compare without case (OCPP 1.6 CiString50)."""
    return _BY_KEY.get(key.casefold())


def by_name(component: str, variable: str, instance: str | None) -> Setting | None:
    """The setting of a 2.x component and variable; names compare without case."""
    return _BY_NAME.get((component.casefold(), variable.casefold(), (instance or "").casefold()))


def knows_component(component: str) -> bool:
    """Whether any setting belongs to this 2.x component."""
    return component.casefold() in _COMPONENTS


class Settings:
    """One station's values: the defaults and what was changed."""

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        self._changed: dict[Setting, str] | None = None

    def text(self, setting: Setting) -> str:
        """The present value as text."""
        if self._changed is None:
            return setting.default
        return self._changed.get(setting, setting.default)

    def number(self, setting: Setting) -> int:
        """The present value of an integer setting."""
        return int(self.text(setting))

    def is_on(self, setting: Setting) -> bool:
        """The present value of a boolean setting."""
        return self.text(setting) == "true"

    def put(self, setting: Setting, value: str) -> None:
        """Sets a value from inside the station, whatever its access."""
        if self._changed is None:
            self._changed = {}
        self._changed[setting] = value

    def change(self, setting: Setting | None, value: str) -> ChangeResult:
        """A change by the CSMS."""
        if setting is None:
            return ChangeResult.UNKNOWN
        if setting.access is Access.READ_ONLY:
            return ChangeResult.READ_ONLY
        value = value.strip()
        if setting.kind is Kind.INTEGER and not (value.isascii() and value.isdigit() and len(value) < 10):
            return ChangeResult.REJECTED
        if setting.kind is Kind.BOOLEAN:
            value = value.lower()
            if value not in ("true", "false"):
                return ChangeResult.REJECTED
        self.put(setting, value)
        return ChangeResult.NEEDS_REBOOT if setting.needs_reboot else ChangeResult.ACCEPTED

    def __iter__(self) -> Iterator[tuple[Setting, str]]:
        return ((setting, self.text(setting)) for setting in SETTINGS)
