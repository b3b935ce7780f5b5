"""The bus between server processes: live events to all, requests to the one process that holds a station.

Nothing durable travels here (that is the outbox's): a publication may be lost while the bus is away, and
`on_gap` says so afterwards, so that caches can be read again. Subjects are words with dots between them; in a
subscription `*` stands for one word and `>` for the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from chargeplane.kernel.errors import ChargeplaneError, InvalidInputError, UnavailableError

MessageHandler = Callable[[str, bytes], None]
"""Takes subject and payload, in the event loop; must not block. What it raises is logged and hurts nobody else."""

RequestHandler = Callable[[bytes], Awaitable[bytes]]
"""Answers a request; each in a task of its own. A ChargeplaneError reaches the requester as a ResponderError."""


class NoResponderError(UnavailableError):
    """Nobody answers on the subject: no process holds that station."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"Nobody answers on '{subject}'.")
        self.subject = subject


class RequestTimeoutError(UnavailableError):
    """There is a responder, and it did not answer in time; it may have done what was asked."""

    def __init__(self, subject: str, timeout_s: float) -> None:
        super().__init__(f"There was no answer on '{subject}' within {timeout_s:g} s.")
        self.subject = subject


class ResponderError(ChargeplaneError):
    """The responder failed; the text is its own error's."""


class Subscription(Protocol):
    """What a subscriber or responder holds."""

    async def cancel(self) -> None:
        """Ends it; nothing is delivered afterwards."""


class Bus(Protocol):
    """Implemented by edges/bus: in process, and over NATS."""

    @property
    def connected(self) -> bool:
        """Whether messages travel now."""
        ...

    @property
    def dropped(self) -> int:
        """Publications lost since the start because the bus was away or too slow."""
        ...

    def publish(self, subject: str, payload: bytes) -> None:
        """Sends to all subscribers, in order; never waits, never raises for a bus that is away.

        Args:
            subject: words without `*` and `>`.
            payload: at most MAX_PAYLOAD bytes.
        """

    async def flush(self) -> None:
        """Returns when everything published before is on its way to the subscribers, but for what `dropped` has counted.

        Raises:
            UnavailableError: the bus is away.
        """

    async def subscribe(self, subject: str, handler: MessageHandler) -> Subscription:
        """Hears every publication on a subject, also this process's own.

        Raises:
            UnavailableError: the bus is closed.
        """
        ...

    async def respond(self, subject: str, handler: RequestHandler) -> Subscription:
        """Answers requests on a subject. With several responders the first answer counts.

        Raises:
            UnavailableError: the bus is closed.
        """
        ...

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Asks the responder of a subject.

        Raises:
            NoResponderError: there is none.
            RequestTimeoutError: no answer in time.
            ResponderError: the responder failed.
            UnavailableError: the bus is away.
        """
        ...

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Calls back when messages may have been missed (after the bus was away), once all subscriptions stand again."""

    async def close(self) -> None:
        """Ends all subscriptions; answers under way are given up."""


MAX_PAYLOAD = 4 * 1024 * 1024
"""Bytes of one message."""

_WILDCARDS = frozenset("*>")


def check_subject(subject: str, *, wildcards: bool = False) -> str:
    """The subject, where it is one.

    Raises:
        InvalidInputError: it has empty words, spaces, control characters, or wildcards where none may be.
    """
    words = subject.split(".")
    last = len(words) - 1
    for place, word in enumerate(words):
        plain = word.isprintable() and not any(c.isspace() for c in word) and not _WILDCARDS.intersection(word)
        wild = wildcards and (word == "*" or (word == ">" and place == last))
        if not word or not (plain or wild):
            raise InvalidInputError(f"'{subject}' is not a subject of the bus.")
    return subject
