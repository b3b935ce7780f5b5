"""Partners' drivers at our stations: may they charge, and whose are they.

A token that we do not know may be a partner's. What its provider pushed says whether that is enough or the provider is to be asked
(domain/roaming/authorization.py); one that no provider pushed is asked about at the provider that its eMAID names, else at those that
push no tokens, all at once, and the first who knows it counts. Asking is bounded in time; a station is never kept waiting longer.

That a driver was let in is written down before the station has its answer, with the provider's `authorization_reference`: the session
finds it when it begins. A transaction that begins within a quarter of an hour of that needs no other question; a token that came with
a command is not asked about at all. A token that began what runs at the station may end it without a question.

All of this is behind the look at our own tokens, which is answered first: their path is as it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.house import utc_now
from chargeplane.app.roaming.publishing import Parties
from chargeplane.domain.authorization import IdTokenRecord, token_key
from chargeplane.domain.cdrs.session import AuthMethod, RoamingDriver
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from chargeplane.domain.roaming.authorization import (
    GRANT_HOLDS,
    Allowed,
    Answer,
    Course,
    KnownToken,
    Standing,
    Whitelist,
    by_answer,
    by_command,
    by_whitelist,
    course,
    driver_of,
    fitting,
    may_be_partners,
    ocpi_type,
    provider_of_emaid,
)
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import roaming_authorizations as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_authorizations import Grant
from chargeplane.store.queries.session_transactions import SessionTransaction

log = structlog.get_logger(__name__)

_PLACES: Final = 20_000
_UNKNOWN: Final = 20_000
_BATCH: Final = 500


class Provider(Struct, frozen=True, kw_only=True):
    """A partner with the role of a provider.

    Args:
        parties: (country code, party id) of its providers.
        ask_unknown: it may be asked about tokens that nobody pushed.
    """

    connection_id: int
    parties: tuple[tuple[str, str], ...]
    ask_unknown: bool


class Providers(Protocol):
    """Who may be asked, and what they pushed."""

    async def of_tenant(self, tenant_id: TenantId) -> Sequence[Provider]:
        """The tenant's partners that can be asked."""
        ...

    async def pushed(self, db: Db, tenant_id: TenantId, uid: str) -> Sequence[KnownToken]:
        """Tokens with this uid, compared without case, as they were pushed."""
        ...

    async def ask(
        self, connection_id: int, uid: str, kind: str, place: tuple[str, tuple[str, ...]] | None, timeout_s: float
    ) -> Answer | None:
        """POST authorize; None: the provider does not know the token.

        Args:
            kind: OCPI TokenType.
            place: location id and EVSE uids; None: it is not known where the station stands.

        Raises:
            ChargeplaneError: there was no answer that can be used.
        """
        ...


class AuthorizingSettings(Struct, frozen=True, kw_only=True):
    """How it is asked.

    Args:
        timeout_s: how long a station waits for partners in all.
        ask_allowed: asks also about tokens whose whitelist rule leaves it to us.
        unknown_s: for so long a token that nobody knew is not asked about again.
        place_s: for so long it is remembered where a station stands.
        at_once: questions under way, at most.
    """

    timeout_s: float = 5.0
    ask_allowed: bool = False
    unknown_s: float = 30.0
    place_s: float = 30.0
    at_once: int = 500


