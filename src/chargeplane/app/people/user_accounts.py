"""Users sign in: by password and one-time code."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from chargeplane.app.api_keys import SYSTEM_TENANT, Caller
from chargeplane.app.people.credentials import (
    Credentials,
    Door,
    PersonKind,
    no_secret,
    require_good,
    user_as_person,
)
from chargeplane.app.people.guard import Guard
from chargeplane.app.people.logins import Logins, Signed
from chargeplane.app.people.passwords import Passwords
from chargeplane.domain.people.drivers import email_key
from chargeplane.domain.people.mails import MailedPurpose
from chargeplane.domain.people.roles import Role
from chargeplane.domain.people.totp import SECRET_BYTES, address_of, matching_step, text_of
from chargeplane.kernel.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthenticatedError,
)
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import logins as login_queries
from chargeplane.store.queries import tenants
from chargeplane.store.queries import users as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.logins import LoginView
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.users import Membership, StoredUser
from chargeplane.store.secrets import InstallationKeys

RECOVERY_CODES: Final = 10
_ISSUER: Final = "Chargeplane"
_RECOVERY_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"


class SecondFactorError(UnauthenticatedError):
    """The password is right; a one-time code is needed too."""

    def __init__(self) -> None:
        super().__init__("Send the code of your authenticator app, or a recovery code, as 'code' too.")


class Who(Struct, frozen=True, kw_only=True):
    """A user who is signed in.

    Args:
        tenant: slug of the tenant that requests are about; `tenants` are all of the user's.
        scopes: what the role there allows.
    """

    id: str
    email: str
    name: str
    language: str | None
    tenant: str
    role: Role
    scopes: list[str]
    tenants: list[Membership]
    second_factor: bool


class TotpSetup(Struct, frozen=True, kw_only=True):
    """What an authenticator app is set up by.

    Args:
        secret: base32, for typing.
        address: `otpauth:`, for a QR code.
    """

    secret: str
    address: str


class UserAccounts:
    """Use cases of users about their own accounts."""

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        passwords: Passwords,
        guard: Guard,
        logins: Logins,
        credentials: Credentials,
    ) -> None:
        self._database = database
        self._keys = keys
        self._passwords = passwords
        self._guard = guard
        self._logins = logins
        self._credentials = credentials

    async def sign_in(
        self, email: str, password: str, code: str | None, tenant: str | None, door: Door
    ) -> tuple[Who, Signed]:
        """Signs a user in.

        Args:
            code: of the authenticator app, or a recovery code.
            tenant: slug; None takes the first of the user's.
        Raises:
            UnauthenticatedError: no user has this address and password; which of them is wrong is not told.
            SecondFactorError: they are right, and a code is needed, or the one given is wrong.
            ForbiddenError: the user has no role in the tenant.
            ThrottledError: too many attempts failed.
        """
        attempt = await self._guard.begin(("user", email_key(email)), door.address)
        async with self._database.read() as db:
            user = await queries.by_email(db, email)
        right = await self._passwords.verify(None if user is None else user.password_hash, password)
        if user is None or not right:
            await self._failed(user, door)
            raise UnauthenticatedError("No user has this e-mail address and password.")
        if user.totp_since is not None:
            if code is None:
                # Half of it was right: no failure, and no success that would let a guesser of codes begin anew.
                raise SecondFactorError
            if not await self._second_factor(user, code):
                await self._failed(user, door)
                raise SecondFactorError
        await self._guard.succeeded(attempt)
        if user.password_hash is not None and self._passwords.outdated(user.password_hash):
            hashed = await self._passwords.hash(password)
            async with self._database.change() as db:
                await queries.set_password(db, user.id, hashed)
        return await self.admit(user, tenant, door)

    async def admit(self, user: StoredUser, tenant: str | None, door: Door) -> tuple[Who, Signed]:
        """Makes a login for a user who has been proved.

        Raises:
            ForbiddenError: the user has no role in the tenant.
        """
        async with self._database.change() as db:
            memberships = await queries.memberships(db, user.id)
            chosen = next((one for one in memberships if tenant in (None, one.tenant)), None)
            if chosen is None:
                raise ForbiddenError(f"You have no role in the tenant '{tenant}'." if tenant else "You have no role.")
            tenant_id = await tenants.id_of(db, chosen.tenant)
            assert tenant_id is not None
            signed = await self._logins.make(
                db, tenant_id, user_id=user.id, kind=door.kind, device=door.device, address=door.address
            )
            await self._credentials.tell_login(db, tenant_id, PersonKind.USER, user.id, "login", door)
        caller = await self._logins.authenticate(signed.token)
        assert caller is not None
        return await self.who(caller), signed

    async def who(self, caller: Caller) -> Who:
        """Who the caller is.

        Raises:
            ForbiddenError: the caller is no user.
        """
        if not caller.user_id:
            raise ForbiddenError("This is about a user who is signed in; an API key is nobody.")
        async with self._database.read() as db:
            user = await queries.stored(db, caller.user_id)
            memberships = await queries.memberships(db, caller.user_id)
            slug = await tenants.slug_of(db, caller.tenant_id)
        if caller.confined:
            memberships = [one for one in memberships if one.tenant == slug]
        role = next((one.role for one in memberships if one.tenant == slug), None)
        if user is None or role is None:
            raise UnauthenticatedError("The user is gone.")
        return Who(
            id=str(user.id),
            email=user.email,
            name=user.name,
            language=user.language,
            tenant=slug,
            role=role,
            scopes=sorted(caller.scopes),
            tenants=memberships,
            second_factor=user.totp_since is not None,
        )

    async def switch(self, caller: Caller, tenant: str, door: Door) -> tuple[Who, Signed]:
        """Signs the caller in to another tenant, and out of this one.

        Raises:
            ForbiddenError: the caller has no role there, or was signed on by a provider of this tenant.
        """
        if caller.confined:
            raise ForbiddenError(
                "You were signed on by a provider of this tenant alone; sign in to the other one itself."
            )
        user = await self._user(caller)
        found = await self.admit(user, tenant, door)
        await self.sign_out(caller, caller.login_id)
        return found

    # Sessions

    async def sessions(self, caller: Caller) -> list[LoginView]:
        """Where the caller is signed in, newest first."""
        async with self._database.read() as db:
            return await login_queries.page(
                db, user_id=caller.user_id or -1, current=caller.login_id, tenant_id=_reach(caller)
            )

    async def sign_out(self, caller: Caller, login_id: int) -> None:
        """Ends a session of the caller.

        Raises:
            NotFoundError: the caller has no such session.
        """
        async with self._database.change() as db:
            if not caller.user_id or not await login_queries.revoke(
                db, login_id, user_id=caller.user_id, tenant_id=_reach(caller)
            ):
                raise NotFoundError("session", str(login_id))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="logout",
                kind="user",
                ident=str(caller.user_id),
                after={"login": login_id},
            )

    # Passwords

    async def forgot_password(self, email: str, address: str | None) -> None:
        """Mails a secret for a new password, where there is a user; nobody learns whether there is.

        Raises:
            ThrottledError: too many for this address.
        """
        await self._guard.begin(("forgot user", email_key(email)), address)
        async with self._database.change() as db:
            user = await queries.by_email(db, email)
            memberships = [] if user is None else await queries.memberships(db, user.id)
            tenant_id = await tenants.id_of(db, memberships[0].tenant) if memberships else None
            if user is None or tenant_id is None:
                return
            await self._credentials.note(db, tenant_id, user_as_person(user), "forgot-password")
            await self._credentials.mail_secret(db, tenant_id, user_as_person(user), MailedPurpose.RESET_USER_PASSWORD)

    async def reset_password(self, secret: str, password: str, address: str | None) -> None:
        """Sets a password by the secret of a mail, an invitation too; the user is signed out everywhere.

        Raises:
            InvalidInputError: the secret is none of ours, too old, or was used; or the password is not good enough.
        """
        require_good(password)
        attempt = await self._guard.begin(("mailed", address or ""), address)
        hashed = await self._passwords.hash(password)
        async with self._database.change() as db:
            found = await self._credentials.use_secret(
                db, secret, MailedPurpose.RESET_USER_PASSWORD, MailedPurpose.INVITE_USER
            )
            user = None if found.user_id is None else await queries.stored(db, found.user_id)
            if user is None:
                raise no_secret()
            await self._set_password(db, found.tenant_id, user, hashed, but=0)
        await self._guard.succeeded(attempt)

    async def change_password(self, caller: Caller, old: str, new: str, address: str | None) -> None:
        """Sets another password; all other sessions end.

        Raises:
            InvalidInputError: the old one is wrong, or the new one not good enough.
            ThrottledError: too many attempts failed.
        """
        user = await self._user(caller)
        require_good(new, user.email, user.name, pointer="/new_password")
        await self._prove(user, old, address)
        hashed = await self._passwords.hash(new)
        async with self._database.change() as db:
            await self._set_password(db, caller.tenant_id, user, hashed, but=caller.login_id)

    # The second factor

    async def begin_totp(self, caller: Caller, password: str, address: str | None) -> TotpSetup:
        """Makes a secret for an authenticator app; it counts when a code of it was given.

        Raises:
            InvalidInputError: the password is wrong.
            ConflictError: there is one already.
        """
        user = await self._user(caller)
        if user.totp_since is not None:
            raise ConflictError("There is a second factor already; remove it first.")
        await self._prove(user, password, address)
        secret = secrets.token_bytes(SECRET_BYTES)
        async with self._database.change() as db:
            await queries.set_totp(db, user.id, self._keys.encrypt(secret, f"totp {user.id}"), None)
            await self._note(db, caller.tenant_id, user.id, "second-factor-begun")
        return TotpSetup(secret=text_of(secret), address=address_of(secret, _ISSUER, user.email))

    async def confirm_totp(self, caller: Caller, code: str) -> list[str]:
        """Takes a first code: from now on one is asked for. The recovery codes, which are told here alone.

        Raises:
            InvalidInputError: the code is wrong.
            ConflictError: nothing waits for a code.
            ThrottledError: too many attempts failed.
        """
        user = await self._user(caller)
        if user.totp_secret is None or user.totp_since is not None:
            raise ConflictError("Nothing waits for a code: begin anew.")
        attempt = await self._guard.begin(("totp", str(user.id)), None)
        secret = self._keys.decrypt(user.totp_secret, f"totp {user.id}")
        step = matching_step(secret, code, datetime.now(UTC), user.totp_last_step)
        if step is None:
            raise InvalidInputError("The code is wrong.", (("/code", "Is not the code of this moment"),))
        await self._guard.succeeded(attempt)
        codes = ["-".join(_word() for _ in range(3)) for _ in range(RECOVERY_CODES)]
        async with self._database.change() as db:
            await queries.set_totp(db, user.id, user.totp_secret, datetime.now(UTC))
            await queries.use_totp_step(db, user.id, step)
            await queries.set_recovery_codes(db, user.id, [_recovery_hash(one) for one in codes])
            await login_queries.revoke_all(db, user_id=user.id, but=caller.login_id)
            await self._note(db, caller.tenant_id, user.id, "second-factor-on")
        return codes

    async def end_totp(self, caller: Caller, password: str, code: str, address: str | None) -> None:
        """Takes the second factor away.

        Raises:
            InvalidInputError: the password or the code is wrong.
            ConflictError: there is none.
            ThrottledError: too many attempts failed.
        """
        user = await self._user(caller)
        if user.totp_since is None:
            raise ConflictError("There is no second factor.")
        await self._prove(user, password, address)
        attempt = await self._guard.begin(("totp", str(user.id)), address)
        if not await self._second_factor(user, code):
            raise InvalidInputError("The code is wrong.", (("/code", "Is not a code of this moment or was used"),))
        await self._guard.succeeded(attempt)
        async with self._database.change() as db:
            await queries.set_totp(db, user.id, None, None)
            await queries.set_recovery_codes(db, user.id, [])
            await self._note(db, caller.tenant_id, user.id, "second-factor-off")

    # What they share

    async def _user(self, caller: Caller) -> StoredUser:
        if not caller.user_id:
            raise ForbiddenError("This is about a user who is signed in; an API key is nobody.")
        async with self._database.read() as db:
            user = await queries.stored(db, caller.user_id)
        if user is None:
            raise UnauthenticatedError("The user is gone.")
        return user

    async def _second_factor(self, user: StoredUser, code: str) -> bool:
        assert user.totp_secret is not None
        secret = self._keys.decrypt(user.totp_secret, f"totp {user.id}")
        step = matching_step(secret, code, datetime.now(UTC), user.totp_last_step)
        async with self._database.change() as db:
            if step is not None:
                return await queries.use_totp_step(db, user.id, step)
            used = await queries.use_recovery_code(db, user.id, _recovery_hash(code))
            if used:
                await self._note(db, SYSTEM_TENANT, user.id, "recovery-code-used")
            return used

    async def _prove(self, user: StoredUser, password: str, address: str | None) -> None:
        await self._credentials.prove(user_as_person(user), user.password_hash, password, address)

    async def _set_password(self, db: Db, tenant_id: TenantId, user: StoredUser, hashed: str, *, but: int) -> None:
        await queries.set_password(db, user.id, hashed)
        await login_queries.revoke_all(db, user_id=user.id, but=but)
        await login_queries.forget_mailed(db, user_id=user.id)
        await self._credentials.password_changed(db, tenant_id, user_as_person(user))

    async def _note(self, db: Db, tenant_id: TenantId, user_id: int, action: str) -> None:
        await audit(db, tenant_id, actor=f"user:{user_id}", action=action, kind="user", ident=str(user_id))

    async def _failed(self, user: StoredUser | None, door: Door) -> None:
        async with self._database.change() as db:
            # The same is asked of the database for a user who is not there.
            memberships = await queries.memberships(db, -1 if user is None else user.id)
            tenant_id = await tenants.id_of(db, memberships[0].tenant if memberships else "")
            ident = None if user is None else user.id
            await self._credentials.tell_login(
                db, tenant_id or SYSTEM_TENANT, PersonKind.USER, ident, "login-failed", door
            )


def _reach(caller: Caller) -> TenantId | None:
    """The tenant that a login is confined to; None where it is not."""
    return caller.tenant_id if caller.confined else None


def _recovery_hash(code: str) -> bytes:
    return hashlib.sha256("".join(c for c in code.lower() if c.isalnum()).encode()).digest()


def _word() -> str:
    return "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(5))
