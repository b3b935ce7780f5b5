"""What stations send and answer, made from pre-encoded templates so that the generator costs little."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def iso_now() -> bytes:
    """The time as stations write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6].encode() + b"Z"


def subst(template: str, **names: object) -> str:
    """`{name}` and `{name:format}` replaced; every other brace is left alone (JSON bodies)."""
    out = template
    for key, value in names.items():
        out = out.replace("{" + key + "}", str(value))
        mark = "{" + key + ":"
        while mark in out:
            start = out.index(mark)
            end = out.index("}", start)
            out = out[:start] + format(value, out[start + len(mark) : end]) + out[end + 1 :]
    return out


# --- answers to calls from the CSMS ------------------------------------------------------------------------------

_ACCEPTED = {"status": "Accepted"}
_REPLIES_16: dict[str, dict[str, Any]] = {
    "GetConfiguration": {"configurationKey": [], "unknownKey": []},
    "GetLocalListVersion": {"listVersion": 0},
    "UnlockConnector": {"status": "Unlocked"},
    "GetDiagnostics": {},
    "UpdateFirmware": {},
    "GetCompositeSchedule": {"status": "Rejected"},
}
_REPLIES_2X: dict[str, dict[str, Any]] = {
    "GetLocalListVersion": {"versionNumber": 0},
    "UnlockConnector": {"status": "Unlocked"},
    "GetTransactionStatus": {"messagesInQueue": False},
    "GetInstalledCertificateIds": {"status": "NotFound"},
    "CostUpdated": {},
    "GetCompositeSchedule": {"status": "Rejected"},
    "SetVariableMonitoring": {"setMonitoringResult": []},
    "ClearVariableMonitoring": {"clearMonitoringResult": []},
}