class Authorizing:
    """Decides about partners' tokens."""

    def __init__(
        self,
        database: Database,
        parties: Parties,
        providers: Providers,
        settings: AuthorizingSettings | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._parties = parties
        self._providers = providers
        self._settings = settings or AuthorizingSettings()
        self._now = now
        self._places: dict[StationKey, tuple[float, Standing | None]] = {}
        self._unknown: dict[tuple[TenantId, str], float] = {}
        self._grants = _Grants(database)
        self._room = asyncio.Semaphore(self._settings.at_once)
        self.asked = 0
        """Questions to providers since the start."""
        self.unanswered = 0
        """Questions that had no answer in time."""

    async def stop(self) -> None:
        """Ends what is being written."""
        await self._grants.stop()

    async def records(
        self,
        tenant_id: TenantId,
        key: StationKey,
        token: IdToken,
        *,
        evse_ids: Sequence[int] = (),
        starts: bool,
        begins: bool,
    ) -> tuple[IdTokenRecord, ...]:
        """What is known of a token that is not ours, as a record to decide by; none where no partner knows it.

        Args:
            evse_ids: EVSEs it is asked for; empty: any.
            starts: it may begin something; False: what it began goes on or ends, and nobody is asked.
            begins: a transaction begins: what let it in before holds for it.
        """
        if not may_be_partners(token) or await self._parties.operator_of(tenant_id) is None:
            return ()
        try:
            async with self._database.read() as db:
                granted = await queries.holding(db, tenant_id, token.value, key, self._now())
                known = fitting(token, await self._providers.pushed(db, tenant_id, token.value))
                running = None if starts else await queries.begun_by(db, tenant_id, token.value, key, self._now())
            if granted is not None and (begins or not starts or granted.auth_method is AuthMethod.COMMAND):
                return (by_command(token),)
            if not starts:
                if running is not None:
                    return (by_command(token),)
                return tuple(by_whitelist(token, one) for one in known[:1])
            return await self._decided(tenant_id, key, token, evse_ids, known)
        except Exception as error:
            # The driver is refused for now; the station's other messages must not wait for what failed here.
            if not is_unavailable(error):
                log.exception("roaming_authorization_failed")
            return ()

    async def _decided(
        self, tenant_id: TenantId, key: StationKey, token: IdToken, evse_ids: Sequence[int], known: Sequence[KnownToken]
    ) -> tuple[IdTokenRecord, ...]:
        if known:
            one = known[0]
            how = course(one.whitelist, ask_allowed=self._settings.ask_allowed)
            if how is Course.WHITELIST:
                return (by_whitelist(token, one),)
            answer = await self._ask(tenant_id, key, token, evse_ids, [one.connection_id], one)
            if isinstance(answer, IdTokenRecord):
                return (answer,)
            if how is Course.ASK_ELSE_WHITELIST and answer is None and one.valid:
                # OCPI 2.3.0 mod_tokens, ALLOWED_OFFLINE: without an answer the token shall be allowed.
                await self._grant(tenant_id, key, token, driver_of(one, AuthMethod.WHITELIST))
                return (by_whitelist(token, one),)
            return (IdTokenRecord(value=token.value, status=AuthorizationStatus.INVALID),)
        if self._unknown.get((tenant_id, token_key(token.value)), 0.0) > time.monotonic():
            return ()
        providers = await self._asked_about(tenant_id, token)
        if not providers:
            return ()
        found = await self._ask(tenant_id, key, token, evse_ids, providers, None)
        if isinstance(found, IdTokenRecord):
            return (found,)
        if found is False:
            self._note_unknown(tenant_id, token)
        return ()

    async def _asked_about(self, tenant_id: TenantId, token: IdToken) -> list[int]:
        """The providers that a token is asked about at which none pushed."""
        providers = await self._providers.of_tenant(tenant_id)
        issuer = provider_of_emaid(token.value) if ocpi_type(token.type) == "EMAID" else None
        if issuer is not None:
            # OCPI 2.3.0 mod_tokens, TokenType EMAID: the contract says whom to ask.
            return [
                one.connection_id
                for one in providers
                if issuer in [(country.upper(), party.upper()) for country, party in one.parties]
            ][:1]
        return [one.connection_id for one in providers if one.ask_unknown]

    async def _ask(
        self,
        tenant_id: TenantId,
        key: StationKey,
        token: IdToken,
        evse_ids: Sequence[int],
        providers: Sequence[int],
        known: KnownToken | None,
    ) -> IdTokenRecord | bool | None:
        """What the first provider says who knows the token; False where none knows it, None where somebody did not answer."""
        standing = await self._standing(key)
        place = None if standing is None else standing.references(evse_ids)
        kind = ocpi_type(token.type) if known is None else known.type
        uid = token.value if known is None else known.uid
        started = time.monotonic()
        self.asked += len(providers)
        tasks = [asyncio.create_task(self._one(provider, uid, kind, place)) for provider in providers]
        silent = False
        chosen: tuple[int, Answer] | None = None
        try:
            for done in asyncio.as_completed(tasks, timeout=self._settings.timeout_s):
                answered = await done
                if answered is None:
                    silent = True
                elif answered[1] is not None and (chosen is None or answered[1].allowed is Allowed.ALLOWED):
                    chosen = (answered[0], answered[1])
                    if chosen[1].allowed is Allowed.ALLOWED:
                        break
        except TimeoutError:
            silent = True
        finally:
            for task in tasks:
                task.cancel()
        if silent:
            self.unanswered += 1
        if chosen is None:
            log.info(
                "roaming_token_not_known", providers=len(providers), silent=silent, after_s=time.monotonic() - started
            )
            return None if silent else False
        connection_id, answer = chosen
        record = by_answer(token, answer, {} if standing is None else standing.evses, self._now())
        whose = answer.token or known
        if record.status is AuthorizationStatus.ACCEPTED and whose is not None:
            # The provider names its token; what is told later is told over the connection that answered.
            driver = driver_of(whose, AuthMethod.AUTH_REQUEST, answer.authorization_reference)
            if driver.connection_id != connection_id:
                driver = _moved(driver, connection_id)
            await self._grant(tenant_id, key, token, driver)
        return record

    async def _one(
        self, provider: int, uid: str, kind: str, place: tuple[str, tuple[str, ...]] | None
    ) -> tuple[int, Answer | None] | None:
        try:
            async with self._room:
                return provider, await self._providers.ask(provider, uid, kind, place, self._settings.timeout_s)
        except ChargeplaneError as error:
            log.info("roaming_provider_silent", connection=provider, because=str(error))
            return None

    async def _grant(self, tenant_id: TenantId, key: StationKey, token: IdToken, driver: RoamingDriver) -> None:
        await self._grants.write(
            Grant(
                tenant_id=tenant_id,
                presented=token.value,
                station_key=key,
                until=self._now() + GRANT_HOLDS,
                driver=driver,
            )
        )

    async def _standing(self, key: StationKey) -> Standing | None:
        now = time.monotonic()
        known = self._places.get(key)
        if known is not None and known[0] > now:
            return known[1]
        async with self._database.read() as db:
            found = await queries.standing(db, key)
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[key] = (now + self._settings.place_s, found)
        return found

    def _note_unknown(self, tenant_id: TenantId, token: IdToken) -> None:
        if len(self._unknown) >= _UNKNOWN:
            self._unknown.clear()
        self._unknown[(tenant_id, token_key(token.value))] = time.monotonic() + self._settings.unknown_s

    async def driver(self, transaction: SessionTransaction) -> RoamingDriver | None:
        """Whose driver began a transaction; None where no partner's did."""
        value = transaction.id_token
        if not value or await self._parties.operator_of(transaction.tenant_id) is None:
            return None
        token = IdToken(value=value, type=transaction.id_token_type)
        if not may_be_partners(token):
            return None
        async with self._database.read() as db:
            granted = await queries.begun_by(
                db, transaction.tenant_id, value, transaction.station_key, transaction.opened_at
            )
            if granted is not None:
                return granted
            known = fitting(token, await self._providers.pushed(db, transaction.tenant_id, value))
        for one in known:
            if one.valid and one.whitelist in (Whitelist.ALWAYS, Whitelist.ALLOWED):
                return driver_of(one, AuthMethod.WHITELIST)
        return None


def _moved(driver: RoamingDriver, connection_id: int) -> RoamingDriver:
    return replace(driver, connection_id=connection_id)


class _Grants:
    """Writes grants, all that came during the last commit in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Grant, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    def write(self, grant: Grant) -> Awaitable[None]:
        """Ends when it is committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((grant, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="roaming-grants")
        return done

    async def stop(self) -> None:
        """Lets what waits be written."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            try:
                async with self._database.change() as db:
                    await queries.insert(db, [grant for grant, _ in some])
            except Exception as error:
                for _, done in some:
                    if not done.done():
                        done.set_exception(error)
                continue
            for _, done in some:
                if not done.done():
                    done.set_result(None)
