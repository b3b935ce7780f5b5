"""How real stations misbehave, on command.

A fault that changes what a message says is a pure function over its payload, so that every version and every message
can have it; faults of the connection are methods of the station (`drop`, `go_silent`, `power_loss`, ...).
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct, inspect

from chargeplane.ocpp.catalogue import CATALOGUE
from chargeplane.ocpp.versions import OcppVersion


class Fault(enum.StrEnum):
    """Lasting faults a station can be given."""

    DUPLICATE_MESSAGES = "duplicate_messages"
    """Every transaction message is sent twice with the same message id, whatever was answered."""
    REORDERED_REPLAY = "reordered_replay"
    """After an outage the newest transaction messages come first."""
    LOST_STOP = "lost_stop"
    """The stop (Ended) of a transaction is never sent."""
    UNFLAGGED_OFFLINE = "unflagged_offline"
    """What happened offline is not marked so."""
    SEQ_NO_ZERO = "seq_no_zero"
    """seqNo is 0 in every event."""
    SEQ_NO_REPEATED = "seq_no_repeated"
    """seqNo counts 0, 1, 2, 2, 2, ..."""
    NO_UPDATES = "no_updates"
    """No Updated (or MeterValues with a transaction id): meter values of the station instead."""
    TRANSACTION_ID_ZERO = "transaction_id_zero"
    """Updated and Ended carry transaction id "0" (1.6: MeterValues and Stop carry 0)."""
    BARE_END = "bare_end"
    """Ended lacks EVSE, id token and values; StopTransaction lacks reason and tag."""
    BARE_START = "bare_start"
    """Started lacks connector and value (2.x)."""
    LATE_METER_VALUES = "late_meter_values"
    """The last meter values come after the stop."""
    KWH_AS_FLOATS = "kwh_as_floats"
    """Energy in kWh written as a binary float prints it ("0.30005000000000004")."""
    KWH_LABEL_ON_WH = "kwh_label_on_wh"
    """The unit says kWh and the number is Wh."""
    VALUE_AS_NUMBER = "value_as_number"
    """1.6: `value` is a JSON number, not a string."""
    NO_MEASURAND = "no_measurand"
    """Samples carry neither measurand nor unit, and only the energy."""
    EMPTY_SERIALS = "empty_serials"
    """Boot with empty strings for vendor serials and firmware."""
    LOCAL_TIME = "local_time"
    """Timestamps without zone."""
    TIME_1970 = "time_1970"
    """Timestamps of a clock that was never set."""
    NO_TIMESTAMP_IN_STATUS = "no_timestamp_in_status"
    """StatusNotification without a timestamp (1.6 allows it)."""
    REPEATING_MESSAGE_IDS = "repeating_message_ids"
    """Message ids count from 1 after every connect."""
    BOOT_ON_RECONNECT = "boot_on_reconnect"
    """A BootNotification after every reconnect."""
    NO_BOOT = "no_boot"
    """No BootNotification at all; a Heartbeat first."""
    STATUS_BEFORE_BOOT_ANSWER = "status_before_boot_answer"
    """Statuses in one burst with the boot, before it was answered."""
    UNKNOWN_ACTION_MINUS_ONE = "unknown_action_minus_one"
    """An unsupported action is answered by a CALLERROR with message id "-1"."""
    UNKNOWN_ACTION_IGNORED = "unknown_action_ignored"
    """An unsupported action is not answered."""
    UNKNOWN_ACTION_CLOSES = "unknown_action_closes"
    """An unsupported action makes the station close the socket and come back."""
    LATE_ANSWERS = "late_answers"
    """Calls are answered after the CSMS has given up (35 s, `Options.late_answer_s`)."""
    FOREIGN_ANSWERS = "foreign_answers"
    """Calls are answered with another message id first."""
    NOTIFY_REPORT_LAST_PART_ONLY = "notify_report_last_part_only"
    """Only the last part of a report arrives."""
    WRONG_SIGNATURE = "wrong_signature"
    """Signed meter values (`Options.signs`) are changed after they were signed."""
    SEQ_NO_GAP = "seq_no_gap"
    """Every third Updated gets lost, and its number is missing (2.x)."""
    FORGETS_LOCAL_LIST = "forgets_local_list"
    """After a reboot the local list is gone and its version 0."""
    FORGETS_AVAILABILITY = "forgets_availability"
    """After a reboot everything is in service, whatever was asked for."""
    OTHER_LIST_VERSION_FIELD = "other_list_version_field"
    """GetLocalListVersion is answered with the field of the other version."""
    REPORT_WITHOUT_TBC = "report_without_tbc"
    """No part of a report says that another follows."""
    REPORT_WITH_EMPTY_PART = "report_with_empty_part"
    """A report ends with a part whose list is empty."""
    ALL_KEYS = "all_keys"
    """1.6: GetConfiguration is answered with all keys, whatever was asked."""
    KEYS_WITHOUT_VALUES = "keys_without_values"
    """1.6: keys come without their values."""
    ACCEPTS_AND_IGNORES = "accepts_and_ignores"
    """Every change of a variable is accepted, and nothing changes."""
    REBOOTS_ON_CHANGE = "reboots_on_change"
    """Every change of a variable restarts the station."""
    REJECTS_ALL = "rejects_all"
    """Every command is refused, where its answer can say so."""
    FORGETS_PROFILES = "forgets_profiles"
    """Charging profiles are lost with every restart."""
    ONLY_WATTS = "only_watts"
    """Charging profiles in A are refused."""
    ONLY_AMPERES = "only_amperes"
    """Charging profiles in W are refused."""
    NO_STATION_MAX = "no_station_max"
    """The maximum profile of the whole station is refused."""
    STACK_LEVEL_FROM_ONE = "stack_level_from_one"
    """Stack level 0 is refused."""
    NO_ZERO_LIMIT = "no_zero_limit"
    """A limit of 0 is refused."""
    ODD_COMPOSITE = "odd_composite"
    """A composite schedule tells no limit as -1, and has starts between two seconds."""
    FIRMWARE_DOWNLOAD_FAILS = "firmware_download_fails"
    """A firmware can never be fetched."""
    FIRMWARE_STUCK = "firmware_stuck"
    """After Downloading nothing is heard of an update any more."""
    FIRMWARE_INSTALL_FAILS = "firmware_install_fails"
    """A firmware is fetched and cannot be installed."""
    FIRMWARE_VERIFICATION_FAILS = "firmware_verification_fails"
    """What was installed does not pass the station's own check."""
    FIRMWARE_KEEPS_OLD_VERSION = "firmware_keeps_old_version"
    """Installed is told, and the next boot has the old version."""
    REJECTS_SIGNING_CERTIFICATE = "rejects_signing_certificate"
    """No signing certificate is trusted."""
    UPLOAD_FAILS = "upload_fails"
    """A log can never be uploaded."""
    UPLOAD_STUCK = "upload_stuck"
    """After Uploading nothing is heard of an upload any more."""
    NO_LOGS = "no_logs"
    """There is no log to be had."""
    NO_SECURITY_EXTENSION = "no_security_extension"
    """1.6: the log of the security extension is not known; only GetDiagnostics is."""
    CLOSES_ON_CERTIFICATE = "closes_on_certificate"
    """CertificateSigned is not answered: the socket closes, and the station returns later, with the certificate."""
    REFUSES_CERTIFICATES = "refuses_certificates"
    """CertificateSigned and InstallCertificate are refused."""
    REFUSES_PASSWORDS = "refuses_passwords"
    """A new password is refused."""
    KEEPS_OLD_PASSWORD = "keeps_old_password"  # noqa: S105
    """A new password is accepted, and the old one used all the same."""
    STAYS_CONNECTED = "stays_connected"
    """A new password is taken without connecting anew."""
    LOSES_PASSWORD_ANSWER = "loses_password_answer"  # noqa: S105
    """A new password is taken; the socket is lost before that is answered."""
    FALLS_BACK = "falls_back"
    """A new security profile is accepted, and the old one used all the same."""


