"""A car that charges by its contract: it asks for the certificate by way of the station, and presents it (ISO 15118-2).

The messages between car and pool are the XML of ISO 15118-2 as Base64, not EXI, which is what the test pool reads.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from msgspec import json

from chargeplane.ocpp import v201
from chargeplane.simulator.dialect import Draft

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

SCHEMA: Final = "urn:iso:15118:2:2013:MsgDef"
_CURVE: Final = ec.SECP256R1()


class PlugAndChargeCar:
    """A car with a provisioning certificate of its maker.

    Args:
        pcid: its provisioning certificate's name.
    """

    def __init__(self, pcid: str) -> None:
        self.pcid = pcid
        self.key = ec.generate_private_key(_CURVE)
        now = datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, pcid)])
        self.provisioning = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=3650))
            .sign(self.key, hashes.SHA256())
        )
        self.chain: list[x509.Certificate] = []
        self.contract_key: ec.EllipticCurvePrivateKey | None = None
        self.emaid: str | None = None

    def request(self) -> str:
        """CertificateInstallationReq, Base64."""
        certificate = base64.b64encode(self.provisioning.public_bytes(serialization.Encoding.DER)).decode()
        text = (
            '<CertificateInstallationReq xmlns="urn:iso:15118:2:2013:MsgBody">'
            f"<OEMProvisioningCert>{certificate}</OEMProvisioningCert></CertificateInstallationReq>"
        )
        return base64.b64encode(text.encode()).decode()

    def take(self, response: str) -> None:
        """Takes CertificateInstallationRes: the chain, and the key that only it can read.

        Raises:
            ValueError: it is not for this car, or the key is not that of the certificate.
        """
        text = base64.b64decode(response).decode()
        self.chain = [
            x509.load_der_x509_certificate(base64.b64decode(one)) for one in re.findall("<Certificate>(.*?)<", text)
        ]
        public = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, base64.b64decode(_inner(text, "DHpublickey")))
        secret = ConcatKDFHash(hashes.SHA256(), 16, b"\x01UV").derive(self.key.exchange(ec.ECDH(), public))
        encrypted = base64.b64decode(_inner(text, "ContractSignatureEncryptedPrivateKey"))
        cipher = Cipher(algorithms.AES(secret), modes.CBC(encrypted[:16])).decryptor()
        number = int.from_bytes(cipher.update(encrypted[16:]) + cipher.finalize(), "big")
        self.contract_key = ec.derive_private_key(number, _CURVE)
        if self.contract_key.public_key() != self.chain[0].public_key():
            raise ValueError("The key is not the one of the certificate.")
        self.emaid = _inner(text, "eMAID")

    def chain_pem(self) -> str:
        """The contract's chain."""
        return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in self.chain)

    def hash_data(self) -> tuple[v201.OCSPRequestDataType, ...]:
        """What names the certificates of the chain to OCSP responders."""
        return tuple(_hash_data(certificate, issuer) for certificate, issuer in pairwise(self.chain))


def ask_for_certificate(station: VirtualStation, car: PlugAndChargeCar, told: Callable[[str], None]) -> None:
    """Passes the car's request on (M01); the car takes the answer, and `told` gets the status word."""
    request = v201.Get15118EVCertificateRequest(
        iso15118_schema_version=SCHEMA, action=v201.CertificateActionEnumType.INSTALL, exi_request=car.request()
    )

    def answered(answer: Any) -> None:
        payload = json.decode(answer.payload)
        if payload["status"] == "Accepted":
            car.take(payload["exiResponse"])
        told(payload["status"])

    station.send(Draft("Get15118EVCertificate", lambda: request), answered)


def present(
    station: VirtualStation, car: PlugAndChargeCar, told: Callable[[str, str], None], *, central: bool = False
) -> None:
    """Asks whether the car may charge (C07); `told` gets the words for the token and the certificate.

    Args:
        central: sends the chain, because the station does not know the root (C07.FR.06).
    """
    request = v201.AuthorizeRequest(
        id_token=v201.IdTokenType(id_token=car.emaid or "", type=v201.IdTokenEnumType.EMAID),
        certificate=car.chain_pem() if central else None,
        iso15118_certificate_hash_data=None if central else car.hash_data(),
    )

    def answered(answer: Any) -> None:
        payload = json.decode(answer.payload)
        told(payload["idTokenInfo"]["status"], payload.get("certificateStatus", ""))

    station.send(Draft("Authorize", lambda: request), answered)


def _inner(text: str, element: str) -> str:
    found = re.search(f"<{element}>(.*?)</{element}>", text)
    if found is None:
        raise ValueError(f"The message has no {element}.")
    return found[1]


def _hash_data(certificate: x509.Certificate, issuer: x509.Certificate) -> v201.OCSPRequestDataType:
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    url = next(one.access_location.value for one in access if one.access_method == AuthorityInformationAccessOID.OCSP)
    point = issuer.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return v201.OCSPRequestDataType(
        hash_algorithm=v201.HashAlgorithmEnumType.SHA256,
        issuer_name_hash=sha256(issuer.subject.public_bytes()).hexdigest(),
        issuer_key_hash=sha256(point).hexdigest(),
        serial_number=f"{certificate.serial_number:x}",
        responder_url=url,
    )
