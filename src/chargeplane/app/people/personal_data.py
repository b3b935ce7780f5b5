"""What is known of a driver, given out and erased (GDPR, articles 15, 17 and 20).

Erasing has two steps. At once, in one transaction, goes what is about the driver alone: account, logins, id tokens, vehicles, cards, mails. Then,
through the outbox and table by table, the driver's id tokens, e-mail address, phone and tax number are replaced by a pseudonym wherever else they
stand: in transactions, the message log, commands, what was written down. So meter values and statistics stay true and lead to nobody. Records that
tax law wants kept as they were issued (CDRs, invoices, ledger, agreements) stay until that time is over; what they are is told in the result.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.people.drivers import locked_driver
from chargeplane.domain.people.drivers import Country, DriverStatus
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, OutboxWorker, Topic
from chargeplane.store.queries import drivers, logins, transactions, vehicles
from chargeplane.store.queries import personal_data as queries
from chargeplane.store.queries.audit import AuditFilter, audit
from chargeplane.store.queries.audit import page as audit_page
from chargeplane.store.queries.authorization import note_change
from chargeplane.store.queries.drivers import OwnTransactionFilter
from chargeplane.store.queries.id_tokens import one as id_token
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.vehicles import VehicleFilter
from chargeplane.store.secrets import InstallationKeys

TOPIC: Final = "driver.erase"
_MOST: Final = 10_000

RETENTION_YEARS: Final[dict[str, int]] = {"DE": 8, "SE": 7, "NL": 7, "FR": 10, "GB": 6, "US": 7, "AT": 7, "CH": 10}
"""Years for which invoices and what they rest on are kept, by country; `LONGEST_YEARS` elsewhere."""

LONGEST_YEARS: Final = 10


class Holder(Protocol):
    """A part of the house that holds data of drivers beside those named here."""

    async def export(self, db: Db, tenant_id: TenantId, driver_id: int) -> Any:
        """What it holds, as values that can be written as JSON; None for nothing."""
        ...


class Erasure(Struct, frozen=True, kw_only=True):
    """What becomes of an erasure.

    Args:
        id: of the request.
        retention_years: for how long records that tax law wants kept stay, from the year in which they were issued.
    """

    id: str
    driver_id: str
    retention_years: int


class PersonalData:
    """Use cases about drivers' data."""

    def __init__(self, database: Database, keys: InstallationKeys, outbox: OutboxWorker) -> None:
        self._database = database
        self._keys = keys
        self._outbox = outbox
        self.holders: dict[str, Holder] = {}
        """By name in the archive: parts of the house that hold more; they add themselves."""

    def register(self) -> None:
        """Takes the facts of erasures."""
        self._outbox.register(TOPIC, Topic(handler=self._sweep, timeout_s=110.0))

    async def export(self, caller: Caller, driver_id: int) -> dict[str, Any]:
        """All that is known of a driver, as values that can be written as JSON.

        Raises:
            NotFoundError: the tenant has no such driver.
        """
        tenant_id = caller.tenant_id
        async with self._database.change() as db:
            driver = await locked_driver(db, tenant_id, driver_id, None)
            own = await drivers.transactions_of(db, tenant_id, driver_id, OwnTransactionFilter(), _MOST, None)
            archive: dict[str, Any] = {
                "driver": driver,
                "id_tokens": await drivers.tokens_of(db, tenant_id, driver_id),
                "vehicles": await vehicles.page(db, tenant_id, VehicleFilter(driver_id=driver_id), _MOST, None),
                "devices": await logins.page(db, driver_id=driver_id),
                "transactions": [
                    found for ident in own if (found := await transactions.one(db, tenant_id, ident)) is not None
                ],
                "history": await audit_page(
                    db, tenant_id, AuditFilter(object_kind="driver", object_id=str(driver_id)), _MOST, None
                ),
            }
            for name, holder in self.holders.items():
                archive[name] = await holder.export(db, tenant_id, driver_id)
            await audit(db, tenant_id, actor=caller.actor, action="export-data", kind="driver", ident=str(driver_id))
        return archive

    async def erase(self, caller: Caller, driver_id: int) -> Erasure:
        """Erases a driver; see the head of this file.

        Raises:
            NotFoundError: the tenant has no such driver, or the driver was erased.
            ConflictError: the driver charges at this moment.
        """
        tenant_id = caller.tenant_id
        async with self._database.change() as db:
            driver = await locked_driver(db, tenant_id, driver_id, None)
            if driver.status is DriverStatus.ERASED:
                raise NotFoundError("driver", str(driver_id))
            if await queries.open_transactions_of(db, tenant_id, driver_id):
                raise ConflictError("The driver charges at this moment: stop the transaction first.")
            tokens = await drivers.tokens_of(db, tenant_id, driver_id)
            words = await words_of(db, tenant_id, driver_id)
            for token in tokens:
                before = await id_token(db, tenant_id, int(token.id), lock=True)
                if before is not None:
                    await note_change(db, tenant_id, before)
            request = await queries.begin_request(db, tenant_id, driver_id, "erase", caller.actor)
            sealed = self._keys.encrypt(msgspec.json.encode(words), f"data request {request}")
            await queries.seal_request(db, request, sealed, TOPIC, tenant_id)
            await queries.forget_rows(db, tenant_id, driver_id)
            years = RETENTION_YEARS.get(_country_of(driver.country), LONGEST_YEARS)
            await audit(
                db,
                tenant_id,
                actor=caller.actor,
                action="erase",
                kind="driver",
                ident=str(driver_id),
                after={"id_tokens": len(tokens), "retention_years": years},
            )
            self._database.after_commit(db, self._outbox.hint)
        return Erasure(id=str(request), driver_id=str(driver_id), retention_years=years)

    async def _sweep(self, fact: Fact) -> None:
        request = int(fact.payload)
        async with self._database.read() as db:
            found = await queries.sealed_request(db, request)
        if found is None:
            return
        tenant_id, _, sealed = found
        words = msgspec.json.decode(self._keys.decrypt(sealed, f"data request {request}"), type=list[tuple[str, str]])
        changed: dict[str, int] = {}
        # A connection of its own: a large table takes longer than a request may.
        writer = await self._database.connect_writer("erase")
        try:
            for place in await queries.text_columns(writer):
                if place.table in queries.KEPT_BY_LAW:
                    continue
                async with writer.transaction():
                    count = await queries.replace_in(writer, place, tenant_id, words)
                if count:
                    changed[place.table] = count
            result = {"replaced": changed, "kept": sorted(queries.KEPT_BY_LAW)}
            await queries.end_request(writer, request, msgspec.json.encode(result).decode())
        finally:
            await writer.close()


