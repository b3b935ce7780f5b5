"""The certificate authority of the house: a root and an intermediate authority, made at first use.

Their private keys are in the database, encrypted with the installation key, so that every node signs with the same ones
and a dump alone signs nothing. The root signs the intermediate authority and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from chargeplane.app import pki
from chargeplane.app.pki import Signer
from chargeplane.app.ports import Signed
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import certificates as queries
from chargeplane.store.queries.certificates import HouseCertificate
from chargeplane.store.queries.paging import Db
from chargeplane.store.secrets import InstallationKeys

_SERVER_DAYS: Final = 180
_RENEW_SERVER: Final = timedelta(days=60)
_FIRMWARE_DAYS: Final = 5 * 365
_RENEW_FIRMWARE: Final = timedelta(days=365)
_LIST_FOR: Final = timedelta(days=7)


class HouseAuthority:
    """Implements `ports.CertificateAuthority`.

    Args:
        database: where certificates and their encrypted keys are.
        keys: encrypt them.
        organization: in the subject of every certificate (A00.FR.509).
        station_days: how long a station's certificate holds.
    """

    def __init__(self, database: Database, keys: InstallationKeys, *, organization: str, station_days: int) -> None:
        self._database = database
        self._keys = keys
        self._organization = organization
        self._station_for = timedelta(days=station_days)
        self._signers: tuple[Signer, Signer] | None = None
        self._trust = ""

    def check(self, csr: str, common_name: str) -> None:
        """Raises what `sign` would raise for the request itself. Computes: call it in a thread."""
        pki.check_csr(csr, common_name)

    async def sign(self, csr: str, *, common_name: str, station_key: StationKey) -> Signed:
        """A station's certificate.

        Raises:
            CsrError: the request breaks a rule.
        """
        _, issuing = await self._both()
        return await asyncio.to_thread(
            lambda: pki.sign_station(
                pki.check_csr(csr, common_name),
                issuing,
                organization=self._organization,
                common_name=common_name,
                station_key=station_key,
                now=datetime.now(UTC),
                valid_for=self._station_for,
            )
        )

    async def trust(self) -> str:
        """PEM of the intermediate authority and the root; empty while they were never needed."""
        # Without the keys: an installation that lost them cannot sign, and still lets its stations in.
        if not self._trust:
            async with self._database.read() as db:
                issuing, root = await queries.house(db, "issuing"), await queries.house(db, "root")
            if issuing is not None and root is not None:
                self._trust = issuing.chain + root.chain
        return self._trust

    async def authorities(self) -> tuple[str, str]:
        """PEM of the root and of the intermediate authority, made where there are none."""
        root, issuing = await self._both()
        return root.chain, issuing.chain

    async def revocation_list(self, revoked: Sequence[tuple[bytes, str, datetime]]) -> str:
        """PEM of a list of those that this authority signed."""
        _, issuing = await self._both()
        issuer = issuing.certificate.subject.public_bytes()
        ours = [(serial_number, at) for by, serial_number, at in revoked if by == issuer]
        return await asyncio.to_thread(pki.make_list, ours, issuing, datetime.now(UTC), _LIST_FOR)

    async def server_certificate(self, names: list[str]) -> tuple[str, bytes]:
        """Chain and key (PEM) of the server's certificate for these names; a new one when the old one nears its end."""
        joined = ",".join(names)
        now = datetime.now(UTC)
        async with self._database.read() as db:
            stored = await queries.house(db, "server", joined)
        if stored is None or stored.not_after - now < _RENEW_SERVER:
            _, issuing = await self._both()

            def make() -> Signer:
                return pki.make_server(
                    names,
                    issuing,
                    organization=self._organization,
                    now=now,
                    valid_for=timedelta(days=_SERVER_DAYS),
                )

            async with self._database.change() as db:
                await queries.lock_house(db)
                stored = await queries.house(db, "server", joined)
                if stored is None or stored.not_after - now < _RENEW_SERVER:
                    await self._make(db, "server", make, joined)
                    stored = await queries.house(db, "server", joined)
        assert stored is not None
        signer = await asyncio.to_thread(self._opened, stored, "server")
        return signer.chain, pki.key_pem(signer.key)

    async def sign_firmware(self, sha256: bytes) -> tuple[str, str]:
        """Signing certificate (PEM) and signature (Base64) for a file by its digest; the signer is made at first use."""
        now = datetime.now(UTC)
        async with self._database.read() as db:
            stored = await queries.house(db, "firmware")
        if stored is None or stored.not_after - now < _RENEW_FIRMWARE:
            _, issuing = await self._both()

            def make() -> Signer:
                return pki.make_firmware_signer(
                    issuing, organization=self._organization, now=now, valid_for=timedelta(days=_FIRMWARE_DAYS)
                )

            async with self._database.change() as db:
                await queries.lock_house(db)
                stored = await queries.house(db, "firmware")
                if stored is None or stored.not_after - now < _RENEW_FIRMWARE:
                    await self._make(db, "firmware", make)
                    stored = await queries.house(db, "firmware")
        assert stored is not None
        signer = await asyncio.to_thread(self._opened, stored, "firmware")
        return signer.chain, await asyncio.to_thread(pki.sign_digest, signer, sha256)

    async def _both(self) -> tuple[Signer, Signer]:
        """Root and intermediate authority."""
        if self._signers is None:
            async with self._database.change() as db:
                await queries.lock_house(db)
                now = datetime.now(UTC)
                root = await self._stored(db, "root") or await self._make(
                    db, "root", lambda: pki.make_root(self._organization, now)
                )
                issuing = await self._stored(db, "issuing") or await self._make(
                    db, "issuing", lambda: pki.make_issuing(self._organization, root, now)
                )
            self._signers = root, issuing
        return self._signers

    async def _stored(self, db: Db, role: str) -> Signer | None:
        found = await queries.house(db, role)
        return None if found is None else await asyncio.to_thread(self._opened, found, role)

    async def _make(self, db: Db, role: str, make: Callable[[], Signer], names: str = "") -> Signer:
        signer = await asyncio.to_thread(make)
        sealed = self._keys.encrypt(pki.key_bytes(signer.key), _purpose(role))
        stored = HouseCertificate(signer.chain, sealed, signer.certificate.not_valid_after_utc)
        await queries.add_house(db, role, stored, names)
        return signer

    def _opened(self, stored: HouseCertificate, role: str) -> Signer:
        return pki.signer_of(stored.chain, self._keys.decrypt(stored.key, _purpose(role)))


def _purpose(role: str) -> str:
    return f"house certificate {role}"