_REFUSING: Final = ("Rejected", "Failed", "UnlockFailed", "Unknown")


@lru_cache(maxsize=512)
def refusal(version: OcppVersion, action: str) -> Struct | None:
    """The answer that refuses a call of the CSMS; None where the action's answer has no status, or none that refuses."""
    response = CATALOGUE[version][action].response
    shape = None if response is None else inspect.type_info(response)
    if response is None or not isinstance(shape, inspect.StructType):
        return None
    for field in shape.fields:
        if field.name == "status" and isinstance(field.type, inspect.EnumType):
            words = {str(member.value): member for member in field.type.cls}
            word = next((words[word] for word in _REFUSING if word in words), None)
            return None if word is None else response(status=word)
    return None


_TRANSACTION_ACTIONS: Final = ("TransactionEvent", "MeterValues", "StopTransaction", "StartTransaction")


def _walk_samples(payload: dict[str, Any]) -> list[list[dict[str, Any]]]:
    values = payload.get("meterValue") or payload.get("transactionData") or []
    return [value["sampledValue"] for value in values]


def _stamp(payload: Any, change: Any) -> None:
    if isinstance(payload, dict):
        for key, value in payload.items():
            if key == "timestamp" and isinstance(value, str):
                payload[key] = change(value)
            else:
                _stamp(value, change)
    elif isinstance(payload, list):
        for item in payload:
            _stamp(item, change)


