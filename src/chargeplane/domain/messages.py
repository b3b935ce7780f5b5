"""What a charging station tells us and what we answer, free of any OCPP version.

The bridge makes these from wire structs, the station's actor acts on them, and the bridge turns the answer back into a
wire struct. Field names are those of the newest OCPP; a value that an older version lacks is `None`.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.certificates import CertificateHashData
from chargeplane.domain.variables import ReportedVariable


class AdditionalIdToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes with an id token (OCPP 2.x AdditionalInfoType)."""

    value: Annotated[str, Meta(min_length=1, max_length=255)]
    type: Annotated[str, Meta(min_length=1, max_length=50)]


class IdToken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A driver's identification as presented at a station.

    Args:
        value: as received, but for what `canonical` takes out; compared without case (OCPP 1.6 IdToken is a CiString20, 2.x
            identifierString).
        type: OCPP 2.x IdTokenEnum word (`ISO14443`, `Central`, `eMAID`, ...); None from OCPP 1.6, which has no types.
        additional: what was presented with it (2.x).
    """

    value: str
    type: str | None = None
    additional: tuple[AdditionalIdToken, ...] = ()


class AuthorizationStatus(enum.StrEnum):
    """OCPP 2.x AuthorizationStatusEnum; the bridge narrows it for 1.6 (OCPP 1.6, 7.2)."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    CONCURRENT_TX = "ConcurrentTx"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    NO_CREDIT = "NoCredit"
    NOT_ALLOWED_TYPE_EVSE = "NotAllowedTypeEVSE"
    NOT_AT_THIS_LOCATION = "NotAtThisLocation"
    NOT_AT_THIS_TIME = "NotAtThisTime"
    UNKNOWN = "Unknown"


class LimitKind(enum.StrEnum):
    """What a transaction is limited in; a field of OCPP 2.1 TransactionLimitType."""

    COST = "maxCost"
    ENERGY = "maxEnergy"
    TIME = "maxTime"
    SOC = "maxSoC"


class TransactionLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a transaction may take at most (OCPP 2.1 TransactionLimitType).

    Args:
        max_cost: in the currency of the station.
        max_time_s: from the start of the transaction (E16.FR.09).
        max_soc: percent.
        kept: those that the station keeps by itself, as it reports (TxCtrlr.SupportedLimits); it is told no other (E16.FR.12).
    """

    max_energy_wh: Decimal | None = None
    max_cost: Decimal | None = None
    max_time_s: int | None = None
    max_soc: int | None = None
    kept: frozenset[LimitKind] = frozenset()


class IdTokenInfo(Struct, frozen=True, kw_only=True):
    """What we tell a station about an id token (OCPP 2.0.1 IdTokenInfoType, 1.6 IdTagInfo).

    Args:
        valid_until: until when the station may go by this (cacheExpiryDateTime, 1.6 expiryDate).
        evse_ids: the EVSEs it may use; empty is all.
        charging_priority: -9 to 9 (2.x).
        limits: of a transaction that it begins.
    """

    status: AuthorizationStatus
    valid_until: datetime | None = None
    group_id: str | None = None
    group_type: str | None = None
    language: str | None = None
    personal_message: str | None = None
    language2: str | None = None
    charging_priority: int | None = None
    evse_ids: tuple[int, ...] = ()
    limits: TransactionLimits | None = None


class SignedValue(Struct, frozen=True, array_like=True):
    """A signed meter value, kept exactly as received (OCPP 2.0.1 SignedMeterValueType; 1.6 format SignedData)."""

    data: str
    signing_method: str | None = None
    encoding_method: str | None = None
    public_key: str | None = None


class Sample(Struct, frozen=True, array_like=True):
    """One sampled value brought to base units (Wh, W, varh, var, VA, VAh, A, V, Hz, Celsius, Percent).

    Array-like, because this is also the stored form: a message's samples are one JSON array in its row.

    Args:
        measurand: OCPP 2.x MeasurandEnum word; the default where the station sent none.
        value: number in `unit`; None where only a signed value was sent or the text was no usable number.
        unit: base unit after multiplier and prefix were applied.
        phase: L1, L2, L3, N, L1-N, L1-L2, ...; None for the total.
        location: Body, Cable, EV, Inlet, Outlet, Upstream; None means the default Outlet.
        context: ReadingContextEnum word; None means the default Sample.Periodic.
        repaired: name of the repair rule that changed the value, if one did.
        raw: the value as the station wrote it, only where it was repaired or unusable.
    """

    measurand: str
    value: Decimal | None
    unit: str | None = None
    phase: str | None = None
    location: str | None = None
    context: str | None = None
    signed: SignedValue | None = None
    repaired: str | None = None
    raw: str | None = None


class Reading(Struct, frozen=True, array_like=True):
    """Samples taken at one moment (OCPP MeterValue).

    Args:
        at: the station's time, aware UTC; None where it sent none or garbage.
    """

    at: datetime | None
    samples: tuple[Sample, ...]


class Boot(Struct, frozen=True, kw_only=True):
    """BootNotification. Empty strings are None; texts are cut to what the database keeps (255)."""

    vendor: str | None = None
    model: str | None = None
    serial_number: str | None = None
    firmware_version: str | None = None
    reason: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    meter_type: str | None = None
    meter_serial_number: str | None = None
    box_serial_number: str | None = None


class Heartbeat(Struct, frozen=True, kw_only=True):
    """Heartbeat: answered at once, counted, nothing to commit."""


class ConnectorState(enum.StrEnum):
    """OCPP 2.x ConnectorStatusEnum."""

    AVAILABLE = "Available"
    OCCUPIED = "Occupied"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class ConnectorStatus(Struct, frozen=True, kw_only=True):
    """StatusNotification.

    Args:
        evse_id: 0 for the whole station. 1.6 connector n is EVSE n, connector 1; 1.6 connector 0 is EVSE 0, connector 0.
        status: the five states of OCPP 2.x.
        reported: the station's own word (1.6 has nine).
        at: the station's time, aware UTC; None where absent or garbage.
        error_code: 1.6 ChargePointErrorCode other than NoError.
    """

    evse_id: int
    connector_id: int
    status: ConnectorState
    reported: str
    at: datetime | None = None
    error_code: str | None = None
    info: str | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None


class Authorize(Struct, frozen=True, kw_only=True):
    """Authorize: may this id token charge here?

    Args:
        contract: what is asked about the contract's certificate behind an eMAID (`contracts.ContractCheck`).
        takes_tariff: the answer can carry the driver's tariff (2.1).
    """

    id_token: IdToken
    evse_ids: tuple[int, ...] = ()
    contract: Struct | None = None
    takes_tariff: bool = False


class ReportKind(enum.StrEnum):
    """OCPP 2.x TransactionEventEnum. 1.6: Start is started, MeterValues in a transaction updated, Stop ended."""

    STARTED = "Started"
    UPDATED = "Updated"
    ENDED = "Ended"


class TransactionReport(Struct, frozen=True, kw_only=True):
    """One message about a transaction: 2.x TransactionEvent; 1.6 StartTransaction, MeterValues, StopTransaction.

    Args:
        ocpp_transaction_id: as the station names it; None in a 1.6 start (we give the id) and where the station sent
            nothing usable. 1.6 integers as decimal text.
        csms_assigns_id: True for 1.6, where the id in the answer to the start is ours.
        at: the station's time of the event, aware UTC; None where absent or garbage.
        seq_no: 2.x only.
        meter_start: 1.6 meterStart in Wh (also in `readings`, context Transaction.Begin).
        meter_stop: 1.6 meterStop in Wh (also in `readings`, context Transaction.End).
        evse_id, connector_id: None where the message has none (1.6 stop, many 2.x updates).
        id_token: who started (in started) or stopped (in ended, or updated with trigger StopAuthorized).
    """

    kind: ReportKind
    ocpp_transaction_id: str | None
    csms_assigns_id: bool
    at: datetime | None
    seq_no: int | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    id_token: IdToken | None = None
    trigger_reason: str | None = None
    charging_state: str | None = None
    stop_reason: str | None = None
    offline: bool = False
    meter_start: Decimal | None = None
    meter_stop: Decimal | None = None
    readings: tuple[Reading, ...] = ()
    reservation_id: int | None = None
    remote_start_id: int | None = None
    number_of_phases_used: int | None = None
    cable_max_current: Decimal | None = None


class MeterReport(Struct, frozen=True, kw_only=True):
    """MeterValues outside of a transaction. evse_id 0 is the station's main meter."""

    evse_id: int
    connector_id: int | None
    readings: tuple[Reading, ...]


