"""Text that is nearly JSON, made JSON: one pass over the bytes, no recursion, no memory beyond a copy.

What stations send: `"transactionId":,`, a comma before the closing bracket, NaN, raw line feeds in an error text,
Latin-1 in a vendor name, a byte order mark, NUL bytes after the frame, numbers such as `.5` or `007`. A text that
holds none of these is left alone; whether the result is JSON the decoder says.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from msgspec import Struct

from chargeplane.bridge.repairs.rules import Rule

MAX_BYTES: Final = 64 * 1024
"""Longer texts are not mended."""

MAX_TOKENS: Final = 20_000
"""Strings, numbers, words and odd characters looked at in one text: 30 KB of report have about 3,000."""


class _GaveUpError(Exception):
    """The text has more tokens than any frame of a station."""


class Mended(Struct, frozen=True):
    """A text after repair.

    Args:
        text: JSON as far as the repairs go.
        names: rules that fired, each once.
    """

    text: bytes
    names: tuple[Rule, ...]


# One token at a time, so that nothing inside a string is touched. The possessive quantifiers and the `\Z` of an
# unclosed string keep the scan linear on any input.
_TOKEN: Final = re.compile(
    rb"""
      (?P<string>"(?:[^"\\]|\\.)*+(?:"|\Z))
    | (?P<hole>:[ \t\r\n]*+(?=[,}\]]))
    | (?P<comma>,(?:[ \t\r\n]*+,)*+[ \t\r\n]*+(?=[}\]]))
    | (?P<commas>,(?:[ \t\r\n]*+,)++)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*+)
    | (?P<number>[+\-]?+[0-9.][0-9.eE+\-]*+|[+\-][A-Za-z]++)
    """,
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+\-]?+[0-9]++)?+")
_PARTS: Final = re.compile(rb"([+\-]?)0*([0-9]*)(?:\.([0-9]*))?([eE][+\-]?[0-9]+)?")
_WORDS: Final = {b"true": b"true", b"false": b"false", b"null": b"null"}
_OTHER_WORDS: Final = _WORDS | {b"none": b"null", b"undefined": b"null"}
_IN_STRING: Final = re.compile(
    rb"[\x00-\x1f]|\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL
)
_SUSPECT: Final = re.compile(rb"[\x00-\x1f\\]")
_GOOD_ESCAPES: Final = frozenset(b'"\\/bfnrt')
_REPLACEMENT: Final = b"\\ufffd"


def mend(raw: bytes) -> Mended | None:
    """The text with the known faults of JSON writers repaired.

    Args:
        raw: a frame or payload that did not parse. The work is linear in its length.
    Returns:
        None where no rule applied, or the text is past `MAX_BYTES` or `MAX_TOKENS`.
    """
    if len(raw) > MAX_BYTES:
        return None
    names: dict[Rule, None] = {}
    tokens = itertools.count()
    text = raw.removeprefix(b"\xef\xbb\xbf").strip(b"\x00 \t\r\n")
    if len(text) != len(raw.strip(b" \t\r\n")):
        names[Rule.JSON_PADDING] = None
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode("utf-8", "replace").encode()
        names[Rule.TEXT_ENCODING] = None

    def token(match: re.Match[bytes]) -> bytes:
        if next(tokens) > MAX_TOKENS:
            raise _GaveUpError
        kind = match.lastgroup
        found = match.group()
        if kind == "string":
            return _IN_STRING.sub(character, found) if _SUSPECT.search(found) else found
        if kind == "hole":
            names[Rule.JSON_VALUE_MISSING] = None
            return b":null"
        if kind == "comma":
            names[Rule.JSON_EXTRA_COMMA] = None
            return b""
        if kind == "commas":
            names[Rule.JSON_EXTRA_COMMA] = None
            return b","
        if kind == "word":
            if found in _WORDS:
                return found
            known = _OTHER_WORDS.get(found.lower())
            if known is not None:
                names[Rule.JSON_NUMBER_FORM] = None
                return known
            if found.lower() in (b"nan", b"inf", b"infinity"):
                names[Rule.JSON_NOT_A_NUMBER] = None
                return b"null"
            return found
        if _NUMBER.fullmatch(found):
            return found
        if found[1:].lower() in (b"nan", b"inf", b"infinity"):
            names[Rule.JSON_NOT_A_NUMBER] = None
            return b"null"
        parts = _PARTS.fullmatch(found)
        if parts is None or not (parts[2] or parts[3] or b"0" in found):
            return found
        names[Rule.JSON_NUMBER_FORM] = None
        sign = b"-" if parts[1] == b"-" else b""
        return sign + (parts[2] or b"0") + (b"." + parts[3] if parts[3] else b"") + (parts[4] or b"")

    def character(match: re.Match[bytes]) -> bytes:
        if next(tokens) > MAX_TOKENS:
            raise _GaveUpError
        found = match.group()
        if found[0] < 0x20:
            names[Rule.JSON_CONTROL_CHARACTER] = None
            return b"\\u%04x" % found[0]
        if len(found) == 2:
            if found[1] in _GOOD_ESCAPES:
                return found
            names[Rule.JSON_ESCAPE] = None
            # \' and the like mean the character; a broken \u or \x means something we do not have
            return _REPLACEMENT if found[1] in b"ux" else found[1:] if found[1] >= 0x20 else b" "
        if len(found) == 6 and found[2:4].lower() in (b"d8", b"d9", b"da", b"db", b"dc", b"dd", b"de", b"df"):
            names[Rule.JSON_ESCAPE] = None  # half a surrogate pair
            return _REPLACEMENT
        return found

    try:
        text = _TOKEN.sub(token, text)
    except _GaveUpError:
        return None
    return Mended(text, tuple(names)) if names else None
