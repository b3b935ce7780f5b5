"""What a virtual station lets the CSMS configure: one table for 1.6 keys and the 2.x device model.

The table is shared by all stations of the process; a station keeps only what differs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
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
    DECIMAL = "decimal"
    INTEGER = "integer"
    DATE_TIME = "dateTime"
    BOOLEAN = "boolean"
    OPTION_LIST = "OptionList"
    SEQUENCE_LIST = "SequenceList"
    MEMBER_LIST = "MemberList"


class Setting(Struct, frozen=True, kw_only=True):
    """One configurable value.

    Args:
        key: OCPP 1.6 configuration key, None where 1.6 has none.
        component, variable, instance: OCPP 2.x names; component None where 2.x has none.
        needs_reboot: a change is answered RebootRequired and holds from the next boot on.
        least, most: of a number; of the characters of a text; `most` of the members of a list of 1.6.
        values: what an option or a member may be; empty: anything.
        since: the first OCPP 2.x version that has it.
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
    least: int | None = None
    most: int | None = None
    values: tuple[str, ...] = ()
    since: str = "2.0.1"


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
    least: int = 0,
    most: int | None = None,
    since: str = "2.0.1",
) -> Setting:
    return Setting(
        least=least,
        most=most,
        since=since,
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
    instance: str | None = None,
    since: str = "2.0.1",
) -> Setting:
    return Setting(
        key=key,
        component=component,
        variable=variable,
        instance=instance,
        default="true" if default else "false",
        kind=Kind.BOOLEAN,
        access=access,
        since=since,
    )


def _text(
    key: str | None,
    component: str | None,
    variable: str | None,
    default: str = "",
    *,
    access: Access = Access.READ_WRITE,
    kind: Kind = Kind.STRING,
    values: tuple[str, ...] = (),
    instance: str | None = None,
    most: int | None = None,
    needs_reboot: bool = False,
    since: str = "2.0.1",
) -> Setting:
    return Setting(
        key=key,
        component=component,
        variable=variable,
        instance=instance,
        default=default,
        kind=kind,
        access=access,
        values=values,
        most=most,
        needs_reboot=needs_reboot,
        since=since,
    )


_R: Final = Access.READ_ONLY


_MEASURANDS = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC"

_ALL_MEASURANDS: Final = (
    "Current.Export",
    "Current.Import",
    "Current.Offered",
    "Energy.Active.Export.Interval",
    "Energy.Active.Export.Register",
    "Energy.Active.Import.Interval",
    "Energy.Active.Import.Register",
    "Energy.Reactive.Import.Register",
    "Frequency",
    "Power.Active.Export",
    "Power.Active.Import",
    "Power.Factor",
    "Power.Offered",
    "SoC",
    "Temperature",
    "Voltage",
)
_PHASES: Final = ("L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1")

HEARTBEAT_INTERVAL: Final = _integer(
    "HeartbeatInterval", "OCPPCommCtrlr", "HeartbeatInterval", 300, unit="s", most=86_400
)
SAMPLE_INTERVAL: Final = _integer("MeterValueSampleInterval", "SampledDataCtrlr", "TxUpdatedInterval", 60, unit="s")
SAMPLED_DATA: Final = Setting(
    key="MeterValuesSampledData",
    component="SampledDataCtrlr",
    variable="TxUpdatedMeasurands",
    default=_MEASURANDS,
    kind=Kind.MEMBER_LIST,
    values=_ALL_MEASURANDS,
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
    key="AuthorizationKey",
    component="SecurityCtrlr",
    variable="BasicAuthPassword",
    access=Access.WRITE_ONLY,
    least=16,  # OCPP 2.0.1 A00.FR.205; 1.6 has them in hex, which makes them longer
    most=80,
)
STOP_ON_INVALID_ID: Final = _flag("StopTransactionOnInvalidId", "TxCtrlr", "StopTxOnInvalidId", True)
LOCAL_COST: Final = _flag(None, "TariffCostCtrlr", "Enabled", True, instance="Tariff")
SUPPORTED_LIMITS: Final = _text(
    None,
    "TxCtrlr",
    "SupportedLimits",
    "maxEnergy",
    access=_R,
    kind=Kind.MEMBER_LIST,
    values=("maxCost", "maxEnergy", "maxTime", "maxSoC"),
    since="2.1",
)
AUTHORIZE_REMOTE: Final = _flag("AuthorizeRemoteTxRequests", "AuthCtrlr", "AuthorizeRemoteStart", False)
LOCAL_PRE_AUTHORIZE: Final = _flag("LocalPreAuthorize", "AuthCtrlr", "LocalPreAuthorize", False)
LOCAL_LIST_ENABLED: Final = _flag("LocalAuthListEnabled", "LocalAuthListCtrlr", "Enabled", True)

