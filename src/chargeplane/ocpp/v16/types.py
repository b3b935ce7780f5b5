"""Types that the messages of OCPP 1.6 are made of (OCPP 1.6, 7)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from chargeplane.ocpp.fields import DateTime, Int, Tenths, check_number
from chargeplane.ocpp.v16.enums import (
    AuthorizationStatus,
    ChargingProfileKindType,
    ChargingProfilePurposeType,
    ChargingRateUnitType,
    HashAlgorithm,
    Location,
    Measurand,
    Phase,
    ReadingContext,
    RecurrencyKindType,
    UnitOfMeasure,
    ValueFormat,
)

__all__ = [
    "AuthorizationData",
    "CertificateHashData",
    "ChargingProfile",
    "ChargingSchedule",
    "ChargingSchedulePeriod",
    "Firmware",
    "IdTagInfo",
    "KeyValue",
    "LogParameters",
    "MeterValue",
    "SampledValue",
]


class CertificateHashData(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 CertificateHashData."""

    hash_algorithm: HashAlgorithm = field(name="hashAlgorithm")
    issuer_name_hash: Annotated[str, Meta(max_length=128)] = field(name="issuerNameHash")
    issuer_key_hash: Annotated[str, Meta(max_length=128)] = field(name="issuerKeyHash")
    serial_number: Annotated[str, Meta(max_length=40)] = field(name="serialNumber")


class IdTagInfo(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 IdTagInfo."""

    status: AuthorizationStatus
    expiry_date: DateTime | None = field(name="expiryDate", default=None)
    parent_id_tag: Annotated[str, Meta(max_length=20)] | None = field(name="parentIdTag", default=None)


class AuthorizationData(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 AuthorizationData."""

    id_tag: Annotated[str, Meta(max_length=20)] = field(name="idTag")
    id_tag_info: IdTagInfo | None = field(name="idTagInfo", default=None)


class ChargingSchedulePeriod(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChargingSchedulePeriod."""

    start_period: Int = field(name="startPeriod")
    limit: Tenths
    number_phases: Int | None = field(name="numberPhases", default=None)

    def __post_init__(self) -> None:
        check_number("limit", self.limit)


class ChargingSchedule(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChargingSchedule."""

    charging_rate_unit: ChargingRateUnitType = field(name="chargingRateUnit")
    charging_schedule_period: tuple[ChargingSchedulePeriod, ...] = field(name="chargingSchedulePeriod")
    duration: Int | None = None
    start_schedule: DateTime | None = field(name="startSchedule", default=None)
    min_charging_rate: Tenths | None = field(name="minChargingRate", default=None)

    def __post_init__(self) -> None:
        check_number("minChargingRate", self.min_charging_rate)


class ChargingProfile(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 ChargingProfile."""

    charging_profile_id: Int = field(name="chargingProfileId")
    stack_level: Int = field(name="stackLevel")
    charging_profile_purpose: ChargingProfilePurposeType = field(name="chargingProfilePurpose")
    charging_profile_kind: ChargingProfileKindType = field(name="chargingProfileKind")
    charging_schedule: ChargingSchedule = field(name="chargingSchedule")
    transaction_id: Int | None = field(name="transactionId", default=None)
    recurrency_kind: RecurrencyKindType | None = field(name="recurrencyKind", default=None)
    valid_from: DateTime | None = field(name="validFrom", default=None)
    valid_to: DateTime | None = field(name="validTo", default=None)


class KeyValue(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 KeyValue."""

    key: Annotated[str, Meta(max_length=50)]
    readonly: bool
    value: Annotated[str, Meta(max_length=500)] | None = None


class SampledValue(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 SampledValue."""

    value: str
    context: ReadingContext | None = None
    format: ValueFormat | None = None
    measurand: Measurand | None = None
    phase: Phase | None = None
    location: Location | None = None
    unit: UnitOfMeasure | None = None


class MeterValue(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 MeterValue."""

    timestamp: DateTime
    sampled_value: tuple[SampledValue, ...] = field(name="sampledValue")


class LogParameters(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 LogParameters."""

    remote_location: Annotated[str, Meta(max_length=512)] = field(name="remoteLocation")
    oldest_timestamp: DateTime | None = field(name="oldestTimestamp", default=None)
    latest_timestamp: DateTime | None = field(name="latestTimestamp", default=None)


class Firmware(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """OCPP 1.6 Firmware."""

    location: Annotated[str, Meta(max_length=512)]
    retrieve_date_time: DateTime = field(name="retrieveDateTime")
    signing_certificate: Annotated[str, Meta(max_length=5500)] = field(name="signingCertificate")
    signature: Annotated[str, Meta(max_length=800)]
    install_date_time: DateTime | None = field(name="installDateTime", default=None)
