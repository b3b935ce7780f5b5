"""Asking a station to do something: raw calls of its own OCPP version, and version-free commands.

Both are written down before they are sent and again with the station's answer. A raw call needs an open socket and goes
out at once. A command waits, until it expires, for the station to be connected and its registration to be accepted, unless
it is one that the specification allows before that; those that wait when the server stops are taken up at the next start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.numbering import ended, numbered
from chargeplane.app.reach import StationReach
from chargeplane.domain.commands import BEFORE_ACCEPTED, CallOutcome, Command, CommandOutcome, CommandState, Start
from chargeplane.domain.commands.hidden import hidden, holds_hidden
from chargeplane.domain.variables import ReportedVariable
from chargeplane.kernel.errors import ChargeplaneError, ConflictError, NotFoundError, RuleError
from chargeplane.kernel.ids import CommandId, StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, variables
from chargeplane.store.queries import commands as queries
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.paging import Position

DEFAULT_TIMEOUT_S: Final = 30.0
"""How long a station may take to answer, unless the caller says."""

DEFAULT_VALID_S: Final = 60.0
"""How long a command waits for its station, unless the caller says."""

_POLL_S: Final = 0.25
_LAST_POLL_S: Final = 3.0
_LOST_AFTER: Final = timedelta(minutes=15)

_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Command).decode


R = TypeVar("R", bound=Struct)


def reply_of(outcome: CommandOutcome, kind: type[R]) -> R | None:
    """What the station told beyond its status, as the struct that the command's docstring names; None where it told nothing usable."""
    return None if outcome.reply is None else msgspec.json.decode(outcome.reply, type=kind)


Complete = Callable[[TenantId, StationKey, Any], Awaitable[Command]]
"""The command with what its subject knows, just before it is sent."""

Follower = Callable[[TenantId, StationKey, Any, CommandOutcome], Awaitable[None]]
"""Hears how a command ended. An error of it is logged and changes nothing."""


class Wire(Struct, frozen=True, kw_only=True):
    """What is to be known of raw calls; the bridge's.

    Args:
        reported_variables: variables in the answer to a call, by its action.
        reservation_field: by version, action and payload, the field a ReserveNow lacks its id in; else None.
        call_outcome: how a raw call ended, by its action.
        kept: what may be kept of a raw call's payload, by its action: no passwords.
        kept_answer: the same of the answer to any call.
    """

    reported_variables: Callable[[str, bytes], Sequence[ReportedVariable]]
    reservation_field: Callable[[str, str, bytes], str | None]
    call_outcome: Callable[[str, CallOutcome], CommandOutcome]
    kept: Callable[[str, bytes], bytes] = lambda _action, payload: payload
    kept_answer: Callable[[str, bytes], bytes] = lambda _action, payload: payload


Send = Callable[[Command], Awaitable[CommandOutcome]]
"""Sends one CALL for a command. ConflictError: the station is not connected, nothing was sent."""

Whole = Callable[[TenantId, StationKey, Any, Send, str], Awaitable[CommandOutcome]]
"""Carries out a command that may take several CALLs, or something before and after its CALL. ConflictError only where nothing was
sent. The text says who asked."""


class RawCallEnd(Struct, frozen=True, kw_only=True):
    """How a raw call ended.

    Args:
        id: under which it is recorded, with the payload that was sent and the answer.
        reservation_id: the id given to a reservation that came without one.
    """

    id: CommandId
    outcome: CallOutcome
    reservation_id: int | None = None


