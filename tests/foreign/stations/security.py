"""A foreign station's keys, certificates and roots."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from ocpp.routing import after, on

from tests.foreign.stations.life import Life, now


def _key_bits(key: Any) -> bytes:
    """The content of a key's bit string, which OCPP has hashed."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _digest(data: bytes) -> str:
    hashed = hashes.Hash(hashes.SHA256())
    hashed.update(data)
    return hashed.finalize().hex()


def named(root: x509.Certificate) -> dict[str, str]:
    """A root as OCPP names it (CertificateHashDataType)."""
    return {
        "hash_algorithm": "SHA256",
        "issuer_name_hash": _digest(root.issuer.public_bytes()),
        "issuer_key_hash": _digest(_key_bits(root.public_key())),
        "serial_number": f"{root.serial_number:x}",
    }


def leads_to(chain: list[x509.Certificate], roots: list[x509.Certificate]) -> bool:
    """Whether a chain, its leaf first, ends below one of the roots."""
    try:
        for one, issuer in pairwise(chain):
            one.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError):
        return False
    for root in roots:
        try:
            chain[-1].verify_directly_issued_by(root)
        except (InvalidSignature, ValueError):
            continue
        return True
    return False


class Keyring(Life):
    """What it has of certificates, in any version; `slots` are its network connection profiles of 2.x."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.asked_key: ec.EllipticCurvePrivateKey | None = None
        self.profile_wanted: int | None = None

    @property
    def serial_number(self) -> str:
        """Of its own certificate."""
        assert self.certificate is not None
        return f"{x509.load_pem_x509_certificates(self.certificate[0].encode())[0].serial_number:x}"

    async def come_back(self) -> None:
        """Hangs up and comes back, without a boot."""
        await self.line.close()
        await self.line.open()

    def request(self, common_name: str, organization: str = "Chargeplane") -> str:
        """A new key's request for a certificate, as PEM."""
        self.asked_key = ec.generate_private_key(ec.SECP256R1())
        names = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common_name)]
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
        made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.asked_key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    async def ask_for_certificate(self, common_name: str | None = None) -> str:
        """Sends SignCertificate; what the server answers."""
        answer = await self.tell("SignCertificate", csr=self.request(common_name or self.id))  # type: ignore[attr-defined]
        return str(answer.status)

    def take(self, chain: str) -> str:
        """A certificate that was signed for it, where it is of its key and leads to a root that it trusts."""
        assert self.asked_key is not None
        found = x509.load_pem_x509_certificates(chain.encode())
        roots = [x509.load_pem_x509_certificate(pem.encode()) for _, pem in self.roots]
        fits = found[0].public_key() == self.asked_key.public_key() and leads_to(found, roots)
        if not fits or not found[0].not_valid_before_utc <= datetime.now(UTC) < found[0].not_valid_after_utc:
            return "Rejected"
        key = self.asked_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.certificate = (chain, key.decode())
        return "Accepted"

    def taken(self) -> None:
        """A certificate in use is used at once (A02.FR.08)."""
        if self.security_profile == 3:
            self.begin(self.come_back())

    def install(self, use: str, pem: str) -> str:
        self.roots.append(
            (use, x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.PEM).decode())
        )
        return "Accepted"

    def listed(self, uses: list[str] | None) -> list[tuple[str, dict[str, str]]]:
        return [
            (use, named(x509.load_pem_x509_certificate(pem.encode())))
            for use, pem in self.roots
            if uses is None or use in uses
        ]

    def delete(self, wanted: dict[str, str]) -> str:
        for number, (_, name) in enumerate(self.listed(None)):
            if name == wanted:
                del self.roots[number]
                return "Accepted"
        return "NotFound"

    async def report_event(self, kind: str, info: str | None = None) -> None:
        """A security event."""
        await self.tell("SecurityEventNotification", type=kind, timestamp=now(), tech_info=info)


class Security16(Keyring):
    """OCPP 1.6 with the security extension."""

    @on("InstallCertificate")
    def _install16(self, certificate_type: str, certificate: str) -> Any:
        return self.answer("InstallCertificate", status=self.install(certificate_type, certificate))

    @on("GetInstalledCertificateIds")
    def _roots16(self, certificate_type: str) -> Any:
        found = [name for _, name in self.listed([certificate_type])]
        return self.answer(
            "GetInstalledCertificateIds",
            status="Accepted" if found else "NotFound",
            certificate_hash_data=found or None,
        )

    @on("DeleteCertificate")
    def _delete16(self, certificate_hash_data: dict[str, str]) -> Any:
        return self.answer("DeleteCertificate", status=self.delete(certificate_hash_data))

    @on("CertificateSigned")
    def _signed16(self, certificate_chain: str) -> Any:
        return self.answer("CertificateSigned", status=self.take(certificate_chain))

    @after("CertificateSigned")
    def _used16(self, **_: Any) -> None:
        self.taken()


class Security2x(Keyring):
    """OCPP 2.0.1 and 2.1."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.slots: dict[int, dict[str, Any]] = {1: {"security_profile": 1, "ocpp_csms_url": self.address.ocpp}}

    @on("InstallCertificate")
    def _install2x(self, certificate_type: str, certificate: str, **_: Any) -> Any:
        return self.answer("InstallCertificate", status=self.install(certificate_type, certificate))

    @on("GetInstalledCertificateIds")
    def _roots2x(self, certificate_type: list[str] | None = None, **_: Any) -> Any:
        found = [
            {"certificate_type": use, "certificate_hash_data": name} for use, name in self.listed(certificate_type)
        ]
        return self.answer(
            "GetInstalledCertificateIds",
            status="Accepted" if found else "NotFound",
            certificate_hash_data_chain=found or None,
        )

    @on("DeleteCertificate")
    def _delete2x(self, certificate_hash_data: dict[str, str], **_: Any) -> Any:
        return self.answer("DeleteCertificate", status=self.delete(certificate_hash_data))

    @on("CertificateSigned")
    def _signed2x(self, certificate_chain: str, certificate_type: str | None = None, **_: Any) -> Any:
        assert certificate_type in (None, "ChargingStationCertificate")
        return self.answer("CertificateSigned", status=self.take(certificate_chain))

    @after("CertificateSigned")
    def _used2x(self, **_: Any) -> None:
        self.taken()

    @on("SetNetworkProfile")
    def _network(self, configuration_slot: int, connection_data: dict[str, Any], **_: Any) -> Any:
        self.slots[configuration_slot] = connection_data
        return self.answer("SetNetworkProfile", status="Accepted")
