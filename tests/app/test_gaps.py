"""Transactions that ended with events missing: when the station is asked, how often, and when that is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from chargeplane.app.gaps import TIMES, Gaps
from chargeplane.app.house import StationSettings
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind
from chargeplane.domain.messages import ReportKind
from chargeplane.domain.transactions import Flag, TransactionState, open_transaction
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.ids import StationKey, TransactionId
from tests.support.place import report

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = StationKey(7)


class Link:
    """A station's socket; answers each question with the next of `answers`."""

    def __init__(self, *answers: bytes | CallOutcomeKind | Exception) -> None:
        self.accepted = True
        self.answers = list(answers)
        self.asked: list[str] = []

    async def call(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        assert action == "GetTransactionStatus"
        self.asked.append(msgspec.json.decode(payload)["transactionId"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="m", payload=answer)
        code = "NotImplemented" if answer is CallOutcomeKind.CALLERROR else None
        return CallOutcome(outcome=answer, message_id="m", error_code=code)


class Station:
    """As much of an actor as is needed."""

    key = KEY
    station_id = "CS"

    def __init__(self, link: Link | None) -> None:
        self.link = link


def closed(*flags: Flag) -> TransactionState:
    """A transaction as it is after a report, with these flags."""
    opened = open_transaction(
        report(ReportKind.STARTED, 0, seq=0),
        id=TransactionId(1),
        assigned_id=None,
        message_id="m",
        content_hash=b"",
        flags=(),
        now=NOW,
    )
    return msgspec.structs.replace(opened.state, flags=flags)


class Asking:
    """Gaps of a node with a clock of its own."""

    def __init__(self, *answers: bytes | CallOutcomeKind | Exception, may_ask: bool = True) -> None:
        self.link = Link(*answers)
        self.actor: Any = Station(self.link)
        self.tasks: list[asyncio.Task[None]] = []
        self.gaps = Gaps(StationSettings(ask_by_evidence_after_s=0.001), lambda key: may_ask, self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def review(self) -> list[str]:
        """A sweep long after; what was asked so far."""
        self.gaps.review(datetime.now(UTC) + timedelta(days=1))
        await asyncio.gather(*self.tasks)
        return self.link.asked


IN_QUEUE, NOTHING = b'{"messagesInQueue":true,"ongoingIndicator":false}', b'{"messagesInQueue":false}'


async def test_a_gap_is_asked_about_until_the_station_has_nothing_more() -> None:
    asking = Asking(IN_QUEUE, IN_QUEUE, NOTHING)
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
    for times in (1, 2, 3, 3):
        assert await asking.review() == ["T1"] * times


async def test_a_gap_that_was_closed_is_not_asked_about() -> None:
    asking = Asking()
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
    asking.gaps.note(asking.actor, closed(), NOW)
    assert await asking.review() == []


async def test_an_end_without_gaps_is_not_asked_about() -> None:
    asking = Asking()
    asking.gaps.note(asking.actor, closed(Flag.OFFLINE), NOW)
    assert await asking.review() == []


async def test_it_is_not_asked_before_its_time() -> None:
    asking = Asking(NOTHING)
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), datetime.now(UTC) + timedelta(days=2))
    assert await asking.review() == []


async def test_a_station_that_went_away_is_asked_when_it_is_back() -> None:
    asking = Asking(CallOutcomeKind.DISCONNECTED, NOTHING)
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
    asking.actor.link = None
    assert await asking.review() == []
    asking.actor.link = asking.link
    assert await asking.review() == ["T1"]
    assert await asking.review() == ["T1", "T1"]
    assert await asking.review() == ["T1", "T1"]


async def test_a_station_whose_boot_is_not_accepted_is_not_asked_yet() -> None:
    asking = Asking(NOTHING)
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
    asking.link.accepted = False
    assert await asking.review() == []


async def test_a_station_that_cannot_say_is_asked_once() -> None:
    for answer in (CallOutcomeKind.CALLERROR, b"{}", b"nonsense", InvalidInputError("1.6 has no such call")):
        asking = Asking(answer)
        asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
        assert await asking.review() == ["T1"]
        assert await asking.review() == ["T1"]


async def test_a_station_that_never_gets_done_is_asked_so_often_and_no_more() -> None:
    asking = Asking(*[IN_QUEUE] * TIMES)
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
    for _ in range(TIMES + 3):
        await asking.review()
    assert asking.link.asked == ["T1"] * TIMES


async def test_a_station_that_does_not_want_to_be_asked_is_not() -> None:
    asking = Asking(may_ask=False)
    asking.gaps.note(asking.actor, closed(Flag.SEQ_GAP), NOW)
    assert await asking.review() == []
