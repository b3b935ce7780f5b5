"""One-time codes by the clock (RFC 6238, on RFC 4226): six digits, thirty seconds, SHA-1, as authenticator apps have them."""

from __future__ import annotations

import base64
import hmac
import struct
from datetime import datetime
from typing import Final
from urllib.parse import quote

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20  # RFC 4226, 4 R6
_AROUND: Final = 1


def code_at(secret: bytes, step: int) -> str:
    """The code of a step.

    Args:
        step: periods of 30 s since 1970.
    Source: RFC 4226, 5.3.
    """
    digest = hmac.digest(secret, struct.pack(">Q", step), "sha1")
    start = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_at(now: datetime) -> int:
    """The step that a moment is in."""
    return int(now.timestamp()) // STEP_S


def matching_step(secret: bytes, code: str, now: datetime, used: int) -> int | None:
    """The step whose code was given; None where there is none within one step of now, or it was used.

    Args:
        used: the newest step that was used: a code counts once (RFC 6238, 5.2).
    """
    given = "".join(code.split())
    if len(given) != DIGITS or not (given.isascii() and given.isdecimal()):
        return None
    found = None
    for step in range(step_at(now) - _AROUND, step_at(now) + _AROUND + 1):
        if hmac.compare_digest(code_at(secret, step), given) and step > used:
            found = step
    return found


def text_of(secret: bytes) -> str:
    """The secret as people type it: base32."""
    return base64.b32encode(secret).decode()


def address_of(secret: bytes, issuer: str, account: str) -> str:
    """The address that an authenticator app reads from a QR code (Key URI Format)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return (
        f"otpauth://totp/{label}?secret={text_of(secret)}&issuer={quote(issuer, safe='')}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )
