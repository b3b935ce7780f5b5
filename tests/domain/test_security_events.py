"""Which security events matter (OCPP 2.0.1 part 2 appendices, 1)."""

from __future__ import annotations

import pytest

from chargeplane.domain.security_events import (
    SPECIFIED,
    EventSeverity,
    EventSource,
    ServerEvent,
    newest_name,
    severity_of,
)


def test_words_of_1_6_become_those_of_the_newest_ocpp() -> None:
    assert newest_name("InvalidChargePointCertificate") == "InvalidChargingStationCertificate"
    assert newest_name("FailedToAuthenticateAtCentralSystem") == "FailedToAuthenticateAtCsms"
    assert newest_name("invalidtlsversion") == "InvalidTLSVersion"
    assert newest_name("VendorSpecific") == "VendorSpecific"


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("TamperDetectionActivated", EventSeverity.CRITICAL),
        ("InvalidFirmwareSignature", EventSeverity.CRITICAL),
        ("MaintenanceLoginFailed", EventSeverity.CRITICAL),
        ("ResetOrReboot", EventSeverity.NOTICE),
        ("FirmwareUpdated", EventSeverity.NOTICE),
        ("ReconfigurationOfSecurityParameters", EventSeverity.INFO),
        ("InvalidMessages", EventSeverity.INFO),
        ("VendorSpecific", EventSeverity.INFO),
    ],
)
def test_severity_follows_the_appendix(name: str, severity: EventSeverity) -> None:
    assert severity_of(EventSource.STATION, name) is severity


def test_every_event_of_ours_has_a_severity_and_none_is_taken_for_a_stations() -> None:
    for event in ServerEvent:
        assert isinstance(severity_of(EventSource.SERVER, event), EventSeverity)
    assert severity_of(EventSource.SERVER, "TamperDetectionActivated") is EventSeverity.INFO
    assert len(SPECIFIED) == 21
