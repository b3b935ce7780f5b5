"""Plug & Charge: contracts of drivers, the certificates that stand for them, and what stations ask about them.

OCPP 2.0.1 and 2.1 C07 and block M; ISO 15118-2 and -20.
"""

from __future__ import annotations

import enum
import re
from datetime import datetime

from msgspec import Struct

from chargeplane.domain.messages import AuthorizationStatus

_SEPARATORS = re.compile(r"[-*\s]")
_EMAID = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[A-Z0-9]{8,9}(?:[A-Z0-9])?")


def emaid(text: str) -> str:
    """An e-mobility account id in one spelling: upper case without separators (ISO 15118-2, annex H: they carry no meaning)."""
    return _SEPARATORS.sub("", text).upper()


def is_emaid(text: str) -> bool:
    """Whether it has the form of one: country, provider, eight or nine characters, perhaps a check digit."""
    return _EMAID.fullmatch(emaid(text)) is not None


class HashData(Struct, frozen=True, kw_only=True):
    """What names a certificate to an OCSP responder (OCPP OCSPRequestDataType).

    Args:
        algorithm: SHA256, SHA384 or SHA512.
        issuer_name_hash, issuer_key_hash, serial_number: hexadecimal.
    """

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str


class OcspAsk(Struct, frozen=True, kw_only=True):
    """A certificate, and who knows about it."""

    certificate: HashData
    responder_url: str


class ContractCheck(Struct, frozen=True, kw_only=True):
    """The certificate a driver's car presented: the chain itself, or what names its certificates (C07.FR.02, FR.06).

    Args:
        emaid: as the station sent it.
        chain: PEM, the contract's certificate first; None where the station validated it itself.
        hashes: one for each certificate of the chain.
    """

    emaid: str
    chain: str | None = None
    hashes: tuple[OcspAsk, ...] = ()


class CertificateVerdict(enum.StrEnum):
    """OCPP AuthorizeCertificateStatusEnum."""

    ACCEPTED = "Accepted"
    SIGNATURE_ERROR = "SignatureError"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_REVOKED = "CertificateRevoked"
    NO_CERTIFICATE_AVAILABLE = "NoCertificateAvailable"
    CERT_CHAIN_ERROR = "CertChainError"
    CONTRACT_CANCELLED = "ContractCancelled"


class ContractVerdict(Struct, frozen=True, kw_only=True):
    """What was found about a certificate.

    Args:
        reason: a sentence for the operator where it was not accepted.
    """

    status: CertificateVerdict
    reason: str | None = None


_CANCELLED = frozenset(
    {
        AuthorizationStatus.BLOCKED,
        AuthorizationStatus.EXPIRED,
        AuthorizationStatus.INVALID,
        AuthorizationStatus.UNKNOWN,
    }
)


def with_token(
    verdict: CertificateVerdict, token: AuthorizationStatus
) -> tuple[CertificateVerdict, AuthorizationStatus]:
    """What the station is told about the certificate and about the token (C07.FR.13 to FR.17).

    Args:
        token: the status of the eMAID by itself.
    """
    if verdict is CertificateVerdict.ACCEPTED:
        return (CertificateVerdict.CONTRACT_CANCELLED if token in _CANCELLED else verdict), token
    if verdict is CertificateVerdict.CERTIFICATE_EXPIRED:
        return verdict, AuthorizationStatus.EXPIRED
    return verdict, AuthorizationStatus.INVALID


class EvCertificateAsk(Struct, frozen=True, kw_only=True):
    """A car asks for its contract's certificate by way of the station (M01, M02).

    Args:
        schema: of the message, such as `urn:iso:15118:2:2013:MsgDef`.
        update: an existing one is to be renewed.
        exi_request: Base64, as the car sent it; whoever makes the certificate reads it.
        maximum_chains, prioritized_emaids: for ISO 15118-20 (2.1).
    """

    schema: str
    update: bool
    exi_request: str
    maximum_chains: int | None = None
    prioritized_emaids: tuple[str, ...] = ()


class EvCertificate(Struct, frozen=True, kw_only=True):
    """What goes back to the car.

    Args:
        exi_response: Base64.
        remaining: contracts that did not fit and may be asked for next (2.1).
    """

    exi_response: str
    remaining: int | None = None


class CertificateStatusAsk(Struct, frozen=True, kw_only=True):
    """GetCertificateStatus: a station needs an OCSP answer for its own V2G certificate (M06)."""

    ask: OcspAsk


class CertificateStatus(Struct, frozen=True, kw_only=True):
    """The OCSP answer, DER as Base64."""

    ocsp_result: str


class RevocationSource(enum.StrEnum):
    """OCPP 2.1 CertificateStatusSourceEnum."""

    OCSP = "OCSP"
    CRL = "CRL"


class RevocationState(enum.StrEnum):
    """OCPP 2.1 CertificateStatusEnum."""

    GOOD = "Good"
    REVOKED = "Revoked"
    UNKNOWN = "Unknown"
    FAILED = "Failed"


class ChainStatusItem(Struct, frozen=True, kw_only=True):
    """One certificate of a car's chain, and where to look (M07)."""

    certificate: HashData
    source: RevocationSource
    urls: tuple[str, ...]


class ChainStatusAsk(Struct, frozen=True, kw_only=True):
    """GetCertificateChainStatus."""

    items: tuple[ChainStatusItem, ...]


class ChainStatusFound(Struct, frozen=True, kw_only=True):
    """What was found about one certificate."""

    state: RevocationState
    next_update: datetime


class ChainStatus(Struct, frozen=True, kw_only=True):
    """In the order they were asked about."""

    found: tuple[ChainStatusFound, ...]
