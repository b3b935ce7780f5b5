"""SecurityEventNotification, alike in all versions (OCPP 2.0.1 A04; OCPP 1.6 security whitepaper, 5.15)."""

from __future__ import annotations

from typing import Any

from chargeplane.bridge.narrow import text
from chargeplane.bridge.samples import moment
from chargeplane.domain.security_events import SecurityEventReport, newest_name
from chargeplane.kernel.text import made_storable


def security_event(request: Any) -> SecurityEventReport:
    """What a station reports, with the newest OCPP's name where it has one."""
    word = made_storable(str(request.type or "").strip(), 50) or "Unnamed"
    info = getattr(request, "tech_info", None)
    return SecurityEventReport(
        name=newest_name(word),
        at=moment(request.timestamp),
        info=None if info is None else text(str(info)),
    )