def reply_to(v16: bool, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The answer of a station that agrees to everything."""
    if v16:
        return _REPLIES_16.get(action, _ACCEPTED)
    if action == "GetVariables":
        given = payload["getVariableData"]
        value = {"attributeStatus": "Accepted", "attributeValue": "1"}
        return {"getVariableResult": [value | {k: g[k] for k in ("component", "variable")} for g in given]}
    if action == "SetVariables":
        given = payload["setVariableData"]
        value = {"attributeStatus": "Accepted"}
        return {"setVariableResult": [value | {k: g[k] for k in ("component", "variable")} for g in given]}
    return _REPLIES_2X.get(action, _ACCEPTED)


# --- calls of stations -------------------------------------------------------------------------------------------

_BOOT_16 = (
    b'{"chargePointVendor":"LoadVendor","chargePointModel":"LoadModel",'
    b'"chargePointSerialNumber":"SN-%b","firmwareVersion":"1.0.0"}'
)
_BOOT_2X = (
    b'{"reason":"PowerUp","chargingStation":{"model":"LoadModel","vendorName":"LoadVendor",'
    b'"serialNumber":"SN-%b","firmwareVersion":"1.0.0"}}'
)
_STATUS_16 = (b"Available", b"Preparing", b"Charging", b"SuspendedEV", b"Charging", b"Finishing")
_STATUS_2X = (b"Available", b"Occupied")


def boot(v16: bool, station_id: str) -> bytes:
    """BootNotification."""
    return (_BOOT_16 if v16 else _BOOT_2X) % station_id.encode()[-20:]


def status(v16: bool, turn: int, connector: int = 1) -> bytes:
    """StatusNotification; another status each turn."""
    if v16:
        return b'{"connectorId":%d,"errorCode":"NoError","status":"%b","timestamp":"%b"}' % (
            connector,
            _STATUS_16[turn % len(_STATUS_16)],
            iso_now(),
        )
    return b'{"timestamp":"%b","connectorStatus":"%b","evseId":1,"connectorId":%d}' % (
        iso_now(),
        _STATUS_2X[turn % 2],
        connector,
    )


_SIX_16 = (
    b'{"value":"%d","context":"Sample.Periodic","format":"Raw","measurand":"Energy.Active.Import.Register",'
    b'"location":"Outlet","unit":"Wh"},'
    b'{"value":"11040.0","context":"Sample.Periodic","measurand":"Power.Active.Import","unit":"W"},'
    b'{"value":"16.0","context":"Sample.Periodic","measurand":"Current.Import","phase":"L1","unit":"A"},'
    b'{"value":"16.1","context":"Sample.Periodic","measurand":"Current.Import","phase":"L2","unit":"A"},'
    b'{"value":"230.2","context":"Sample.Periodic","measurand":"Voltage","phase":"L1-N","unit":"V"},'
    b'{"value":"57","context":"Sample.Periodic","measurand":"SoC","location":"EV","unit":"Percent"}'
)
_SIX_2X = (
    b'{"value":%d,"context":"Sample.Periodic","measurand":"Energy.Active.Import.Register",'
    b'"location":"Outlet","unitOfMeasure":{"unit":"Wh"}},'
    b'{"value":11040.0,"context":"Sample.Periodic","measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W"}},'
    b'{"value":16.0,"context":"Sample.Periodic","measurand":"Current.Import","phase":"L1","unitOfMeasure":{"unit":"A"}},'
    b'{"value":16.1,"context":"Sample.Periodic","measurand":"Current.Import","phase":"L2","unitOfMeasure":{"unit":"A"}},'
    b'{"value":230.2,"context":"Sample.Periodic","measurand":"Voltage","phase":"L1-N","unitOfMeasure":{"unit":"V"}},'
    b'{"value":57,"context":"Sample.Periodic","measurand":"SoC","location":"EV","unitOfMeasure":{"unit":"Percent"}}'
)


def meter_16(connector: int, wh: int, transaction: int | None = None) -> bytes:
    """1.6 MeterValues with 6 sampled values."""
    within = b'"transactionId":%d,' % transaction if transaction is not None else b""
    return b'{"connectorId":%d,%b"meterValue":[{"timestamp":"%b","sampledValue":[%b]}]}' % (
        connector,
        within,
        iso_now(),
        _SIX_16 % wh,
    )


def meter_2x(wh: int) -> bytes:
    """2.x MeterValues with 6 sampled values."""
    return b'{"evseId":1,"meterValue":[{"timestamp":"%b","sampledValue":[%b]}]}' % (iso_now(), _SIX_2X % wh)


def start_16(tag: bytes, wh: int) -> bytes:
    """1.6 StartTransaction."""
    return b'{"connectorId":1,"idTag":"%b","meterStart":%d,"timestamp":"%b"}' % (tag, wh, iso_now())


def stop_16(transaction: int, tag: bytes, wh: int) -> bytes:
    """1.6 StopTransaction."""
    return b'{"transactionId":%d,"idTag":"%b","meterStop":%d,"timestamp":"%b","reason":"Local"}' % (
        transaction,
        tag,
        wh,
        iso_now(),
    )


_CONTEXTS = {b"Started": b"Transaction.Begin", b"Ended": b"Transaction.End"}


def event_2x(
    kind: bytes,
    trigger: bytes,
    transaction: bytes,
    seq_no: int,
    state: bytes,
    wh: int,
    *,
    id_token: bytes = b"",
    stopped: bytes = b"",
    six: bool = False,
) -> bytes:
    """2.x TransactionEvent.

    Args:
        id_token: the whole JSON object, or nothing.
        six: six sampled values instead of the register alone.
    """
    samples = (
        _SIX_2X % wh
        if six
        else b'{"value":%d,"context":"%b","measurand":"Energy.Active.Import.Register","unitOfMeasure":{"unit":"Wh"}}'
        % (wh, _CONTEXTS.get(kind, b"Sample.Periodic"))
    )
    return (
        b'{"eventType":"%b","timestamp":"%b","triggerReason":"%b","seqNo":%d,'
        b'"transactionInfo":{"transactionId":"%b","chargingState":"%b"%b},%b'
        b'"evse":{"id":1,"connectorId":1},'
        b'"meterValue":[{"timestamp":"%b","sampledValue":[%b]}]}'
        % (
            kind,
            iso_now(),
            trigger,
            seq_no,
            transaction,
            state,
            b',"stoppedReason":"%b"' % stopped if stopped else b"",
            b'"idToken":%b,' % id_token if id_token else b"",
            iso_now(),
            samples,
        )
    )
