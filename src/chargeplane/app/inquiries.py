"""Asking stations about transactions: gaps in their messages, connections that were lost, silence, and age.

Nothing here is on the way of a message: it is found by looking at the open transactions of the stations that are connected to
this node (gaps of those that ended: `gaps`). A transaction is closed only where its station no longer has it and has nothing
more to send of it, or cannot be asked and no car stands there; one that has lasted too long is first asked to be stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.actor import Actor
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.house import utc_now
from chargeplane.app.presence import Presence
from chargeplane.app.pulse import Pulse, paced
from chargeplane.domain.commands import CommandState, GetTransactionStatus, Stop, TransactionStatus
from chargeplane.domain.inquiries import Outcome, Why, again_after, is_eternal, is_silent, settled
from chargeplane.domain.transactions import Flag, TransactionState
from chargeplane.kernel.errors import NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationKey, TransactionId
from chargeplane.store.database import Database
from chargeplane.store.queries import inquiries as queries

_BY: Final = "transactions"
_MOST_TIMES: Final = 50
_MOST_GAPS: Final = 20_000
_AT_ONCE: Final = 200
"""Questions under way: after an outage all transactions of a node are asked about, one behind the other."""

REASONS: Final = {
    Why.GAP: "The station no longer has it, and no end came",
    Why.RECONNECT: "The station no longer had it when it came back",
    Why.SILENCE: "Nothing was heard of it any more",
    Why.AGE: "It lasted longer than is allowed",
}

log = structlog.get_logger(__name__)


class InquiryTimes(Struct, frozen=True, kw_only=True):
    """When stations are asked.

    Args:
        quiet_s: without a message of the transaction, before a gap is asked about; and after a reconnect.
        silent_after_s: without a message of an open transaction while its station tells other things; 0 never.
        eternal_after_s: the longest that a transaction may last; 0 has no end.
        look_every_s: how often open transactions are looked at for silence and age.
    """

    quiet_s: float = 60.0
    silent_after_s: float = 86_400.0
    eternal_after_s: float = 2_592_000.0
    look_every_s: float = 300.0


class _Asked(Struct):
    """A question that is to be asked, or asked again."""

    actor: Actor
    number: TransactionId
    name: str
    why: Why
    due: datetime
    ordinal: int = 0
    times: int = 0
    running: bool = False


class Inquiries:
    """Asks, and draws the conclusions."""

    def __init__(
        self,
        database: Database,
        commands: Commands,
        stations: Presence,
        may_ask: Callable[[StationKey], bool],
        times: InquiryTimes,
    ) -> None:
        self._database = database
        self._commands = commands
        self._stations = stations
        self._may_ask = may_ask
        self._times = times
        self._open: dict[tuple[StationKey, TransactionId], _Asked] = {}
        self._connected: dict[StationKey, datetime] = {}
        self._asked_gaps: dict[TransactionId, tuple[tuple[int, int], ...]] = {}
        self._looked = utc_now()
        self._pulse = Pulse("inquiries", max(0.05, min(5.0, times.quiet_s / 4, times.look_every_s)), self._beat)

    async def start(self) -> None:
        """Begins to look."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    def _add(self, actor: Actor, state: TransactionState, why: Why, due: datetime) -> None:
        key = (actor.key, state.id)
        if key not in self._open and state.ocpp_transaction_id is not None:
            self._open[key] = _Asked(actor, state.id, state.ocpp_transaction_id, why, due, state.ordinal)

    async def _beat(self) -> None:
        now = utc_now()
        present = self._stations.present()
        await self._find_reconnected(present, now)
        await self._find_gaps(present, now)
        if now - self._looked >= timedelta(seconds=self._times.look_every_s):
            self._looked = now
            async for actor in paced(present):
                for each in actor.open_transactions:
                    await self._look_at(actor, each, now)
        running = sum(asked.running for asked in self._open.values())
        for key, asked in list(self._open.items()):
            if running >= _AT_ONCE:
                break
            if asked.running or now < asked.due:
                continue
            link = asked.actor.link
            if link is None:
                if self._stations.link(asked.actor.key) is None and now - asked.due > timedelta(days=1):
                    del self._open[key]  # what it has queued comes when it is back; then it is looked at anew
                continue
            if not link.accepted or not asked.actor.is_loaded:
                continue
            state = self._state(asked)
            if state is not None and state.ordinal > asked.ordinal and asked.why is not Why.AGE:
                # Something was heard of it meanwhile: wait for quiet again.
                asked.ordinal, asked.due = state.ordinal, now + timedelta(seconds=self._times.quiet_s)
                if asked.why is not Why.GAP:
                    del self._open[key]
                continue
            asked.running = True
            running += 1
            self._pulse.spawn(self._ask(asked))

    async def _find_reconnected(self, present: Sequence[Actor], now: datetime) -> None:
        async for actor in paced(present):
            since = actor.connected_at
            if since is None or self._connected.get(actor.key) == since or not actor.is_loaded:
                continue
            self._connected[actor.key] = since
            for state in actor.open_transactions:
                if state.opened_at < since:
                    self._add(actor, state, Why.RECONNECT, now + timedelta(seconds=self._times.quiet_s))

    async def _find_gaps(self, present: Sequence[Actor], now: datetime) -> None:
        async for actor in paced(present):
            for state in actor.open_transactions:
                if Flag.SEQ_GAP in state.flags and self._asked_gaps.get(state.id) != state.seq_gaps:
                    if len(self._asked_gaps) > _MOST_GAPS:
                        self._asked_gaps.clear()
                    self._asked_gaps[state.id] = state.seq_gaps
                    self._add(actor, state, Why.GAP, now + timedelta(seconds=self._times.quiet_s))

    async def _look_at(self, actor: Actor, state: TransactionState, now: datetime) -> None:
        if (actor.key, state.id) in self._open:
            return
        eternal = timedelta(seconds=self._times.eternal_after_s)
        silent = timedelta(seconds=self._times.silent_after_s)
        if eternal and is_eternal(state, now, eternal):
            self._add(actor, state, Why.AGE, now)
        elif silent and is_silent(state, actor.last_seen, now, silent):
            async with self._database.read() as db:
                heard = await queries.last_heard(db, state.id, state.opened_at)
            if heard is None or now - heard >= silent:
                self._add(actor, state, Why.SILENCE, now)

    def _state(self, asked: _Asked) -> TransactionState | None:
        return next((known for known in asked.actor.open_transactions if known.id == asked.number), None)

    async def _ask(self, asked: _Asked) -> None:
        try:
            if asked.why is Why.AGE:
                await self._end_eternal(asked)
            else:
                await self._ask_once(asked)
        finally:
            asked.running = False

    async def _ask_once(self, asked: _Asked) -> None:
        actor, now = asked.actor, utc_now()
        ongoing: bool | None = None
        queued: bool | None = None
        link = actor.link
        if link is not None and link.ocpp_version != "1.6" and self._may_ask(actor.key):
            outcome = await self._commands.ask(
                actor.tenant_id, actor.key, GetTransactionStatus(ocpp_transaction_id=asked.name), by=_BY, valid_s=30.0
            )
            if outcome.state in (CommandState.EXPIRED, CommandState.TIMED_OUT):
                asked.times += 1
                asked.due = now + again_after(asked.times, timedelta(seconds=self._times.quiet_s))
                return
            told = reply_of(outcome, TransactionStatus)
            if told is not None:
                ongoing, queued = told.ongoing, told.messages_in_queue
        elif asked.why is not Why.SILENCE:
            self._open.pop((actor.key, asked.number), None)  # nobody to ask; other evidence decides
            return
        state = self._state(asked)
        known = None
        if state is not None and state.evse_id is not None:
            known = actor.connector_status(state.evse_id, state.connector_id or 1)
        verdict = settled(
            asked.why,
            is_open=state is not None,
            ongoing=ongoing,
            messages_in_queue=queued,
            connector=None if known is None else known.status,
        )
        asked.times += 1
        if verdict is Outcome.WAITING and asked.times < _MOST_TIMES:
            asked.due = utc_now() + again_after(asked.times, timedelta(seconds=self._times.quiet_s))
        else:
            self._open.pop((actor.key, asked.number), None)
        if verdict is Outcome.CLOSED and not await self._close(asked, Flag.CLOSED_BY_EVIDENCE):
            verdict = Outcome.UNKNOWN
        async with self._database.change() as db:
            await queries.note(
                db,
                asked.number,
                reason=asked.why.value,
                asked_at=now,
                times=asked.times,
                ongoing=ongoing,
                messages_in_queue=queued,
                answer=verdict.value,
            )

    async def _end_eternal(self, asked: _Asked) -> None:
        """The station is asked to stop; where no end follows, the transaction is closed here."""
        actor, now = asked.actor, utc_now()
        if self._state(asked) is None:
            self._open.pop((actor.key, asked.number), None)
            return
        asked.times += 1
        if asked.times == 1:
            outcome = await self._commands.ask(
                actor.tenant_id, actor.key, Stop(ocpp_transaction_id=asked.name), by=_BY, valid_s=30.0
            )
            if outcome.state is CommandState.ACCEPTED:
                asked.due = now + timedelta(seconds=self._times.quiet_s)
                return
        self._open.pop((actor.key, asked.number), None)
        closed = await self._close(asked, Flag.CLOSED_BY_POLICY)
        async with self._database.change() as db:
            await queries.note(
                db,
                asked.number,
                reason=asked.why.value,
                asked_at=now,
                times=asked.times,
                ongoing=None,
                messages_in_queue=None,
                answer=(Outcome.CLOSED if closed else Outcome.UNKNOWN).value,
            )

    async def _close(self, asked: _Asked, flag: Flag) -> bool:
        try:
            await asked.actor.close_transaction(asked.number, reason=REASONS[asked.why], flag=flag, now=utc_now())
        except (NotFoundError, UnavailableError):
            return False
        log.warning("transaction_closed", station=asked.actor.station_id, transaction=asked.number, why=asked.why.value)
        return True
