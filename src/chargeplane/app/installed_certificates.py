"""Root certificates on stations: installed, listed, deleted, and kept as the station tells them (OCPP 2.0.1 M03 to M05).

After every installation and deletion the station is asked what it has now. The root by which it trusts this server, and the last one
of a use, are deleted only by force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, Send, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.reach import StationReach
from chargeplane.domain.certificates import (
    CertificateError,
    CertificateHashData,
    CertificateUse,
    HashAlgorithm,
    InstalledCertificate,
    InstalledCertificates,
    hash_data_of,
    read_certificates,
)
from chargeplane.domain.commands import (
    Command,
    CommandOutcome,
    CommandState,
    DeleteCertificate,
    GetInstalledCertificateIds,
    InstallCertificate,
)
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import installed_certificates as queries
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.installed_certificates import InstalledCertificateView, Known

log = structlog.get_logger(__name__)

_USES16: Final = (CertificateUse.CSMS_ROOT, CertificateUse.MANUFACTURER_ROOT)

_REACHED_WITHIN_S: Final = 10.0
"""Somebody waits for the answer: a station that is away for longer has not told."""

Roots = Callable[[], Awaitable[Sequence[str]]]
"""PEM of the roots that lead to this server's certificate; none where they are not known."""


class InstalledView(Struct, frozen=True, kw_only=True):
    """What a station has.

    Args:
        listed_at: when it last told all of it; null where it never did.
    """

    items: list[InstalledCertificateView]
    listed_at: object = None


