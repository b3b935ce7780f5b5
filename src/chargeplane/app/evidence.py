"""Open transactions that an Available status speaks against: the station is asked, or a grace decides.

The stop of a transaction that ended while the station was offline may never come. The EVSE being free again is a reason to
ask, not yet to close: statuses are replayed before the stops they belong to. OCPP 2.x stations are asked with
GetTransactionStatus; one that cannot be asked (1.6) or does not say gets a time of grace. Then the transaction is closed
with its last known value and a flag; a stop that comes after all still counts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.house import StationSettings, utc_now
from chargeplane.domain.clock import effective, plausible
from chargeplane.domain.evidence import Verdict, verdict
from chargeplane.domain.messages import ConnectorState, ConnectorStatus
from chargeplane.domain.transactions import Flag, TransactionState
from chargeplane.kernel.errors import InvalidInputError, NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationKey, TransactionId

if TYPE_CHECKING:
    from chargeplane.app.actor import Actor

log = structlog.get_logger(__name__)

REASON = "The EVSE is free again and no end came"
_ANSWER_S = 30.0


class _Status(Struct):
    """GetTransactionStatusResponse, as far as it is used."""

    ongoingIndicator: bool | None = None  # noqa: N815
    messagesInQueue: bool | None = None  # noqa: N815


_decode = msgspec.json.Decoder(_Status).decode


class Doubt(Struct):
    """A transaction that may be over.

    Args:
        place: EVSE and connector that turned Available.
        told_at: effective time of that status.
        ordinal: events of the transaction by then; None where the status told a time that can be believed.
        doubted_at: our time of it.
        asked_at: when the station was last asked.
        asking: an answer is being waited for.
        dumb: the station cannot be asked (1.6), or does not know the question.
    """

    actor: Actor
    number: TransactionId
    place: tuple[int, int]
    told_at: datetime
    ordinal: int | None
    doubted_at: datetime
    asked_at: datetime | None = None
    asking: bool = False
    dumb: bool = False


class Doubts:
    """Every doubt of this node until it is settled.

    Args:
        settings: how long to wait before asking, and before closing unasked.
        may_ask: whether the station wants to be asked at all (its own settings, its registration).
        spawn: runs what waits for an answer.
    """

    def __init__(
        self,
        settings: StationSettings,
        may_ask: Callable[[StationKey], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._ask_after = timedelta(seconds=settings.ask_by_evidence_after_s)
        self._grace = timedelta(seconds=settings.close_by_evidence_after_s)
        self._may_ask = may_ask
        self._spawn = spawn
        self._open: dict[tuple[StationKey, TransactionId], Doubt] = {}

    def about(self, key: StationKey) -> int:
        """How many of a station's transactions are in doubt."""
        return sum(1 for station, _ in self._open if station == key)

    def add(self, actor: Actor, state: TransactionState, status: ConnectorStatus, now: datetime) -> None:
        """A status speaks against an open transaction."""
        place = (status.evse_id, status.connector_id)
        ordinal = None if plausible(status.at, now) else state.ordinal
        doubt = Doubt(actor, state.id, place, effective(status.at, now), ordinal, now)
        known = self._open.setdefault((actor.key, state.id), doubt)
        if known is not doubt and known.actor is actor:
            if _went_on(known, state):
                known.doubted_at = now
            known.place, known.told_at, known.ordinal = place, doubt.told_at, ordinal

    def review(self, now: datetime) -> None:
        """Settles what can be settled by now; called with every sweep."""
        for key, doubt in list(self._open.items()):
            if doubt.asking:
                continue
            if not doubt.actor.is_loaded:
                del self._open[key]  # loading the state raises it again
                continue
            state = self._doubted(doubt)
            if state is None:
                del self._open[key]
                continue
            if doubt.actor.link is None:
                continue  # what it has queued comes when it is back
            if now - (doubt.asked_at or _since(doubt)) < min(self._ask_after, self._grace):
                continue
            if not doubt.dumb and state.ocpp_transaction_id and self._may_ask(doubt.actor.key):
                doubt.asking = True
                self._spawn(self._ask(doubt, state.ocpp_transaction_id))
            else:
                self._settle(doubt, None, None, now)

    def _doubted(self, doubt: Doubt) -> TransactionState | None:
        """The transaction while it is open, has told nothing newer, and its connector is still free."""
        state = next((known for known in doubt.actor.open_transactions if known.id == doubt.number), None)
        if state is None or _went_on(doubt, state):
            return None
        known = doubt.actor.connector_status(*doubt.place)
        return state if known is not None and known.status == ConnectorState.AVAILABLE else None

    async def _ask(self, doubt: Doubt, ocpp_transaction_id: str) -> None:
        ongoing: bool | None = None
        queued: bool | None = None
        try:
            link = doubt.actor.link
            if link is not None:
                payload = msgspec.json.encode({"transactionId": ocpp_transaction_id})
                outcome = await link.call("GetTransactionStatus", payload, _ANSWER_S)
                if outcome.payload is not None:
                    told = _decode(outcome.payload)
                    ongoing, queued = told.ongoingIndicator, told.messagesInQueue
                doubt.dumb = outcome.error_code is not None
        except InvalidInputError:
            doubt.dumb = True  # its version has no such call, or not for this id
        except (UnavailableError, msgspec.MsgspecError) as error:
            log.info("transaction_not_asked_for", station=doubt.actor.station_id, reason=str(error))
        finally:
            doubt.asking = False
        now = utc_now()
        doubt.asked_at = now
        if self._doubted(doubt) is not None and doubt.actor.link is not None:
            self._settle(doubt, ongoing, queued, now)

    def _settle(self, doubt: Doubt, ongoing: bool | None, queued: bool | None, now: datetime) -> None:
        decided = verdict(
            ongoing=ongoing, messages_in_queue=queued, doubted_at=_since(doubt), now=now, grace=self._grace
        )
        if decided is Verdict.WAIT:
            return
        self._open.pop((doubt.actor.key, doubt.number), None)
        if decided is Verdict.CLOSE:
            self._spawn(self._close(doubt))

    async def _close(self, doubt: Doubt) -> None:
        try:
            await doubt.actor.close_transaction(
                doubt.number, reason=REASON, flag=Flag.CLOSED_BY_EVIDENCE, now=utc_now()
            )
            log.warning("transaction_closed_by_evidence", station=doubt.actor.station_id, transaction=doubt.number)
        except (NotFoundError, UnavailableError):
            pass


def _went_on(doubt: Doubt, state: TransactionState) -> bool:
    """Whether the transaction told something newer than the status: by the station's clock, where that has no say by arrival."""
    if doubt.ordinal is not None:
        return state.ordinal > doubt.ordinal
    return (state.newest_effective or state.started_at) >= doubt.told_at


def _since(doubt: Doubt) -> datetime:
    """From when a stop could have come: not while the station was away."""
    return max(doubt.doubted_at, doubt.actor.connected_at or doubt.doubted_at)
