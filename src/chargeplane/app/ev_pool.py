"""A pool of contract certificates for trying Plug & Charge without anybody else: its own authorities, contracts and OCSP answers.

Its certificates are real X.509 under a root of its own, and the contract's key reaches the car encrypted as ISO 15118-2 has it (ECDH
with the car's provisioning key, concatenation KDF, AES-128-CBC). What it cannot do is EXI: requests and responses are the messages'
XML as Base64. Real cars send EXI; for them there is the HTTP provider.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.ocsp_answers import Issuer
from chargeplane.app.reports import Place
from chargeplane.domain.contracts import EvCertificate, EvCertificateAsk, emaid, is_emaid
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, RuleError
from chargeplane.store.database import Database
from chargeplane.store.queries import plug_and_charge as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.plug_and_charge import ContractView
from chargeplane.store.secrets import InstallationKeys

_PROVISIONING: Final = re.compile(rb"<(?:\w+:)?OEMProvisioningCert[^<>]{0,200}>([A-Za-z0-9+/=\s]{1,8000})</")
_BODY: Final = "urn:iso:15118:2:2013:MsgBody"
_AUTHORITY_DAYS: Final = 3650
_CONTRACT_DAYS: Final = 365
_EARLIER: Final = timedelta(minutes=10)
_NAMES: Final = ("root", "sub1", "sub2")


class _Authority(Struct, frozen=True):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class EvPool:
    """The test pool. Implements `plug_and_charge.ContractProvider` and `ocsp_answers.OcspSource`.

    Args:
        ocsp_url: where stations and servers find its OCSP answers; goes into its certificates.
    """

    name = "test"

    def __init__(self, database: Database, keys: InstallationKeys, ocsp_url: str) -> None:
        self._database = database
        self._keys = keys
        self._ocsp_url = ocsp_url
        self._made: dict[str, _Authority] | None = None
        self._lock = asyncio.Lock()

    async def roots(self) -> list[x509.Certificate]:
        """What its contracts lead to, and the authorities between."""
        made = await self._authorities()
        return [made[name].certificate for name in _NAMES]

    async def ev_certificate(self, place: Place, ask: EvCertificateAsk) -> tuple[EvCertificate, str]:
        """The certificate of a car's newest contract, or the one it named first, and whose it is.

        Raises:
            RuleError: there is none; the sentence says why.
        """
        car, pcid = await asyncio.to_thread(_car, ask)
        async with self._database.read() as db:
            contracts = await queries.contracts_of(db, place.tenant_id, pcid)
        if not contracts:
            raise RuleError(f"No contract is kept here for the car {pcid}.")
        wanted = [emaid(one) for one in ask.prioritized_emaids]
        contracts.sort(key=lambda one: wanted.index(one[1]) if one[1] in wanted else len(wanted))
        ident, account = contracts[0]
        authorities = await self._authorities()
        certificate, response = await asyncio.to_thread(self._make, authorities, account, car, update=ask.update)
        async with self._database.change() as db:
            await queries.keep_certificate(
                db,
                ident,
                f"{certificate.serial_number:x}",
                certificate.public_bytes(serialization.Encoding.PEM).decode(),
                certificate.not_valid_after_utc,
            )
        remaining = None if ask.maximum_chains is None else max(len(contracts) - 1, 0)
        return EvCertificate(exi_response=base64.b64encode(response).decode(), remaining=remaining), account

    async def issuers(self) -> list[Issuer]:
        """Its authorities."""
        return [Issuer(one.certificate, one.key) for one in (await self._authorities()).values()]

    async def state_of(self, issuer: x509.Certificate, serial_number: int) -> tuple[bool, datetime | None]:
        """Whether it made the certificate, and when its contract was revoked."""
        if serial_number in {one.certificate.serial_number for one in (await self._authorities()).values()}:
            return True, None
        async with self._database.read() as db:
            return await queries.certificate_state(db, f"{serial_number:x}")

    # -- for people ----------------------------------------------------------------------------------------------------

    async def add(self, caller: Caller, account: str, pcid: str) -> ContractView:
        """A contract of a car.

        Raises:
            InvalidInputError: the eMAID is none.
            ConflictError: the eMAID has a contract.
        """
        if not is_emaid(account):
            what = "country, provider, eight or nine characters and perhaps a check digit, as in DE-8AA-CA2B3C4D5-N"
            raise InvalidInputError(f"'{account}' is no eMAID.", (("/emaid", what),))
        async with self._database.change() as db:
            ident = await queries.add_contract(db, caller.tenant_id, emaid(account), pcid.strip().upper(), caller.actor)
            if ident is None:
                raise ConflictError(f"The eMAID {emaid(account)} has a contract already.")
            found = await queries.contract(db, caller.tenant_id, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="contract",
                ident=str(ident),
                after=found,
            )
        assert found is not None
        return found

    async def page(
        self, caller: Caller, emaid: str | None, revoked: bool | None, limit: int, after: Position | None
    ) -> list[ContractView]:
        """Contracts, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.contract_page(db, caller.tenant_id, emaid, revoked, limit, after)

    async def revoke(self, caller: Caller, ident: int, because: str) -> ContractView:
        """Ends a contract; its certificates are revoked.

        Raises:
            NotFoundError: the tenant has no such contract.
            ConflictError: it is revoked already.
        """
        async with self._database.change() as db:
            done = await queries.revoke_contract(db, caller.tenant_id, ident, because)
            found = await queries.contract(db, caller.tenant_id, ident)
            if found is None:
                raise NotFoundError("contract", str(ident))
            if not done:
                raise ConflictError(f"Contract {ident} is revoked already.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="revoke",
                kind="contract",
                ident=str(ident),
                reason=because,
                before={"revoked_because": None},
                after={"revoked_because": because},
            )
        return found

    # -- making --------------------------------------------------------------------------------------------------------

    async def _authorities(self) -> dict[str, _Authority]:
        if self._made is not None:
            return self._made
        async with self._lock:
            if self._made is None:
                self._made = await self._load()
        return self._made

    async def _load(self) -> dict[str, _Authority]:
        async with self._database.change() as db:
            await queries.lock_pool(db)
            kept = await queries.pool_authorities(db)
            if not kept.keys() >= set(_NAMES):
                for name, one in (await asyncio.to_thread(_make_authorities, self._ocsp_url)).items():
                    pem = one.certificate.public_bytes(serialization.Encoding.PEM).decode()
                    key = one.key.private_bytes(
                        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    )
                    await queries.keep_pool_authority(db, name, pem, self._keys.encrypt(key, f"pool authority {name}"))
                kept = await queries.pool_authorities(db)
        made = {}
        for name in _NAMES:
            pem, encrypted = kept[name]
            loaded = serialization.load_der_private_key(self._keys.decrypt(encrypted, f"pool authority {name}"), None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            made[name] = _Authority(x509.load_pem_x509_certificate(pem.encode()), loaded)
        return made

    def _make(
        self, authorities: dict[str, _Authority], account: str, car: ec.EllipticCurvePublicKey, *, update: bool
    ) -> tuple[x509.Certificate, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = authorities["sub2"]
        now = datetime.now(UTC)
        certificate = (
            _certificate(account, key.public_key(), issuer, now, _CONTRACT_DAYS, self._ocsp_url)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(issuer.key, hashes.SHA256())
        )
        encrypted, public = encrypted_key(key, car)
        chain = "".join(
            f"<Certificate>{_der(authorities[name].certificate)}</Certificate>" for name in ("sub2", "sub1")
        )
        kind = "CertificateUpdateRes" if update else "CertificateInstallationRes"
        response = (
            f'<{kind} xmlns="{_BODY}"><ResponseCode>OK</ResponseCode><ContractSignatureCertChain>'
            f"<Certificate>{_der(certificate)}</Certificate><SubCertificates>{chain}</SubCertificates>"
            f"</ContractSignatureCertChain><ContractSignatureEncryptedPrivateKey>{encrypted}"
            f"</ContractSignatureEncryptedPrivateKey><DHpublickey>{public}</DHpublickey>"
            f"<eMAID>{escape(account)}</eMAID></{kind}>"
        )
        return certificate, response.encode()


def encrypted_key(key: ec.EllipticCurvePrivateKey, car: ec.EllipticCurvePublicKey) -> tuple[str, str]:
    """The contract's key for the car's eyes only, and the public key it needs for that; both Base64 (ISO 15118-2, 7.9.2.4.3)."""
    ours = ec.generate_private_key(ec.SECP256R1())
    secret = transport_key(ours.exchange(ec.ECDH(), car))
    start = os.urandom(16)
    plain = key.private_numbers().private_value.to_bytes(32, "big")
    cipher = Cipher(algorithms.AES(secret), modes.CBC(start)).encryptor()
    public = ours.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    encrypted = start + cipher.update(plain) + cipher.finalize()
    return base64.b64encode(encrypted).decode(), base64.b64encode(public).decode()


def transport_key(shared: bytes) -> bytes:
    """The AES key from an ECDH secret: algorithm 1, parties U and V."""
    return ConcatKDFHash(algorithm=hashes.SHA256(), length=16, otherinfo=b"\x01UV").derive(shared)


def _car(ask: EvCertificateAsk) -> tuple[ec.EllipticCurvePublicKey, str]:
    """The key and the id of the car's provisioning certificate, or of the contract's where it is renewed."""
    try:
        raw = base64.b64decode(ask.exi_request, validate=True)
    except (binascii.Error, ValueError):
        raise RuleError("The car's request is not Base64.") from None
    found = _PROVISIONING.search(raw)
    if found is None:
        raise RuleError(
            "The test pool reads requests as XML with an OEMProvisioningCert; this one is EXI or something else."
        )
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(found[1]))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RuleError(f"The car's provisioning certificate cannot be read: {error}.") from None
    key = certificate.public_key()
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1" or len(names) != 1:
        raise RuleError("The car's provisioning certificate has no P-256 key or no name.")
    return key, str(names[0].value).strip().upper()


def _make_authorities(ocsp_url: str) -> dict[str, _Authority]:
    now = datetime.now(UTC)
    made: dict[str, _Authority] = {}
    above: _Authority | None = None
    for depth, name in enumerate(_NAMES):
        key = ec.generate_private_key(ec.SECP256R1())
        common_name = f"Chargeplane test MO {name}"
        issuer = above or _Authority(_self_named(common_name, key), key)
        builder = _certificate(common_name, key.public_key(), issuer, now, _AUTHORITY_DAYS, ocsp_url)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=2 - depth), critical=True)
        above = _Authority(builder.sign(issuer.key, hashes.SHA256()), key)
        made[name] = above
    return made


def _self_named(common_name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Only for its subject: a root names itself as issuer."""
    name = _subject(common_name)
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Chargeplane test pool"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "MO"),
        ]
    )


def _certificate(
    common_name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: _Authority,
    now: datetime,
    days: int,
    ocsp_url: str,
) -> x509.CertificateBuilder:
    access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url))
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(common_name))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    )


def _der(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
