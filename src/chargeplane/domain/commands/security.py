"""What concerns a station's certificates, its password and the security profile it connects by."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.certificates import CertificateHashData, CertificateUse, HashAlgorithm

Pem = Annotated[str, Meta(min_length=1, max_length=20_000, description="PEM.")]


class InstallCertificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="install_certificate"):
    """Have the station trust a root certificate (OCPP 2.0.1 M05; 1.6 security whitepaper).

    Args:
        use: what for; 1.6 has CSMSRootCertificate and ManufacturerRootCertificate, OEMRootCertificate is of 2.1.
        certificate: PEM of one certificate; 1.6 and 2.0.1 take 5500 characters, 2.1 10000.
    """

    use: CertificateUse
    certificate: Pem


class GetInstalledCertificateIds(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_installed_certificate_ids"
):
    """Ask which certificates the station has (OCPP 2.0.1 M03). The reply is `domain.certificates.InstalledCertificates`.

    Args:
        uses: of these uses; empty for all. OCPP 1.6 needs exactly one.
    """

    uses: Annotated[tuple[CertificateUse, ...], Meta(max_length=6)] = ()


class DeleteCertificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="delete_certificate"):
    """Have the station remove an installed certificate (OCPP 2.0.1 M04), named by its hashes or given as PEM.

    Args:
        hash_data: as the station lists it.
        certificate: PEM, in place of the hashes; one that did not sign itself is followed by its issuer's.
        hash_algorithm: for a certificate given as PEM: the one that the station lists certificates with.
        force: also where it is the root that leads to this server's certificate, or the last of its use.
    """

    hash_data: CertificateHashData | None = None
    certificate: Pem | None = None
    hash_algorithm: HashAlgorithm = HashAlgorithm.SHA256
    force: bool = False


class SetPassword(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="set_password"):
    """Give the station a new password for HTTP Basic (OCPP 2.0.1 A01). Part of a password rotation, never asked for alone."""

    password: str
