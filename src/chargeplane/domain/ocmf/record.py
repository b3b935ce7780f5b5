"""A record of the Open Charge Metering Format, read without changing a letter of what is signed.

Stations send it bare, as hexadecimal or base64 text, as a JSON string, or inside the object of the OCA's application note on
signed meter values; all of them are the same record.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError

_HEADER: Final = "OCMF|"
_LONGEST: Final = 64 * 1024
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s*(Z|[+-]\d\d:?\d\d)?(?:\s+([A-Z]))?\s*"
)
_INHERITED: Final = ("TM", "TX", "RI", "RU", "RT", "EF", "ST")
_UNITS: Final = {"wh": Decimal(1), "kwh": Decimal(1000), "mwh": Decimal(1_000_000)}
_LARGEST_WH: Final = Decimal(10**15)


class ReadingReason(enum.StrEnum):
    """Why a reading was taken (OCMF, table 7, TX)."""

    BEGIN = "B"
    CHARGING = "C"
    EXCEPTION = "X"
    END = "E"
    ENDED_LOCALLY = "L"
    ENDED_REMOTELY = "R"
    ABORTED = "A"
    ENDED_BY_POWER_FAILURE = "P"
    SUSPENDED = "S"
    TARIFF_CHANGE = "T"

    @property
    def ends(self) -> bool:
        """Whether the transaction ended with it."""
        return self in _ENDS


_ENDS: Final = frozenset(
    {
        ReadingReason.END,
        ReadingReason.ENDED_LOCALLY,
        ReadingReason.ENDED_REMOTELY,
        ReadingReason.ABORTED,
        ReadingReason.ENDED_BY_POWER_FAILURE,
    }
)


class MeterStatus(enum.StrEnum):
    """State of the meter at a reading (OCMF, table 10). What is not in the table counts as another error."""

    NOT_PRESENT = "N"
    GOOD = "G"
    TIMEOUT = "T"
    DISCONNECTED = "D"
    REMOVED = "R"
    MANIPULATED = "M"
    EXCHANGED = "X"
    INCOMPATIBLE = "I"
    OUT_OF_RANGE = "O"
    SUBSTITUTE = "S"
    OTHER_ERROR = "E"
    READ_ERROR = "F"


class TimeStatus(enum.StrEnum):
    """How far the meter's clock can be trusted (OCMF, table 19)."""

    UNKNOWN = "U"
    INFORMATIVE = "I"
    SYNCHRONIZED = "S"
    RELATIVE = "R"


class MeterReading(Struct, frozen=True, kw_only=True):
    """A reading, with what it takes over from the one before.

    Args:
        at: by the meter's clock, aware UTC; None where the text is no time.
        reason: None outside of transactions, or a letter that is not in the table.
        register: OBIS code as written; None for a mere event.
        value: as written, in `unit`.
        energy_wh: the value in Wh; None where the unit is none of energy.
        current_type: AC or DC.
        energy_unusable, time_unusable: error flags: not to be billed.
        loss: cable loss taken off so far, in `unit`.
    """

    at: datetime | None
    time_status: TimeStatus
    reason: ReadingReason | None
    register: str | None
    value: Decimal | None
    unit: str | None
    energy_wh: Decimal | None
    current_type: str | None
    status: MeterStatus
    energy_unusable: bool
    time_unusable: bool
    loss: Decimal | None


class SignatureSection(Struct, frozen=True, kw_only=True):
    """The last section.

    Args:
        algorithm: such as `ECDSA-secp256r1-SHA256`, which it is where none is named.
        signature: bytes: DER, or r and s side by side.
    """

    algorithm: str
    signature: bytes


class OcmfRecord(Struct, frozen=True, kw_only=True):
    """A signed record.

    Args:
        text: the whole record in its plain form.
        payload: the signed text, to the letter.
        page_context: T in a transaction, F for fiscal readings outside of one.
        page: number of the record within its context.
        gateway_serial, meter_serial: of what signed and what measured.
        is_identified: whether the user was.
        id_token: what the user was identified by.
        tariff_text: the tariff the driver was shown by the station.
        charge_point: as the record names it.
        readings: at least one.
    """

    text: str
    payload: str
    version: str | None
    page_context: str | None
    page: int | None
    gateway: str | None
    gateway_serial: str | None
    gateway_version: str | None
    meter_vendor: str | None
    meter_model: str | None
    meter_serial: str | None
    meter_firmware: str | None
    is_identified: bool | None
    identification_level: str | None
    id_token_type: str | None
    id_token: str | None
    tariff_text: str | None
    charge_point_type: str | None
    charge_point: str | None
    readings: tuple[MeterReading, ...]
    signature: SignatureSection

    @property
    def first(self) -> MeterReading | None:
        """The reading the transaction begins with; None where this record has none."""
        return next((one for one in self.readings if one.reason is ReadingReason.BEGIN), None)

    @property
    def last(self) -> MeterReading | None:
        """The reading the transaction ends with; None where this record has none."""
        return next((one for one in reversed(self.readings) if one.reason is not None and one.reason.ends), None)


