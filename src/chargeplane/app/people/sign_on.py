"""Users sign on by a provider of identities (OpenID Connect Core 1.0, authorization code with PKCE).

What protects it, in the order in which it is looked at: the `state` is ours, comes back once, in time, and from the browser it went from; the
code is changed for an ID token over our own connection, with the verifier that only this attempt had; the ID token is signed by a key of the
provider, for us, now, and for this attempt (nonce). Then it is decided who the person is here:

1. An identity that is linked is its user's.
2. Else an e-mail address for which the provider vouches makes the link, once. An address without `email_verified` links nothing.
3. Else, where the provider may make users, a user without a password is made.

A tenant's provider is trusted by that tenant alone: its logins are for that tenant, cannot be switched to another, and see nothing of others. The
role follows the provider's rules at every sign-on where it has some.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Final, Protocol

import asyncpg
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.people.credentials import Credentials, Door, PersonKind
from chargeplane.app.people.guard import Guard
from chargeplane.app.people.logins import Logins, Signed
from chargeplane.app.people.sign_on_providers import secret_purpose
from chargeplane.domain.people.lockout import BY_ADDRESS
from chargeplane.domain.people.roles import Role
from chargeplane.domain.people.sign_on import Identity, SignOnFault, return_path, role_of
from chargeplane.kernel.errors import NotFoundError, PeerError, UnauthenticatedError
from chargeplane.store.database import Database
from chargeplane.store.queries import logins as login_queries
from chargeplane.store.queries import sign_on as queries
from chargeplane.store.queries import tenants, users
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.sign_on import Attempt, Provider
from chargeplane.store.secrets import InstallationKeys

ATTEMPT_FOR: Final = timedelta(minutes=10)
"""How long somebody may take at the provider."""

_LONGEST_SID: Final = 255

SIGNED_IN: Final = "/account/signed-in"
"""Where a browser goes that named no other page."""

SIGNED_OUT: Final = "/account/signed-out"


class SignOnError(UnauthenticatedError):
    """A sign-on did not work.

    Args:
        why: in words for who administers; people get their own by `fault`.
    """

    def __init__(self, fault: SignOnFault, why: str) -> None:
        super().__init__(f"The sign-on did not work: {why}")
        self.fault = fault


class Client(Struct, frozen=True, kw_only=True):
    """Who we are at a provider.

    Args:
        secret: None for a public client.
    """

    issuer: str
    client_id: str
    secret: str | None
    scopes: tuple[str, ...]
    clock_skew_s: int
    max_age_s: int | None


class SignedOut(Struct, frozen=True, kw_only=True):
    """Who has signed out at a provider.

    Args:
        subject, sid: the person and the session there, at least one of them.
        at: when the provider said so.
    """

    subject: str | None
    sid: str | None
    at: datetime


class Ask(Struct, frozen=True, kw_only=True):
    """What goes to the provider with a browser.

    Args:
        challenge: of PKCE (RFC 7636, S256).
    """

    state: str
    nonce: str
    challenge: str
    redirect_uri: str


class Proof(Struct, frozen=True, kw_only=True):
    """What the provider's answer must fit."""

    code: str
    nonce: str
    verifier: str
    redirect_uri: str


class IdentityProviders(Protocol):
    """Asks providers, over the network."""

    async def begin(self, client: Client, ask: Ask) -> str:
        """Where the browser is to go.

        Raises:
            PeerError: the provider does not say.
        """
        ...

    async def came_from(self, client: Client, issuer: str | None) -> bool:
        """Whether an answer that names this issuer, or none, may be the provider's (RFC 9207)."""
        ...

    async def identity(self, client: Client, proof: Proof) -> Identity:
        """Who came back.

        Raises:
            PeerError: the provider does not answer, or says no.
            UntrustedError: it answers what proves nothing.
        """
        ...

    async def end_session(self, client: Client, id_token: str | None, return_to: str) -> str | None:
        """Where a browser signs out of the provider too (OpenID Connect RP-Initiated Logout 1.0); None where it has no such place."""
        ...

    async def ended(self, client: Client, logout_token: str) -> SignedOut:
        """Of whom a provider says that they have signed out there.

        Raises:
            PeerError: the provider does not say its keys.
            UntrustedError: the token proves nothing.
        """
        ...


