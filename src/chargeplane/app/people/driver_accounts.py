"""The drivers' own door: opening an account, signing in, and what secrets in mails do.

Nobody learns here who has an account: what is answered to a registration or a forgotten password is the same whether there is one or
not, takes as long, and the rest goes by mail.
"""

from __future__ import annotations

import asyncpg
from msgspec import Struct

from chargeplane.app.api_keys import SYSTEM_TENANT, Caller
from chargeplane.app.people.credentials import (
    Credentials,
    Door,
    PersonKind,
    driver_as_person,
    no_secret,
    require_good,
)
from chargeplane.app.people.drivers import Drivers, locked_driver
from chargeplane.app.people.guard import Guard
from chargeplane.app.people.logins import Logins, Signed
from chargeplane.app.people.passwords import Passwords
from chargeplane.domain.people.drivers import DriverContent, DriverStatus, check_driver, check_email, email_key, name_of
from chargeplane.domain.people.mails import MailedPurpose, Notice
from chargeplane.domain.people.passwords import fault_of
from chargeplane.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
)
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers as queries
from chargeplane.store.queries import logins as login_queries
from chargeplane.store.queries import tenants
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.drivers import DriverView, content_of
from chargeplane.store.queries.logins import LoginView


class Registration(Struct, frozen=True, kw_only=True):
    """An account to be opened.

    Args:
        tenant: slug; None for the default one.
    """

    email: str
    password: str
    content: DriverContent
    tenant: str | None


