"""What is wrong with a payload, in OCPP's error codes and in one sentence that names the field.

msgspec says it in text only; this is the one place that reads that text.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.kernel.text import made_storable
from chargeplane.ocpp.versions import ErrorCode, OcppVersion

MAX_DESCRIPTION: Final = 255
"""Longest errorDescription (OCPP-J 2.0.1, 4.2.3, string[255])."""

DECODE_ERRORS: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""Everything that decoding bytes from outside may raise.

ValueError has UnicodeDecodeError in it; RecursionError comes from deep JSON.
"""


class Problem(Struct, frozen=True):
    """Why a payload or frame cannot be taken.

    Args:
        code: for the CALLERROR.
        description: one line, at most 255 characters, that names the field.
        pointer: JSON pointer to the field inside the payload (RFC 6901); empty for the whole.
    """

    code: ErrorCode
    description: str
    pointer: str = ""


# In the order they are tried: the start of msgspec's sentence, and what it means.
_MEANINGS: Final = (
    (re.compile(r"Object missing required field"), ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION),
    (re.compile(r"Object contains unknown field"), ErrorCode.FORMAT_VIOLATION),
    (re.compile(r"Expected `array` of length|Expected `object` of length"), ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION),
    (
        re.compile(r"Expected `str` of length|Expected `\w+` [<>]=? |Expected `str` matching"),
        ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    ),
    (re.compile(r"Expected `decimal` between|Expected a multiple"), ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
    (
        re.compile(r"Invalid enum value|Number out of range|Integer value out of range"),
        ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
    ),
    (re.compile(r"Expected |Invalid "), ErrorCode.TYPE_CONSTRAINT_VIOLATION),
)
_PATH: Final = re.compile(r" - at `(?:key in )?\$?([^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_FIELD: Final = re.compile(r"(?:required field|unknown field|in) `([^`]*)`$")


def explain(error: BaseException, version: OcppVersion) -> Problem:
    """The problem behind an exception that decoding raised.

    Args:
        error: one of DECODE_ERRORS.
        version: OCPP 1.6 calls an incomplete payload ProtocolError, 2.x OccurrenceConstraintViolation.
    """
    if isinstance(error, RecursionError):
        return Problem(ErrorCode.FORMAT_VIOLATION, "The JSON is nested too deep")
    if isinstance(error, UnicodeDecodeError):
        return Problem(ErrorCode.FORMAT_VIOLATION, f"Not valid UTF-8 at byte {error.start} of a string")
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        # "JSON is malformed: invalid character (byte 16)", "Input data was truncated"
        return Problem(
            ErrorCode.FORMAT_VIOLATION, _cut(text if text.startswith("JSON") else f"JSON is malformed: {text}")
        )
    path = _PATH.search(text)
    sentence = text[: path.start()] if path else text
    pointer = _pointer(path[1]) if path else ""
    code = next((code for pattern, code in _MEANINGS if pattern.match(sentence)), ErrorCode.FORMAT_VIOLATION)
    if not pointer and sentence.startswith("Expected `object`, got"):
        # The payload itself is no object: not the structure every payload has.
        return Problem(
            ErrorCode.FORMAT_VIOLATION if version is OcppVersion.V16 else ErrorCode.PROTOCOL_ERROR,
            _cut(f"The payload is no JSON object: {sentence}"),
        )
    if version is OcppVersion.V16 and sentence.startswith("Object missing required field"):
        code = ErrorCode.PROTOCOL_ERROR
    field = _FIELD.search(sentence)
    if field:
        pointer += "/" + _escaped(field[1])
    return Problem(code, _cut(f"{pointer or '/'}: {sentence}"), pointer)


def _pointer(path: str) -> str:
    """`.meterValue[0].value` -> `/meterValue/0/value`."""
    return "".join("/" + _escaped(name or index) for name, index in _STEP.findall(path))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _cut(text: str) -> str:
    return made_storable(" ".join(text.split()), MAX_DESCRIPTION)