class UntrustedError(PeerError):
    """What a provider answered proves nothing: not signed by it, not for us, not now, or not for this attempt."""


class Begun(Struct, frozen=True, kw_only=True):
    """A sign-on that goes to its provider.

    Args:
        url: where the browser is to go.
        cookie_name, cookie: what the browser is to bring back.
    """

    url: str
    cookie_name: str
    cookie: str


class Returned(Struct, frozen=True, kw_only=True):
    """What a browser brought back from the provider.

    Args:
        issuer: `iss` (RFC 9207).
        error: of the provider, in place of a code.
        cookies: all that the browser has for us.
    """

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None
    cookies: dict[str, str]


class SignedOn(Struct, frozen=True, kw_only=True):
    """A sign-on that worked.

    Args:
        return_to: a path of ours.
    """

    signed: Signed
    return_to: str


class SignOn:
    """Use cases of users about signing on by a provider."""

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        guard: Guard,
        logins: Logins,
        credentials: Credentials,
        providers: IdentityProviders,
    ) -> None:
        self._database = database
        self._keys = keys
        self._guard = guard
        self._logins = logins
        self._credentials = credentials
        self._providers = providers

    async def choices(self, tenant: str) -> list[Provider]:
        """By which providers one may sign on to a tenant."""
        async with self._database.read() as db:
            return await queries.enabled_of(db, tenant)

    async def tenant_name(self, tenant: str) -> str | None:
        """What a tenant is called; None where there is none."""
        async with self._database.read() as db:
            ident = await tenants.id_of(db, tenant)
            return None if ident is None else await tenants.name_of(db, ident)

    async def begin(self, tenant: str, slug: str, return_to: str | None, redirect_uri: str) -> Begun:
        """Sends a browser to the provider.

        Args:
            return_to: a path of ours, where the browser goes at the end.
            redirect_uri: where the provider sends it back to.
        Raises:
            NotFoundError: the tenant has no such provider.
            SignOnError: the provider does not answer.
        """
        async with self._database.read() as db:
            provider = await queries.by_slug(db, tenant, slug)
        if provider is None:
            raise NotFoundError("sign-on provider", f"{tenant}/{slug}")
        state, nonce, verifier, cookie = (secrets.token_urlsafe(32) for _ in range(4))
        challenge = hashlib.sha256(verifier.encode()).digest()
        ask = Ask(state=state, nonce=nonce, challenge=_base64url(challenge), redirect_uri=redirect_uri)
        try:
            url = await self._providers.begin(self._client(provider), ask)
        except PeerError as error:
            raise SignOnError(SignOnFault.UNREACHABLE, str(error)) from None
        hashed = _hash(state)
        attempt = Attempt(
            provider_id=provider.id,
            nonce=nonce,
            verifier=self._keys.encrypt(verifier.encode(), f"pkce {hashed.hex()}"),
            browser_hash=_hash(cookie),
            redirect_uri=redirect_uri,
            return_to=return_path(return_to, SIGNED_IN),
            expires_at=datetime.now(UTC) + ATTEMPT_FOR,
        )
        async with self._database.change() as db:
            await queries.keep_attempt(db, hashed, attempt)
        return Begun(url=url, cookie_name=cookie_of(state), cookie=cookie)

    async def finish(self, came: Returned, door: Door) -> SignedOn:
        """Signs in who comes back from a provider.

        Raises:
            SignOnError: it did not work; the reason is in it.
            ThrottledError: too many attempts failed.
        """
        account = ("sign-on", door.address or "")
        counted = await self._guard.begin(account, door.address, BY_ADDRESS)
        attempt = await self._taken(came)
        async with self._database.read() as db:
            provider = await queries.by_id(db, attempt.provider_id)
        if provider is None or not provider.enabled:
            raise SignOnError(SignOnFault.NOT_BEGUN, "the provider was taken away meanwhile.")
        try:
            identity = await self._identity(provider, attempt, came)
            async with self._database.change() as db:
                user_id = await self._user(db, provider, identity)
                signed = await self._logins.make(
                    db,
                    provider.tenant_id,
                    user_id=user_id,
                    kind=door.kind,
                    device=door.device,
                    address=door.address,
                )
                sealed = self._keys.encrypt(identity.id_token.encode(), f"id token {signed.login_id}")
                sid = identity.claims.get("sid")
                sid = sid if isinstance(sid, str) and sid.isprintable() and len(sid) <= _LONGEST_SID else None
                await queries.bind_login(db, signed.login_id, provider.id, sealed, sid)
                await self._credentials.tell_login(
                    db, provider.tenant_id, PersonKind.USER, user_id, "login", door, provider=provider.slug
                )
        except SignOnError as error:
            async with self._database.change() as db:
                await self._credentials.tell_login(
                    db,
                    provider.tenant_id,
                    PersonKind.USER,
                    None,
                    "login-failed",
                    door,
                    provider=provider.slug,
                    fault=error.fault.value,
                    why=str(error)[:500],
                )
            raise
        await self._guard.succeeded(counted)
        return SignedOn(signed=signed, return_to=attempt.return_to)

    async def sign_out(self, caller: Caller, base: str) -> str | None:
        """Ends the caller's session; where its provider has a place to sign out, that.

        Args:
            base: of our own addresses.
        """
        async with self._database.change() as db:
            kept = await queries.provider_of_login(db, caller.login_id)
            provider = None if kept is None else await queries.by_id(db, kept[0])
            await login_queries.revoke(db, caller.login_id, user_id=caller.user_id)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="logout",
                kind="user",
                ident=str(caller.user_id),
                after={"login": caller.login_id},
            )
        if provider is None or kept is None:
            return None
        token = None if kept[1] is None else self._keys.decrypt(kept[1], f"id token {caller.login_id}").decode()
        try:
            return await self._providers.end_session(self._client(provider), token, f"{base}{SIGNED_OUT}")
        except PeerError:
            return None

    async def told_out(self, tenant: str, slug: str, logout_token: str) -> None:
        """Ends the logins of whom a provider says that they have signed out there (OpenID Connect Back-Channel Logout 1.0).

        Raises:
            NotFoundError: the tenant has no such provider.
            SignOnError: the token proves nothing, or the provider's keys are not to be had.
        """
        async with self._database.read() as db:
            provider = await queries.by_slug(db, tenant, slug)
        if provider is None:
            raise NotFoundError("sign-on provider", f"{tenant}/{slug}")
        try:
            client = self._client(provider)
            out = await self._providers.ended(client, logout_token)
        except UntrustedError as error:
            raise SignOnError(SignOnFault.BAD_ANSWER, str(error)) from None
        except PeerError as error:
            raise SignOnError(SignOnFault.UNREACHABLE, str(error)) from None
        # The token has whole seconds, of the provider's clock.
        before = out.at + timedelta(seconds=1 + client.clock_skew_s)
        async with self._database.change() as db:
            for login_id, user_id in await queries.end_logins(db, provider, out.subject, out.sid, before):
                await audit(
                    db,
                    provider.tenant_id,
                    actor=f"sign-on provider {provider.slug}",
                    action="logout",
                    kind="user",
                    ident=str(user_id),
                    after={"login": login_id},
                )

    async def _taken(self, came: Returned) -> Attempt:
        """The attempt that comes back; it comes once, whatever becomes of it."""
        if not came.state:
            raise SignOnError(SignOnFault.NOT_BEGUN, "there is no 'state'.")
        async with self._database.change() as db:
            attempt = await queries.take_attempt(db, _hash(came.state))
        if attempt is None:
            raise SignOnError(SignOnFault.NOT_BEGUN, "the 'state' is none of ours, too old, or was used.")
        cookie = came.cookies.get(cookie_of(came.state), "")
        if not compare_digest(_hash(cookie), attempt.browser_hash):
            raise SignOnError(SignOnFault.NOT_BEGUN, "another browser began it.")
        return attempt

    async def _identity(self, provider: Provider, attempt: Attempt, came: Returned) -> Identity:
        client = self._client(provider)
        state = came.state or ""
        try:
            if not await self._providers.came_from(client, came.issuer):
                raise SignOnError(SignOnFault.BAD_ANSWER, "the answer names another issuer.")
            if came.error is not None or not came.code:
                raise SignOnError(SignOnFault.DENIED, f"the provider said '{(came.error or 'nothing')[:100]}'.")
            verifier = self._keys.decrypt(attempt.verifier, f"pkce {_hash(state).hex()}").decode()
            proof = Proof(code=came.code, nonce=attempt.nonce, verifier=verifier, redirect_uri=attempt.redirect_uri)
            return await self._providers.identity(client, proof)
        except UntrustedError as error:
            raise SignOnError(SignOnFault.BAD_ANSWER, str(error)) from None
        except PeerError as error:
            raise SignOnError(SignOnFault.UNREACHABLE, str(error)) from None

    async def _user(self, db: Db, provider: Provider, identity: Identity) -> int:
        """Who a person is here, with the role that the person has from now on."""
        role = role_of(provider.content, identity.claims)
        user_id = await queries.user_of(db, identity.issuer, identity.subject)
        if user_id is None:
            user_id = await self._linked(db, provider, identity, role)
        user = await users.stored(db, user_id, lock=True)
        if user is None:
            raise SignOnError(SignOnFault.UNKNOWN_USER, "the user is not let in any more.")
        now = await users.one(db, provider.tenant_id, user_id)
        ruled = provider.content.role_claim is not None
        if now is not None and (role is now.role or not ruled):
            return user_id
        if role is None or (now is None and not provider.content.create_users):
            fault = SignOnFault.NO_ROLE if role is None else SignOnFault.UNKNOWN_USER
            raise SignOnError(fault, f"user {user_id} gets no role by it.")
        if now is not None and now.role is Role.OWNER and await users.owners(db, provider.tenant_id) == [user_id]:
            return user_id  # nobody could undo it
        await users.set_role(db, user_id, provider.tenant_id, role)
        await self._note(db, provider, "update" if now else "create", user_id, before=now)
        return user_id

    async def _linked(self, db: Db, provider: Provider, identity: Identity, role: Role | None) -> int:
        email = identity.email
        if email is None or not identity.email_verified:
            raise SignOnError(SignOnFault.NO_EMAIL, "the provider vouches for no e-mail address.")
        there = await users.by_email(db, email, lock=True)
        member = None if there is None else await users.one(db, provider.tenant_id, there.id)
        if member is None and not provider.content.create_users:
            raise SignOnError(SignOnFault.UNKNOWN_USER, "nobody here has the e-mail address.")
        if member is None and role is None:
            raise SignOnError(SignOnFault.NO_ROLE, "no rule gives a role.")
        try:
            async with db.transaction():
                if there is None:
                    user_id = await users.insert(db, email, identity.name or email, identity.language, None)
                else:
                    user_id = there.id
                await queries.link(db, identity.issuer, identity.subject, user_id)
        except asyncpg.UniqueViolationError:
            raise SignOnError(
                SignOnFault.UNKNOWN_USER, "the user cannot be let in, or comes in at this moment."
            ) from None
        await audit(
            db,
            provider.tenant_id,
            actor=f"policy: sign-on by {provider.slug}",
            action="link",
            kind="user",
            ident=str(user_id),
            after={"issuer": identity.issuer, "subject": identity.subject},
        )
        return user_id

    async def _note(self, db: Db, provider: Provider, action: str, user_id: int, *, before: object) -> None:
        after = await users.one(db, provider.tenant_id, user_id)
        await audit(
            db,
            provider.tenant_id,
            actor=f"policy: sign-on by {provider.slug}",
            action=action,
            kind="user",
            ident=str(user_id),
            before=before,
            after=after,
        )

    def _client(self, provider: Provider) -> Client:
        sealed = provider.client_secret
        return Client(
            issuer=provider.issuer,
            client_id=provider.client_id,
            secret=None if sealed is None else self._keys.decrypt(sealed, secret_purpose(provider.id)).decode(),
            scopes=provider.content.scopes,
            clock_skew_s=provider.content.clock_skew_s,
            max_age_s=provider.content.max_age_s,
        )


def cookie_of(state: str) -> str:
    """The name of the cookie of an attempt: one each, so that two in two tabs do not end one another."""
    return f"chargeplane_sign_on_{_hash(state).hex()[:12]}"


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