def _energy_in_kwh(sample: dict[str, Any], *, convert: bool) -> None:
    value = float(sample["value"])
    if convert:
        value = value / 1000 + 5e-17  # what 0.1 + 0.2 looks like when printed
    if isinstance(sample["value"], str):
        sample["value"] = repr(value) if convert else sample["value"]
        sample["unit"] = "kWh"
    else:
        sample["value"] = value
        sample["unitOfMeasure"] = {"unit": "kWh"}


def distorts(faults: frozenset[Fault]) -> bool:
    """Whether any of the faults changes payloads."""
    return not faults.isdisjoint(_PAYLOAD_FAULTS)


_PAYLOAD_FAULTS: Final = frozenset(
    {
        Fault.TRANSACTION_ID_ZERO,
        Fault.BARE_END,
        Fault.BARE_START,
        Fault.KWH_AS_FLOATS,
        Fault.KWH_LABEL_ON_WH,
        Fault.VALUE_AS_NUMBER,
        Fault.NO_MEASURAND,
        Fault.EMPTY_SERIALS,
        Fault.LOCAL_TIME,
        Fault.TIME_1970,
        Fault.NO_TIMESTAMP_IN_STATUS,
    }
)


def distort(faults: frozenset[Fault], action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload as a station with these faults would send it.

    Args:
        payload: a decoded CALL payload; it is changed in place and returned.
    """
    if action in _TRANSACTION_ACTIONS:
        _distort_transaction(faults, action, payload)
        _distort_samples(faults, payload)
    if action == "BootNotification" and Fault.EMPTY_SERIALS in faults:
        where = payload.get("chargingStation", payload)
        names = ("serialNumber", "firmwareVersion", "chargePointSerialNumber", "meterSerialNumber", "iccid")
        where.update({name: "" for name in names if name in where})
    if action == "StatusNotification" and Fault.NO_TIMESTAMP_IN_STATUS in faults:
        payload.pop("timestamp", None)
    if Fault.LOCAL_TIME in faults:
        _stamp(payload, lambda text: text.removesuffix("Z"))
    if Fault.TIME_1970 in faults:
        _stamp(payload, lambda text: "1970-01-01T" + text[11:])
    return payload


def _distort_transaction(faults: frozenset[Fault], action: str, payload: dict[str, Any]) -> None:
    event = payload.get("eventType")
    if Fault.TRANSACTION_ID_ZERO in faults:
        if event in ("Updated", "Ended"):
            payload["transactionInfo"]["transactionId"] = "0"
        elif "transactionId" in payload:
            payload["transactionId"] = 0
    if Fault.BARE_END in faults:
        if event == "Ended":
            for name in ("evse", "idToken", "meterValue"):
                payload.pop(name, None)
        elif action == "StopTransaction":
            for name in ("reason", "idTag", "transactionData"):
                payload.pop(name, None)
    if Fault.BARE_START in faults and event == "Started":
        payload.pop("meterValue", None)
        if "evse" in payload:
            payload["evse"].pop("connectorId", None)


def _distort_samples(faults: frozenset[Fault], payload: dict[str, Any]) -> None:
    for samples in _walk_samples(payload):
        for sample in samples:
            energy = sample.get("measurand", "Energy.Active.Import.Register") == "Energy.Active.Import.Register"
            if energy and Fault.KWH_AS_FLOATS in faults:
                _energy_in_kwh(sample, convert=True)
            if energy and Fault.KWH_LABEL_ON_WH in faults:
                _energy_in_kwh(sample, convert=False)
            if Fault.VALUE_AS_NUMBER in faults and isinstance(sample["value"], str):
                sample["value"] = float(sample["value"])
        if Fault.NO_MEASURAND in faults:
            kept = [s for s in samples if s.get("measurand", "").startswith("Energy")] or samples[:1]
            for sample in kept:
                for name in ("measurand", "unit", "unitOfMeasure", "context", "location", "phase"):
                    sample.pop(name, None)
            samples[:] = kept
