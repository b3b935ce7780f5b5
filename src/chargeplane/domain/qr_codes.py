"""The changing code in the address that a station shows for paying on the web (OCPP 2.1 C25, TOTP version 1)."""

from __future__ import annotations

import hmac
from datetime import datetime
from hashlib import sha256
from typing import Final

_BASE62: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def one_time_code(secret: str, at: datetime, validity_s: int, length: int) -> str:
    """The code a station shows at a moment.

    Args:
        secret: WebPaymentsCtrlr SharedSecret.
        at: aware.
        validity_s: WebPaymentsCtrlr ValidityTime.
        length: WebPaymentsCtrlr Length.
    """
    interval = int(at.timestamp()) // validity_s
    digest = hmac.digest(secret.encode(), interval.to_bytes(8, "big"), sha256)
    offset = digest[-1] & 0x0F
    return "".join(_BASE62[digest[(offset + place) % len(digest)] % len(_BASE62)] for place in range(length))


def is_current(code: str, secret: str, at: datetime, validity_s: int) -> bool:
    """Whether a code is the one shown now, or just before: scanning and typing take time, clocks differ."""
    moments = (at.timestamp() + shift * validity_s for shift in (-1, 0, 1))
    expected = [one_time_code(secret, datetime.fromtimestamp(m, at.tzinfo), validity_s, len(code)) for m in moments]
    return bool(code) and any(hmac.compare_digest(code.encode(), one.encode()) for one in expected)
