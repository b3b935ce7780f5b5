"""Transactions that ended with events missing: the station is asked whether these are still to come.

An end may overtake what a station has queued, and some of what happened may be gone for good. While the station says that it
has more to send it is asked again, ever more seldom; once it says that there is nothing, or cannot say, the gap stays as it
is. It is shown with the transaction, and closed by whatever still arrives. Only memory knows of the asking: after a restart
nobody is asked about ends of before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.house import StationSettings, utc_now
from chargeplane.domain.transactions import Flag, TransactionState
from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.kernel.ids import StationKey, TransactionId

if TYPE_CHECKING:
    from chargeplane.app.actor import Actor

log = structlog.get_logger(__name__)

MOST: Final = 20_000
"""Transactions of a node that are asked about at a time; stations with more gaps than that are asked about no more of them."""

TIMES: Final = 8
"""How often a station is asked about one; each wait is twice the one before."""

_ANSWER_S: Final = 30.0


class _Status(Struct):
    """GetTransactionStatusResponse, as far as it is used."""

    messagesInQueue: bool | None = None  # noqa: N815


_decode: Final = msgspec.json.Decoder(_Status).decode


class Gap(Struct):
    """A transaction that lacks events.

    Args:
        name: as the station knows it.
        ask_at: when it is asked next.
        wait: until then, from the last time.
    """

    actor: Actor
    name: str
    ask_at: datetime
    wait: timedelta
    asked: int = 0
    asking: bool = False


class Gaps:
    """Every such transaction of this node until its station has told.

    Args:
        settings: how long after the end a station is asked.
        may_ask: whether the station wants to be asked at all (its own settings, its registration).
        spawn: runs what waits for an answer.
    """

    def __init__(
        self,
        settings: StationSettings,
        may_ask: Callable[[StationKey], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._wait = timedelta(seconds=settings.ask_by_evidence_after_s)
        self._may_ask = may_ask
        self._spawn = spawn
        self._open: dict[tuple[StationKey, TransactionId], Gap] = {}

    def note(self, actor: Actor, state: TransactionState, now: datetime) -> None:
        """A transaction ended, or something came after its end."""
        key = (actor.key, state.id)
        if Flag.SEQ_GAP not in state.flags:
            self._open.pop(key, None)
        elif key not in self._open and state.ocpp_transaction_id and len(self._open) < MOST:
            self._open[key] = Gap(actor, state.ocpp_transaction_id, now + self._wait, self._wait)

    def review(self, now: datetime) -> None:
        """Asks whom it is time for; called with every sweep."""
        for key, gap in list(self._open.items()):
            link = gap.actor.link
            if gap.asking or link is None or not link.accepted or now < gap.ask_at:
                continue
            if gap.asked >= TIMES or not self._may_ask(gap.actor.key):
                del self._open[key]
                continue
            gap.asking = True
            self._spawn(self._ask(key, gap))

    async def _ask(self, key: tuple[StationKey, TransactionId], gap: Gap) -> None:
        queued: bool | None = None
        try:
            link = gap.actor.link
            if link is None:
                return  # asked when it is back
            payload = msgspec.json.encode({"transactionId": gap.name})
            outcome = await link.call("GetTransactionStatus", payload, _ANSWER_S)
            gap.asked += 1
            if outcome.payload is not None:
                queued = _decode(outcome.payload).messagesInQueue
            elif outcome.error_code is None:
                queued = True  # no answer, or the connection went: asked again
        except (InvalidInputError, msgspec.MsgspecError):
            queued = None  # its version has no such call, or not for this id; or what it says is of no use
        except UnavailableError:
            queued = True
        finally:
            gap.asking = False
            gap.wait *= 2
            gap.ask_at = utc_now() + gap.wait
        if not queued and self._open.pop(key, None) is not None:
            log.warning("transaction_lacks_events", station=gap.actor.station_id, transaction=key[1], told=queued)
