"""The certificate authority of the house: a root and an intermediate authority, made at first use.

Their private keys are in the database, encrypted with the installation key, so that every node signs with the same ones
and a dump alone signs nothing. The root signs the intermediate authority and nothing else.

It changes by generations. The next one signs stations' certificates from its first moment on, for the doors trust all generations that
are not retired; the server itself shows a certificate of the current one, so that stations can be brought the next root before they
meet it. Then the next one is made the current one, and the old one is retired when nothing depends on it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from chargeplane.app import pki
from chargeplane.app.ocsp_answers import Issuer
from chargeplane.app.pki import Signer
from chargeplane.app.ports import Signed
from chargeplane.kernel.errors import ConflictError, NotFoundError, RuleError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import certificates as queries
from chargeplane.store.queries import plug_and_charge as pool_queries
from chargeplane.store.queries.certificates import Generation, HouseCertificate
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
        self._signers: dict[int, tuple[Signer, Signer]] = {}
        self._trust: str | None = None

    def check(self, csr: str, common_name: str) -> None:
        """Raises what `sign` would raise for the request itself. Computes: call it in a thread."""
        pki.check_csr(csr, common_name)

    async def sign(self, csr: str, *, common_name: str, station_key: StationKey) -> Signed:
        """A station's certificate, by the newest generation.

        Raises:
            CsrError: the request breaks a rule.
        """
        _, issuing = await self._signers_of(await self._newest())
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
        """PEM of the intermediate authorities and the roots that are not retired; empty while they were never needed."""
        # Without the keys: an installation that lost them cannot sign, and still lets its stations in.
        if not self._trust:
            found = ""
            async with self._database.read() as db:
                for one in await queries.generations(db):
                    if one.state != "retired":
                        issuing = await queries.house(db, "issuing", generation=one.number)
                        root = await queries.house(db, "root", generation=one.number)
                        if issuing is not None and root is not None:
                            found += issuing.chain + root.chain
            self._trust = found
        return self._trust

    def forget(self) -> None:
        """What is trusted is read again: another node may have changed it."""
        self._trust = None

    async def generations(self) -> list[Generation]:
        """All generations, the oldest first."""
        async with self._database.read() as db:
            return await queries.generations(db)

    async def authorities(self, generation: int | None = None) -> tuple[str, str]:
        """PEM of the root and of the intermediate authority, made where there are none.

        Args:
            generation: the current one where None.
        """
        root, issuing = await self._signers_of(await self._current() if generation is None else generation)
        return root.chain, issuing.chain

    async def roots(self) -> list[str]:
        """PEM of the roots that stations are to trust: the current one, then the next one; empty while there is none."""
        found = []
        async with self._database.read() as db:
            for one in await queries.generations(db):
                if one.state in ("current", "next"):
                    root = await queries.house(db, "root", generation=one.number)
                    if root is not None:
                        found.append(root.chain)
        return found

    async def revocation_list(self, revoked: Sequence[tuple[bytes, str, datetime]]) -> str:
        """PEM of the lists of those that each generation signed and that is not retired."""
        await self._current()
        lists = ""
        for one in await self.generations():
            if one.state == "retired":
                continue
            _, issuing = await self._signers_of(one.number)
            issuer = issuing.certificate.subject.public_bytes()
            ours = [(serial_number, at) for by, serial_number, at in revoked if by == issuer]
            lists += await asyncio.to_thread(pki.make_list, ours, issuing, datetime.now(UTC), _LIST_FOR)
        return lists

    async def server_certificate(self, names: list[str]) -> tuple[str, bytes]:
        """Chain and key (PEM) of the server's certificate for these names, by the current generation; a new one when the old one
        nears its end."""
        joined = ",".join(names)
        now = datetime.now(UTC)
        number = await self._current()
        async with self._database.read() as db:
            stored = await queries.house(db, "server", joined, number)
        if stored is None or stored.not_after - now < _RENEW_SERVER:
            _, issuing = await self._signers_of(number)

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
                stored = await queries.house(db, "server", joined, number)
                if stored is None or stored.not_after - now < _RENEW_SERVER:
                    await self._make(db, "server", make, joined, number)
                    stored = await queries.house(db, "server", joined, number)
        assert stored is not None
        signer = await asyncio.to_thread(self._opened, stored, "server")
        return signer.chain, pki.key_pem(signer.key)

    async def sign_firmware(self, sha256: bytes) -> tuple[str, str]:
        """Signing certificate (PEM) and signature (Base64) for a file by its digest; the signer is made at first use."""
        now = datetime.now(UTC)
        number = await self._newest()
        async with self._database.read() as db:
            stored = await queries.house(db, "firmware", generation=number)
        if stored is None or stored.not_after - now < _RENEW_FIRMWARE:
            _, issuing = await self._signers_of(number)

            def make() -> Signer:
                return pki.make_firmware_signer(
                    issuing, organization=self._organization, now=now, valid_for=timedelta(days=_FIRMWARE_DAYS)
                )

            async with self._database.change() as db:
                await queries.lock_house(db)
                stored = await queries.house(db, "firmware", generation=number)
                if stored is None or stored.not_after - now < _RENEW_FIRMWARE:
                    await self._make(db, "firmware", make, "", number)
                    stored = await queries.house(db, "firmware", generation=number)
        assert stored is not None
        signer = await asyncio.to_thread(self._opened, stored, "firmware")
        return signer.chain, await asyncio.to_thread(pki.sign_digest, signer, sha256)

    async def issuers(self) -> list[Issuer]:
        """Roots and intermediate authorities of all generations that were made and are not retired, for OCSP."""
        found: list[Issuer] = []
        for one in await self.generations():
            if one.state != "retired":
                found += [Issuer(signer.certificate, signer.key) for signer in await self._signers_of(one.number)]
        return found

    async def state_of(self, issuer: x509.Certificate, serial_number: int) -> tuple[bool, datetime | None]:
        """Whether that authority signed a station's certificate with this number, or is of ours itself; and when it was revoked."""
        if any(one.certificate.serial_number == serial_number for one in await self.issuers()):
            return True, None
        async with self._database.read() as db:
            return await queries.state_of(db, issuer.subject.public_bytes(), f"{serial_number:x}")

    # -- generations ---------------------------------------------------------------------------------------------------

    async def begin_rotation(self) -> int:
        """Makes the next generation; its number. Stations' certificates are signed by it from now on.

        Raises:
            ConflictError: there is a next one already.
        """
        before = await self._current()
        old_root, _ = await self._signers_of(before)
        async with self._database.change() as db:
            await queries.lock_house(db)
            there = await queries.generations(db)
            if any(one.state == "next" for one in there):
                raise ConflictError("There is a next generation already: activate it first.")
            number = max(one.number for one in there) + 1
            now = datetime.now(UTC)
            root, _ = await self._make_both(db, number, now)
            crossed = await asyncio.to_thread(pki.make_crossed, root, old_root, now)
            await queries.add_generation(db, number, "next", crossed)
        self.forget()
        return number

    async def activate(self, *, force: bool) -> int:
        """Makes the next generation the current one: the server shows a certificate that leads to its root. Its number.

        Args:
            force: also where stations that use TLS have not got the root.
        Raises:
            ConflictError: there is no next one, or stations have not got its root.
        """
        async with self._database.change() as db:
            await queries.lock_house(db)
            found = next((one for one in await queries.generations(db) if one.state == "next"), None)
            if found is None:
                raise ConflictError("There is no next generation: begin a rotation first.")
            progress = await queries.rollout(db, found.number)
            missing = progress.waiting + progress.refused
            if missing and not force:
                raise ConflictError(
                    f"{missing} stations that use TLS have not got the new root and would not find their way back. With force it is"
                    " activated all the same."
                )
            await queries.activate_generation(db, found.number)
        self.forget()
        return found.number

    async def retire(self, number: int, *, force: bool) -> None:
        """What an old generation signed is trusted no more.

        Args:
            force: also where stations' certificates of it hold that were not replaced.
        Raises:
            NotFoundError: there is no such generation.
            ConflictError: it is not old, or certificates of it are in use.
        """
        async with self._database.change() as db:
            await queries.lock_house(db)
            found = next((one for one in await queries.generations(db) if one.number == number), None)
            if found is None:
                raise NotFoundError("generation of the certificate authority", str(number))
            if found.state != "old":
                raise ConflictError(f"Generation {number} is {found.state}; only an old one can be retired.")
            issuing = await queries.house(db, "issuing", generation=number)
            left = 0 if issuing is None else await queries.living_of(db, pki.subject_of(issuing.chain))
            if left and not force:
                raise ConflictError(
                    f"{left} stations' certificates of generation {number} hold and were not replaced. With force it is retired all"
                    " the same."
                )
            await queries.retire_generation(db, number)
        self.forget()

    async def reseal(self) -> int:
        """Encrypts every key with the newest installation key; how many were not. Keys of a key that is gone are left."""
        changed = 0
        async with self._database.change() as db:
            await queries.lock_house(db)
            for ident, role, key in await queries.house_keys(db):
                if self._keys.is_current(key):
                    continue
                with contextlib.suppress(RuleError):
                    await queries.reseal_house(
                        db, ident, self._keys.encrypt(self._keys.decrypt(key, _purpose(role)), _purpose(role))
                    )
                    changed += 1
            await pool_queries.lock_pool(db)
            for name, (_, key) in (await pool_queries.pool_authorities(db)).items():
                purpose = f"pool authority {name}"
                if not self._keys.is_current(key):
                    with contextlib.suppress(RuleError):
                        sealed = self._keys.encrypt(self._keys.decrypt(key, purpose), purpose)
                        await pool_queries.reseal_pool_authority(db, name, sealed)
                        changed += 1
        return changed

    async def _current(self) -> int:
        """The current generation, made where there is none."""
        async with self._database.read() as db:
            found = next((one.number for one in await queries.generations(db) if one.state == "current"), None)
        if found is not None:
            return found
        async with self._database.change() as db:
            await queries.lock_house(db)
            if not await queries.generations(db):
                self._signers[1] = await self._make_both(db, 1, datetime.now(UTC))
                await queries.add_generation(db, 1, "current", None)
        self.forget()
        return 1

    async def _newest(self) -> int:
        number = await self._current()
        async with self._database.read() as db:
            return next((one.number for one in await queries.generations(db) if one.state == "next"), number)

    async def _signers_of(self, generation: int) -> tuple[Signer, Signer]:
        """Root and intermediate authority."""
        known = self._signers.get(generation)
        if known is None:
            async with self._database.read() as db:
                root = await queries.house(db, "root", generation=generation)
                issuing = await queries.house(db, "issuing", generation=generation)
            assert root is not None
            assert issuing is not None
            opened = self._opened
            known = self._signers[generation] = await asyncio.to_thread(
                lambda: (opened(root, "root"), opened(issuing, "issuing"))
            )
        return known

    async def _make_both(self, db: Db, generation: int, now: datetime) -> tuple[Signer, Signer]:
        organization = self._organization
        root = await self._make(db, "root", lambda: pki.make_root(organization, now, generation), "", generation)
        issuing = await self._make(
            db, "issuing", lambda: pki.make_issuing(organization, root, now, generation), "", generation
        )
        return root, issuing

    async def _make(
        self, db: Db, role: str, make: Callable[[], Signer], names: str = "", generation: int = 1
    ) -> Signer:
        signer = await asyncio.to_thread(make)
        sealed = self._keys.encrypt(pki.key_bytes(signer.key), _purpose(role))
        stored = HouseCertificate(signer.chain, sealed, signer.certificate.not_valid_after_utc)
        await queries.add_house(db, role, stored, names, generation)
        return signer

    def _opened(self, stored: HouseCertificate, role: str) -> Signer:
        return pki.signer_of(stored.chain, self._keys.decrypt(stored.key, _purpose(role)))


def _purpose(role: str) -> str:
    return f"house certificate {role}"
