"""A V2G authority for trying Plug & Charge without anybody else: it certifies stations to cars below roots of its own.

One hierarchy for each part of ISO 15118 (-2, -20), made at first use, with their keys in the database as those of the test pool's
authorities are. Real cars trust none of its roots; for them there is the EST provider.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chargeplane.app import v2g_pki
from chargeplane.app.ocsp_answers import Issuer
from chargeplane.app.ports import Signed, V2gHierarchy
from chargeplane.app.v2g_pki import Authority
from chargeplane.domain.certificates import SigningUse
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import certificates
from chargeplane.store.queries import plug_and_charge as queries
from chargeplane.store.secrets import InstallationKeys

_PREFIX: Final = {SigningUse.V2G: "v2g", SigningUse.V2G20: "v2g20"}


class TestV2gAuthority:
    """Implements `ports.V2gAuthority` and `ocsp_answers.OcspSource`.

    Args:
        organization: in the subject of every certificate.
        days: how long a station's certificate holds.
        ocsp_url: where its OCSP answers are found; goes into its certificates.
    """

    name = "test"
    __test__ = False

    def __init__(
        self, database: Database, keys: InstallationKeys, *, organization: str, days: int, ocsp_url: str
    ) -> None:
        self._database = database
        self._keys = keys
        self._organization = organization
        self._days = days
        self._ocsp_url = ocsp_url
        self._made: dict[SigningUse, dict[str, Authority]] = {}
        self._lock = asyncio.Lock()

    def check(self, csr: str, use: SigningUse, common_name: str) -> None:
        """Raises what `sign` would raise for the request itself. Computes: call it in a thread."""
        v2g_pki.check_csr(csr, use, common_name)

    async def sign(self, csr: str, *, use: SigningUse, common_name: str, station_key: StationKey) -> Signed:
        """A station's certificate.

        Raises:
            CsrError: the request breaks a rule.
        """
        request = await asyncio.to_thread(v2g_pki.check_csr, csr, use, common_name)
        protocol = v2g_pki.protocol_of(request)
        assert protocol is not None
        authorities = await self.authorities(protocol)
        return await asyncio.to_thread(
            lambda: v2g_pki.sign(
                request,
                authorities,
                organization=self._organization,
                common_name=common_name,
                station_key=station_key,
                now=datetime.now(UTC),
                days=self._days,
                ocsp_url=self._ocsp_url,
            )
        )

    async def hierarchies(self) -> list[V2gHierarchy]:
        """What its certificates lead to, made where they were never needed before."""
        found = []
        for protocol in _PREFIX:
            authorities = [(await self.authorities(protocol))[level].certificate for level in v2g_pki.LEVELS]
            root, *between = authorities
            found.append(
                V2gHierarchy(
                    use=protocol,
                    roots=v2g_pki.pem_of(root),
                    intermediate="".join(v2g_pki.pem_of(one) for one in reversed(between)),
                )
            )
        return found

    async def trust(self) -> str:
        """PEM of what signs stations' certificates: those that are for their sockets too let them in. Empty while there is none."""
        async with self._database.read() as db:
            kept = await queries.pool_authorities(db)
        return "".join(
            pem
            for prefix in _PREFIX.values()
            for level in v2g_pki.LEVELS
            if (pem := kept.get(f"{prefix} {level}", ("",))[0])
        )

    async def issuers(self) -> list[Issuer]:
        """Its authorities, those that were made."""
        async with self._database.read() as db:
            kept = await queries.pool_authorities(db)
        made = [protocol for protocol, prefix in _PREFIX.items() if f"{prefix} {v2g_pki.LEVELS[-1]}" in kept]
        return [
            Issuer(one.certificate, one.key) for protocol in made for one in (await self.authorities(protocol)).values()
        ]

    async def state_of(self, issuer: x509.Certificate, serial_number: int) -> tuple[bool, datetime | None]:
        """Whether it signed the certificate, and when that was revoked."""
        if any(one.certificate.serial_number == serial_number for one in await self.issuers()):
            return True, None
        async with self._database.read() as db:
            return await certificates.state_of(db, issuer.subject.public_bytes(), f"{serial_number:x}")

    async def authorities(self, protocol: SigningUse) -> dict[str, Authority]:
        """Certificates and keys of a hierarchy, by level."""
        async with self._lock:
            if protocol not in self._made:
                self._made[protocol] = await self._load(protocol)
        return self._made[protocol]

    async def _load(self, protocol: SigningUse) -> dict[str, Authority]:
        prefix = _PREFIX[protocol]
        names = {level: f"{prefix} {level}" for level in v2g_pki.LEVELS}
        async with self._database.change() as db:
            await queries.lock_pool(db)
            kept = await queries.pool_authorities(db)
            if not kept.keys() >= set(names.values()):
                made = await asyncio.to_thread(
                    v2g_pki.make_authorities, self._organization, protocol, datetime.now(UTC), self._ocsp_url
                )
                for level, one in made.items():
                    key = one.key.private_bytes(
                        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    )
                    sealed = self._keys.encrypt(key, f"pool authority {names[level]}")
                    await queries.keep_pool_authority(db, names[level], v2g_pki.pem_of(one.certificate), sealed)
                kept = await queries.pool_authorities(db)
        found = {}
        for level, name in names.items():
            pem, sealed = kept[name]
            loaded = serialization.load_der_private_key(self._keys.decrypt(sealed, f"pool authority {name}"), None)
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            found[level] = Authority(x509.load_pem_x509_certificate(pem.encode()), loaded)
        return found
