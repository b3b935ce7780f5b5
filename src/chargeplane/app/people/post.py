"""Mails: written in the transaction they follow from, sent through the outbox, again and again until the mail server takes them.

The fact in the outbox holds the mail's number alone; the mail itself lies encrypted, for it holds secrets, and is gone when it was sent.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from chargeplane.domain.people.mails import Attachment, Letter
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact, OutboxWorker, Topic
from chargeplane.store.queries import mails as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.secrets import InstallationKeys

TOPIC: Final = "mail.send"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


class MailDoor(Protocol):
    """Where mails go out."""

    async def send(self, letter: Letter, ident: str) -> None:
        """Hands a mail over.

        Args:
            ident: the same at a repeat; part of the Message-ID.
        Raises:
            RuleError: it will never be taken.
            UnavailableError: not now.
        """
        ...


class Post:
    """Sends mails."""

    def __init__(self, database: Database, keys: InstallationKeys, door: MailDoor, outbox: OutboxWorker) -> None:
        self._database = database
        self._keys = keys
        self._door = door
        self._outbox = outbox

    def register(self) -> None:
        """Takes the facts of mails."""
        self._outbox.register(TOPIC, Topic(handler=self._send, timeout_s=60.0))

    async def write(
        self, db: Db, tenant_id: TenantId, letter: Letter, *, driver_id: int | None = None, user_id: int | None = None
    ) -> None:
        """Writes a mail within a change; it goes out when that is committed.

        Args:
            driver_id, user_id: whom it is for, so that it can be erased with them.
        """
        ident = await queries.insert(db, tenant_id, driver_id, user_id)
        await queries.seal(db, ident, self._keys.encrypt(_encode(letter), f"mail {ident}"))
        await queries.announce(db, tenant_id, TOPIC, ident)
        self._database.after_commit(db, self._outbox.hint)

    async def send(
        self,
        db: Db,
        tenant_id: TenantId,
        *,
        to: str,
        subject: str,
        text: str,
        language: str,
        html: str | None = None,
        attachments: tuple[Attachment, ...] = (),
        driver_id: int | None = None,
    ) -> None:
        """Writes a mail of the business (a receipt, an invoice) within a change; it goes out when that is committed."""
        letter = Letter(
            to=to, subject=" ".join(subject.split()), text=text, language=language, html=html, attachments=attachments
        )
        await self.write(db, tenant_id, letter, driver_id=driver_id)

    async def _send(self, fact: Fact) -> None:
        ident = int(fact.payload)
        async with self._database.read() as db:
            sealed = await queries.sealed(db, ident)
        if sealed is None:  # sent already, or erased with its person
            return
        await self._door.send(_decode(self._keys.decrypt(sealed, f"mail {ident}")), str(ident))
        async with self._database.change() as db:
            await queries.delete(db, ident)