async def words_of(db: Db, tenant_id: TenantId, driver_id: int) -> list[tuple[str, str]]:
    """What names a driver wherever it stands, each with what stands in its place afterwards: id tokens, numbers of cards, e-mail address, phone,
    tax id, the operator's number, the whole name, lines of addresses, cars' plates and numbers. A first or last name alone is others' too.
    """
    driver = await drivers.one(db, tenant_id, driver_id)
    if driver is None:
        return []
    tokens = await drivers.tokens_of(db, tenant_id, driver_id)
    words = [(token.id_token, f"erased-{driver_id}-{place}") for place, token in enumerate(tokens, 1)]
    cars = await vehicles.page(db, tenant_id, VehicleFilter(driver_id=driver_id), _MOST, None)
    lines = [
        line
        for address in (driver.billing_address, driver.delivery_address)
        if address is not None
        for line in address.lines
    ]
    told = [
        driver.email,
        driver.phone,
        driver.tax_id,
        driver.external_id,
        None if None in (driver.first_name, driver.last_name) else f"{driver.first_name} {driver.last_name}",
        *(token.visual_number for token in tokens),
        *lines,
        *(number for car in cars for number in (car.licence_plate, car.vin)),
    ]
    words += [(word, f"erased-{driver_id}") for word in dict.fromkeys(told) if word is not None and len(word) >= 5]
    return words


def _country_of(country: Country | None) -> str:
    return country or ""
