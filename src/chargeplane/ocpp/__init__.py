"""OCPP-J on the wire for 1.6, 2.0.1 and 2.1: no socket, no clock, no await. A library in its own right.

`Connection` turns bytes into events and answers into bytes; `CATALOGUE` lists the actions of each version with their
types; `v16`, `v201` and `v21` have those types under the specifications' names. See docs/ocpp-library.md.
"""

from __future__ import annotations

from chargeplane.ocpp.catalogue import (
    CATALOGUE,
    ActionSpec,
    PayloadError,
    decode_request,
    decode_response,
    encode,
)
from chargeplane.ocpp.connection import Connection, Repair, Role
from chargeplane.ocpp.events import (
    CallDisconnected,
    CallReceived,
    CallRepeated,
    CallTimedOut,
    CallUndecodable,
    ErrorReceived,
    Event,
    FrameRefused,
    LateOrForeignAnswer,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
    Severity,
)
from chargeplane.ocpp.problems import Problem
from chargeplane.ocpp.strict import validate_payload
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.ocpp.versions import ErrorCode, OcppVersion

__all__ = [
    "CATALOGUE",
    "ActionSpec",
    "CallDisconnected",
    "CallReceived",
    "CallRepeated",
    "CallTimedOut",
    "CallUndecodable",
    "Connection",
    "ErrorCode",
    "ErrorReceived",
    "Event",
    "FrameRefused",
    "LateOrForeignAnswer",
    "OcppVersion",
    "PayloadError",
    "Problem",
    "Repair",
    "ResultErrorReceived",
    "ResultReceived",
    "Role",
    "SendReceived",
    "Severity",
    "decode_request",
    "decode_response",
    "encode",
    "parse_timestamp",
    "validate_payload",
]
