"""OCPP-J frames: CALL 2, CALLRESULT 3, CALLERROR 4, and from 2.1 CALLRESULTERROR 5 and SEND 6 (OCPP-J 2.1, 4.2).

Decoding leaves the payload as it came (`msgspec.Raw`), so it is parsed once, by the action's own decoder. What is no
frame comes back as `Broken`, with as much as can be read of its head: an answer needs the message id, and a transaction
message whose payload is broken JSON must still be recognised as one.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from chargeplane.kernel.text import storable
from chargeplane.ocpp.problems import DECODE_ERRORS, MAX_DESCRIPTION, Problem
from chargeplane.ocpp.versions import ErrorCode, OcppVersion

MAX_MESSAGE_ID: Final = 128
"""Longest message id we take. The specifications say 36 (OCPP-J 1.6, 4.1.4); some stations send more."""

UNREADABLE_ID: Final = "-1"
"""Message id of a CALLERROR to a frame whose own cannot be read (OCPP-J 2.0.1, 4.2.3). OCPP-J 1.6 is silent; we chose
the same there, for a station is better told than left waiting."""

NULL: Final = b"null"
EMPTY: Final = b"{}"
_ABSENT: Final = Raw(b"")


class Call(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """CALL: a request. An absent action is "", an absent payload empty."""

    message_id: str
    action: str = ""
    payload: Raw = _ABSENT


class CallResult(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """CALLRESULT: the answer to a CALL."""

    message_id: str
    payload: Raw = _ABSENT


class CallError(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """CALLERROR: the refusal of a CALL. Its parts are taken as they are: descriptions of any length over many lines,
    absent details, null."""

    message_id: str
    code: Raw = _ABSENT
    description: Raw = _ABSENT
    details: Raw = _ABSENT


class CallResultError(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """CALLRESULTERROR: the refusal of a CALLRESULT (OCPP-J 2.1, 4.2.3)."""

    message_id: str
    code: Raw = _ABSENT
    description: Raw = _ABSENT
    details: Raw = _ABSENT


class Send(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """SEND: a message that has no answer (OCPP-J 2.1, 4.2.4)."""

    message_id: str
    action: str = ""
    payload: Raw = _ABSENT


class Broken(Struct, frozen=True, gc=False):
    """No frame, or one whose payload is no JSON.

    Args:
        message_type, message_id, action: what could be read of the head; None where it could not.
        payload: what follows the action (or, in an answer, the message id), as received.
    """

    problem: Problem
    message_type: int | None = None
    message_id: str | None = None
    action: str | None = None
    payload: bytes = b""


Frame: TypeAlias = Call | CallResult | CallError | CallResultError | Send

_decode: Final = {
    OcppVersion.V16: msgspec.json.Decoder(Call | CallResult | CallError).decode,
    OcppVersion.V201: msgspec.json.Decoder(Call | CallResult | CallError).decode,
    OcppVersion.V21: msgspec.json.Decoder(Call | CallResult | CallError | CallResultError | Send).decode,
}
_text: Final = msgspec.json.Decoder(str)
_encode_text: Final = msgspec.json.Encoder().encode

# Head of a frame, read where the whole is no JSON: type, then message id, then action, each only after the other.
_HEAD: Final = re.compile(
    rb'\s*\[\s*(-?\d{1,9})(?!\d)\s*(?:,\s*"((?:[^"\\\x00-\x1f]|\\.){0,768})"\s*(?:,\s*(?:"([A-Za-z0-9_.:-]{1,64})"\s*(?:,|\]|$)\s*)?)?)?'
)
_HEAD_BYTES: Final = 1024
_INTEGER_FIRST: Final = re.compile(rb"\s*\[\s*-?\d+\s*[,\]]")
_TEXT_SECOND: Final = re.compile(rb'\s*\[\s*-?\d+\s*,\s*"')
_SURROUNDINGS: Final = b"\x00 \t\r\n"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def decode_frame(data: bytes, version: OcppVersion) -> Frame | Broken:
    """The frame in a WebSocket text message; never raises.

    A byte order mark in front and NULs or blanks around the JSON are forgiven.
    """
    try:
        frame: Frame = _decode[version](data)
        if not data.isascii():
            data.decode()  # the decoder does not look into what it passes over
    except DECODE_ERRORS as error:
        trimmed = data.removeprefix(_BYTE_ORDER_MARK).strip(_SURROUNDINGS)
        if len(trimmed) != len(data):
            return decode_frame(trimmed, version)
        return _broken(data, version, error)
    message_id = frame.message_id
    if len(message_id) > MAX_MESSAGE_ID or not storable(message_id):
        return Broken(
            _rpc(f"The message id is longer than {MAX_MESSAGE_ID} characters or has a NUL in it"), _type_of(frame)
        )
    return frame


def _broken(data: bytes, version: OcppVersion, error: BaseException) -> Broken:
    """What can be read of a message that is no frame, and what is wrong with it."""
    head = _HEAD.match(data[:_HEAD_BYTES])
    kind = int(head[1]) if head else None
    message_id = _unquoted(head[2]) if head and head[2] is not None else None
    action = head[3].decode() if head and head[3] is not None else None
    if not isinstance(error, msgspec.ValidationError):
        rest = data[head.end() :].rstrip() if head else b""
        return Broken(_syntax(error), kind, message_id, action, rest[:-1] if rest.endswith(b"]") else rest)
    if kind is None or message_id is None:
        return Broken(_misshapen(data), kind)
    # JSON, and its head is right: the type is one we do not know, or the action is no text.
    known = (2, 3, 4, 5, 6) if version is OcppVersion.V21 else (2, 3, 4)
    if kind not in known:
        # OCPP-J 2.0.1, 4.4; OCPP-J 1.6, 4.1.3 and OCPP-J 2.1, 4.4 say that the payload is ignored.
        problem = Problem(ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED, f"Message type {kind} is not one of {_listed(known)}")
        return Broken(problem, kind, message_id)
    return Broken(_rpc("The action must be a text and the third element"), kind, message_id)


def _syntax(error: BaseException) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(ErrorCode.FORMAT_VIOLATION, "The JSON is nested too deep")
    if isinstance(error, UnicodeDecodeError):
        return Problem(ErrorCode.FORMAT_VIOLATION, "The message is not valid UTF-8")
    return Problem(ErrorCode.FORMAT_VIOLATION, f"The message is not valid JSON: {error}"[:MAX_DESCRIPTION])


def _misshapen(data: bytes) -> Problem:
    """The problem of valid JSON that does not start with a message type and a message id."""
    start = data[:_HEAD_BYTES]
    if not start.lstrip().startswith(b"["):
        return _rpc("The message is no JSON array")
    if not _INTEGER_FIRST.match(start):
        return _rpc("The first element must be the message type, an integer")
    if not _TEXT_SECOND.match(start):
        return _rpc("The second element must be the message id, a text")
    return _rpc(f"The message id is longer than {MAX_MESSAGE_ID} characters or not readable")


def _rpc(sentence: str) -> Problem:
    return Problem(ErrorCode.RPC_FRAMEWORK_ERROR, sentence)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def _type_of(frame: Frame) -> int:
    return int(frame.__struct_config__.tag or 0)


def _unquoted(raw: bytes) -> str | None:
    try:
        text = _text.decode(b'"%b"' % raw)
    except DECODE_ERRORS:
        return None
    return text if len(text) <= MAX_MESSAGE_ID and storable(text) else None


def text_of(raw: Raw) -> str:
    """A frame element as text: a JSON string's content, "" where absent or null, else the JSON as it stands."""
    data = bytes(raw)
    if data in (b"", NULL):
        return ""
    try:
        return _text.decode(data)
    except DECODE_ERRORS:
        return data.decode("utf-8", "replace")


