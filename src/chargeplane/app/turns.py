"""One thing at a time, in order, answered after its commit: what an actor is before it knows anything of charging.

A station's messages and the jobs of operators and sweeps take turns. Whatever must wait (the state being loaded, an id token looked
up, a transaction's history) pauses the turns, so that later ones queue behind. There is no lock: everything runs in the event loop.

State in memory runs ahead of the commit by what is outstanding. A message that the database refuses takes its successors with it: the
state is dropped, the message is quarantined and answered, and the successors are taken again, in order, on reloaded state. A station
that another node took over is let go: nothing more is answered here, it asks there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import structlog

from chargeplane.app.house import House, utc_now
from chargeplane.app.ports import AnswerCallback, CloseReason, Received, StationLink
from chargeplane.domain.authorization import IdTokenRecord, matching
from chargeplane.domain.clock import ClockOffset, measure
from chargeplane.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    BootAnswer,
    IdToken,
    IdTokenInfo,
    Registration,
    ReportKind,
    StationAnswer,
    TransactionAnswer,
    TransactionReport,
    Unusable,
)
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store import rows
from chargeplane.store.commit import Premise, Work
from chargeplane.store.commit.fields import int4, int8
from chargeplane.store.commit.tables import QUARANTINE

log = structlog.get_logger(__name__)

_ACKNOWLEDGED = Acknowledged()
_QUARANTINE = QUARANTINE.index

Job = Callable[[], None]


class MessageWork(Work):
    """A station's message on its way to disk, with the answer that waits for it."""

    __slots__ = ("actor", "after", "answer", "received", "value")

    def __init__(
        self,
        actor: Turns,
        received: Received,
        answer: AnswerCallback,
        value: StationAnswer | None,
        written: list[rows.Write],
        after: Job | None,
        premises: tuple[Premise, ...],
    ) -> None:
        self.station = actor.key
        self.rows = written
        self.size = len(received.payload) + 200
        self.premises = premises
        self.cancelled = False
        self.actor = actor
        self.received = received
        self.answer = answer
        self.value = value
        self.after = after

    def committed(self) -> None:
        """Answers the station."""
        self.actor.outstanding.remove(self)
        value = self.value
        if value is None:
            value = self.actor.boot_answer()
        self.answer(value)
        if self.after is not None:
            self.after()

    def refused(self, error: Exception) -> None:
        """Quarantines the message, answers it, and has its successors taken again."""
        self.actor.message_refused(self, error)

    def fenced(self) -> None:
        """Another node owns the station: nothing is answered, the station will ask there."""
        self.actor.fenced()

    def overtaken(self) -> None:
        """An id token was changed after it was decided by: it is taken again, with what came after it."""
        self.actor.drop_state(None)


class JobWork(Work):
    """A change that no station's message made (an operator's, a sweep's), and who waits for it."""

    __slots__ = ("actor", "done")

    def __init__(self, actor: Turns, written: list[rows.Write], done: Callable[[Exception | None], None]) -> None:
        super().__init__(actor.key, written, 500)
        self.actor = actor
        self.done = done

    def committed(self) -> None:
        """Tells that it is safe."""
        self.actor.outstanding.remove(self)
        self.done(None)

    def refused(self, error: Exception) -> None:
        """Tells that it never will be."""
        self.actor.drop_state(self)
        self.done(error)

    def fenced(self) -> None:
        """Another node owns the station."""
        self.actor.fenced()