class Notice(Struct, frozen=True, kw_only=True):
    """Any other message of a station that is to be kept: stored with its payload, answered, visible.

    Args:
        action: the OCPP action.
        tells: what the payload says in a few words for the operator (`Downloading`, `SettingSystemTime`), if known.
        variables: the part of the device model it reports (OCPP 2.0.1 B07, B08).
        statuses: of connectors, where it tells of their availability (2.x stations may send NotifyEvent in place of
            StatusNotification: OCPP 2.0.1 G01.FR.03 to FR.07).
        report: what follows from it: a tagged struct, committed with the notice as a fact and handed to the subject that takes its
            type (app/reports.py).
        hides: the payload holds a secret, or tells of a person, so it is not kept.
    """

    action: str
    tells: str | None = None
    variables: tuple[ReportedVariable, ...] = ()
    statuses: tuple[ConnectorStatus, ...] = ()
    report: Struct | None = None
    hides: bool = False


class Question(Struct, frozen=True, kw_only=True):
    """A message whose answer somebody must think about, who may have to wait. It is kept like a notice.

    Args:
        action: the OCPP action.
        asks: what is asked; its type picks who answers.
        tells: as in `Notice`.
    """

    action: str
    asks: Struct
    tells: str | None = None


class CertificateRequest(Struct, frozen=True, kw_only=True):
    """A station asks for a certificate of a key it made (OCPP 2.0.1 A02, A03; 1.6 security whitepaper).

    Args:
        csr: PKCS #10 as PEM.
        use: OCPP 2.x CertificateSigningUseEnum word; None where the station says nothing.
        request_id: the station's, to find the answer by (2.1).
        root: of the hierarchy that is to sign it (2.1, A02.FR.27).
    """

    csr: str
    use: str | None = None
    request_id: int | None = None
    root: CertificateHashData | None = None


class Unusable(Struct, frozen=True, kw_only=True):
    """A transaction message that cannot be understood even after repair: it goes to quarantine and is answered.

    Args:
        action: the OCPP action.
        reason: what is wrong, in one sentence.
    """

    action: str
    reason: str


StationMessage = (
    Boot
    | Heartbeat
    | ConnectorStatus
    | Authorize
    | TransactionReport
    | MeterReport
    | Notice
    | Question
    | CertificateRequest
    | Unusable
)
"""Everything a station can tell."""


class Registration(enum.StrEnum):
    """OCPP RegistrationStatusEnum."""

    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


class BootAnswer(Struct, frozen=True, kw_only=True):
    """Answer to Boot: `interval_s` is the heartbeat interval when accepted, else when to try again."""

    status: Registration
    interval_s: int
    now: datetime


class HeartbeatAnswer(Struct, frozen=True, kw_only=True):
    """Answer to Heartbeat."""

    now: datetime


class Acknowledged(Struct, frozen=True, kw_only=True):
    """The message is safe; the wire answer carries nothing (or its version's emptiest form)."""


class AuthorizeAnswer(Struct, frozen=True, kw_only=True):
    """Answer to Authorize.

    Args:
        certificate_status: OCPP AuthorizeCertificateStatusEnum word, where a contract's certificate was asked about.
        tariff: the driver's own, a `station_tariffs.StationTariff` (2.1 I08).
    """

    id_token_info: IdTokenInfo
    certificate_status: str | None = None
    tariff: Struct | None = None


class TransactionAnswer(Struct, frozen=True, kw_only=True):
    """Answer to a TransactionReport.

    Args:
        assigned_id: the 1.6 transactionId for a start; positive, 32 bit, never 0, never given twice.
        id_token_info: present iff the report carried an id token.
        total_cost: what a transaction that has ended cost in all, taxes included (2.x); None where it has no price.
    """

    assigned_id: int | None = None
    id_token_info: IdTokenInfo | None = None
    total_cost: Decimal | None = None


class CertificateAnswer(Struct, frozen=True, kw_only=True):
    """Answer to a CertificateRequest: whether a certificate will be made of it."""

    accepted: bool


class Answered(Struct, frozen=True, kw_only=True):
    """Answer to a Question.

    Args:
        answer: the domain's struct; None where nobody here could answer, for the version's refusal.
    """

    answer: Struct | None = None


StationAnswer = (
    BootAnswer | HeartbeatAnswer | Acknowledged | AuthorizeAnswer | TransactionAnswer | CertificateAnswer | Answered
)
"""Everything we answer."""
