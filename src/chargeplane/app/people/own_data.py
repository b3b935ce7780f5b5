"""What the parts of the house hold of a driver, as the driver's archive gives it out (`PersonalData.holders`): sessions, CDRs, invoices, payments,
accounts, agreements, bookings, what the driver did, and where else the driver's words stand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from chargeplane.app.agreements.views import version_shown
from chargeplane.app.bookings.views import view_of
from chargeplane.app.cdrs.views import cdr_view
from chargeplane.app.people.personal_data import Holder, PersonalData, words_of
from chargeplane.app.sessions.views import session_view
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.model import PartyKind
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries import (
    agreements,
    audit,
    bookings,
    cdrs,
    invoices,
    payment_accounts,
    payments,
    personal_data,
    sessions,
)
from chargeplane.store.queries.agreements import AgreementFilter
from chargeplane.store.queries.audit import AuditFilter
from chargeplane.store.queries.bookings import BookingFilter
from chargeplane.store.queries.cdrs import CdrFilter
from chargeplane.store.queries.invoices import InvoiceFilter
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.payments import PaymentFilter
from chargeplane.store.queries.sessions import SessionFilter

_MOST: Final = 10_000

Export = Callable[[Db, TenantId, int], Awaitable[Any]]


class Part:
    """A holder that is one function."""

    def __init__(self, export: Export) -> None:
        self._export = export

    async def export(self, db: Db, tenant_id: TenantId, driver_id: int) -> Any:
        """What it holds."""
        return await self._export(db, tenant_id, driver_id)


def register(data: PersonalData) -> None:
    """Has all parts give out what they hold."""
    parts: dict[str, Export] = {
        "sessions": _sessions,
        "cdrs": _cdrs,
        "invoices": _invoices,
        "payments": _payments,
        "accounts": _accounts,
        "agreements": _agreements,
        "bookings": _bookings,
        "actions": _actions,
        "elsewhere": _elsewhere,
    }
    holders: dict[str, Holder] = {name: Part(export) for name, export in parts.items()}
    data.holders.update(holders)


async def _sessions(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    found = await sessions.page(db, tenant_id, SessionFilter(driver_id=driver_id), _MOST, None)
    return [session_view(one) for one in found]


async def _cdrs(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    found = await cdrs.whole_page(db, tenant_id, CdrFilter(driver_id=driver_id), _MOST, None)
    return [{"id": str(one.id), "cdr": cdr_view(one), "content": said} for one, said in found]


async def _invoices(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    found = []
    for invoice in await invoices.page(db, tenant_id, InvoiceFilter(driver_id=driver_id), _MOST, None):
        whole = await invoices.one(db, tenant_id, invoice.id)
        if whole is not None:
            paid = await invoices.payments(db, tenant_id, invoice.id)
            found.append({"id": str(invoice.id), "invoice": whole[0], "content": whole[1], "payments": paid})
    return found


async def _payments(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    return await payments.page(db, tenant_id, PaymentFilter(driver_id=str(driver_id)), _MOST, None)


async def _accounts(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    found = []
    for kind in ("wallet", "credit"):
        for account in await payment_accounts.page(db, tenant_id, kind, str(driver_id), _MOST, None):
            moved = await payment_accounts.entries(db, int(account.id), account.balance.currency, None, _MOST, None)
            found.append({"id": account.id, "account": account, "entries": moved})
    return found


async def _agreements(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    now = datetime.now(UTC)
    wanted = AgreementFilter(now=now, party=str(driver_id))
    found = []
    for stored in await agreements.page(db, tenant_id, wanted, _MOST, None):
        whole = as_of(stored.agreement, now)
        own = [one for one in whole.parties if one.kind is PartyKind.DRIVER and one.id == str(driver_id)]
        if own:
            versions = [version_shown(one, whole.version) for one in whole.versions]
            found.append(
                {
                    "id": str(whole.id),
                    "number": whole.number,
                    "state": whole.state,
                    "parties": own,
                    "versions": versions,
                }
            )
    return found


async def _bookings(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    found = await bookings.page(db, tenant_id, BookingFilter(driver_id=str(driver_id)), _MOST, None)
    return [view_of(one) for one in found]


async def _actions(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    return await audit.page(db, tenant_id, AuditFilter(actor=f"driver:{driver_id}"), _MOST, None)


async def _elsewhere(db: Db, tenant_id: TenantId, driver_id: int) -> Any:
    """In how many rows of which tables the driver's words stand. The rows themselves (messages of stations, local lists, what was told to
    others) hold what is others' too, and are not given out."""
    words = [word for word, _ in await words_of(db, tenant_id, driver_id)]
    return await personal_data.count_places(db, tenant_id, words) if words else {}
