"""What drivers and users have in common where they prove who they are: secrets in mails, passwords given once more, and what the audit
log tells of logins.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.people.guard import Guard
from chargeplane.app.people.passwords import Passwords
from chargeplane.app.people.post import Post
from chargeplane.domain.people.drivers import DriverStatus, email_key, name_of
from chargeplane.domain.people.mails import VALID_FOR, Letter, MailedPurpose, Notice, letter
from chargeplane.domain.people.passwords import fault_of
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers, tenants, users
from chargeplane.store.queries import logins as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.drivers import DriverView
from chargeplane.store.queries.logins import KnownSecret, MailedSecret
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.users import StoredUser, UserView

MOST_MAILS: Final = 5
"""With a secret of one purpose to one person within `_MAILS_WITHIN`."""

_MAILS_WITHIN: Final = timedelta(hours=1)


class Door(Struct, frozen=True, kw_only=True):
    """How somebody came in.

    Args:
        kind: cookie or bearer.
        device: as it calls itself.
        address: from where.
    """

    kind: str
    device: str | None
    address: str | None


class PersonKind(enum.StrEnum):
    """Who signs in, in the words of the audit log."""

    DRIVER = "driver"
    USER = "user"


class Person(Struct, frozen=True, kw_only=True):
    """A driver or a user, as far as letters go.

    Args:
        id: ours, within the kind.
        email: None: gets no letters.
    """

    kind: PersonKind
    id: int
    name: str | None
    email: str | None
    language: str | None

    @property
    def driver_id(self) -> int | None:
        """Our id of the driver; None for a user."""
        return self.id if self.kind is PersonKind.DRIVER else None

    @property
    def user_id(self) -> int | None:
        """Our id of the user; None for a driver."""
        return self.id if self.kind is PersonKind.USER else None


def driver_as_person(view: DriverView) -> Person:
    """A driver."""
    return Person(kind=PersonKind.DRIVER, id=int(view.id), name=name_of(view), email=view.email, language=view.language)


def user_as_person(user: StoredUser | UserView) -> Person:
    """A user."""
    return Person(kind=PersonKind.USER, id=int(user.id), name=user.name, email=user.email, language=user.language)


def hash_of_secret(secret: str) -> bytes:
    """What is stored of a secret that a mail carries: SHA-256; it is random, so nothing slower is needed."""
    return hashlib.sha256(secret.strip().encode()).digest()


def no_secret(pointer: str = "/code") -> InvalidInputError:
    """That a secret cannot be used; whether there ever was one is not told."""
    sentence = "Is unknown, too old or was used; have a new one sent"
    return InvalidInputError(f"The code of the mail cannot be used: {sentence}.", ((pointer, sentence),))


def require_good(password: str, *about: str | None, pointer: str = "/password") -> None:
    """Refuses a password that is too easy.

    Args:
        about: what it may not be: the e-mail address, the name.
    Raises:
        InvalidInputError: it is not good enough.
    """
    if sentence := fault_of(password, *about):
        raise InvalidInputError(f"The password is not good enough: {sentence}.", ((pointer, sentence),))


class SecretState(Struct, frozen=True, kw_only=True):
    """How a secret of a mail stands.

    Args:
        known: it is one of ours, for what it was shown for.
        works: it would be taken now.
    """

    known: bool
    works: bool


class Credentials:
    """Writes letters with and without secrets, has passwords proved, tells the audit log.

    Args:
        link_base: address that links in mails begin with, without a slash at its end.
    """

    def __init__(self, database: Database, passwords: Passwords, guard: Guard, post: Post, *, link_base: str) -> None:
        self._database = database
        self._passwords = passwords
        self._guard = guard
        self._post = post
        self._link_base = link_base

    async def mail_secret(
        self,
        db: Db,
        tenant_id: TenantId,
        person: Person,
        purpose: MailedPurpose,
        *,
        email: str | None = None,
        limited: bool = True,
        values: Mapping[str, str] | None = None,
    ) -> None:
        """Mails a secret that works once, for a while; those of the same purpose before it work no more.

        Args:
            email: where to, and what it verifies; the person's own address unless given.
            limited: nothing is mailed where the person got `MOST_MAILS` of the purpose lately.
            values: what the text speaks of beside name, tenant, link, code and hours.
        """
        to = email or person.email
        if to is None:
            return
        whose = {"driver_id": person.driver_id, "user_id": person.user_id}
        since = datetime.now(UTC) - _MAILS_WITHIN
        if limited and await queries.mailed_lately(db, purpose, since, **whose) >= MOST_MAILS:
            return
        secret = secrets.token_urlsafe(24)
        until = datetime.now(UTC) + VALID_FOR[purpose]
        await queries.keep_mailed(db, tenant_id, hash_of_secret(secret), purpose, until, **whose, email=to)
        language = "" if person.language is None else f"&lang={person.language.partition('-')[0].lower()}"
        said = {
            "link": f"{self._link_base}/account/{purpose.value.replace('_', '-')}?code={secret}{language}",
            "code": secret,
            "hours": str(int(VALID_FOR[purpose].total_seconds() // 3600)),
            **(values or {}),
        }
        await self._write(db, tenant_id, person, purpose, to, said)

    async def notify(self, db: Db, tenant_id: TenantId, person: Person, notice: Notice, **values: str) -> None:
        """Mails something without a secret, where there is an address."""
        if person.email is not None:
            await self._write(db, tenant_id, person, notice, person.email, values)

    async def use_secret(self, db: Db, secret: str, *purposes: MailedPurpose) -> MailedSecret:
        """Uses the secret of a mail up.

        Raises:
            InvalidInputError: it is none of ours for this, too old, or was used.
        """
        found = await queries.use_mailed(db, hash_of_secret(secret), purposes)
        if found is None:
            raise no_secret()
        return found

    async def look_at_secret(self, secret: str, address: str | None, purpose: MailedPurpose) -> SecretState:
        """How a secret of a mail stands; it stays as it is.

        Raises:
            ThrottledError: too many guesses.
        """
        attempt = await self._guard.begin(("mailed", address or ""), address)
        async with self._database.read() as db:
            found = await queries.mailed(db, hash_of_secret(secret))
        if found is None or found.purpose is not purpose:
            return SecretState(known=False, works=False)
        await self._guard.succeeded(attempt)
        return SecretState(known=True, works=found.used_at is None and found.expires_at > datetime.now(UTC))

    async def mail_again(self, secret: str, address: str | None, purpose: MailedPurpose) -> None:
        """Mails a new secret to where one went that works no more, if the person still needs one; nobody learns whether.

        Raises:
            ThrottledError: too many guesses, or too many mails.
        """
        attempt = await self._guard.begin(("mailed", address or ""), address)
        async with self._database.change() as db:
            found = await queries.mailed(db, hash_of_secret(secret))
            if found is None or found.purpose is not purpose:
                return
            person = await self._who_waits(db, found)
            if person is not None:
                values = {} if purpose is not MailedPurpose.INVITE_USER else await self._invitation(db, found)
                await self.mail_secret(db, found.tenant_id, person, purpose, email=found.email, values=values)
        await self._guard.succeeded(attempt)

    async def _who_waits(self, db: Db, found: KnownSecret) -> Person | None:
        """Whom a secret went to, where there is still something to be done with a new one."""
        if found.driver_id is not None:
            driver = await drivers.one(db, found.tenant_id, found.driver_id)
            if driver is None or driver.status is not DriverStatus.ACTIVE:
                return None
            same = (
                driver.email is not None
                and found.email is not None
                and email_key(driver.email) == email_key(found.email)
            )
            waits = {
                MailedPurpose.VERIFY_EMAIL: same and not driver.email_verified,
                MailedPurpose.CHANGE_EMAIL: not same and found.used_at is None,
                MailedPurpose.RESET_PASSWORD: same,
            }
            return driver_as_person(driver) if waits.get(found.purpose, False) else None
        user = None if found.user_id is None else await users.one(db, found.tenant_id, found.user_id)
        if user is None or (found.purpose is MailedPurpose.INVITE_USER and user.has_password):
            return None
        return user_as_person(user)

    async def _invitation(self, db: Db, found: KnownSecret) -> dict[str, str]:
        user = None if found.user_id is None else await users.one(db, found.tenant_id, found.user_id)
        role = "" if user is None else user.role.value.replace("_", " ")
        return {"role": role, "by": await tenants.name_of(db, found.tenant_id)}

    async def prove(self, person: Person, stored: str | None, password: str, address: str | None) -> None:
        """Has a person who is signed in give the password once more.

        Args:
            stored: its hash.
        Raises:
            InvalidInputError: it is wrong.
            ThrottledError: too many attempts failed.
        """
        attempt = await self._guard.begin(("prove", person.kind.value, str(person.id)), address)
        if not await self._passwords.verify(stored, password):
            raise InvalidInputError("The password is wrong.", (("/password", "Is not the password of the account"),))
        await self._guard.succeeded(attempt)

    async def password_changed(self, db: Db, tenant_id: TenantId, person: Person, actor: str | None = None) -> None:
        """Tells the person by mail, and the audit log, of another password."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        await self.notify(db, tenant_id, person, Notice.PASSWORD_CHANGED, time=now)
        await self.note(db, tenant_id, person, "change-password", actor=actor)

    async def note(
        self, db: Db, tenant_id: TenantId, person: Person, action: str, *, actor: str | None = None, **after: object
    ) -> None:
        """Tells the audit log of something a person did to the own account."""
        kind, ident = person.kind.value, str(person.id)
        await audit(
            db,
            tenant_id,
            actor=actor or f"{kind}:{ident}",
            action=action,
            kind=kind,
            ident=ident,
            after=after or None,
        )

    async def tell_login(
        self, db: Db, tenant_id: TenantId, kind: PersonKind, ident: int | None, action: str, door: Door, **more: object
    ) -> None:
        """Tells the audit log that somebody came in, or did not.

        Args:
            ident: None where nobody knows who it was.
        """
        who = "unknown" if ident is None else str(ident)
        await audit(
            db,
            tenant_id,
            actor=f"{kind.value}:{who}",
            action=action,
            kind=kind.value,
            ident=who,
            after={"address": door.address, "device": door.device, "kind": door.kind, **more},
        )

    async def _write(
        self,
        db: Db,
        tenant_id: TenantId,
        person: Person,
        kind: MailedPurpose | Notice,
        to: str,
        values: dict[str, str],
    ) -> None:
        known = {"name": person.name or "", "tenant": await tenants.name_of(db, tenant_id), **values}
        made: Letter = replace(letter(kind, to, person.language, known), to=to)
        await self._post.write(db, tenant_id, made, driver_id=person.driver_id, user_id=person.user_id)
