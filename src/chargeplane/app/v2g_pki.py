"""Certificates by which a charging station is known to cars: what a request must be, and a small V2G hierarchy for tests.

Pure functions that compute for a millisecond or more: call them in a thread. Keys as ISO 15118 has them: secp256r1 for -2, secp521r1 or
Ed448 for -20, each below a root of its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from msgspec import Struct

from chargeplane.app import pki
from chargeplane.app.pki import STATION_URI, CsrError
from chargeplane.app.ports import Signed
from chargeplane.domain.certificates import SigningUse

LEVELS: Final = ("root", "sub1", "sub2")
"""Of a hierarchy, from above; the last one signs stations' certificates."""

_AUTHORITY_DAYS: Final = 3650
_EARLIER: Final = timedelta(minutes=10)
_LONGEST_NAME: Final = 64


class Authority(Struct, frozen=True):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def protocol_of(csr: x509.CertificateSigningRequest) -> SigningUse | None:
    """V2G for a key of ISO 15118-2, V2G20 for one of -20, None for any other."""
    key = csr.public_key()
    if isinstance(key, ed448.Ed448PublicKey):
        return SigningUse.V2G20
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": SigningUse.V2G, "secp521r1": SigningUse.V2G20}.get(key.curve.name)
    return None


def check_csr(pem: str, use: SigningUse, common_name: str) -> x509.CertificateSigningRequest:
    """The request, if a certificate for Plug & Charge may be made of it.

    Args:
        common_name: the station's; one that is for its socket too must have it. The others name the SECC, or nobody.
    Raises:
        CsrError: it cannot be read, is not signed by its key, or its key or name does not fit the use.
    """
    csr = pki.read_csr(pem)
    protocol = protocol_of(csr)
    # 2.0.1 has no word for -20: there a V2GCertificate is of the protocol whose key it has.
    if protocol is None or (use is SigningUse.V2G20 and protocol is not SigningUse.V2G20):
        wanted = "secp521r1 or Ed448" if use is SigningUse.V2G20 else "secp256r1 (ISO 15118-2) or secp521r1 (-20)"
        raise CsrError(f"The key of a {use.value} must be {wanted}.")
    if use is SigningUse.COMBINED:
        pki.check_name(csr, common_name)
        if isinstance(csr.public_key(), ed448.Ed448PublicKey):
            raise CsrError("A station comes in by RSA and EC keys only; this one is Ed448.")
    names = pki.common_names(csr)
    if len(names) > 1 or any(not 1 <= len(name) <= _LONGEST_NAME for name in names):
        raise CsrError(f"The request has {len(names)} common names; it must have at most one, of 1 to 64 characters.")
    return csr


def make_authorities(organization: str, protocol: SigningUse, now: datetime, ocsp_url: str) -> dict[str, Authority]:
    """A root and two subordinate authorities of the operator, by level (ISO 15118-2, annex F; -20, annex B)."""
    curve, algorithm = _strength(protocol)
    made: dict[str, Authority] = {}
    above: Authority | None = None
    for depth, level in enumerate(LEVELS):
        key = ec.generate_private_key(curve)
        word = "V2G root" if above is None else f"CPO {level}"
        part = "15118-20" if protocol is SigningUse.V2G20 else "15118-2"
        subject = _name(organization, f"{organization[:30]} {part} {word}", "V2G" if above is None else "CPO")
        signing = key if above is None else above.key
        builder = _builder(subject, above, signing, key.public_key(), now, _AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=2 - depth), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        if above is not None:
            builder = builder.add_extension(_access(ocsp_url), critical=False)
        above = Authority(builder.sign(signing, algorithm), key)
        made[level] = above
    return made


def sign(
    csr: x509.CertificateSigningRequest,
    authorities: dict[str, Authority],
    *,
    organization: str,
    common_name: str,
    station_key: int,
    now: datetime,
    days: int,
    ocsp_url: str,
) -> Signed:
    """A certificate with those between it and the root.

    Args:
        common_name: the station's, for requests that name no SECC.
    """
    issuer = authorities[LEVELS[-1]]
    names = pki.common_names(csr)
    subject = _name(organization, names[0] if names else common_name, "CPO", _country(csr))
    builder = _builder(subject, issuer, issuer.key, csr.public_key(), now, days)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(_access(ocsp_url), critical=False)
        # The doors trust this hierarchy, and the name is the station's choice: with this it opens no door to another station.
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{STATION_URI}{station_key}")]), critical=False
        )
    )
    certificate = builder.sign(issuer.key, _algorithm(issuer.key))
    above = [authorities[level].certificate for level in reversed(LEVELS[1:])]
    return Signed(
        chain="".join(pem_of(one) for one in (certificate, *above)),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.public_bytes(),
        serial_number=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def pem_of(certificate: x509.Certificate) -> str:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _strength(protocol: SigningUse) -> tuple[ec.EllipticCurve, hashes.SHA256 | hashes.SHA512]:
    if protocol is SigningUse.V2G20:
        return ec.SECP521R1(), hashes.SHA512()
    return ec.SECP256R1(), hashes.SHA256()


def _algorithm(key: ec.EllipticCurvePrivateKey) -> hashes.SHA256 | hashes.SHA512:
    return hashes.SHA512() if key.curve.name == "secp521r1" else hashes.SHA256()


def _country(csr: x509.CertificateSigningRequest) -> str | None:
    found = [str(name.value) for name in csr.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)]
    return found[0] if len(found) == 1 and len(found[0]) == 2 and found[0].isascii() and found[0].isalpha() else None


def _name(organization: str, common_name: str, component: str, country: str | None = None) -> x509.Name:
    parts = [] if country is None else [x509.NameAttribute(NameOID.COUNTRY_NAME, country.upper())]
    return x509.Name(
        [
            *parts,
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, component),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: Authority | None,
    signing: ec.EllipticCurvePrivateKey,
    key: object,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    until = now + timedelta(days=days)
    if issuer is not None:
        until = min(until, issuer.certificate.not_valid_after_utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # type: ignore[arg-type]
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )


def _access(ocsp_url: str) -> x509.AuthorityInformationAccess:
    where = x509.UniformResourceIdentifier(ocsp_url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