class Commands:
    """Use cases about commands and raw calls.

    Args:
        wire: what the calls of each version mean.
    """

    def __init__(self, database: Database, reach: StationReach, events: EventFeed, wire: Wire) -> None:
        self._database = database
        self._reach = reach
        self._events = events
        self._wire = wire
        self._running: dict[CommandId, asyncio.Task[CommandOutcome]] = {}
        self.completes: dict[type, list[Complete]] = {}
        """By type of command: what subjects put in before it is sent, one after the other."""
        self.followers: dict[type, list[Follower]] = {}
        """By type of command: subjects that hear how one ended, whoever gave it."""
        self.wholes: dict[type, Whole] = {}
        """Commands that subjects carry out themselves; they add theirs."""

    async def start(self) -> None:
        """Takes up the commands that waited when the server stopped."""
        async with self._database.change() as db:
            await queries.settle_lost(db, datetime.now(UTC) - _LOST_AFTER)
            waiting = await queries.pending(db)
        for one in waiting:
            command = _decode(one.request)
            if holds_hidden(command):
                lost = "It held a secret, which is kept nowhere, and the server was restarted before it was sent: give it again."
                await self._finish(one.id, CommandOutcome(state=CommandState.FAILED, reason=lost))
                continue
            self._run(
                one.id,
                self._carry_out(
                    one.id, one.tenant_id, one.station_key, command, one.expires_at, None, one.requested_by
                ),
            )

    async def stop(self) -> None:
        """Lets go of what still waits; it stays pending."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def call(self, caller: Caller, station_id: str, action: str, payload: bytes, timeout_s: float) -> RawCallEnd:
        """A raw call, sent as given; how it ended. A ReserveNow without an id gets one, behind what was given.

        Args:
            payload: compact JSON.
            timeout_s: from sending.
        Raises:
            NotFoundError: the tenant has no such station.
            ConflictError: the station is not connected.
            InvalidInputError: the payload does not fit the schema of the station's version.
        """
        key = await self._key(caller, station_id)
        version = await self._reach.version(key)
        if version is None:
            raise ConflictError(f"'{station_id}' is not connected.")
        lacking = self._wire.reservation_field(version, action, payload)
        reservation_id: int | None = None
        async with self._database.change() as db:
            if lacking is not None:
                reservation_id = await queries.next_reservation_id(db)
                payload = _with_number(payload, lacking, reservation_id)
            request = (
                b'{"action":' + msgspec.json.encode(action) + b',"payload":' + self._wire.kept(action, payload) + b"}"
            )
            ident = await queries.insert(
                db,
                caller.tenant_id,
                key,
                type="call",
                request=request.decode(),
                state=CommandState.SENT,
                requested_by=caller.actor,
                action=action,
            )
        try:
            outcome = await self._reach.call(key, action, payload, timeout_s)
        except ChargeplaneError as error:
            await self._finish(ident, CommandOutcome(state=CommandState.FAILED, reason=str(error)))
            raise
        await self._finish(ident, self._wire.call_outcome(action, outcome))
        if outcome.payload is not None:
            reported = self._wire.reported_variables(action, outcome.payload)
            if reported:
                async with self._database.change() as db:
                    await variables.store(db, key, reported)
        return RawCallEnd(id=ident, outcome=outcome, reservation_id=reservation_id)

    async def command(
        self,
        caller: Caller,
        station_id: str,
        command: Command,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        valid_s: float = DEFAULT_VALID_S,
        wait_s: float = 0.0,
    ) -> CommandView:
        """A version-free command, on its way.

        Args:
            timeout_s: how long the station may take to answer, from sending.
            valid_s: how long the command waits for the station to be reachable.
            wait_s: return only when it has ended, or after so long.
        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        expires_at = datetime.now(UTC) + timedelta(seconds=valid_s)
        async with self._database.change() as db:
            ident = await queries.insert(
                db,
                caller.tenant_id,
                key,
                type=str(command.__struct_config__.tag),
                request=msgspec.json.encode(hidden(command)).decode(),
                state=CommandState.PENDING,
                requested_by=caller.actor,
                expires_at=expires_at,
            )
        task = self._run(
            ident, self._carry_out(ident, caller.tenant_id, key, command, expires_at, timeout_s, caller.actor)
        )
        if wait_s > 0:
            await asyncio.wait({task}, timeout=wait_s)
        return await self.one(caller, ident)

    async def ask(
        self,
        tenant_id: TenantId,
        key: StationKey,
        command: Command,
        *,
        by: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        valid_s: float = DEFAULT_VALID_S,
    ) -> CommandOutcome:
        """Has a station do something for a subject of ours, and waits for how it ended. Recorded like any command; cut off by a
        cancellation it goes on without us.

        Args:
            by: who asks, for the record: a subject such as `firmware`.
            timeout_s: how long the station may take to answer, from sending.
            valid_s: how long the command waits for the station to be reachable; then it is EXPIRED.
        Returns:
            REJECTED with a reason also where the station's version cannot do it or a value does not fit it; EXPIRED where the
            station did not become reachable.
        """
        _, task = await self.begin(tenant_id, key, command, by=by, timeout_s=timeout_s, valid_s=valid_s)
        return await asyncio.shield(task)

    async def give(
        self,
        tenant_id: TenantId,
        key: StationKey,
        command: Command,
        *,
        by: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        valid_s: float = DEFAULT_VALID_S,
    ) -> CommandId:
        """The same without waiting: the command is written down and on its way, over a restart of the server too; its id."""
        ident, _ = await self.begin(tenant_id, key, command, by=by, timeout_s=timeout_s, valid_s=valid_s)
        return ident

    async def begin(
        self,
        tenant_id: TenantId,
        key: StationKey,
        command: Command,
        *,
        by: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        valid_s: float = DEFAULT_VALID_S,
    ) -> tuple[CommandId, asyncio.Task[CommandOutcome]]:
        """The same; its id, and what can be waited for (shielded: a cancellation of it is one of the command)."""
        expires_at = datetime.now(UTC) + timedelta(seconds=valid_s)
        async with self._database.change() as db:
            ident = await queries.insert(
                db,
                tenant_id,
                key,
                type=str(command.__struct_config__.tag),
                request=msgspec.json.encode(hidden(command)).decode(),
                state=CommandState.PENDING,
                requested_by=f"policy: {by}",
                expires_at=expires_at,
            )
        run = self._carry_out(ident, tenant_id, key, command, expires_at, timeout_s, f"policy: {by}")
        return ident, self._run(ident, run)

    async def one(self, caller: Caller, ident: int) -> CommandView:
        """A command by our id.

        Raises:
            NotFoundError: the tenant has no such command.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("command", str(ident))
        return found

    async def page(
        self,
        caller: Caller,
        station_id: str,
        state: CommandState | None,
        action: str | None,
        limit: int,
        after: Position | None,
    ) -> list[CommandView]:
        """A station's commands and raw calls, newest first; at most `limit`.

        Args:
            action: OCPP action, without case.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, key, state and state.value, action, limit, after)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key

    def _run(self, ident: CommandId, work: Coroutine[Any, Any, CommandOutcome]) -> asyncio.Task[CommandOutcome]:
        task = asyncio.create_task(work, name=f"command {ident}")
        self._running[ident] = task
        task.add_done_callback(lambda _task: self._running.pop(ident, None))
        return task

    async def _carry_out(
        self,
        ident: CommandId,
        tenant_id: TenantId,
        key: StationKey,
        command: Command,
        expires_at: datetime | None,
        timeout_s: float | None,
        by: str,
    ) -> CommandOutcome:
        poll_s = _POLL_S
        try:
            if isinstance(command, Start) and command.remote_start_id is None:
                # Ours to choose (OCPP 2.0.1 F01.FR.25); the station gives it back with the transaction.
                command = msgspec.structs.replace(command, remote_start_id=ident % (2**31 - 1) or 1)
            for complete in self.completes.get(type(command), ()):
                command = await complete(tenant_id, key, command)
            while True:
                while not await self._reach.ready(key, pending=type(command) in BEFORE_ACCEPTED):
                    if expires_at is not None and datetime.now(UTC) >= expires_at:
                        async with self._database.change() as db:
                            await queries.expire(db, ident)
                        await self._tell(tenant_id, ident)
                        lost = CommandOutcome(state=CommandState.EXPIRED, reason="It did not become reachable in time.")
                        await ended(self._database, key, command, lost)
                        return lost
                    await asyncio.sleep(poll_s)
                    poll_s = min(poll_s * 1.3, _LAST_POLL_S)  # many may wait for long
                async with self._database.change() as db:
                    if not await queries.take(db, ident):
                        return CommandOutcome(state=CommandState.FAILED, reason="Another server has taken the command.")
                command = await numbered(self._database, tenant_id, key, command, by)
                try:
                    outcome = await self._send(tenant_id, key, command, timeout_s or DEFAULT_TIMEOUT_S, by)
                except ConflictError:  # the socket went away between the two: it was not sent
                    async with self._database.change() as db:
                        await queries.untake(db, ident)
                    await asyncio.sleep(_POLL_S)
                    continue
                except RuleError as error:
                    outcome = CommandOutcome(state=CommandState.REJECTED, reason=str(error))
                break
            await ended(self._database, key, command, outcome)
            await self._finish(ident, outcome)
            await self._tell(tenant_id, ident)
            await self._follow(tenant_id, key, command, outcome)
            return outcome
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.exception("command.failed", command=ident)
            failed = CommandOutcome(state=CommandState.FAILED, reason=f"The server failed: {error}")
            await self._finish(ident, failed)
            return failed

    async def _send(
        self, tenant_id: TenantId, key: StationKey, command: Command, timeout_s: float, by: str
    ) -> CommandOutcome:
        async def send(one: Command) -> CommandOutcome:
            return await self._reach.command(key, one, timeout_s)

        whole = self.wholes.get(type(command))
        return await (send(command) if whole is None else whole(tenant_id, key, command, send, by))

    async def _follow(self, tenant_id: TenantId, key: StationKey, command: Command, outcome: CommandOutcome) -> None:
        for follower in self.followers.get(type(command), ()):
            try:
                await follower(tenant_id, key, command, outcome)
            except Exception:
                _log.exception("command.not_followed", command=type(command).__name__)

    async def _finish(self, ident: CommandId, outcome: CommandOutcome) -> None:
        call, action = outcome.call, outcome.action
        if call is not None and call.payload is not None and action is not None:
            call = msgspec.structs.replace(call, payload=self._wire.kept_answer(action, call.payload))
            outcome = msgspec.structs.replace(outcome, call=call)
        async with self._database.change() as db:
            await queries.finish(db, ident, outcome)

    async def _tell(self, tenant_id: TenantId, ident: CommandId) -> None:
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, tenant_id, ident)
            if view is not None:
                self._events.publish("command.updated", tenant_id, view.station_id, view)


def _with_number(payload: bytes, name: str, number: int) -> bytes:
    """The compact JSON object with one more field behind the others."""
    comma = b"" if payload == b"{}" else b","
    return payload[:-1] + comma + b'"' + name.encode() + b'":' + str(number).encode() + b"}"