def record_of(data: str) -> OcmfRecord:
    """The record in what a station sent as signed data.

    Raises:
        InvalidInputError: it is none; the sentence says what is wrong with it.
    """
    if len(data) > 4 * _LONGEST:
        raise InvalidInputError(f"Signed data of {len(data):,} characters is longer than any OCMF record.")
    text = _plain(data.strip())
    if len(text) > _LONGEST:
        raise InvalidInputError(f"An OCMF record of {len(text):,} characters is too long.")
    # A pipe may not appear within a section, yet some write one into a text: the payload ends at the last one.
    payload, found, signature = text[len(_HEADER) :].rpartition("|")
    if not found:
        raise InvalidInputError("The OCMF record has no signature section.")
    section = _object(payload, "payload")
    readings = section.get("RD")
    if not isinstance(readings, list) or not readings:
        raise InvalidInputError("The OCMF record has no readings (RD).")
    context, page = _page(section.get("PG"))
    return OcmfRecord(
        text=text,
        payload=payload,
        version=_text(section, "FV"),
        page_context=context,
        page=page,
        gateway=_text(section, "GI"),
        gateway_serial=_text(section, "GS"),
        gateway_version=_text(section, "GV"),
        meter_vendor=_text(section, "MV"),
        meter_model=_text(section, "MM"),
        meter_serial=_text(section, "MS"),
        meter_firmware=_text(section, "MF"),
        is_identified=section["IS"] if isinstance(section.get("IS"), bool) else None,
        identification_level=_text(section, "IL"),
        id_token_type=_text(section, "IT"),
        id_token=_text(section, "ID"),
        tariff_text=_text(section, "TT"),
        charge_point_type=_text(section, "CT"),
        charge_point=_text(section, "CI"),
        readings=_readings(readings),
        signature=_signature(_object(signature, "signature")),
    )


def _plain(data: str) -> str:
    """The record in its plain form, whatever it was wrapped in."""
    for _ in range(4):  # a JSON object may hold base64 text of a JSON string: no deeper nesting is known
        if data.startswith(_HEADER):
            return data
        inner = _unwrapped(data)
        if inner is None:
            break
        data = inner.strip()
    raise InvalidInputError("The signed data is no OCMF record: it does not begin with 'OCMF|'.")


def _unwrapped(data: str) -> str | None:
    if data[:1] in ('"', "{"):
        try:
            found = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return None
        if isinstance(found, dict):
            found = found.get("signedMeterData")
        return found if isinstance(found, str) else None
    try:
        raw = bytes.fromhex(data) if re.fullmatch(r"[0-9A-Fa-f\s]+", data) else base64.b64decode(data, validate=False)
        return raw.decode()
    except (ValueError, binascii.Error):
        return None


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        # Numbers stay decimal: the digits of a reading are part of what was measured.
        found = _decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise InvalidInputError(f"The {name} section of the OCMF record is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"The {name} section of the OCMF record is no JSON object.")
    return found


_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode


def _text(section: dict[str, Any], key: str) -> str | None:
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value) or None


def _page(text: object) -> tuple[str | None, int | None]:
    found = re.fullmatch(r"([A-Z])(\d{1,18})", text) if isinstance(text, str) else None
    return (None, None) if found is None else (found[1], int(found[2]))


def _readings(found: list[Any]) -> tuple[MeterReading, ...]:
    readings: list[MeterReading] = []
    before: dict[str, Any] = {}
    for one in found:
        if not isinstance(one, dict):
            raise InvalidInputError("A reading (RD) of the OCMF record is no JSON object.")
        # OCMF, Readings: what equals the previous reading of the record is left out.
        whole = {**{key: before[key] for key in _INHERITED if key in before}, **one}
        readings.append(_reading(whole))
        before = whole
    return tuple(readings)


def _reading(one: dict[str, Any]) -> MeterReading:
    at, time_status = _time(one.get("TM"))
    unit = _text(one, "RU")
    value = _number(one.get("RV"))
    factor = _UNITS.get((unit or "").casefold())
    energy = None if value is None or factor is None else value * factor
    flags = str(one.get("EF") or "")
    return MeterReading(
        at=at,
        time_status=time_status,
        reason=_member(ReadingReason, one.get("TX")),
        register=_text(one, "RI"),
        value=value,
        unit=unit,
        energy_wh=energy if energy is not None and abs(energy) <= _LARGEST_WH else None,
        current_type=_text(one, "RT"),
        status=_member(MeterStatus, one.get("ST")) or MeterStatus.OTHER_ERROR,
        energy_unusable="E" in flags,
        time_unusable="t" in flags,
        loss=_number(one.get("CL")),
    )


_E = TypeVar("_E", bound=enum.StrEnum)


def _member(kind: type[_E], value: object) -> _E | None:
    return next((one for one in kind if one.value == value), None)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        number = Decimal(value)
    except ArithmeticError:
        return None
    # An exponent beyond reason would make arithmetic expensive.
    return number if number.is_finite() and -18 <= number.adjusted() <= 18 else None


def _time(text: object) -> tuple[datetime | None, TimeStatus]:
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None, TimeStatus.UNKNOWN
    *numbers, fraction, zone, status = found.groups()
    try:
        at = datetime(*(int(one) for one in numbers), tzinfo=_zone(zone))  # type: ignore[arg-type,misc]  # six numbers
        at = (at + timedelta(microseconds=int((fraction or "0").ljust(6, "0")[:6]))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None, TimeStatus.UNKNOWN
    return at, _member(TimeStatus, status) or TimeStatus.UNKNOWN


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _signature(section: dict[str, Any]) -> SignatureSection:
    data = section.get("SD")
    if not isinstance(data, str) or not data:
        raise InvalidInputError("The OCMF record has no signature (SD).")
    encoding = _text(section, "SE") or "hex"
    try:
        raw = base64.b64decode(data, validate=True) if encoding.casefold() == "base64" else bytes.fromhex(data)
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError(f"The signature of the OCMF record is no {encoding} text.") from error
    return SignatureSection(algorithm=_text(section, "SA") or "ECDSA-secp256r1-SHA256", signature=raw)