class Turns:
    """The turns of one station on this node; outlives sockets."""

    __slots__ = (
        "_clock",
        "_generation",
        "_held",
        "_house",
        "_inbox",
        "_loaded",
        "_premises",
        "_quirks",
        "_station",
        "_tenant",
        "key",
        "last_seen",
        "link",
        "outstanding",
        "station_id",
        "tenant_id",
    )

    def __init__(self, house: House, key: StationKey, tenant_id: TenantId, station_id: StationId) -> None:
        self._house = house
        self.key = key
        self.tenant_id = tenant_id
        self.station_id = station_id
        self._station = int8(key)
        self._tenant = int4(tenant_id)
        self.link: StationLink | None = None
        self.last_seen: datetime | None = None
        self.outstanding: list[Work] = []
        self._clock: ClockOffset | None = None
        self._quirks: dict[str, int] | None = None
        self._premises: tuple[Premise, ...] = ()
        self._loaded = False
        self._generation = 0
        self._held: tuple[Received, AnswerCallback] | None = None
        self._inbox: list[tuple[Received | None, AnswerCallback | Job]] | None = None

    def _take(self, received: Received, answer: AnswerCallback) -> None:
        """What a message does, on loaded state; the actor's table."""
        self._quarantine(received, answer, f"Nothing takes {received.action}.")

    @property
    def backlog(self) -> int:
        """Messages taken and not yet answered."""
        return len(self.outstanding) + (len(self._inbox) if self._inbox is not None else 0)

    def receive(self, received: Received, answer: AnswerCallback) -> None:
        """Takes a message in its turn."""
        self.last_seen = received.received_at
        if self._inbox is not None:
            self._inbox.append((received, answer))
        elif self._loaded:
            self._handle(received, answer)
        else:
            self._inbox = [(received, answer)]
            self._house.request_load(self)

    def repaired(self, rules: tuple[str, ...]) -> None:
        """Counts repair rules that a message needed."""
        if self._quirks is None:
            self._quirks = {}
        for rule in rules:
            self._quirks[rule] = self._quirks.get(rule, 0) + 1

    def run(self, job: Job) -> None:
        """Runs a job in its turn, on loaded state."""
        if self._inbox is not None:
            self._inbox.append((None, job))
        elif self._loaded:
            job()
        else:
            self._inbox = [(None, job)]
            self._house.request_load(self)

    def ensure_loaded(self) -> None:
        """Has the state loaded (and the station taken over where another node owned it)."""
        if not self._loaded and self._inbox is None:
            self._inbox = []
            self._house.request_load(self)

    @property
    def is_loaded(self) -> bool:
        """Whether the state is in memory and the station is ours."""
        return self._loaded

    def submit_rows(self, written: list[rows.Write]) -> None:
        """Writes rows that nobody waits for."""
        self._submit_job(written, _nobody_waits)

    def message_refused(self, work: MessageWork, error: Exception) -> None:
        """The database will never take this message's rows: they are kept as bytes, and the message is answered."""
        cause = error.__cause__ or error
        received = work.received
        self.drop_state(work)
        if any(index == _QUARANTINE for index, _ in work.rows):
            log.critical("quarantine_refused", station=self.station_id, action=received.action, error=str(cause))
            if self.link is not None:
                self.link.close(CloseReason.UNSTORABLE)
        else:
            self._quarantine(received, work.answer, f"The database refused it: {cause}")

    def drop_state(self, refused: Work | None) -> None:
        """Forgets the state that ran ahead of a refused work; its successors are taken again on reloaded state. Without one,
        all that is outstanding is taken again. Rows that nobody waits for rest on no state: they are submitted again as they are."""
        again: list[tuple[Received | None, AnswerCallback | Job]] = []
        outstanding, self.outstanding = self.outstanding, []
        jobs: list[JobWork] = []
        loose: list[JobWork] = []
        for work in outstanding:
            if work is refused:
                continue
            work.cancelled = True
            if isinstance(work, MessageWork):
                again.append((work.received, work.answer))
            elif isinstance(work, JobWork):
                (loose if work.done is _nobody_waits else jobs).append(work)
        if self._held is not None:
            again.append(self._held)
        self._forget()
        self._inbox = [*again, *(self._inbox or ())]
        self._house.request_load(self)
        for job in loose:
            self._submit_job(job.rows, job.done)
        for job in jobs:
            job.done(UnavailableError("The station's state was reloaded meanwhile; try again."))

    def fenced(self) -> None:
        """Another node owns the station: its socket here is closed, nothing more is answered, the state is forgotten."""
        self._forget()
        waiting, self._inbox = self._inbox, None
        outstanding, self.outstanding = self.outstanding, []
        link, self.link = self.link, None
        if link is not None:
            link.close(CloseReason.FENCED)
        for work in outstanding:
            work.cancelled = True
            if isinstance(work, JobWork):
                work.done(UnavailableError("Another node owns the station now; try again."))
        for received, job in waiting or ():
            if received is None:
                job()  # type: ignore[call-arg]  # it finds the state gone and says so

    def boot_answer(self) -> BootAnswer:
        """Made when it is sent, so that the station gets the time of then (OCPP 1.6, 4.2; 2.0.1 B01.FR.02)."""
        house = self._house
        status = house.registration(self.key)
        interval = (
            house.heartbeat_interval(self.key)
            if status is Registration.ACCEPTED
            else spread(house.settings.retry_interval_s, self.key)
        )
        return BootAnswer(status=status, interval_s=interval, now=utc_now())

    def _resume(self) -> None:
        """Handles what queued during a pause, until the next pause."""
        waiting, self._inbox = self._inbox, None
        while waiting:
            received, answer = waiting.pop(0)
            if received is None:
                answer()  # type: ignore[call-arg]
            else:
                self._handle(received, answer)  # type: ignore[arg-type]
            if self._inbox is not None:
                self._inbox += waiting
                return

    def _hold(self, received: Received, answer: AnswerCallback) -> int:
        """Pauses for a message; `_continue` ends the pause. Returns the generation to give it."""
        self._inbox = []
        self._held = (received, answer)
        return self._generation

    def _continue(self, generation: int, step: Job) -> None:
        """Goes on with the message that the pause was for, then with what queued behind it.

        Where the state was dropped meanwhile, that message is queued again already, to be taken from its beginning.
        """
        if generation != self._generation or self._held is None:
            return
        received, answer = self._held
        self._held = None
        waiting, self._inbox = self._inbox, None
        try:
            step()
        except Exception as error:
            self._not_handled(received, answer, error)
        if waiting:
            if self._inbox is not None:
                self._inbox += waiting
            else:
                self._inbox = waiting
                self._resume()

    def _handle(self, received: Received, answer: AnswerCallback) -> None:
        try:
            self._take(received, answer)
        except Exception as error:
            self._not_handled(received, answer, error)

    def _not_handled(self, received: Received, answer: AnswerCallback, error: Exception) -> None:
        """A bug of ours must not cost a message: it is kept and answered, and the log says where. What the failed attempt left in
        memory is not trusted: the state is loaded again once everything outstanding is committed."""
        log.error("message_not_handled", station=self.station_id, action=received.action, exc_info=error)
        self._quarantine(received, answer, f"Handling it failed: {type(error).__name__}: {error}")
        self._inbox = [*(self._inbox or ())]
        generation = self._generation

        def reload(_: Exception | None) -> None:
            if generation == self._generation:
                self._forget()
                self._house.request_load(self)

        self._submit_job([], reload)

    def _forget(self) -> None:
        """The state in memory is void; whoever waits with an old generation is no longer waited for."""
        self._generation += 1
        self._loaded = False
        self._held = None
        self._premises = ()

    def _submit(
        self,
        received: Received,
        answer: AnswerCallback,
        value: StationAnswer | None,
        written: list[rows.Write],
        after: Job | None = None,
    ) -> None:
        premises = self._premises
        if premises:
            self._premises = ()
        work = MessageWork(self, received, answer, value, written, after, premises)
        self.outstanding.append(work)
        self._house.committer.submit(work)

    def _submit_patiently(
        self,
        received: Received,
        answer: AnswerCallback,
        value: StationAnswer | None,
        written: list[rows.Write],
        after: Job | None,
    ) -> None:
        """The same for what gives way to messages about transactions: after an outage all stations boot at once."""
        work = MessageWork(self, received, answer, value, written, after, ())
        self.outstanding.append(work)
        self._house.committer.submit_patiently(work)

    def _submit_job(self, written: list[rows.Write], done: Callable[[Exception | None], None]) -> None:
        work = JobWork(self, written, done)
        self.outstanding.append(work)
        self._house.committer.submit(work)

    def _lookup(
        self,
        received: Received,
        answer: AnswerCallback,
        token: IdToken,
        step: Callable[[tuple[IdTokenRecord, ...]], None],
    ) -> None:
        """Goes on with `step` and the token's records: at once with those in memory, which the commit then has to find
        unchanged, else after a pause with those in the store."""
        known = self._house.tokens.known(self.tenant_id, token.value)
        if known is not None:
            self._premises = (*self._premises, known.premise)
            step(known.records)
            return
        generation = self._hold(received, answer)
        self._house.tokens.lookup(
            self.tenant_id, token.value, lambda records: self._looked_up(generation, received, token, records, step)
        )

    def _looked_up(
        self,
        generation: int,
        received: Received,
        token: IdToken,
        records: tuple[IdTokenRecord, ...],
        step: Callable[[tuple[IdTokenRecord, ...]], None],
    ) -> None:
        """Goes on with what the store holds of a token; where that is nothing, with what partners say of it."""
        roaming = self._house.roaming
        if roaming is None or matching(token, records) is not None:
            self._continue(generation, lambda: step(records))
            return
        message = received.message
        report = message if isinstance(message, TransactionReport) else None
        evse_ids = message.evse_ids if isinstance(message, Authorize) else ()
        if report is not None and report.evse_id:
            evse_ids = (report.evse_id,)
        kind = None if report is None else report.kind
        # A token that began what runs may always end it: nobody is asked.
        starts = kind is ReportKind.STARTED or (kind is not ReportKind.ENDED and not self._is_running(token))

        async def ask() -> None:
            found = await roaming.records(
                self.tenant_id, self.key, token, evse_ids=evse_ids, starts=starts, begins=report is not None
            )
            self._continue(generation, lambda: step(found or records))

        self._house.spawn(ask())

    def _is_running(self, token: IdToken) -> bool:
        """Whether a token began what runs at the station."""
        return False

    def _read(
        self,
        received: Received,
        answer: AnswerCallback,
        read: Callable[[], Awaitable[list[Any]]],
        step: Callable[[list[Any]], None],
    ) -> None:
        """Pauses until what is outstanding is committed and `read` has its rows, then goes on with `step`."""
        generation = self._hold(received, answer)

        async def wait() -> None:
            settled = asyncio.get_running_loop().create_future()

            def done(_: Exception | None) -> None:
                if not settled.done():
                    settled.set_result(None)

            self._submit_job([], done)
            await settled
            found = await read() if generation == self._generation else []
            self._continue(generation, lambda: step(found))

        self._house.spawn(wait())

    def _quarantine(
        self, received: Received, answer: AnswerCallback, reason: str, value: StationAnswer | None = None
    ) -> None:
        written = [
            rows.quarantine(
                self._tenant,
                self._station,
                received.action,
                received.message_id,
                received.content_hash,
                received.payload,
                reason,
                received.received_at,
            )
        ]
        after: Job | None = None
        if self._house.feed.active:

            def tell() -> None:
                self._emit("quarantine.added", {"action": received.action, "reason": reason})

            after = tell

        self._submit(received, answer, value or self._answer_unmatched(received), written, after)

    def _answer_unmatched(self, received: Received) -> StationAnswer:
        """What lets a station's queue go on although its message could not be used."""
        message = received.message
        if isinstance(message, TransactionReport):
            assigned = None
            if message.csms_assigns_id and message.kind is ReportKind.STARTED:
                assigned = self._house.ocpp16_ids.take()
            info = IdTokenInfo(status=AuthorizationStatus.INVALID) if message.id_token is not None else None
            return TransactionAnswer(assigned_id=assigned, id_token_info=info)
        if isinstance(message, Unusable) and message.action == "StartTransaction":
            return TransactionAnswer(
                assigned_id=self._house.ocpp16_ids.take(), id_token_info=IdTokenInfo(status=AuthorizationStatus.INVALID)
            )
        if isinstance(message, Authorize):
            return AuthorizeAnswer(id_token_info=IdTokenInfo(status=AuthorizationStatus.INVALID))
        if isinstance(message, Boot):
            return self.boot_answer()
        return _ACKNOWLEDGED

    def _measure(self, at: datetime | None, now: datetime, *, may_be_old: bool = False) -> None:
        """Learns how far the station's clock is from ours."""
        if at is not None:
            self._clock = measure(self._clock, at, now, may_be_old=may_be_old)

    def _emit(self, kind: str, data: dict[str, object]) -> None:
        self._house.feed.emit(kind, self.tenant_id, self.station_id, data)


def spread(interval_s: int, key: StationKey) -> int:
    """The interval made up to a quarter longer, for each station by another share: those that asked at once come back apart."""
    return interval_s + (key * 2_654_435_761 % 2**32) * interval_s // 2**34


def _nobody_waits(error: Exception | None) -> None:
    """For rows whose loss is worth no more than a log line."""
    if error is not None:
        log.warning("rows_not_written", error=str(error))
