"""Local lists kept by policy: each station gets what belongs there, and gets it again when it lost it.

Every node looks after the stations that are connected to it. A station's list is compared with what it should be when the
station has connected or booted, when id tokens or the policy changed (a while after, so that many changes are one update, and not for
all stations at once), and from time to time. After a connection the station is first asked for its version: another one
than ours means that it lost the list, or that somebody else wrote it, and it is sent whole.
"""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.actor import Actor
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.directory import Directory
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.presence import Presence
from chargeplane.app.pulse import Pulse, paced
from chargeplane.domain.commands import (
    CommandState,
    GetLocalListLimits,
    GetLocalListVersion,
    LocalListVersion,
    SendLocalList,
)
from chargeplane.domain.local_lists import (
    MOST_ENTRIES,
    NOTHING,
    Held,
    ListEntry,
    ListLimits,
    ListMessage,
    ListPolicy,
    after,
    chosen,
    messages,
)
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, id_tokens
from chargeplane.store.queries import local_lists as queries
from chargeplane.store.queries.local_lists import LocalListView

_BY: Final = "local list"
_AT_ONCE: Final = 20
_KEPT: Final = 64

_TYPES_201: Final = ("Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress")
_TYPES_21: Final = (*_TYPES_201, "DirectPayment", "EVCCID", "VIN")

log = structlog.get_logger(__name__)


class ListTimes(Struct, frozen=True, kw_only=True):
    """When lists are looked at.

    Args:
        settle_s: after a change or a connection, so that more of the same may gather.
        spread_s: the longest that a station waits beyond that, chosen by chance.
        check_every_s: at least so often.
        retry_s: after a failure, doubled up to `check_every_s`.
    """

    settle_s: float = 10.0
    spread_s: float = 50.0
    check_every_s: float = 21_600.0
    retry_s: float = 60.0


class _Watched:
    """What is known of a connected station's list in memory."""

    __slots__ = ("asked", "connected_at", "due", "failures", "policy", "running", "ticks")

    def __init__(self) -> None:
        self.connected_at: datetime | None = None
        self.ticks: int | None = None
        self.policy: ListPolicy | None = None
        self.due: datetime | None = None
        self.asked = False
        self.running = False
        self.failures = 0


