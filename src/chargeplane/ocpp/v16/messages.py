"""Messages of OCPP 1.6 (OCPP 1.6, 6) and of its security extension (OCPP 1.6 security whitepaper, 4)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from chargeplane.ocpp.fields import DateTime, Int, WattHours
from chargeplane.ocpp.v16.enums import (
    AvailabilityStatus,
    AvailabilityType,
    CancelReservationStatus,
    CertificateSignedStatus,
    CertificateUse,
    ChargePointErrorCode,
    ChargePointStatus,
    ChargingProfilePurposeType,
    ChargingProfileStatus,
    ChargingRateUnitType,
    ClearCacheStatus,
    ClearChargingProfileStatus,
    ConfigurationStatus,
    DataTransferStatus,
    DeleteCertificateStatus,
    DiagnosticsStatus,
    ExtendedMessageTrigger,
    FirmwareStatus,
    GenericStatus,
    GetCompositeScheduleStatus,
    GetInstalledCertificateStatus,
    InstallCertificateStatus,
    LogStatus,
    LogType,
    MessageTrigger,
    Reason,
    RegistrationStatus,
    RemoteStartStopStatus,
    ReservationStatus,
    ResetStatus,
    ResetType,
    SignedFirmwareStatus,
    TriggerMessageStatus,
    UnlockStatus,
    UpdateFirmwareStatus,
    UpdateStatus,
    UpdateType,
    UploadLogStatus,
)
from chargeplane.ocpp.v16.types import (
    AuthorizationData,
    CertificateHashData,
    ChargingProfile,
    ChargingSchedule,
    Firmware,
    IdTagInfo,
    KeyValue,
    LogParameters,
    MeterValue,
)

__all__ = [
    "AuthorizeRequest",
    "AuthorizeResponse",
    "BootNotificationRequest",
    "BootNotificationResponse",
    "CancelReservationRequest",
    "CancelReservationResponse",
    "CertificateSignedRequest",
    "CertificateSignedResponse",
    "ChangeAvailabilityRequest",
    "ChangeAvailabilityResponse",
    "ChangeConfigurationRequest",
    "ChangeConfigurationResponse",
    "ClearCacheRequest",
    "ClearCacheResponse",
    "ClearChargingProfileRequest",
    "ClearChargingProfileResponse",
    "DataTransferRequest",
    "DataTransferResponse",
    "DeleteCertificateRequest",
    "DeleteCertificateResponse",
    "DiagnosticsStatusNotificationRequest",
    "DiagnosticsStatusNotificationResponse",
    "ExtendedTriggerMessageRequest",
    "ExtendedTriggerMessageResponse",
    "FirmwareStatusNotificationRequest",
    "FirmwareStatusNotificationResponse",
    "GetCompositeScheduleRequest",
    "GetCompositeScheduleResponse",
    "GetConfigurationRequest",
    "GetConfigurationResponse",
    "GetDiagnosticsRequest",
    "GetDiagnosticsResponse",
    "GetInstalledCertificateIdsRequest",
    "GetInstalledCertificateIdsResponse",
    "GetLocalListVersionRequest",
    "GetLocalListVersionResponse",
    "GetLogRequest",
    "GetLogResponse",
    "HeartbeatRequest",
    "HeartbeatResponse",
    "InstallCertificateRequest",
    "InstallCertificateResponse",
    "LogStatusNotificationRequest",
    "LogStatusNotificationResponse",
    "MeterValuesRequest",
    "MeterValuesResponse",
    "RemoteStartTransactionRequest",
    "RemoteStartTransactionResponse",
    "RemoteStopTransactionRequest",
    "RemoteStopTransactionResponse",
    "ReserveNowRequest",
    "ReserveNowResponse",
    "ResetRequest",
    "ResetResponse",
    "SecurityEventNotificationRequest",
    "SecurityEventNotificationResponse",
    "SendLocalListRequest",
    "SendLocalListResponse",
    "SetChargingProfileRequest",
    "SetChargingProfileResponse",
    "SignCertificateRequest",
    "SignCertificateResponse",
    "SignedFirmwareStatusNotificationRequest",
    "SignedFirmwareStatusNotificationResponse",
    "SignedUpdateFirmwareRequest",
    "SignedUpdateFirmwareResponse",
    "StartTransactionRequest",
    "StartTransactionResponse",
    "StatusNotificationRequest",
    "StatusNotificationResponse",
    "StopTransactionRequest",
    "StopTransactionResponse",
    "TriggerMessageRequest",
    "TriggerMessageResponse",
    "UnlockConnectorRequest",
    "UnlockConnectorResponse",
    "UpdateFirmwareRequest",
    "UpdateFirmwareResponse",
]


class AuthorizeRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 AuthorizeRequest.req."""

    id_tag: Annotated[str, Meta(max_length=20)] = field(name="idTag")


class AuthorizeResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 Authorize.conf."""

    id_tag_info: IdTagInfo = field(name="idTagInfo")


class BootNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 BootNotificationRequest.req."""

    charge_point_vendor: Annotated[str, Meta(max_length=20)] = field(name="chargePointVendor")
    charge_point_model: Annotated[str, Meta(max_length=20)] = field(name="chargePointModel")
    charge_point_serial_number: Annotated[str, Meta(max_length=25)] | None = field(
        name="chargePointSerialNumber", default=None
    )
    charge_box_serial_number: Annotated[str, Meta(max_length=25)] | None = field(
        name="chargeBoxSerialNumber", default=None
    )
    firmware_version: Annotated[str, Meta(max_length=50)] | None = field(name="firmwareVersion", default=None)
    iccid: Annotated[str, Meta(max_length=20)] | None = None
    imsi: Annotated[str, Meta(max_length=20)] | None = None
    meter_type: Annotated[str, Meta(max_length=25)] | None = field(name="meterType", default=None)
    meter_serial_number: Annotated[str, Meta(max_length=25)] | None = field(name="meterSerialNumber", default=None)


class BootNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 BootNotification.conf."""

    status: RegistrationStatus
    current_time: DateTime = field(name="currentTime")
    interval: Int


class CancelReservationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 CancelReservationRequest.req."""

    reservation_id: Int = field(name="reservationId")


class CancelReservationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 CancelReservation.conf."""

    status: CancelReservationStatus


class CertificateSignedRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 CertificateSignedRequest.req."""

    certificate_chain: Annotated[str, Meta(max_length=10000)] = field(name="certificateChain")


class CertificateSignedResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 CertificateSigned.conf."""

    status: CertificateSignedStatus


class ChangeAvailabilityRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChangeAvailabilityRequest.req."""

    connector_id: Int = field(name="connectorId")
    type: AvailabilityType


class ChangeAvailabilityResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChangeAvailability.conf."""

    status: AvailabilityStatus


class ChangeConfigurationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChangeConfigurationRequest.req."""

    key: Annotated[str, Meta(max_length=50)]
    value: Annotated[str, Meta(max_length=500)]


class ChangeConfigurationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChangeConfiguration.conf."""

    status: ConfigurationStatus


class ClearCacheRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ClearCacheRequest.req."""


class ClearCacheResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ClearCache.conf."""

    status: ClearCacheStatus


class ClearChargingProfileRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ClearChargingProfileRequest.req."""

    id: Int | None = None
    connector_id: Int | None = field(name="connectorId", default=None)
    charging_profile_purpose: ChargingProfilePurposeType | None = field(name="chargingProfilePurpose", default=None)
    stack_level: Int | None = field(name="stackLevel", default=None)


class ClearChargingProfileResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ClearChargingProfile.conf."""

    status: ClearChargingProfileStatus


class DataTransferRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 DataTransferRequest.req."""

    vendor_id: Annotated[str, Meta(max_length=255)] = field(name="vendorId")
    message_id: Annotated[str, Meta(max_length=50)] | None = field(name="messageId", default=None)
    data: str | None = None


class DataTransferResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 DataTransfer.conf."""

    status: DataTransferStatus
    data: str | None = None


class DeleteCertificateRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 DeleteCertificateRequest.req."""

    certificate_hash_data: CertificateHashData = field(name="certificateHashData")


class DeleteCertificateResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 DeleteCertificate.conf."""

    status: DeleteCertificateStatus


class DiagnosticsStatusNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 DiagnosticsStatusNotificationRequest.req."""

    status: DiagnosticsStatus


class DiagnosticsStatusNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 DiagnosticsStatusNotification.conf."""


class ExtendedTriggerMessageRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ExtendedTriggerMessageRequest.req."""

    requested_message: ExtendedMessageTrigger = field(name="requestedMessage")
    connector_id: Int | None = field(name="connectorId", default=None)


class ExtendedTriggerMessageResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ExtendedTriggerMessage.conf."""

    status: TriggerMessageStatus


class FirmwareStatusNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 FirmwareStatusNotificationRequest.req."""

    status: FirmwareStatus


class FirmwareStatusNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 FirmwareStatusNotification.conf."""


class GetCompositeScheduleRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetCompositeScheduleRequest.req."""

    connector_id: Int = field(name="connectorId")
    duration: Int
    charging_rate_unit: ChargingRateUnitType | None = field(name="chargingRateUnit", default=None)


class GetCompositeScheduleResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetCompositeSchedule.conf."""

    status: GetCompositeScheduleStatus
    connector_id: Int | None = field(name="connectorId", default=None)
    schedule_start: DateTime | None = field(name="scheduleStart", default=None)
    charging_schedule: ChargingSchedule | None = field(name="chargingSchedule", default=None)


class GetConfigurationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetConfigurationRequest.req."""

    key: tuple[Annotated[str, Meta(max_length=50)], ...] | None = None


class GetConfigurationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetConfiguration.conf."""

    configuration_key: tuple[KeyValue, ...] | None = field(name="configurationKey", default=None)
    unknown_key: tuple[Annotated[str, Meta(max_length=50)], ...] | None = field(name="unknownKey", default=None)


class GetDiagnosticsRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetDiagnosticsRequest.req."""

    location: str
    retries: Int | None = None
    retry_interval: Int | None = field(name="retryInterval", default=None)
    start_time: DateTime | None = field(name="startTime", default=None)
    stop_time: DateTime | None = field(name="stopTime", default=None)


class GetDiagnosticsResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetDiagnostics.conf."""

    file_name: Annotated[str, Meta(max_length=255)] | None = field(name="fileName", default=None)


class GetInstalledCertificateIdsRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetInstalledCertificateIdsRequest.req."""

    certificate_type: CertificateUse = field(name="certificateType")


class GetInstalledCertificateIdsResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetInstalledCertificateIds.conf."""

    status: GetInstalledCertificateStatus
    certificate_hash_data: Annotated[tuple[CertificateHashData, ...], Meta(min_length=1)] | None = field(
        name="certificateHashData", default=None
    )


class GetLocalListVersionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetLocalListVersionRequest.req."""


class GetLocalListVersionResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetLocalListVersion.conf."""

    list_version: Int = field(name="listVersion")


class GetLogRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetLogRequest.req."""

    log: LogParameters
    log_type: LogType = field(name="logType")
    request_id: Int = field(name="requestId")
    retries: Int | None = None
    retry_interval: Int | None = field(name="retryInterval", default=None)


class GetLogResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 GetLog.conf."""

    status: LogStatus
    filename: Annotated[str, Meta(max_length=255)] | None = None


class HeartbeatRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 HeartbeatRequest.req."""


class HeartbeatResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 Heartbeat.conf."""

    current_time: DateTime = field(name="currentTime")


class InstallCertificateRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 InstallCertificateRequest.req."""

    certificate_type: CertificateUse = field(name="certificateType")
    certificate: Annotated[str, Meta(max_length=5500)]


class InstallCertificateResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 InstallCertificate.conf."""

    status: InstallCertificateStatus


class LogStatusNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 LogStatusNotificationRequest.req."""

    status: UploadLogStatus
    request_id: Int | None = field(name="requestId", default=None)


class LogStatusNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 LogStatusNotification.conf."""


class MeterValuesRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 MeterValuesRequest.req."""

    connector_id: Int = field(name="connectorId")
    meter_value: Annotated[tuple[MeterValue, ...], Meta(min_length=1)] = field(name="meterValue")
    transaction_id: Int | None = field(name="transactionId", default=None)


class MeterValuesResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 MeterValues.conf."""


class RemoteStartTransactionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 RemoteStartTransactionRequest.req."""

    id_tag: Annotated[str, Meta(max_length=20)] = field(name="idTag")
    connector_id: Int | None = field(name="connectorId", default=None)
    charging_profile: ChargingProfile | None = field(name="chargingProfile", default=None)


class RemoteStartTransactionResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 RemoteStartTransaction.conf."""

    status: RemoteStartStopStatus


class RemoteStopTransactionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 RemoteStopTransactionRequest.req."""

    transaction_id: Int = field(name="transactionId")


class RemoteStopTransactionResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 RemoteStopTransaction.conf."""

    status: RemoteStartStopStatus


class ReserveNowRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ReserveNowRequest.req."""

    connector_id: Int = field(name="connectorId")
    expiry_date: DateTime = field(name="expiryDate")
    id_tag: Annotated[str, Meta(max_length=20)] = field(name="idTag")
    reservation_id: Int = field(name="reservationId")
    parent_id_tag: Annotated[str, Meta(max_length=20)] | None = field(name="parentIdTag", default=None)


class ReserveNowResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ReserveNow.conf."""

    status: ReservationStatus


class ResetRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ResetRequest.req."""

    type: ResetType


class ResetResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 Reset.conf."""

    status: ResetStatus


class SecurityEventNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SecurityEventNotificationRequest.req."""

    type: Annotated[str, Meta(max_length=50)]
    timestamp: DateTime
    tech_info: Annotated[str, Meta(max_length=255)] | None = field(name="techInfo", default=None)


class SecurityEventNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SecurityEventNotification.conf."""


class SendLocalListRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SendLocalListRequest.req."""

    list_version: Int = field(name="listVersion")
    update_type: UpdateType = field(name="updateType")
    local_authorization_list: tuple[AuthorizationData, ...] | None = field(name="localAuthorizationList", default=None)


class SendLocalListResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SendLocalList.conf."""

    status: UpdateStatus


class SetChargingProfileRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SetChargingProfileRequest.req."""

    connector_id: Int = field(name="connectorId")
    cs_charging_profiles: ChargingProfile = field(name="csChargingProfiles")


class SetChargingProfileResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SetChargingProfile.conf."""

    status: ChargingProfileStatus


class SignCertificateRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SignCertificateRequest.req."""

    csr: Annotated[str, Meta(max_length=5500)]


class SignCertificateResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SignCertificate.conf."""

    status: GenericStatus


class SignedFirmwareStatusNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SignedFirmwareStatusNotificationRequest.req."""

    status: SignedFirmwareStatus
    request_id: Int | None = field(name="requestId", default=None)


class SignedFirmwareStatusNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SignedFirmwareStatusNotification.conf."""


class SignedUpdateFirmwareRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SignedUpdateFirmwareRequest.req."""

    request_id: Int = field(name="requestId")
    firmware: Firmware
    retries: Int | None = None
    retry_interval: Int | None = field(name="retryInterval", default=None)


class SignedUpdateFirmwareResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SignedUpdateFirmware.conf."""

    status: UpdateFirmwareStatus


class StartTransactionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 StartTransactionRequest.req."""

    connector_id: Int = field(name="connectorId")
    id_tag: Annotated[str, Meta(max_length=20)] = field(name="idTag")
    meter_start: WattHours = field(name="meterStart")
    timestamp: DateTime
    reservation_id: Int | None = field(name="reservationId", default=None)


class StartTransactionResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 StartTransaction.conf."""

    id_tag_info: IdTagInfo = field(name="idTagInfo")
    transaction_id: Int = field(name="transactionId")


class StatusNotificationRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 StatusNotificationRequest.req."""

    connector_id: Int = field(name="connectorId")
    error_code: ChargePointErrorCode = field(name="errorCode")
    status: ChargePointStatus
    info: Annotated[str, Meta(max_length=50)] | None = None
    timestamp: DateTime | None = None
    vendor_id: Annotated[str, Meta(max_length=255)] | None = field(name="vendorId", default=None)
    vendor_error_code: Annotated[str, Meta(max_length=50)] | None = field(name="vendorErrorCode", default=None)


class StatusNotificationResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 StatusNotification.conf."""


class StopTransactionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 StopTransactionRequest.req."""

    meter_stop: WattHours = field(name="meterStop")
    timestamp: DateTime
    transaction_id: Int = field(name="transactionId")
    id_tag: Annotated[str, Meta(max_length=20)] | None = field(name="idTag", default=None)
    reason: Reason | None = None
    transaction_data: tuple[MeterValue, ...] | None = field(name="transactionData", default=None)


class StopTransactionResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 StopTransaction.conf."""

    id_tag_info: IdTagInfo | None = field(name="idTagInfo", default=None)


class TriggerMessageRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 TriggerMessageRequest.req."""

    requested_message: MessageTrigger = field(name="requestedMessage")
    connector_id: Int | None = field(name="connectorId", default=None)


class TriggerMessageResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 TriggerMessage.conf."""

    status: TriggerMessageStatus


class UnlockConnectorRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 UnlockConnectorRequest.req."""

    connector_id: Int = field(name="connectorId")


class UnlockConnectorResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 UnlockConnector.conf."""

    status: UnlockStatus


class UpdateFirmwareRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 UpdateFirmwareRequest.req."""

    location: str
    retrieve_date: DateTime = field(name="retrieveDate")
    retries: Int | None = None
    retry_interval: Int | None = field(name="retryInterval", default=None)


class UpdateFirmwareResponse(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 UpdateFirmware.conf."""
