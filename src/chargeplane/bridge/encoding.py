"""How answers become bytes: constant ones are encoded once, the frequent ones without a struct in between."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chargeplane.domain.messages import BootAnswer, HeartbeatAnswer
from chargeplane.kernel.time import rfc3339

EMPTY: Final = b"{}"
"""The answer without fields."""

encode: Final = msgspec.json.Encoder(decimal_format="number").encode
"""A wire struct as JSON; Decimals as JSON numbers."""


def as_text(value: object) -> str:
    """A wire value as JSON text that can be stored: no U+0000 in its strings."""
    return encode(value).decode().replace("\\u0000", "\\ufffd")


def empty(request: Any, answer: Any) -> bytes:
    """`{}`, whatever was asked."""
    return EMPTY


def heartbeat(request: Any, answer: HeartbeatAnswer) -> bytes:
    """HeartbeatResponse of every version (OCPP 1.6, 6.30; 2.x G02.FR.04)."""
    return b'{"currentTime":"%b"}' % rfc3339(answer.now).encode()


def sign_certificate(request: Any, answer: Any) -> bytes:
    """SignCertificateResponse of every version (OCPP 2.x A02.FR.11, FR.12)."""
    return b'{"status":"Accepted"}' if getattr(answer, "accepted", False) else b'{"status":"Rejected"}'


def boot(request: Any, answer: BootAnswer) -> bytes:
    """BootNotificationResponse of every version (OCPP 1.6, 6.4; 2.x B01.FR.08)."""
    return b'{"currentTime":"%b","interval":%d,"status":"%b"}' % (
        rfc3339(answer.now).encode(),
        answer.interval_s,
        answer.status.value.encode(),
    )