LOCAL_LIST_MOST: Final = _integer(
    "LocalAuthListMaxLength", "LocalAuthListCtrlr", "Entries", 1000, access=Access.READ_ONLY, most=1000
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
NETWORK_PRIORITY: Final = _text(
    None,
    "OCPPCommCtrlr",
    "NetworkConfigurationPriority",
    "1",
    kind=Kind.SEQUENCE_LIST,
    values=("0", "1", "2"),
    needs_reboot=True,
)
ACTIVE_NETWORK: Final = _integer(None, "OCPPCommCtrlr", "ActiveNetworkProfile", 1, access=_R)
NETWORK_ATTEMPTS: Final = _integer(None, "OCPPCommCtrlr", "NetworkProfileConnectionAttempts", 3, least=1, most=100)
ORGANIZATION: Final = _text("CpoName", "SecurityCtrlr", "OrganizationName", "Chargeplane", most=255)
SECURITY_PROFILE: Final = _integer("SecurityProfile", "SecurityCtrlr", "SecurityProfile", 1, access=_R, most=3)
SECC_ID: Final = _text(None, "ISO15118Ctrlr", "SeccId", "DE*CPL*E1", most=30)
ISO15118_COUNTRY: Final = _text(None, "ISO15118Ctrlr", "CountryName", "DE", most=2)
ISO15118_ORGANIZATION: Final = _text(None, "ISO15118Ctrlr", "OrganizationName", "Chargeplane", most=255)
IDENTITY: Final = _text(None, "SecurityCtrlr", "Identity", access=_R)
DATE_TIME: Final = _text(None, "ClockCtrlr", "DateTime", access=_R, kind=Kind.DATE_TIME)
PROFILE_ENTRIES: Final = _integer(
    None, "SmartChargingCtrlr", "Entries", 0, access=_R, instance="ChargingProfiles", most=50
)
NUMBER_OF_CONNECTORS: Final = _integer("NumberOfConnectors", None, None, 1, access=_R)
DOWNGRADE: Final = _flag(None, "SecurityCtrlr", "AllowSecurityProfileDowngrade", False, access=_R, since="2.1")
RESUMPTION_TIMEOUT: Final = _integer(None, "TxCtrlr", "ResumptionTimeout", 300, unit="s", since="2.1")
ITEMS_GET_REPORT: Final = _integer(None, "DeviceDataCtrlr", "ItemsPerMessage", 20, access=_R, instance="GetReport")
ITEMS_GET_VARIABLES: Final = _integer(
    "GetConfigurationMaxKeys", "DeviceDataCtrlr", "ItemsPerMessage", 50, access=_R, instance="GetVariables"
)
ITEMS_SET_VARIABLES: Final = _integer(
    None, "DeviceDataCtrlr", "ItemsPerMessage", 50, access=_R, instance="SetVariables"
)

SETTINGS: Final = (
    # --- communication
    HEARTBEAT_INTERVAL,
    MESSAGE_TIMEOUT,
    MESSAGE_ATTEMPTS,
    MESSAGE_RETRY_INTERVAL,
    NETWORK_PRIORITY,
    ACTIVE_NETWORK,
    NETWORK_ATTEMPTS,
    _text(
        "SupportedFileTransferProtocols",
        "OCPPCommCtrlr",
        "FileTransferProtocols",
        "HTTP,HTTPS,FTP",
        access=_R,
        kind=Kind.MEMBER_LIST,
    ),
    _integer(None, "OCPPCommCtrlr", "OfflineThreshold", 60, unit="s"),
    _flag(None, "OCPPCommCtrlr", "QueueAllMessages", False),
    _integer("ResetRetries", "OCPPCommCtrlr", "ResetRetries", 1, most=10),
    _integer(None, "OCPPCommCtrlr", "RetryBackOffRandomRange", 10, unit="s"),
    _integer(None, "OCPPCommCtrlr", "RetryBackOffRepeatTimes", 5),
    _integer(None, "OCPPCommCtrlr", "RetryBackOffWaitMinimum", 10, unit="s"),
    _flag("UnlockConnectorOnEVSideDisconnect", "OCPPCommCtrlr", "UnlockOnEVSideDisconnect", True),
    _integer("WebSocketPingInterval", "OCPPCommCtrlr", "WebSocketPingInterval", 60, unit="s"),
    _text(
        None,
        "OCPPCommCtrlr",
        "PublicKeyWithSignedMeterValue",
        "Never",
        kind=Kind.OPTION_LIST,
        values=("Never", "OncePerTransaction", "EveryMeterValue"),
    ),
    # --- the device model itself
    ITEMS_GET_REPORT,
    ITEMS_GET_VARIABLES,
    ITEMS_SET_VARIABLES,
    _integer(None, "DeviceDataCtrlr", "BytesPerMessage", 65_000, access=_R, instance="GetReport"),
    _integer(None, "DeviceDataCtrlr", "BytesPerMessage", 65_000, access=_R, instance="GetVariables"),
    _integer(None, "DeviceDataCtrlr", "BytesPerMessage", 65_000, access=_R, instance="SetVariables"),
    _integer(None, "DeviceDataCtrlr", "ConfigurationValueSize", 1000, access=_R),
    _integer(None, "DeviceDataCtrlr", "ReportingValueSize", 2500, access=_R),
    # --- clock
    DATE_TIME,
    _text(None, "ClockCtrlr", "NtpSource", "DHCP", kind=Kind.OPTION_LIST, values=("DHCP", "manual")),
    _text(None, "ClockCtrlr", "NtpServerUri", "ntp.example", instance="1", most=255),
    _text(None, "ClockCtrlr", "TimeOffset", "+00:00", most=6),
    _text(
        None,
        "ClockCtrlr",
        "TimeSource",
        "Heartbeat",
        kind=Kind.SEQUENCE_LIST,
        values=("Heartbeat", "NTP", "RealTimeClock", "MobileNetwork"),
    ),
    _text(None, "ClockCtrlr", "TimeZone", "UTC", most=64),
    _integer(None, "ClockCtrlr", "TimeAdjustmentReportingThreshold", 20, unit="s"),
    # --- security
    PASSWORD,
    IDENTITY,
    ORGANIZATION,
    _integer("CertificateStoreMaxLength", "SecurityCtrlr", "CertificateEntries", 10, access=_R),
    SECURITY_PROFILE,
    _flag("AdditionalRootCertificateCheck", "SecurityCtrlr", "AdditionalRootCertificateCheck", False, access=_R),
    _integer("CertificateSignedMaxChainSize", "SecurityCtrlr", "MaxCertificateChainSize", 10_000, access=_R),
    _integer("CertSigningWaitMinimum", "SecurityCtrlr", "CertSigningWaitMinimum", 30, unit="s"),
    _integer("CertSigningRepeatTimes", "SecurityCtrlr", "CertSigningRepeatTimes", 3),
    DOWNGRADE,
    # --- authorisation
    _flag(None, "AuthCtrlr", "Enabled", True),
    AUTHORIZE_REMOTE,
    LOCAL_PRE_AUTHORIZE,
    LOCAL_AUTHORIZE_OFFLINE,
    OFFLINE_UNKNOWN,
    MASTER_PASS_GROUP,
    _flag(None, "AuthCtrlr", "DisableRemoteAuthorization", False),
    CACHE_ENABLED,
    _flag(None, "AuthCacheCtrlr", "Available", True, access=_R),
    _integer(None, "AuthCacheCtrlr", "LifeTime", 86_400, unit="s"),
    _text(None, "AuthCacheCtrlr", "Policy", "LRU", kind=Kind.OPTION_LIST, values=("LRU", "LFU", "FIFO", "CUSTOM")),
    LOCAL_LIST_ENABLED,
    _flag(None, "LocalAuthListCtrlr", "Available", True, access=_R),
    LOCAL_LIST_MOST,
    LOCAL_LIST_PER_MESSAGE,
    _integer(None, "LocalAuthListCtrlr", "BytesPerMessage", 65_000, access=_R),
    _flag(None, "LocalAuthListCtrlr", "SupportsExpiryDateTime", True, access=_R),
    # --- transactions and meter values
    STOP_ON_INVALID_ID,
    _integer("ConnectionTimeOut", "TxCtrlr", "EVConnectionTimeOut", 60, unit="s"),
    _flag("StopTransactionOnEVSideDisconnect", "TxCtrlr", "StopTxOnEVSideDisconnect", True),
    _integer("MaxEnergyOnInvalidId", "TxCtrlr", "MaxEnergyOnInvalidId", 0, unit="Wh"),
    _flag(None, "TxCtrlr", "TxBeforeAcceptedEnabled", False),
    _text(None, "TxCtrlr", "TxStartPoint", "Authorized", access=_R, kind=Kind.MEMBER_LIST),
    TX_STOP_POINT,
    RESUMPTION_TIMEOUT,
    SUPPORTED_LIMITS,
    _flag(None, "TxCtrlr", "AllowEnergyTransferResumption", True, since="2.1"),
    SAMPLE_INTERVAL,
    SAMPLED_DATA,
    _flag(None, "SampledDataCtrlr", "Enabled", True),
    _flag(None, "SampledDataCtrlr", "Available", True, access=_R),
    _flag(None, "SampledDataCtrlr", "SignReadings", False),
    _integer(None, "SampledDataCtrlr", "TxEndedInterval", 0, unit="s"),
    _text(
        "StopTxnSampledData",
        "SampledDataCtrlr",
        "TxEndedMeasurands",
        "Energy.Active.Import.Register",
        kind=Kind.MEMBER_LIST,
        values=_ALL_MEASURANDS,
    ),
    _text(
        None,
        "SampledDataCtrlr",
        "TxStartedMeasurands",
        "Energy.Active.Import.Register",
        kind=Kind.MEMBER_LIST,
        values=_ALL_MEASURANDS,
    ),
    _flag(None, "AlignedDataCtrlr", "Enabled", True),
    _flag(None, "AlignedDataCtrlr", "Available", True, access=_R),
    _integer("ClockAlignedDataInterval", "AlignedDataCtrlr", "Interval", 0, unit="s", most=86_400),
    _text(
        "MeterValuesAlignedData",
        "AlignedDataCtrlr",
        "Measurands",
        kind=Kind.MEMBER_LIST,
        values=_ALL_MEASURANDS,
    ),
    _flag(None, "AlignedDataCtrlr", "SendDuringIdle", False),
    _flag(None, "AlignedDataCtrlr", "SignReadings", False),
    _integer(None, "AlignedDataCtrlr", "TxEndedInterval", 0, unit="s"),
    _text(
        "StopTxnAlignedData",
        "AlignedDataCtrlr",
        "TxEndedMeasurands",
        kind=Kind.MEMBER_LIST,
        values=_ALL_MEASURANDS,
    ),
    # --- reservation, smart charging
    _flag(None, "ReservationCtrlr", "Enabled", True),
    _flag(None, "ReservationCtrlr", "Available", True, access=_R),
    RESERVE_ANY,
    _flag(None, "SmartChargingCtrlr", "Enabled", True),
    _flag(None, "SmartChargingCtrlr", "Available", True, access=_R),
    _integer("ChargeProfileMaxStackLevel", "SmartChargingCtrlr", "ProfileStackLevel", 10, access=_R),
    _integer("ChargingScheduleMaxPeriods", "SmartChargingCtrlr", "PeriodsPerSchedule", 100, access=_R),
    _integer("MaxChargingProfilesInstalled", None, None, 50, access=_R),
    PROFILE_ENTRIES,
    _text(None, "SmartChargingCtrlr", "RateUnit", "A,W", access=_R, kind=Kind.MEMBER_LIST, values=("A", "W")),
    _text("ChargingScheduleAllowedChargingRateUnit", None, None, "Current,Power", access=_R, kind=Kind.MEMBER_LIST),
    _flag("ConnectorSwitch3to1PhaseSupported", "SmartChargingCtrlr", "Phases3to1", False, access=_R),
    _flag(None, "SmartChargingCtrlr", "ExternalControlSignalsEnabled", False),
    _flag(None, "SmartChargingCtrlr", "NotifyChargingLimitWithSchedules", False),
    Setting(
        component="SmartChargingCtrlr",
        variable="LimitChangeSignificance",
        default="5.0",
        kind=Kind.DECIMAL,
        unit="Percent",
        least=0,
        most=100,
    ),
    # --- cost, display, monitors
    LOCAL_COST,
    _flag(None, "TariffCostCtrlr", "Enabled", True, instance="Cost"),
    _flag(None, "TariffCostCtrlr", "Available", True, access=_R, instance="Tariff"),
    _flag(None, "TariffCostCtrlr", "Available", True, access=_R, instance="Cost"),
    _text(None, "TariffCostCtrlr", "Currency", "EUR", most=3),
    _text(None, "TariffCostCtrlr", "TariffFallbackMessage", "Price unknown", most=255),
    _text(None, "TariffCostCtrlr", "TotalCostFallbackMessage", "Cost unknown", most=255),
    _flag(None, "DisplayMessageCtrlr", "Enabled", True),
    _flag(None, "DisplayMessageCtrlr", "Available", True, access=_R),
    _integer(None, "DisplayMessageCtrlr", "DisplayMessages", 0, access=_R, most=20),
    _text(None, "DisplayMessageCtrlr", "SupportedFormats", "ASCII,UTF8,URI", access=_R, kind=Kind.MEMBER_LIST),
    _text(
        None,
        "DisplayMessageCtrlr",
        "SupportedPriorities",
        "AlwaysFront,InFront,NormalCycle",
        access=_R,
        kind=Kind.MEMBER_LIST,
    ),
    _flag(None, "MonitoringCtrlr", "Enabled", True),
    _flag(None, "MonitoringCtrlr", "Available", True, access=_R),
    _integer(None, "MonitoringCtrlr", "ItemsPerMessage", 50, access=_R, instance="SetVariableMonitoring"),
    _integer(None, "MonitoringCtrlr", "ItemsPerMessage", 50, access=_R, instance="ClearVariableMonitoring"),
    _integer(None, "MonitoringCtrlr", "BytesPerMessage", 65_000, access=_R, instance="SetVariableMonitoring"),
    _integer(None, "MonitoringCtrlr", "OfflineQueuingSeverity", 9, most=9),
    # --- ISO 15118
    _flag("ISO15118PnCEnabled", "ISO15118Ctrlr", "PnCEnabled", True),
    _flag("ContractValidationOffline", "ISO15118Ctrlr", "ContractValidationOffline", False),
    _flag("CentralContractValidationAllowed", "ISO15118Ctrlr", "CentralContractValidationAllowed", True),
    _flag(None, "ISO15118Ctrlr", "V2GCertificateInstallationEnabled", True),
    _flag(None, "ISO15118Ctrlr", "ContractCertificateInstallationEnabled", True),
    SECC_ID,
    ISO15118_COUNTRY,
    ISO15118_ORGANIZATION,
    # --- only keys of 1.6
    NUMBER_OF_CONNECTORS,
    _text("ConnectorPhaseRotation", None, None, "0.RST", kind=Kind.MEMBER_LIST),
    _integer("MinimumStatusDuration", None, None, 0),
    _integer("LightIntensity", None, None, 80, most=100),
    _integer("MeterValuesSampledDataMaxLength", None, None, len(_ALL_MEASURANDS), access=_R),
    _text("ChargeplaneLanguage", None, None, "en", values=("en", "de", "fr"), kind=Kind.OPTION_LIST, needs_reboot=True),
    _text(
        "SupportedFeatureProfiles",
        None,
        None,
        "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
        access=_R,
        kind=Kind.MEMBER_LIST,
    ),
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


def fits(setting: Setting, value: str) -> bool:
    """Whether a value has the type and the limits of a setting (OCPP 2.0.1 B05.FR.07, FR.08)."""
    return _FITS[setting.kind](setting, value)


def _within(setting: Setting, number: Decimal) -> bool:
    return (setting.least is None or number >= setting.least) and (setting.most is None or number <= setting.most)


def _integer_fits(setting: Setting, value: str) -> bool:
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10 and _within(setting, Decimal(value))


def _decimal_fits(setting: Setting, value: str) -> bool:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and _within(setting, number)


def _date_time_fits(setting: Setting, value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _string_fits(setting: Setting, value: str) -> bool:
    return (setting.least is None or len(value) >= setting.least) and (
        setting.most is None or len(value) <= setting.most
    )


def _members(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _known_member(setting: Setting, member: str) -> bool:
    if member in setting.values:
        return True
    name, _, phase = member.rpartition(".")  # 1.6 puts the phase behind the measurand
    return name in setting.values and phase in _PHASES


def _list_fits(setting: Setting, value: str) -> bool:
    members = _members(value)
    if setting.most is not None and len(members) > setting.most:
        return False
    return len(set(members)) == len(members) and (
        not setting.values or all(_known_member(setting, member) for member in members)
    )


_FITS: Final[dict[Kind, Callable[[Setting, str], bool]]] = {
    Kind.STRING: _string_fits,
    Kind.DECIMAL: _decimal_fits,
    Kind.INTEGER: _integer_fits,
    Kind.DATE_TIME: _date_time_fits,
    Kind.BOOLEAN: lambda setting, value: value in ("true", "false"),
    Kind.OPTION_LIST: lambda setting, value: value in setting.values,
    Kind.SEQUENCE_LIST: lambda setting, value: bool(_members(value)) and _list_fits(setting, value),
    Kind.MEMBER_LIST: _list_fits,
}


class Settings:
    """One station's values: the defaults and what was changed."""

    __slots__ = ("_changed", "_later")

    def __init__(self) -> None:
        self._changed: dict[Setting, str] | None = None
        self._later: dict[Setting, str] | None = None

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
        if setting.kind is Kind.BOOLEAN:
            value = value.lower()
        if not fits(setting, value):
            return ChangeResult.REJECTED
        if setting.needs_reboot:
            if self._later is None:
                self._later = {}
            self._later[setting] = value
            return ChangeResult.NEEDS_REBOOT
        self.put(setting, value)
        return ChangeResult.ACCEPTED

    def rebooted(self) -> None:
        """What waited for a restart holds now."""
        later, self._later = self._later, None
        for setting, value in (later or {}).items():
            self.put(setting, value)

    def __iter__(self) -> Iterator[tuple[Setting, str]]:
        return ((setting, self.text(setting)) for setting in SETTINGS)