class DriverAccounts:
    """Use cases of drivers about their own accounts.

    Args:
        registration: whether drivers may open accounts by themselves.
    """

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        guard: Guard,
        logins: Logins,
        credentials: Credentials,
        drivers: Drivers,
        *,
        registration: bool = True,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._guard = guard
        self._logins = logins
        self._credentials = credentials
        self._drivers = drivers
        self._registration = registration

    async def register(self, wanted: Registration, address: str | None) -> None:
        """Opens an account, or tells its owner by mail that there is one.

        Raises:
            InvalidInputError: a value that is not allowed.
            ForbiddenError: drivers cannot open accounts by themselves here.
            ThrottledError: too many attempts for this address.
        """
        if not self._registration:
            raise ForbiddenError("Accounts are opened by the operator here.")
        faults = check_driver(wanted.content)
        if sentence := check_email(wanted.email):
            faults.append(("/email", sentence))
        if sentence := fault_of(wanted.password, wanted.email, name_of(wanted.content)):
            faults.append(("/password", sentence))
        if faults:
            raise InvalidInputError(f"The account cannot be opened: {faults[0][1]}.", tuple(faults))
        tenant_id = await self._tenant(wanted.tenant)
        await self._guard.begin(("register", str(tenant_id), email_key(wanted.email)), address)
        hashed = await self._passwords.hash(wanted.password)
        async with self._database.change() as db:
            there = await queries.by_email(db, tenant_id, wanted.email)
            if there is None:
                try:
                    async with db.transaction():
                        there = await queries.insert(
                            db, tenant_id, wanted.content, email=wanted.email, password_hash=hashed
                        )
                except asyncpg.UniqueViolationError:  # in the same moment; that one goes on
                    return
                await audit(
                    db,
                    tenant_id,
                    actor=f"driver:{there.id}",
                    action="register",
                    kind="driver",
                    ident=there.id,
                    after=there,
                )
                await self._credentials.mail_secret(
                    db, tenant_id, driver_as_person(there), MailedPurpose.VERIFY_EMAIL, email=wanted.email
                )
            elif not there.email_verified and there.has_password:
                # Nobody proved that the address is theirs: who reads its mails decides, by the newest registration.
                await queries.set_password(db, int(there.id), hashed)
                await self._credentials.mail_secret(
                    db, tenant_id, driver_as_person(there), MailedPurpose.VERIFY_EMAIL, email=wanted.email
                )
            elif not there.has_password:
                await self._credentials.mail_secret(
                    db, tenant_id, driver_as_person(there), MailedPurpose.RESET_PASSWORD, email=wanted.email
                )
            else:
                await self._credentials.notify(db, tenant_id, driver_as_person(there), Notice.ACCOUNT_EXISTS)

    async def verify_email(self, secret: str, address: str | None) -> None:
        """Takes the secret of a mail: the address is the driver's.

        Raises:
            InvalidInputError: it is none of ours, too old, or was used.
            ConflictError: another driver has the address by now.
        """
        attempt = await self._guard.begin(("mailed", address or ""), address)
        async with self._database.change() as db:
            found = await self._credentials.use_secret(
                db, secret, MailedPurpose.VERIFY_EMAIL, MailedPurpose.CHANGE_EMAIL
            )
            if found.driver_id is None or found.email is None:
                raise no_secret()
            before = await locked_driver(db, found.tenant_id, found.driver_id, None)
            if before.status in (DriverStatus.CLOSED, DriverStatus.ERASED):
                raise no_secret()
            try:
                view = await queries.update(
                    db,
                    found.driver_id,
                    content_of(before),
                    email=found.email,
                    external_id=before.external_id,
                    user_groups=before.user_groups,
                    verified=True,
                )
            except asyncpg.UniqueViolationError:
                raise ConflictError("There is another account with this e-mail address by now.") from None
            await audit(
                db,
                found.tenant_id,
                actor=f"driver:{found.driver_id}",
                action="verify-email",
                kind="driver",
                ident=view.id,
                before={"email": before.email, "email_verified": before.email_verified},
                after={"email": view.email, "email_verified": True},
            )
        await self._guard.succeeded(attempt)

    async def sign_in(self, tenant: str | None, email: str, password: str, door: Door) -> tuple[DriverView, Signed]:
        """Signs a driver in.

        Raises:
            UnauthenticatedError: no account has this address and password; which of them is wrong is not told.
            ForbiddenError: they are right, but the address was not verified, or the account is blocked.
            ThrottledError: too many attempts failed.
        """
        tenant_id = await self._tenant(tenant)
        attempt = await self._guard.begin(("driver", str(tenant_id), email_key(email)), door.address)
        async with self._database.read() as db:
            driver = await queries.by_email(db, tenant_id, email)
            stored = None if driver is None else await login_queries.password_of(db, int(driver.id))
        right = await self._passwords.verify(stored, password)
        if driver is None or not right:
            async with self._database.change() as db:
                ident = None if driver is None else int(driver.id)
                await self._credentials.tell_login(db, tenant_id, PersonKind.DRIVER, ident, "login-failed", door)
            raise UnauthenticatedError("No account has this e-mail address and password.")
        await self._guard.succeeded(attempt)
        if driver.status is not DriverStatus.ACTIVE:
            raise ForbiddenError("The account is blocked; write to the operator.")
        if not driver.email_verified:
            raise ForbiddenError(
                "The e-mail address was not verified: take the code from the mail, or register again for a new one."
            )
        async with self._database.change() as db:
            if stored is not None and self._passwords.outdated(stored):
                await queries.set_password(db, int(driver.id), await self._passwords.hash(password))
            signed = await self._logins.make(
                db, tenant_id, driver_id=int(driver.id), kind=door.kind, device=door.device, address=door.address
            )
            await self._credentials.tell_login(db, tenant_id, PersonKind.DRIVER, int(driver.id), "login", door)
        return driver, signed

    async def forgot_password(self, tenant: str | None, email: str, address: str | None) -> None:
        """Mails a secret for a new password, where there is an account.

        Raises:
            ThrottledError: too many for this address.
        """
        tenant_id = await self._tenant(tenant)
        await self._guard.begin(("forgot", str(tenant_id), email_key(email)), address)
        async with self._database.change() as db:
            driver = await queries.by_email(db, tenant_id, email)
            if driver is not None and driver.status is DriverStatus.ACTIVE and driver.email is not None:
                await self._credentials.note(db, tenant_id, driver_as_person(driver), "forgot-password")
                await self._credentials.mail_secret(
                    db, tenant_id, driver_as_person(driver), MailedPurpose.RESET_PASSWORD
                )

    async def reset_password(self, secret: str, password: str, address: str | None) -> None:
        """Sets a new password by the secret of a mail; everybody is signed out, and the address is verified by it.

        Raises:
            InvalidInputError: the secret is none of ours, too old, or was used; or the password is not good enough.
        """
        require_good(password)
        attempt = await self._guard.begin(("mailed", address or ""), address)
        hashed = await self._passwords.hash(password)
        async with self._database.change() as db:
            found = await self._credentials.use_secret(db, secret, MailedPurpose.RESET_PASSWORD)
            if found.driver_id is None:
                raise no_secret()
            driver = await locked_driver(db, found.tenant_id, found.driver_id, None)
            if driver.status is not DriverStatus.ACTIVE:
                raise no_secret()
            await queries.set_password(db, found.driver_id, hashed)
            if driver.email == found.email:
                await login_queries.email_verified(db, found.driver_id)
            await login_queries.revoke_all(db, driver_id=found.driver_id)
            await self._credentials.password_changed(db, found.tenant_id, driver_as_person(driver))
        await self._guard.succeeded(attempt)

    async def change_password(self, caller: Caller, old: str, new: str, address: str | None) -> None:
        """Sets another password; all other devices are signed out.

        Raises:
            InvalidInputError: the old one is wrong, or the new one not good enough.
            ThrottledError: too many attempts failed.
        """
        driver = await self._drivers.one(caller, caller.driver_id)
        require_good(new, driver.email, name_of(driver), pointer="/new_password")
        await self.prove(caller, old, address)
        hashed = await self._passwords.hash(new)
        async with self._database.change() as db:
            await queries.set_password(db, caller.driver_id, hashed)
            await login_queries.revoke_all(db, driver_id=caller.driver_id, but=caller.login_id)
            await login_queries.forget_mailed(db, driver_id=caller.driver_id)
            await self._credentials.password_changed(db, caller.tenant_id, driver_as_person(driver))

    async def change_email(self, caller: Caller, email: str, password: str, address: str | None) -> None:
        """Mails a secret to another address; by it the address becomes the driver's.

        Raises:
            InvalidInputError: it is no address, or the password is wrong.
            ThrottledError: too many attempts failed.
        """
        if sentence := check_email(email):
            raise InvalidInputError(f"'{email}' is wrong: {sentence}.", (("/email", sentence),))
        await self.prove(caller, password, address)
        async with self._database.change() as db:
            driver = await locked_driver(db, caller.tenant_id, caller.driver_id, None)
            other = await queries.by_email(db, caller.tenant_id, email)
            await self._credentials.note(db, caller.tenant_id, driver_as_person(driver), "ask-for-another-email")
            if other is not None and other.id != driver.id:
                await self._credentials.notify(db, caller.tenant_id, driver_as_person(other), Notice.ACCOUNT_EXISTS)
            else:
                await self._credentials.mail_secret(
                    db, caller.tenant_id, driver_as_person(driver), MailedPurpose.CHANGE_EMAIL, email=email
                )

    async def close(self, caller: Caller, password: str, address: str | None) -> None:
        """Closes the caller's account.

        Raises:
            InvalidInputError: the password is wrong.
            ThrottledError: too many attempts failed.
        """
        await self.prove(caller, password, address)
        driver = await self._drivers.one(caller, caller.driver_id)
        await self._drivers.close(caller, caller.driver_id, "by the driver")
        async with self._database.change() as db:
            await self._credentials.notify(db, caller.tenant_id, driver_as_person(driver), Notice.ACCOUNT_CLOSED)

    async def prove(self, caller: Caller, password: str, address: str | None) -> None:
        """Has the caller prove the password once more.

        Raises:
            InvalidInputError: it is wrong.
            ThrottledError: too many attempts failed.
        """
        driver = await self._drivers.one(caller, caller.driver_id)
        async with self._database.read() as db:
            stored = await login_queries.password_of(db, caller.driver_id)
        await self._credentials.prove(driver_as_person(driver), stored, password, address)

    # Devices

    async def devices(self, caller: Caller) -> list[LoginView]:
        """Where the caller is signed in, newest first."""
        async with self._database.read() as db:
            return await login_queries.page(db, driver_id=caller.driver_id, current=caller.login_id)

    async def sign_out(self, caller: Caller, login_id: int) -> None:
        """Signs a device out.

        Raises:
            NotFoundError: the caller is not signed in by it.
        """
        async with self._database.change() as db:
            if not await login_queries.revoke(db, login_id, driver_id=caller.driver_id):
                raise NotFoundError("device", str(login_id))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="logout",
                kind="driver",
                ident=str(caller.driver_id),
                after={"login": login_id},
            )

    # What they share

    async def _tenant(self, slug: str | None) -> TenantId:
        if slug is None:
            return SYSTEM_TENANT
        async with self._database.read() as db:
            found = await tenants.id_of(db, slug)
        if found is None:
            sentence = f"There is no tenant '{slug}'"
            raise InvalidInputError(f"{sentence}.", (("/tenant", sentence),))
        return found
