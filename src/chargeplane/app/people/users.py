"""Users as an owner administers them: who works with a tenant, in which role."""

from __future__ import annotations

import asyncpg
from msgspec import Struct

from chargeplane.app.api_keys import ALL_SCOPES, SYSTEM_TENANT, Caller, Scope
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.people.credentials import Credentials, user_as_person
from chargeplane.app.people.passwords import Passwords
from chargeplane.domain.people.drivers import check_email
from chargeplane.domain.people.mails import MailedPurpose
from chargeplane.domain.people.passwords import fault_of
from chargeplane.domain.people.roles import Role, scopes_of
from chargeplane.kernel.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import logins
from chargeplane.store.queries import users as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.users import UserView


class NewUser(Struct, frozen=True, kw_only=True):
    """A user to be made, or one of another tenant to be taken in.

    Args:
        password: None: the user chooses one by an invitation that is mailed.
    """

    email: str
    name: str
    role: Role
    language: str | None = None
    password: str | None = None


class Users:
    """Use cases about users."""

    def __init__(self, database: Database, passwords: Passwords, credentials: Credentials) -> None:
        self._database = database
        self._passwords = passwords
        self._credentials = credentials

    async def page(
        self, caller: Caller, q: str | None, role: Role | None, limit: int, after: Position | None
    ) -> list[UserView]:
        """The tenant's users, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, q, role and role.value, limit, after)

    async def one(self, caller: Caller, ident: int) -> UserView:
        """A user of the tenant.

        Raises:
            NotFoundError: the tenant has no such user.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("user", str(ident))
        return found

    async def create(self, caller: Caller, wanted: NewUser) -> UserView:
        """A new user of the tenant; one that another tenant has gets a role here, and keeps name and password.

        Raises:
            InvalidInputError: a value that is not allowed.
            ForbiddenError: the role allows more than the caller may.
            ConflictError: the tenant has the user already.
        """
        may_give(caller, wanted.role)
        faults = []
        if sentence := check_email(wanted.email):
            faults.append(("/email", sentence))
        if wanted.password is not None and (sentence := fault_of(wanted.password, wanted.email, wanted.name)):
            faults.append(("/password", sentence))
        if faults:
            raise InvalidInputError(f"The user cannot be made: {faults[0][1]}.", tuple(faults))
        hashed = None if wanted.password is None else await self._passwords.hash(wanted.password)
        async with self._database.change() as db:
            there = await queries.by_email(db, wanted.email, lock=True)
            if there is None:
                try:
                    async with db.transaction():
                        ident = await queries.insert(db, wanted.email, wanted.name, wanted.language, hashed)
                except asyncpg.UniqueViolationError:
                    raise ConflictError(f"There is a user '{wanted.email}' who cannot be taken in.") from None
            else:
                ident = there.id
                if await queries.one(db, caller.tenant_id, ident) is not None:
                    raise ConflictError(f"The tenant has the user '{wanted.email}' already; change the role.")
            await queries.set_role(db, ident, caller.tenant_id, wanted.role)
            view = await self._found(db, caller, ident)
            if not view.has_password:
                await self._invite(db, caller, view)
            await self._note(db, caller, "create", None, view)
        return view

    async def change(
        self,
        caller: Caller,
        ident: int,
        role: Role | None,
        name: str | None,
        language: str | None,
        if_revision: int | None,
    ) -> UserView:
        """Gives a user another role, or another name.

        Args:
            role, name, language: None leaves them.
        Raises:
            NotFoundError: the tenant has no such user.
            ForbiddenError: the role allows more than the caller may.
            ConflictError: it is the last owner.
            StaleError: the user has another revision.
        """
        async with self._database.change() as db:
            before = await self._found(db, caller, ident, lock=True)
            if if_revision is not None and if_revision != before.revision:
                raise StaleError(str(ident), before.revision)
            if role is not None and role is not before.role:
                may_give(caller, before.role)
                may_give(caller, role)
                await self._keep_an_owner(db, caller.tenant_id, before)
                await queries.set_role(db, ident, caller.tenant_id, role)
            if name is not None or language is not None:
                await queries.describe(db, ident, name or before.name, language or before.language)
            view = await self._found(db, caller, ident)
            await self._note(db, caller, "update", before, view)
        return view

    async def remove(self, caller: Caller, ident: int) -> None:
        """Takes a user's role in the tenant, and signs the user out of it; who has no role anywhere is removed.

        Raises:
            NotFoundError: the tenant has no such user.
            ForbiddenError: the user may do more than the caller.
            ConflictError: it is the last owner.
        """
        async with self._database.change() as db:
            before = await self._found(db, caller, ident, lock=True)
            may_give(caller, before.role)
            await self._keep_an_owner(db, caller.tenant_id, before)
            await logins.revoke_all(db, user_id=ident, tenant_id=caller.tenant_id)
            await queries.take_role(db, ident, caller.tenant_id)
            await self._note(db, caller, "delete", before, None)

    async def invite(self, caller: Caller, ident: int) -> None:
        """Mails the invitation again.

        Raises:
            NotFoundError: the tenant has no such user.
            ConflictError: the user has a password already.
        """
        async with self._database.change() as db:
            view = await self._found(db, caller, ident, lock=True)
            if view.has_password:
                raise ConflictError("The user has a password already; a new one is had by 'forgot password'.")
            await self._invite(db, caller, view)
            await self._note(db, caller, "invite", None, view)

    async def reset_second_factor(self, caller: Caller, ident: int) -> UserView:
        """Takes the second factor from a user who lost it; the user is signed out everywhere.

        Raises:
            NotFoundError: the tenant has no such user.
            ForbiddenError: the user may do more than the caller, or works with other tenants too.
        """
        async with self._database.change() as db:
            before = await self._found(db, caller, ident, lock=True)
            may_give(caller, before.role)
            # One tenant's owner must not open the way to what the user has elsewhere.
            elsewhere = len(await queries.memberships(db, ident)) > 1
            if elsewhere and not (caller.tenant_id == SYSTEM_TENANT and caller.may(Scope.ADMIN)):
                raise ForbiddenError(
                    "The user works with other tenants too; an administrator of the default tenant takes the second factor away."
                )
            await queries.set_totp(db, ident, None, None)
            await queries.set_recovery_codes(db, ident, [])
            await logins.revoke_all(db, user_id=ident)
            view = await self._found(db, caller, ident)
            await self._note(db, caller, "reset-second-factor", before, view)
        return view

    async def _keep_an_owner(self, db: Db, tenant_id: TenantId, view: UserView) -> None:
        if view.role is Role.OWNER and await queries.owners(db, tenant_id) == [int(view.id)]:
            raise ConflictError("It is the last owner of the tenant; make another one first.")

    async def _found(self, db: Db, caller: Caller, ident: int, *, lock: bool = False) -> UserView:
        found = await queries.one(db, caller.tenant_id, ident, lock=lock)
        if found is None:
            raise NotFoundError("user", str(ident))
        return found

    async def _invite(self, db: Db, caller: Caller, view: UserView) -> None:
        role = view.role.value.replace("_", " ")
        await self._credentials.mail_secret(
            db,
            caller.tenant_id,
            user_as_person(view),
            MailedPurpose.INVITE_USER,
            limited=False,
            values={"by": caller.name, "role": role},
        )

    async def _note(self, db: Db, caller: Caller, action: str, before: UserView | None, after: UserView | None) -> None:
        one = after or before
        assert one is not None
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind="user",
            ident=one.id,
            before=before,
            after=after,
        )


def may_give(caller: Caller, role: Role) -> None:
    """Nobody gives, or takes, more than they have."""
    if not caller.may(Scope.ADMIN) and not scopes_of(role, ALL_SCOPES) <= caller.scopes:
        raise ForbiddenError(f"The role '{role}' allows more than you may.")
