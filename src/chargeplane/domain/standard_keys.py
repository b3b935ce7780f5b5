"""OCPP 1.6 configuration keys and the variables of the 2.x device model that mean the same.

One name space for both: a key that is in this table is known by its component and variable, whichever version a station speaks;
any other key keeps its name and has no component. A key is in it only where its value means the same as the variable's actual
value. `LocalAuthListMaxLength`, `MaxChargingProfilesInstalled` and the `...MaxLength` keys are limits, which 2.x tells as
`max_limit` of a variable that counts something else; they are not.

Sources: OCPP 1.6, 9; the 1.6 security whitepaper, 5.1; OCPP 2.0.1 part 2, Referenced Components and Variables.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class StandardKey(NamedTuple):
    """A 1.6 key and its variable.

    Args:
        instance: of the variable.
        words: where the two have other words for the same: (1.6, 2.x).
    """

    key: str
    component: str
    variable: str
    instance: str = ""
    words: tuple[tuple[str, str], ...] = ()


STANDARD_KEYS: Final = (
    StandardKey("AdditionalRootCertificateCheck", "SecurityCtrlr", "AdditionalRootCertificateCheck"),
    StandardKey("AllowOfflineTxForUnknownId", "AuthCtrlr", "OfflineTxForUnknownIdEnabled"),
    StandardKey("AuthorizationCacheEnabled", "AuthCacheCtrlr", "Enabled"),
    StandardKey("AuthorizationKey", "SecurityCtrlr", "BasicAuthPassword"),
    StandardKey("AuthorizeRemoteTxRequests", "AuthCtrlr", "AuthorizeRemoteStart"),
    StandardKey("CentralContractValidationAllowed", "ISO15118Ctrlr", "CentralContractValidationAllowed"),
    StandardKey("CertSigningRepeatTimes", "SecurityCtrlr", "CertSigningRepeatTimes"),
    StandardKey("CertSigningWaitMinimum", "SecurityCtrlr", "CertSigningWaitMinimum"),
    StandardKey("CertificateSignedMaxChainSize", "SecurityCtrlr", "MaxCertificateChainSize"),
    StandardKey("CertificateStoreMaxLength", "SecurityCtrlr", "CertificateEntries"),
    StandardKey("ChargeProfileMaxStackLevel", "SmartChargingCtrlr", "ProfileStackLevel"),
    StandardKey(
        "ChargingScheduleAllowedChargingRateUnit",
        "SmartChargingCtrlr",
        "RateUnit",
        words=(("Current", "A"), ("Power", "W")),
    ),
    StandardKey("ChargingScheduleMaxPeriods", "SmartChargingCtrlr", "PeriodsPerSchedule"),
    StandardKey("ClockAlignedDataInterval", "AlignedDataCtrlr", "Interval"),
    StandardKey("ConnectionTimeOut", "TxCtrlr", "EVConnectionTimeOut"),
    StandardKey("ConnectorSwitch3to1PhaseSupported", "SmartChargingCtrlr", "Phases3to1"),
    StandardKey("ContractValidationOffline", "ISO15118Ctrlr", "ContractValidationOffline"),
    StandardKey("CpoName", "SecurityCtrlr", "OrganizationName"),
    StandardKey("GetConfigurationMaxKeys", "DeviceDataCtrlr", "ItemsPerMessage", "GetVariables"),
    StandardKey("HeartbeatInterval", "OCPPCommCtrlr", "HeartbeatInterval"),
    StandardKey("ISO15118PnCEnabled", "ISO15118Ctrlr", "PnCEnabled"),
    StandardKey("LocalAuthListEnabled", "LocalAuthListCtrlr", "Enabled"),
    StandardKey("LocalAuthorizeOffline", "AuthCtrlr", "LocalAuthorizeOffline"),
    StandardKey("LocalPreAuthorize", "AuthCtrlr", "LocalPreAuthorize"),
    StandardKey("MaxEnergyOnInvalidId", "TxCtrlr", "MaxEnergyOnInvalidId"),
    StandardKey("MeterValueSampleInterval", "SampledDataCtrlr", "TxUpdatedInterval"),
    StandardKey("MeterValuesAlignedData", "AlignedDataCtrlr", "Measurands"),
    StandardKey("MeterValuesSampledData", "SampledDataCtrlr", "TxUpdatedMeasurands"),
    StandardKey("ReserveConnectorZeroSupported", "ReservationCtrlr", "NonEvseSpecific"),
    StandardKey("ResetRetries", "OCPPCommCtrlr", "ResetRetries"),
    StandardKey("SecurityProfile", "SecurityCtrlr", "SecurityProfile"),
    StandardKey("SendLocalListMaxLength", "LocalAuthListCtrlr", "ItemsPerMessage"),
    StandardKey("StopTransactionOnEVSideDisconnect", "TxCtrlr", "StopTxOnEVSideDisconnect"),
    StandardKey("StopTransactionOnInvalidId", "TxCtrlr", "StopTxOnInvalidId"),
    StandardKey("StopTxnAlignedData", "AlignedDataCtrlr", "TxEndedMeasurands"),
    StandardKey("StopTxnSampledData", "SampledDataCtrlr", "TxEndedMeasurands"),
    StandardKey("SupportedFileTransferProtocols", "OCPPCommCtrlr", "FileTransferProtocols"),
    StandardKey("TransactionMessageAttempts", "OCPPCommCtrlr", "MessageAttempts", "TransactionEvent"),
    StandardKey("TransactionMessageRetryInterval", "OCPPCommCtrlr", "MessageAttemptInterval", "TransactionEvent"),
    StandardKey("UnlockConnectorOnEVSideDisconnect", "OCPPCommCtrlr", "UnlockOnEVSideDisconnect"),
    StandardKey("WebSocketPingInterval", "OCPPCommCtrlr", "WebSocketPingInterval"),
)
"""Every key of OCPP 1.6 that has a variable of its own in 2.x."""

_BY_KEY: Final = {one.key.casefold(): one for one in STANDARD_KEYS}
_BY_VARIABLE: Final = {
    (one.component.casefold(), one.variable.casefold(), one.instance.casefold()): one for one in STANDARD_KEYS
}


def by_key(key: str) -> StandardKey | None:
    """The row of a 1.6 key; keys are compared without case (OCPP 1.6 CiString50Type)."""
    return _BY_KEY.get(key.casefold())


def by_variable(component: str, variable: str, instance: str = "") -> StandardKey | None:
    """The row of a variable; names are compared without case (OCPP 2.0.1 identifierString)."""
    return _BY_VARIABLE.get((component.casefold(), variable.casefold(), instance.casefold()))
