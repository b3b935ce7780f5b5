"""What is done about certificates without being asked: renewals, warnings, the next root on its way to the stations.

- A station's certificate that is past two thirds of its time is renewed: the station is asked to ask for one (A02), once a day, and not
  all stations at once. Those for its socket and those for Plug & Charge are looked after by themselves. Stations ask by themselves a month before the end (A03.FR.02), which may be never for short ones.
- Somebody is told of a certificate that ends within a fortnight and was not renewed, and of one that its station did not take.
- The root of the authority's next generation is brought to the stations that use TLS. A station that takes a new root only from the old
  one (AdditionalRootCertificateCheck, M05.FR.10) refuses it, and is given the one that the old root signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from chargeplane.app.authority import HouseAuthority
from chargeplane.app.commands import Commands
from chargeplane.app.security_events import SecurityEvents
from chargeplane.domain.certificates import CertificateUse, SigningUse
from chargeplane.domain.commands import CommandState, InstallCertificate, Trigger
from chargeplane.domain.security_events import ServerEvent
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import certificates as queries
from chargeplane.store.queries.certificates import Due

log = structlog.get_logger(__name__)

_RENEWED_A_ROUND: Final = 50
_WARN_DAYS: Final = 14
_ROOTS_AT_ONCE: Final = 20


class CertificateCare:
    """Looks after certificates from time to time.

    Args:
        authority: of the house; None where another one signs, which has its own generations.
        period_s: between two looks.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        security_events: SecurityEvents,
        authority: HouseAuthority | None,
        *,
        period_s: float = 300.0,
    ) -> None:
        self._database = database
        self._commands = commands
        self._log = security_events
        self._authority = authority
        self._period_s = period_s
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begins to look."""
        self._spawn(self._look())

    async def stop(self) -> None:
        """Lets go of what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look_now(self) -> None:
        """Something changed: the next look is at once."""
        self._wake.set()

    async def _look(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._renew()
                await self._warn()
                await self._roll_out()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("certificate_care_failed")
            try:
                async with asyncio.timeout(self._period_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _renew(self) -> None:
        async with self._database.change() as db:
            due = await queries.to_renew(db, _RENEWED_A_ROUND)
        for one in due:
            log.info("certificate_renewal_asked", station=one.station_id, not_after=one.not_after.isoformat())
            self._spawn(self._ask_to_renew(one))

    async def _ask_to_renew(self, due: Due) -> None:
        use = SigningUse.STATION if due.use is None else SigningUse(due.use)
        evse_id = None
        if not use.opens_door and due.subject is not None:
            # A02: where each EVSE has an SECC of its own, each is asked by itself.
            names = x509.Name.from_rfc4514_string(due.subject).get_attributes_for_oid(NameOID.COMMON_NAME)
            async with self._database.read() as db:
                evse_id = await queries.evse_of_secc(db, due.station_key, [str(name.value) for name in names])
        trigger = Trigger(message=use.trigger, evse_id=evse_id)
        await self._commands.ask(due.tenant_id, due.station_key, trigger, by="certificate renewal", valid_s=600)

    async def _warn(self) -> None:
        written = []
        async with self._database.change() as db:
            for one in await queries.about_to_expire(db, _WARN_DAYS, _RENEWED_A_ROUND):
                await queries.warned(db, one.id)
                details = {
                    "reason": f"The station's certificate ends on {one.not_after:%Y-%m-%d} and was not renewed.",
                    "subject": one.subject,
                    "not_after": one.not_after.isoformat(),
                    "certificate_id": str(one.id),
                }
                ident = await self._log.write(
                    db, one.tenant_id, one.station_key, ServerEvent.CERTIFICATE_EXPIRES, details
                )
                written.append((one.tenant_id, ident))
            for one, reason in await queries.not_taken(db, _RENEWED_A_ROUND):
                await queries.warned(db, one.id)
                details = {
                    "reason": f"The station did not take its certificate. {reason or ''}".strip(),
                    "subject": one.subject,
                    "certificate_id": str(one.id),
                }
                ident = await self._log.write(
                    db, one.tenant_id, one.station_key, ServerEvent.CERTIFICATE_NOT_MADE, details
                )
                written.append((one.tenant_id, ident))
        for tenant_id, ident in written:
            await self._log.show(tenant_id, ident)

    async def _roll_out(self) -> None:
        if self._authority is None:
            return
        found = next((one for one in await self._authority.generations() if one.state == "next"), None)
        if found is None:
            return
        root, _ = await self._authority.authorities(found.number)
        while True:
            async with self._database.change() as db:
                due = await queries.to_roll_out(db, found.number, _ROOTS_AT_ONCE)
            await asyncio.gather(
                *(self._bring_root(found.number, root, found.crossed, tenant_id, key) for tenant_id, key in due)
            )
            if len(due) < _ROOTS_AT_ONCE:
                return

    async def _bring_root(
        self, generation: int, root: str, crossed: str | None, tenant_id: TenantId, key: StationKey
    ) -> None:
        async def install(certificate: str) -> Any:
            command = InstallCertificate(use=CertificateUse.CSMS_ROOT, certificate=certificate)
            return await self._commands.ask(tenant_id, key, command, by="authority rotation")

        outcome = await install(root)
        if outcome.state is CommandState.REJECTED and crossed is not None:
            again = await install(crossed)
            if again.state is not CommandState.REJECTED:
                outcome = again
        state = {CommandState.ACCEPTED: "installed", CommandState.REJECTED: "refused"}.get(outcome.state, "asked")
        async with self._database.change() as db:
            await queries.rolled_out(db, generation, key, state, outcome.reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("certificate_care_task_failed", exc_info=task.exception())