class LocalLists:
    """Use cases about local lists."""

    def __init__(
        self,
        database: Database,
        commands: Commands,
        stations: Presence,
        directory: Directory,
        events: EventFeed,
        times: ListTimes = ListTimes(),  # noqa: B008 - frozen
    ) -> None:
        self._database = database
        self._commands = commands
        self._stations = stations
        self._directory = directory
        self._events = events
        self._times = times
        self._watched: dict[StationKey, _Watched] = {}
        self._chosen: dict[tuple[object, ...], tuple[list[ListEntry], int]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._making = asyncio.Lock()
        self._pulse = Pulse("local lists", max(0.05, min(2.0, times.settle_s / 4)), self._beat)

    async def start(self) -> None:
        """Begins to look after the lists."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that; what was sent and not acknowledged is found out at the next connection."""
        await self._pulse.stop()

    async def one(self, caller: Caller, station_id: str) -> LocalListView:
        """A station's list.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        policy = self._directory.list_policy(key)
        async with self._database.read() as db:
            return await queries.view(db, key, "none" if policy is None else policy.tokens)

    async def send_again(self, caller: Caller, station_id: str) -> LocalListView:
        """Has a station's list sent whole, soon; the list as it is now.

        Raises:
            NotFoundError: the tenant has no such station.
            ConflictError: no policy keeps its list.
        """
        key = await self._key(caller, station_id)
        if self._directory.list_policy(key) is None:
            raise ConflictError(f"No policy keeps the local list of '{station_id}': set local_list first.")
        async with self._database.change() as db:
            await db.execute(
                "UPDATE station_local_list SET version = 0, entries = '{}', entry_count = 0, state = 'pending',"
                " reason = 'Asked for by an operator.' WHERE station_key = $1",
                key,
            )
        watched = self._watched.get(key)
        if watched is not None:
            watched.asked, watched.due = False, utc_now()
        return await self.one(caller, station_id)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key

    async def _beat(self) -> None:
        if not self._directory.keeps_lists:
            self._watched.clear()
            return
        async with self._database.read() as db:
            ticks = await id_tokens.ticks(db)
        now = utc_now()
        async for actor in paced(self._stations.present()):
            policy = self._directory.list_policy(actor.key)
            if policy is None:
                self._watched.pop(actor.key, None)
                continue
            watched = self._watched.get(actor.key)
            if watched is None:
                watched = self._watched[actor.key] = _Watched()
            self._consider(actor, watched, policy, ticks.get(actor.tenant_id, 0), now)
        if len(self._watched) > 2 * self._stations.connected_count + 100:
            for key in [key for key in self._watched if self._stations.link(key) is None]:
                del self._watched[key]

    def _consider(self, actor: Actor, watched: _Watched, policy: ListPolicy, ticks: int, now: datetime) -> None:
        began = max(one for one in (actor.connected_at, actor.booted_at, now - timedelta(days=9999)) if one is not None)
        if watched.connected_at != began:
            watched.connected_at, watched.asked = began, False
            self._soon(watched, now)
        elif watched.policy != policy or watched.ticks != ticks:
            self._soon(watched, now)
        watched.policy, watched.ticks = policy, ticks
        link = actor.link
        if watched.due is None or now < watched.due or watched.running or link is None or not link.accepted:
            return
        watched.due, watched.running = now + timedelta(seconds=self._times.check_every_s), True
        self._pulse.spawn(self._sync(actor, watched, policy, ticks, link.ocpp_version))

    def _soon(self, watched: _Watched, now: datetime) -> None:
        times = self._times
        soon = now + timedelta(seconds=times.settle_s + random.uniform(0, times.spread_s))
        watched.failures = 0
        if watched.due is None or soon < watched.due:
            watched.due = soon

    async def _sync(self, actor: Actor, watched: _Watched, policy: ListPolicy, ticks: int, version: str) -> None:
        async with self._slots:
            done = False
            try:
                done = await self._bring(actor.tenant_id, actor.key, watched, policy, ticks, version)
            finally:
                if not done:  # an error as well: the database may have been away
                    watched.failures += 1
                    wait = min(self._times.retry_s * 2 ** min(watched.failures - 1, 20), self._times.check_every_s)
                    watched.due = utc_now() + timedelta(seconds=wait)
                watched.running = False

    async def _bring(
        self, tenant: TenantId, key: StationKey, watched: _Watched, policy: ListPolicy, ticks: int, version: str
    ) -> bool:
        """Brings a station's list to what it should be; False where that failed and is to be tried again."""
        async with self._database.read() as db:
            known = await queries.stored(db, key)
        held: Held | None = None if known is None else known.held
        limits = ListLimits() if known is None else known.limits
        told: int | None = None
        if not watched.asked:
            outcome = await self._commands.ask(tenant, key, GetLocalListVersion(), by=_BY)
            reply = reply_of(outcome, LocalListVersion)
            if reply is None or reply.version < 0:
                supported = reply is None and outcome.status not in ("NotImplemented", "NotSupported")
                state = "failed" if supported else "unsupported"
                await self._write(
                    tenant, key, NOTHING, limits, state, outcome.reason, 0, 0, None if reply is None else -1
                )
                return not supported
            told = reply.version
            limits = await self._limits(tenant, key, limits)
            if limits.enabled is False:
                await self._write(
                    tenant, key, held or NOTHING, limits, "disabled", "The station's list is switched off.", 0, 0, told
                )
                return True
            watched.asked = True
            if held is None or held.version != told:
                # Lost, or written by somebody else: only a full list makes sure.
                held = NOTHING if told == 0 else None
        wanted, left_out = await self._wanted(tenant, policy, limits, ticks, version)
        above = told or (known.held.version if known is not None and known.held is not None else 0)
        refusal = await self._send(tenant, key, held, wanted, left_out, limits, above)
        if refusal is not None and refusal[0] in ("VersionMismatch", "Failed") and held is not None and held.version:
            # D01.FR.03: a difference that was refused is followed by the whole list.
            refusal = await self._send(tenant, key, None, wanted, left_out, limits, max(above, held.version) + 100)
        if refusal is None:
            return True
        status, reason = refusal
        state = "unsupported" if status in ("NotSupported", "NotImplemented") else "failed"
        watched.asked = False
        async with self._database.read() as db:
            kept = await queries.stored(db, key)
        now_held = kept.held if kept is not None and kept.held is not None else NOTHING
        await self._write(tenant, key, now_held, limits, state, reason, len(wanted), left_out, told)
        return state == "unsupported"

    async def _limits(self, tenant: TenantId, key: StationKey, before: ListLimits) -> ListLimits:
        outcome = await self._commands.ask(tenant, key, GetLocalListLimits(), by=_BY)
        limits = reply_of(outcome, ListLimits) or before
        if limits.max_entries is None:
            async with self._database.read() as db:
                limits = replace(limits, max_entries=await queries.reported_limit(db, key))
        return limits

    async def _wanted(
        self, tenant: TenantId, policy: ListPolicy, limits: ListLimits, ticks: int, version: str
    ) -> tuple[list[ListEntry], int]:
        now = utc_now()
        fits = None if version == "1.6" else _TYPES_201 if version == "2.0.1" else _TYPES_21
        # Thousands of stations want the same list: it is made once a change, and anew with the hour, for tokens expire.
        wanted = (tenant, policy, limits.max_entries, ticks, version, now.replace(minute=0, second=0, microsecond=0))
        async with self._making:
            made = self._chosen.get(wanted)
            if made is not None:
                return made
            async with self._database.read() as db:
                records = await id_tokens.candidates(
                    db,
                    tenant,
                    policy.group_ids if policy.tokens == "groups" else None,
                    policy.include_refused,
                    MOST_ENTRIES + 1,
                )
            made = await asyncio.to_thread(chosen, records, policy, limits, fits=fits, now=now)
            if len(self._chosen) >= _KEPT:
                self._chosen.clear()
            self._chosen[wanted] = made
        return made

    async def _send(
        self,
        tenant: TenantId,
        key: StationKey,
        held: Held | None,
        wanted: list[ListEntry],
        left_out: int,
        limits: ListLimits,
        above: int,
    ) -> tuple[str | None, str | None] | None:
        """Sends what is to be sent, writing down each message that was taken; status and reason of the one that was not."""
        # Of thousands of tokens this takes tens of milliseconds.
        parts = await asyncio.to_thread(messages, held, wanted, limits, above=above if held is None else 0)
        if not parts:
            await self._write(tenant, key, held or NOTHING, limits, "in_sync", None, len(wanted), left_out, None)
            return None
        for number, part in enumerate(parts, 1):
            outcome = await self._commands.ask(tenant, key, _command(part), by=_BY)
            if outcome.state is not CommandState.ACCEPTED:
                return outcome.status, outcome.reason
            held = after(held, part)
            state = "in_sync" if number == len(parts) else "pending"
            await self._write(
                tenant, key, held, limits, state, None, len(wanted), left_out, part.version, sent_at=utc_now()
            )
        log.info("local_list_sent", station=key, messages=len(parts), version=parts[-1].version, entries=len(wanted))
        return None

    async def _write(
        self,
        tenant: TenantId,
        key: StationKey,
        held: Held,
        limits: ListLimits,
        state: str,
        reason: str | None,
        wanted: int,
        left_out: int,
        told: int | None,
        *,
        sent_at: datetime | None = None,
    ) -> None:
        async with self._database.change() as db:
            await queries.store(
                db,
                key,
                held,
                limits,
                state=state,
                reason=reason,
                wanted=wanted,
                left_out=left_out,
                reported_version=told,
                sent_at=sent_at,
            )
        if self._events.active:
            credentials = self._directory.by_key(key)
            if credentials is not None:
                policy = self._directory.list_policy(key)
                async with self._database.read() as db:
                    seen = await queries.view(db, key, "none" if policy is None else policy.tokens)
                self._events.publish("local_list.updated", tenant, credentials.station_id, seen)


def _command(part: ListMessage) -> SendLocalList:
    return SendLocalList(version=part.version, kind=part.kind, put=part.put, remove=part.remove)