def encode_call(message_id: str, action: str, payload: bytes) -> bytes:
    """A CALL; the payload goes out as given."""
    return b'[2,%b,"%b",%b]' % (_encode_text(message_id), action.encode(), payload)


def encode_result(message_id: str, payload: bytes) -> bytes:
    """A CALLRESULT; the payload goes out as given."""
    return b"[3,%b,%b]" % (_encode_text(message_id), payload)


def encode_error(message_id: str, code: str, description: str = "", details: bytes = EMPTY) -> bytes:
    """A CALLERROR.

    Args:
        code: in the version's spelling (`ErrorCode.spelled`).
        description: cut to 255 characters.
        details: a JSON object.
    """
    return b"[4,%b,%b,%b,%b]" % (
        _encode_text(message_id),
        _encode_text(code),
        _encode_text(description[:MAX_DESCRIPTION]),
        details,
    )


def encode_result_error(message_id: str, code: str, description: str = "", details: bytes = EMPTY) -> bytes:
    """A CALLRESULTERROR (OCPP-J 2.1, 4.2.3); arguments as in `encode_error`."""
    return b"[5" + encode_error(message_id, code, description, details)[2:]


def encode_send(message_id: str, action: str, payload: bytes) -> bytes:
    """A SEND (OCPP-J 2.1, 4.2.4); the payload goes out as given."""
    return b"[6" + encode_call(message_id, action, payload)[2:]
