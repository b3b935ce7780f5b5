"""Changing a station's variables: one at a time, each read back, through every reboot that comes in between.

Some stations restart after each change, some take several and lose one, some accept everything and do nothing. So a change is a small
job of its own: it is written down before anything is sent, and after every step; a process that dies in the middle is replaced by
another, which looks at what the station has before it sets anything again. Two processes never work on the same station: its oldest
open change is claimed by a row lock, for as long as the claim is renewed.

What counts as done is what the station tells when it is asked. What cannot be read (a password) counts when it was accepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import msgspec
import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.device_model import DeviceModel
from chargeplane.app.events import EventFeed
from chargeplane.domain.commands import CommandState, Reset, ResetKind, VariableAnswer
from chargeplane.domain.configuration import (
    GOOD,
    ChangeItem,
    ChangeState,
    ItemState,
    ResetPolicy,
    ended,
)
from chargeplane.domain.variables import (
    HIDDEN,
    VariableSetting,
    canonical,
    is_secret,
    same_value,
)
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import variable_changes as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.variable_changes import LEASE_S, Claimed, VariableChangeView
from chargeplane.store.secrets import InstallationKeys

PATIENCE_S: Final = 300.0
"""How long a station that restarts, or is away, is waited for at each step."""

OPEN_MOST: Final = 20
"""Changes of one station that may wait."""

_AT_ONCE: Final = 100
_POLL_S: Final = 2.0
_TRIES: Final = 3
_UNANSWERED: Final = (CommandState.FAILED, CommandState.TIMED_OUT)
_KIND: Final = "variable change"

log = structlog.get_logger(__name__)

Ended = Callable[[Claimed, Sequence[ChangeItem]], Awaitable[None]]


async def _nobody(_: Claimed, __: Sequence[ChangeItem]) -> None:
    pass


def _nothing() -> None:
    pass


class _LostError(Exception):
    """The change was cancelled, or another process has it."""


class VariableChanges:
    """Use cases about changes, and the worker that carries them out.

    Args:
        keys: encrypt what is secret until it is sent.
    """

    def __init__(
        self,
        database: Database,
        model: DeviceModel,
        commands: Commands,
        keys: InstallationKeys,
        events: EventFeed,
    ) -> None:
        self._database = database
        self._model = model
        self._commands = commands
        self._keys = keys
        self._events = events
        self._me = uuid4()
        self._wake = asyncio.Event()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._ended: dict[int, asyncio.Event] = {}
        self.on_ended: Ended = _nobody
        """Told how a change ended, before it is written; after a crash again."""
        self.on_free: Callable[[], None] = _nothing
        """Told that a station is free for another change."""

    async def start(self) -> None:
        """Takes up what was left, and what comes."""
        self._tasks = [
            asyncio.create_task(self._work(), name="variable-changes"),
            asyncio.create_task(self._renew(), name="variable-changes-renew"),
        ]

    async def stop(self) -> None:
        """Lets go of what goes on; it is taken up at the next start, or by another node."""
        tasks = [*self._tasks, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with self._database.change() as db:
                await queries.release(db, self._me)

    # -- asking for a change -------------------------------------------------------------------------------------------

    async def ask(
        self,
        caller: Caller,
        station_id: str,
        settings: Sequence[VariableSetting],
        *,
        reset: ResetPolicy = ResetPolicy.NONE,
        patience_s: float = PATIENCE_S,
        wait_s: float = 0.0,
    ) -> VariableChangeView:
        """A change somebody asks for, on its way.

        Args:
            reset: what follows where a value needs a restart.
            patience_s: how long the station is waited for at each step.
            wait_s: return only when it has ended, or after so long.
        Raises:
            NotFoundError: the tenant has no such station.
            ConflictError: too many changes of the station wait already.
        """
        async with self._database.change() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            if await queries.open_of_station(db, key) >= OPEN_MOST:
                raise ConflictError(f"{OPEN_MOST} changes of '{station_id}' wait already.")
            ident = await self.put(
                db, caller.tenant_id, key, settings, by=caller.actor, reset=reset, patience_s=patience_s
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="set-variables",
                kind="charging-station",
                ident=station_id,
                after=[str(setting.name) for setting in settings],
            )
        done = self._ended.setdefault(ident, asyncio.Event())
        self._wake.set()
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await done.wait()
        self._ended.pop(ident, None)
        return await self.one(caller, ident)

    async def put(
        self,
        db: Db,
        tenant_id: TenantId,
        key: StationKey,
        settings: Sequence[VariableSetting],
        *,
        by: str,
        reset: ResetPolicy,
        patience_s: float = PATIENCE_S,
        template: tuple[int, int] | None = None,
    ) -> int:
        """Writes a change down within the caller's; `look` has it begun."""
        secrets: dict[int, str] = {}
        items: list[ChangeItem] = []
        for number, setting in enumerate(settings):
            name = canonical(setting.name)
            value = setting.value
            if is_secret(name.component or "", name.variable):
                secrets[number], value = value, HIDDEN
            items.append(
                ChangeItem(
                    component=name.component,
                    component_instance=name.component_instance,
                    evse_id=name.evse_id,
                    connector_id=name.connector_id,
                    variable=name.variable,
                    variable_instance=name.variable_instance,
                    attribute=name.attribute,
                    value=value,
                )
            )
        sealed = None if not secrets else self._keys.encrypt(msgspec.json.encode(secrets), _purpose(key))
        return await queries.insert(
            db,
            tenant_id,
            key,
            items,
            sealed=sealed,
            requested_by=by,
            reset=reset,
            patience_s=patience_s,
            template=template,
        )

    def look(self) -> None:
        """A change was committed: it is looked for at once."""
        self._wake.set()

    # -- for people ----------------------------------------------------------------------------------------------------

    async def one(self, caller: Caller, ident: int) -> VariableChangeView:
        """A change by our id.

        Raises:
            NotFoundError: the tenant has no such change.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def page(
        self, caller: Caller, station_id: str, state: str | None, limit: int, after: Position | None
    ) -> list[VariableChangeView]:
        """A station's changes, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            return await queries.page(db, caller.tenant_id, key, None, state, limit, after)

    async def cancel(self, caller: Caller, ident: int) -> VariableChangeView:
        """Ends a change after the step that is under way; what was changed stays so.

        Raises:
            NotFoundError: the tenant has no such change.
            ConflictError: it has ended already.
        """
        async with self._database.change() as db:
            before = await queries.one(db, caller.tenant_id, ident)
            if not await queries.cancel(db, caller.tenant_id, ident, f"Cancelled by {caller.actor}."):
                if before is None:
                    raise NotFoundError(_KIND, str(ident))
                raise ConflictError(f"Change {ident} has ended already.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="cancel",
                kind="variable-change",
                ident=str(ident),
                before=None if before is None else {"state": before.state},
                after={"state": "cancelled"},
            )
        task = self._running.get(ident)
        if task is not None:
            task.cancel()
        view = await self.one(caller, ident)
        self._events.publish("variable-change.updated", caller.tenant_id, view.station_id, view)
        return view

    # -- the worker ----------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            room = _AT_ONCE - len(self._running)
            claimed: list[Claimed] = []
            if room > 0:
                try:
                    async with self._database.change() as db:
                        claimed = await queries.claim(db, self._me, room)
                except Exception as error:  # whatever it was, the next look may succeed
                    _tell("variable_changes_not_looked_at", error)
            for one in claimed:
                task = asyncio.create_task(self._carry_out(one), name=f"variable change {one.id}")
                self._running[one.id] = task
                task.add_done_callback(functools.partial(self._over, one.id))
            if not claimed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._wake.wait()

    def _over(self, ident: int, _: asyncio.Task[None]) -> None:
        self._running.pop(ident, None)
        told = self._ended.get(ident)
        if told is not None:
            told.set()
        self._wake.set()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 4)
            if not self._running:
                continue
            asked = list(self._running)
            try:
                async with self._database.change() as db:
                    ours = set(await queries.renew(db, self._me, asked))
            except Exception as error:
                _tell("variable_changes_not_renewed", error)
                continue
            for ident in asked:
                task = self._running.get(ident)
                if ident not in ours and task is not None:
                    task.cancel()

    async def _carry_out(self, change: Claimed) -> None:
        try:
            await self._steps(change)
        except asyncio.CancelledError:
            raise
        except _LostError:
            log.info("variable_change_lost", change=change.id, station=change.station_id)
        except Exception as error:
            if is_unavailable(error):  # somebody takes it up again when the claim is over
                log.warning("variable_change_delayed", change=change.id, error=str(error))
                return
            log.exception("variable_change_failed", change=change.id, station=change.station_id)
            await self._finish(change, list(change.variables), ChangeState.FAILED, f"The server failed: {error}")

    async def _steps(self, change: Claimed) -> None:
        items = list(change.variables)
        secrets: dict[int, str] = {}
        if change.sealed is not None:
            opened = self._keys.decrypt(change.sealed, _purpose(change.station_key))
            secrets = msgspec.json.decode(opened, type=dict[int, str])
        reached = True
        for number, item in enumerate(items):
            if item.state not in (ItemState.PENDING, ItemState.SETTING):
                continue
            if not reached:
                items[number] = _with(item, ItemState.FAILED, None, "The station did not come back.")
                continue
            value = secrets.get(number, item.value)
            if item.state is ItemState.SETTING:  # a process died here: perhaps it is done
                found = await self._read(change, item)
                if found is not None and _is(item, value, found):
                    items[number] = _with(item, ItemState.APPLIED, "Accepted", None, has=found.value)
                    await self._progress(change, items)
                    continue
            items[number] = msgspec.structs.replace(item, state=ItemState.SETTING)
            await self._progress(change, items)
            items[number] = await self._set(change, items[number], value)
            reached = items[number].status != "Unreachable"
            await self._progress(change, items)
        await self._restart(change, items)
        state = ended(items)
        reason = None if reached else "The station did not come back in time."
        await self._finish(change, items, state, reason)

    async def _set(self, change: Claimed, item: ChangeItem, value: str) -> ChangeItem:
        """Sets one variable and reads it back."""
        setting = VariableSetting(
            component=item.component,
            component_instance=item.component_instance,
            evse_id=item.evse_id,
            connector_id=item.connector_id,
            variable=item.variable,
            variable_instance=item.variable_instance,
            attribute=item.attribute,
            value=value,
        )
        reason: str | None = None
        for _ in range(_TRIES):
            outcome, answers = await self._model.write(
                change.tenant_id, change.station_key, [setting], by=_by(change), valid_s=change.patience_s
            )
            answer = answers[0] if answers else None
            status = answer.status if answer is not None else outcome.status
            reason = outcome.reason
            if outcome.state is CommandState.EXPIRED:
                return _with(item, ItemState.FAILED, "Unreachable", "The station did not come back in time.")
            if outcome.state is CommandState.REJECTED:
                return _with(item, ItemState.REJECTED, status or "Rejected", reason)
            accepted = outcome.state is CommandState.ACCEPTED
            if accepted and status == "RebootRequired":
                return _with(item, ItemState.REBOOT_REQUIRED, status, None)
            if is_secret(item.component or "", item.variable):
                if accepted:
                    return _with(item, ItemState.ACCEPTED, status, None)
                continue
            found = await self._read(change, item)
            if found is None:
                if accepted:
                    return _with(item, ItemState.ACCEPTED, "Accepted", "The station could not be asked for the value.")
                continue
            if found.status == "Accepted" and found.value is not None:
                if _is(item, value, found):
                    return _with(item, ItemState.APPLIED, "Accepted", None, has=found.value)
                if accepted:
                    told = f"The station accepted the value and tells '{found.value}'."
                    return _with(item, ItemState.MISMATCH, "Unconfirmed", told, has=found.value)
                continue  # it was not heard, or not done: once more
            if accepted:
                return _with(item, ItemState.ACCEPTED, "Accepted", "The station does not tell the value.")
        return _with(item, ItemState.FAILED, "Unreachable", reason)

    async def _read(self, change: Claimed, item: ChangeItem) -> VariableAnswer | None:
        """What the station tells; a station that restarts in the middle is waited for. None: it told nothing."""
        for _ in range(_TRIES):
            outcome, answers = await self._model.read(
                change.tenant_id, change.station_key, [item.name], by=_by(change), valid_s=change.patience_s
            )
            if answers:
                return answers[0]
            if outcome.state not in _UNANSWERED:
                return None
        return None

    async def _restart(self, change: Claimed, items: list[ChangeItem]) -> None:
        """Restarts the station where a change needs it and that was asked for; then reads back."""
        waiting = [number for number, item in enumerate(items) if item.state is ItemState.REBOOT_REQUIRED]
        if not waiting or change.reset is ResetPolicy.NONE:
            return
        since = datetime.now(UTC)
        kind = ResetKind.IMMEDIATE if change.reset is ResetPolicy.IMMEDIATE else ResetKind.ON_IDLE
        outcome = await self._commands.ask(
            change.tenant_id, change.station_key, Reset(kind=kind), by=_by(change), valid_s=change.patience_s
        )
        if outcome.state is not CommandState.ACCEPTED:
            told = f"It was not restarted: {outcome.reason or outcome.status or outcome.state.value}"
            for number in waiting:
                items[number] = msgspec.structs.replace(items[number], reason=told)
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + change.patience_s
        pause = 0.1
        while True:
            async with self._database.read() as db:
                if await queries.booted_since(db, change.station_key, since):
                    break
            if loop.time() >= until:
                for number in waiting:
                    items[number] = msgspec.structs.replace(
                        items[number], reason="The station has not restarted yet; it does when it is idle."
                    )
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        for number in waiting:
            item = items[number]
            if is_secret(item.component or "", item.variable):
                items[number] = _with(item, ItemState.ACCEPTED, item.status, None)
                continue
            found = await self._read(change, item)
            if found is None or found.value is None:
                items[number] = _with(item, ItemState.ACCEPTED, item.status, "The station does not tell the value.")
            elif _is(item, item.value, found):
                items[number] = _with(item, ItemState.APPLIED, item.status, None, has=found.value)
            else:
                told = f"The station restarted and tells '{found.value}'."
                items[number] = _with(item, ItemState.MISMATCH, "Unconfirmed", told, has=found.value)

    async def _progress(self, change: Claimed, items: list[ChangeItem]) -> None:
        async with self._database.change() as db:
            if not await queries.progress(db, self._me, change.id, items):
                raise _LostError
        await self._show(change)

    async def _finish(self, change: Claimed, items: list[ChangeItem], state: ChangeState, reason: str | None) -> None:
        # Whoever asked knows first: until then nobody begins another change of the station.
        await self.on_ended(change, items)
        async with self._database.change() as db:
            if not await queries.finish(db, self._me, change.id, items, state, reason):
                return
        log.info(
            "variables_changed",
            station=change.station_id,
            change=change.id,
            state=state.value,
            changed=sum(item.state in GOOD for item in items),
            of=len(items),
        )
        self.on_free()
        await self._show(change)

    async def _show(self, change: Claimed) -> None:
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, change.tenant_id, change.id)
            if view is not None:
                self._events.publish("variable-change.updated", change.tenant_id, view.station_id, view)


def _tell(what: str, error: Exception) -> None:
    if is_unavailable(error):
        log.warning(what, error=str(error))
    else:
        log.error(what, exc_info=error)


def _purpose(key: StationKey) -> str:
    return f"variables of station {key}"


def _by(change: Claimed) -> str:
    return f"variable change {change.id}"


def _with(
    item: ChangeItem, state: ItemState, status: str | None, reason: str | None, *, has: str | None = None
) -> ChangeItem:
    return msgspec.structs.replace(item, state=state, status=status, reason=reason, has=has, at=datetime.now(UTC))


def _is(item: ChangeItem, value: str, found: VariableAnswer) -> bool:
    return found.value is not None and same_value(value, found.value)
