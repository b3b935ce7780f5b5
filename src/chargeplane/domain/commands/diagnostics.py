"""Diagnostics: logs that stations upload, and what they know of a customer (OCPP 2.x N01, N09, N10)."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.commands.firmware import IntervalS, RequestId, Retries, Url
from chargeplane.domain.messages import IdToken


class LogKind(enum.StrEnum):
    """Which log."""

    DIAGNOSTICS = "diagnostics"
    SECURITY = "security"
    DATA_COLLECTOR = "data_collector"


class GetLog(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_log"):
    """Upload a log (OCPP 2.0.1 N01; 1.6 security whitepaper N01). The reply is a `LogAnswer`.

    Args:
        location: a URL the station uploads the file to.
        kind: the data collector's log exists since OCPP 2.1.
        oldest_at, latest_at: the time the log is to cover.
        retries: how often the station tries again.
        retry_interval_s: between two tries.
        request_id: given by the server where it is left out.
    """

    location: Url
    kind: LogKind = LogKind.DIAGNOSTICS
    oldest_at: datetime | None = None
    latest_at: datetime | None = None
    retries: Retries | None = None
    retry_interval_s: IntervalS | None = None
    request_id: RequestId | None = None


class GetDiagnostics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_diagnostics"):
    """Upload the diagnostics, in the way that every station of its version knows: GetDiagnostics in OCPP 1.6 (5.9), GetLog in 2.x.
    The reply is a `LogAnswer`.

    Args:
        location: a URL the station uploads the file to.
        oldest_at, latest_at: the time the diagnostics are to cover.
        retries: how often the station tries again.
        retry_interval_s: between two tries.
        request_id: given by the server where it is left out; OCPP 1.6 has none on the wire.
    """

    location: Url
    oldest_at: datetime | None = None
    latest_at: datetime | None = None
    retries: Retries | None = None
    retry_interval_s: IntervalS | None = None
    request_id: RequestId | None = None


class LogAnswer(Struct, frozen=True, kw_only=True):
    """What a station says when it is asked for a log.

    Args:
        filename: the name it will give the file.
    """

    filename: str | None = None


Hash = Annotated[str, Meta(min_length=1, max_length=128)]


class CustomerCertificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer's contract certificate, by its hashes (OCPP 2.0.1 CertificateHashDataType).

    Args:
        hash_algorithm: the one it was installed with (N09.FR.08).
    """

    hash_algorithm: Annotated[str, Meta(pattern="^SHA(256|384|512)$")]
    issuer_name_hash: Hash
    issuer_key_hash: Hash
    serial_number: Annotated[str, Meta(min_length=1, max_length=40)]


class CustomerInformation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="customer_information"):
    """Report or forget what the station knows of one customer (OCPP 2.0.1 N09, N10). Exactly one of token, certificate and
    identifier names the customer.

    Args:
        report: the station sends what it knows.
        clear: it forgets it, but for what is in its local list (N10.FR.02).
        request_id: given by the server where it is left out.
    """

    report: bool = True
    clear: bool = False
    id_token: IdToken | None = None
    certificate: CustomerCertificate | None = None
    identifier: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    request_id: RequestId | None = None
