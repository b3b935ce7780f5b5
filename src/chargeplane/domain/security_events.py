"""Security events: what stations report of themselves, and what this server sees at its own door (OCPP 2.0.1 A04).

Names are those of the newest OCPP. Stations may send others; these are kept as they are and are not critical.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct


class EventSource(enum.StrEnum):
    """Who saw it."""

    STATION = "station"
    SERVER = "server"


class EventSeverity(enum.StrEnum):
    """How much it matters.

    `critical` and `notice` are what the specification calls critical; a notice is one of those that also happen in good
    order, as a restart does. `info` is everything else.
    """

    INFO = "info"
    NOTICE = "notice"
    CRITICAL = "critical"


class ServerEvent(enum.StrEnum):
    """What this server sees."""

    FAILED_PASSWORD = "FailedPassword"  # noqa: S105
    UNKNOWN_STATION = "UnknownStation"
    KEY_CODES_GUESSED = "KeyCodesGuessed"
    SECOND_CONNECTION = "SecondConnection"
    INVALID_CERTIFICATE = "InvalidChargingStationCertificate"
    WRONG_SECURITY_PROFILE = "WrongSecurityProfile"
    CERTIFICATE_EXPIRES = "CertificateExpires"
    CERTIFICATE_NOT_MADE = "CertificateNotMade"
    CREDENTIALS_CHANGED = "CredentialsChanged"
    CREDENTIALS_NOT_CHANGED = "CredentialsNotChanged"


class SecurityEventReport(Struct, frozen=True, kw_only=True, tag="security_event"):
    """A station reports a security event.

    Args:
        name: the newest OCPP's name, or the station's own word, at most 50 characters.
        at: the station's time; None where it sent none that can be read.
        info: what it says about it.
    """

    name: str
    at: datetime | None = None
    info: str | None = None


_NEWEST: Final[Mapping[str, str]] = {
    "FailedToAuthenticateAtCentralSystem": "FailedToAuthenticateAtCsms",
    "FailedToAuthenticationAtCentralSystem": "FailedToAuthenticateAtCsms",
    "CentralSystemFailedToAuthenticate": "CsmsFailedToAuthenticate",
    "CentralSystemFailedToAuthentication": "CsmsFailedToAuthenticate",
    "InvalidCentralSystemCertificate": "InvalidCsmsCertificate",
    "InvalidChargePointCertificate": "InvalidChargingStationCertificate",
}
"""Words of OCPP 1.6 (security whitepaper, chapter 8) as the newest OCPP has them."""

_NOTICE: Final = frozenset(
    {
        "FirmwareUpdated",
        "SettingSystemTime",
        "StartupOfTheDevice",
        "ResetOrReboot",
        "MaintenanceLoginAccepted",
    }
)
_CRITICAL: Final = frozenset(
    {
        "SecurityLogWasCleared",
        "MemoryExhaustion",
        "TamperDetectionActivated",
        "InvalidFirmwareSignature",
        "InvalidFirmwareSigningCertificate",
        "InvalidCsmsCertificate",
        "InvalidChargingStationCertificate",
        "DiscardedRenewedClientCertificate",
        "InvalidTLSVersion",
        "InvalidTLSCipherSuite",
        "MaintenanceLoginFailed",
    }
)
_UNCRITICAL: Final = frozenset(
    {
        "FailedToAuthenticateAtCsms",
        "CsmsFailedToAuthenticate",
        "ReconfigurationOfSecurityParameters",
        "InvalidMessages",
        "AttemptedReplayAttacks",
    }
)

SPECIFIED: Final = _NOTICE | _CRITICAL | _UNCRITICAL
"""Every event of the appendix, OCPP 2.0.1 part 2, 1."""

_OWN: Final[Mapping[ServerEvent, EventSeverity]] = {
    ServerEvent.FAILED_PASSWORD: EventSeverity.NOTICE,
    ServerEvent.UNKNOWN_STATION: EventSeverity.INFO,
    ServerEvent.KEY_CODES_GUESSED: EventSeverity.NOTICE,
    ServerEvent.SECOND_CONNECTION: EventSeverity.NOTICE,
    ServerEvent.INVALID_CERTIFICATE: EventSeverity.CRITICAL,
    ServerEvent.WRONG_SECURITY_PROFILE: EventSeverity.CRITICAL,
    ServerEvent.CERTIFICATE_EXPIRES: EventSeverity.CRITICAL,
    ServerEvent.CERTIFICATE_NOT_MADE: EventSeverity.CRITICAL,
    ServerEvent.CREDENTIALS_CHANGED: EventSeverity.INFO,
    ServerEvent.CREDENTIALS_NOT_CHANGED: EventSeverity.CRITICAL,
}

_SPELLED: Final = {name.casefold(): name for name in SPECIFIED} | {old.casefold(): new for old, new in _NEWEST.items()}


def newest_name(word: str) -> str:
    """The newest OCPP's name of an event; a word that is not among them as it is."""
    return _SPELLED.get(word.casefold(), word)


def severity_of(source: EventSource, name: str) -> EventSeverity:
    """How much an event matters (OCPP 2.0.1 part 2 appendices, 1).

    Args:
        name: as `newest_name` gives it.
    """
    if source is EventSource.SERVER:
        return _OWN.get(ServerEvent(name), EventSeverity.INFO) if name in set(ServerEvent) else EventSeverity.INFO
    if name in _CRITICAL:
        return EventSeverity.CRITICAL
    return EventSeverity.NOTICE if name in _NOTICE else EventSeverity.INFO