class InstalledCertificatesOf:
    """Use cases about certificates on stations.

    Args:
        roots: those that lead to this server's certificate.
    """

    def __init__(
        self, database: Database, commands: Commands, reach: StationReach, events: EventFeed, roots: Roots
    ) -> None:
        self._database = database
        self._commands = commands
        self._reach = reach
        self._events = events
        self._roots = roots
        self._tasks: set[asyncio.Task[None]] = set()
        commands.wholes[InstallCertificate] = self._install
        commands.wholes[DeleteCertificate] = self._delete
        commands.wholes[GetInstalledCertificateIds] = self._list

    async def stop(self) -> None:
        """Lets go of questions under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- commands, with what comes before and after --------------------------------------------------------------------

    async def _install(
        self, tenant_id: TenantId, key: StationKey, command: InstallCertificate, send: Send, by: str
    ) -> CommandOutcome:
        outcome = await send(command)
        if outcome.state is CommandState.ACCEPTED:
            (certificate,) = read_certificates(command.certificate)
            known = Known(subject=certificate.subject.rfc4514_string()[:500], not_after=certificate.not_valid_after_utc)
            async with self._database.change() as db:
                algorithm = await queries.algorithm_of(db, key) or HashAlgorithm.SHA256
                try:
                    await queries.add(
                        db, key, command.use, hash_data_of(command.certificate, algorithm).folded(), known
                    )
                except CertificateError:
                    pass  # not a root: the station's list will name it
            self._look_again(tenant_id, key)
        return outcome

    async def _delete(
        self, tenant_id: TenantId, key: StationKey, command: DeleteCertificate, send: Send, by: str
    ) -> CommandOutcome:
        async with self._database.read() as db:
            there = await queries.all_of(db, key)
            algorithm = await queries.algorithm_of(db, key)
        if command.certificate is not None and command.hash_data is None and algorithm is not None:
            command = replace(command, hash_algorithm=algorithm)  # M04.FR.07: the one it lists with
        if not command.force:
            needed = await self._why_needed(command, there)
            if needed is not None:
                return CommandOutcome(
                    state=CommandState.REJECTED, reason=f"{needed} With force it is deleted all the same."
                )
        outcome = await send(command)
        if outcome.state is CommandState.ACCEPTED:
            name = _name_of(command)
            if name is not None:
                async with self._database.change() as db:
                    await queries.remove(db, key, name)
        if outcome.state is CommandState.ACCEPTED or outcome.status == "NotFound":
            self._look_again(tenant_id, key)
        return outcome

    async def _why_needed(self, command: DeleteCertificate, there: Sequence[InstalledCertificateView]) -> str | None:
        name = _name_of(command)
        if name is None:
            return None  # what cannot be named is refused when it is written
        if name in await self._in_use(name.hash_algorithm):
            return "By this root the station trusts this server: without it, it may not come back."
        mine = [one for one in there if one.below is None]
        use = next((one.use for one in mine if _named(one) == name), None)
        if use == CertificateUse.CSMS_ROOT and sum(one.use == use for one in mine) == 1:
            return "It is the last root by which the station can trust a server."
        return None

    async def _list(
        self, tenant_id: TenantId, key: StationKey, command: GetInstalledCertificateIds, send: Send, by: str
    ) -> CommandOutcome:
        outcome = await send(command)
        told = reply_of(outcome, InstalledCertificates)
        if outcome.state is CommandState.ACCEPTED and told is not None:
            async with self._database.change() as db:
                await queries.replace(db, key, command.uses or None, told.certificates)
        return outcome

    def _look_again(self, tenant_id: TenantId, key: StationKey) -> None:
        task = asyncio.ensure_future(self._refreshed(tenant_id, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refreshed(self, tenant_id: TenantId, key: StationKey) -> None:
        try:
            await self.refresh(tenant_id, key)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("installed_certificates_not_read", station_key=key)

    async def refresh(self, tenant_id: TenantId, key: StationKey) -> bool:
        """Asks a station what it has; whether it told."""
        if await self._reach.version(key) != "1.6":
            outcome = await self._ask(tenant_id, key, GetInstalledCertificateIds())
            return outcome.state is CommandState.ACCEPTED
        told: list[InstalledCertificate] = []
        for use in _USES16:
            outcome = await self._ask(tenant_id, key, GetInstalledCertificateIds(uses=(use,)))
            found = reply_of(outcome, InstalledCertificates)
            if outcome.state is not CommandState.ACCEPTED or found is None:
                return False
            told += found.certificates
        async with self._database.change() as db:
            await queries.replace(db, key, None, told)
        return True

    async def _ask(self, tenant_id: TenantId, key: StationKey, command: Command) -> CommandOutcome:
        return await self._commands.ask(tenant_id, key, command, by="security", valid_s=_REACHED_WITHIN_S)

    async def _in_use(self, algorithm: HashAlgorithm) -> set[CertificateHashData]:
        """The names of the roots that lead to this server's certificate."""
        found = set()
        for pem in await self._roots():
            try:
                found.add(hash_data_of(pem, algorithm).folded())
            except CertificateError:
                continue
        return found

    # -- for people ----------------------------------------------------------------------------------------------------

    async def all_of(self, caller: Caller, station_id: str, *, refresh: bool = False) -> InstalledView:
        """What a station has, by its last answer, or by a new one.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        if refresh:
            await self.refresh(caller.tenant_id, key)
        async with self._database.read() as db:
            there = await queries.all_of(db, key)
            listed_at = await queries.listed_at(db, key)
        used: dict[HashAlgorithm, set[CertificateHashData]] = {}
        shown = []
        for one in there:
            name = _named(one)
            algorithm = name.hash_algorithm
            if algorithm not in used:
                used[algorithm] = await self._in_use(algorithm)
            shown.append(replace(one, in_use=name in used[algorithm]))
        return InstalledView(items=shown, listed_at=listed_at)

    async def install(
        self, caller: Caller, station_id: str, use: CertificateUse, certificate: str | None, wait_s: float
    ) -> CommandView:
        """Has a station trust a root; the house's where none is given.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: no certificate is given and there is none of the house for that use.
        """
        if certificate is None:
            roots = await self._roots() if use is CertificateUse.CSMS_ROOT else ()
            if not roots:
                sentence = "Give the certificate: there is none of the house for that use"
                raise InvalidInputError(f"{sentence}.", (("/certificate", sentence),))
            certificate = roots[-1]
        return await self._commands.command(
            caller, station_id, InstallCertificate(use=use, certificate=certificate), wait_s=wait_s
        )

    async def delete(
        self,
        caller: Caller,
        station_id: str,
        serial_number: str,
        use: CertificateUse | None,
        *,
        force: bool,
        wait_s: float,
    ) -> CommandView:
        """Has a station delete a certificate it listed.

        Raises:
            NotFoundError: the tenant has no such station, or it listed no such certificate.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            there = await queries.all_of(db, key)
        wanted = serial_number.lower().lstrip("0") or "0"
        found = [one for one in there if one.serial_number == wanted and use in (None, one.use)]
        if not found:
            raise NotFoundError("installed certificate", serial_number)
        command = DeleteCertificate(hash_data=_named(found[0]), force=force)
        return await self._commands.command(caller, station_id, command, wait_s=wait_s)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key


def _named(view: InstalledCertificateView) -> CertificateHashData:
    return CertificateHashData(
        hash_algorithm=HashAlgorithm(view.hash_algorithm),
        issuer_name_hash=view.issuer_name_hash,
        issuer_key_hash=view.issuer_key_hash,
        serial_number=view.serial_number,
    )


def _name_of(command: DeleteCertificate) -> CertificateHashData | None:
    if command.hash_data is not None:
        return command.hash_data.folded()
    if command.certificate is None:
        return None
    try:
        return hash_data_of(command.certificate, command.hash_algorithm).folded()
    except CertificateError:
        return None
