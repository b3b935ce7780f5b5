"""Checks of a contract's certificate: the chain, the times, the name, and revocation (OCPP 2.0.1 C07.FR.05, FR.13 to FR.17)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from chargeplane.app.revocation import Found, RevocationChecks, hash_data
from chargeplane.domain.contracts import (
    CertificateVerdict,
    ContractCheck,
    ContractVerdict,
    OcspAsk,
    RevocationState,
    emaid,
)

_DEEPEST: Final = 5
log = structlog.get_logger(__name__)


class _RefusedError(Exception):
    def __init__(self, status: CertificateVerdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = ContractVerdict(status=status, reason=reason)


async def check_contract(
    asks: ContractCheck,
    known: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    revocation: RevocationChecks,
    *,
    unreachable_is_good: bool,
) -> ContractVerdict:
    """What is to be thought of the certificate behind an eMAID.

    Args:
        known: certificates among which issuers may be found, anchors included.
        anchors: roots that contracts may lead to.
        unreachable_is_good: whether a certificate counts as not revoked where nobody can be asked.
    """
    try:
        if asks.chain is not None:
            path = await asyncio.to_thread(_path, asks, known, anchors, datetime.now(UTC))
            await _not_revoked(path, revocation, unreachable_is_good=unreachable_is_good)
        elif asks.hashes:
            for one in asks.hashes:
                _judge(await revocation.by_ocsp(one, known), unreachable_is_good=unreachable_is_good)
        else:
            return ContractVerdict(status=CertificateVerdict.NO_CERTIFICATE_AVAILABLE)
    except _RefusedError as refused:
        log.warning("contract_refused", emaid=asks.emaid, status=refused.verdict.status, reason=refused.verdict.reason)
        return refused.verdict
    return ContractVerdict(status=CertificateVerdict.ACCEPTED)


def _path(
    asks: ContractCheck, known: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    """From the contract's certificate to the anchor."""
    try:
        chain = x509.load_pem_x509_certificates((asks.chain or "").encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _RefusedError(CertificateVerdict.CERT_CHAIN_ERROR, f"The chain cannot be read: {error}.") from None
    leaf, others = chain[0], chain[1:]
    names = [str(name.value) for name in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if [emaid(name) for name in names] != [emaid(asks.emaid)]:
        told = ", ".join(names)[:100]
        raise _RefusedError(CertificateVerdict.CERT_CHAIN_ERROR, f"The certificate is of '{told}', not of the eMAID.")
    path = [leaf]
    while path[-1] not in anchors:
        if len(path) > _DEEPEST:
            raise _RefusedError(CertificateVerdict.CERT_CHAIN_ERROR, f"The chain is longer than {_DEEPEST}.")
        above = _issuer(path[-1], [*anchors, *others, *known])
        if above is None:
            raise _RefusedError(
                CertificateVerdict.CERT_CHAIN_ERROR, "The chain leads to no authority that is trusted here."
            )
        path.append(above)
    if len(path) == 1:
        raise _RefusedError(CertificateVerdict.CERT_CHAIN_ERROR, "The certificate is an authority's.")
    for one in path:
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            raise _RefusedError(
                CertificateVerdict.CERTIFICATE_EXPIRED,
                f"'{one.subject.rfc4514_string()}' is valid from {one.not_valid_before_utc:%Y-%m-%d}"
                f" to {one.not_valid_after_utc:%Y-%m-%d}.",
            )
    return path


def _issuer(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    for one in candidates:
        if one.subject != certificate.issuer or one == certificate:
            continue
        try:
            certificate.verify_directly_issued_by(one)
            is_authority = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
            continue
        if is_authority:
            return one
    return None


async def _not_revoked(
    path: list[x509.Certificate], revocation: RevocationChecks, *, unreachable_is_good: bool
) -> None:
    for certificate, issuer in pairwise(path):
        name = hash_data(certificate, issuer)
        responders, lists = _places(certificate)
        found: Found | None = None
        for url in responders:
            found = await revocation.by_ocsp(OcspAsk(certificate=name, responder_url=url), [issuer])
            if found.state is not RevocationState.FAILED:
                break
        if (found is None or found.state is RevocationState.FAILED) and lists:
            found = await revocation.by_list(name, lists, [issuer])
        if found is not None:
            _judge(found, unreachable_is_good=unreachable_is_good)
        elif not unreachable_is_good:
            raise _RefusedError(
                CertificateVerdict.CERT_CHAIN_ERROR,
                f"'{certificate.subject.rfc4514_string()}' does not say where it can be looked up.",
            )


def _judge(found: Found, *, unreachable_is_good: bool) -> None:
    if found.state is RevocationState.REVOKED:
        raise _RefusedError(CertificateVerdict.CERTIFICATE_REVOKED, "A certificate of the chain was revoked.")
    if found.state is RevocationState.UNKNOWN:
        raise _RefusedError(
            CertificateVerdict.CERT_CHAIN_ERROR, "The authority does not know a certificate of the chain."
        )
    if found.state is RevocationState.FAILED and not unreachable_is_good:
        raise _RefusedError(CertificateVerdict.CERT_CHAIN_ERROR, found.reason or "Revocation cannot be looked up.")


def _places(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Addresses of responders, and of lists."""
    responders: list[str] = []
    lists: list[str] = []
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        responders = [
            str(one.access_location.value) for one in access if one.access_method == AuthorityInformationAccessOID.OCSP
        ]
    except (x509.ExtensionNotFound, ValueError):
        pass
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        lists = [str(name.value) for point in points for name in point.full_name or ()]
    except (x509.ExtensionNotFound, ValueError):
        pass
    return responders[:3], lists[:3]
