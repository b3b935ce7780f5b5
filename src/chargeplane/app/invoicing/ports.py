"""What invoicing asks others: who drivers are, how mail goes out, how documents are drawn."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from msgspec import Struct

from chargeplane.domain.invoicing.model import InvoiceContent
from chargeplane.domain.people.mails import Attachment
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.drivers import DriverView
from chargeplane.store.queries.paging import Db


class People(Protocol):
    """Who knows drivers."""

    async def driver(self, tenant_id: TenantId, driver_id: str, db: Db | None = None) -> DriverView | None:
        """Who a driver is; None where there is none."""
        ...


class Mailer(Protocol):
    """Who sends mail."""

    async def send(
        self,
        db: Db,
        tenant_id: TenantId,
        *,
        to: str,
        subject: str,
        text: str,
        language: str,
        attachments: tuple[Attachment, ...] = (),
        driver_id: int | None = None,
    ) -> None:
        """Takes a mail within the caller's transaction, to be sent once that is committed."""
        ...


class Document(Struct, frozen=True, kw_only=True):
    """What is drawn: an issued invoice with its dates."""

    number: str
    issued_on: datetime
    due_on: datetime
    content: InvoiceContent
