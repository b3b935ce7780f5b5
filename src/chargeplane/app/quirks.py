"""Rules about vendors, models and firmwares: what holds for a tenant's stations, and the tenant's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chargeplane.app.api_keys import Caller
from chargeplane.app.reach import Directory
from chargeplane.domain.quirks import Origin, Quirk, QuirkTable, checked
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import quirks as queries
from chargeplane.store.queries.audit import audit


class Tables(Protocol):
    """The rules in memory."""

    def quirks(self, tenant: TenantId) -> QuirkTable:
        """Those about a tenant's stations."""
        ...


class Quirks:
    """Use cases about rules.

    Args:
        directory: brings a change to every node.
        tables: of this node.
    """

    def __init__(self, database: Database, directory: Directory, tables: Tables) -> None:
        self._database = database
        self._directory = directory
        self._tables = tables

    def rules(self, caller: Caller) -> tuple[tuple[Quirk, Origin], ...]:
        """What holds for the tenant's stations: of the package, of the operator's file, the tenant's own."""
        return self._tables.quirks(caller.tenant_id).rules

    def rule(self, caller: Caller, name: str) -> tuple[Quirk, Origin] | None:
        """A rule that holds for the tenant's stations."""
        return self._tables.quirks(caller.tenant_id).rule(name)

    def of(
        self, caller: Caller, vendor: str | None, model: str | None, firmware: str | None, station_id: str
    ) -> tuple[Quirk, ...]:
        """The rules that a station is known by, from its last boot."""
        return self._tables.quirks(caller.tenant_id).of(vendor, model, firmware, station_id).quirks

    async def replace(self, caller: Caller, rules: Sequence[Quirk]) -> tuple[tuple[Quirk, Origin], ...]:
        """Gives the tenant its own rules in place of those it had; they hold on every node, for open connections too, when this returns.

        Raises:
            InvalidInputError: a rule is wrong; names the field.
        """
        rules = checked(rules)
        async with self._database.change() as db:
            before = await queries.replace(db, caller.tenant_id, rules)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind="quirks",
                ident="quirks",
                before=before,
                after=rules,
            )
        await self._directory.refresh_tenants()
        return self.rules(caller)
