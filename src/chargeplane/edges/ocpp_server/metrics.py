"""What the OCPP door counts. The numbers are shown by whoever is passed in; here they are only handed over.

Observers of calls are fetched once per action and outcome and then called directly, so an observer should cost well
under a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Observer = Callable[[float], None]
"""Takes the seconds from a CALL to its answer."""


class OcppMetrics(Protocol):
    """Counters of the OCPP door."""

    def opened(self, version: str) -> None:
        """A station's socket was opened with this OCPP version."""

    def closed(self, version: str, code: int) -> None:
        """A station's socket is gone; `code` as in RFC 6455, 7.4.1, 1006 where there was no close frame."""

    def handshake(self, verdict: str) -> None:
        """A handshake ended."""

    def call_observer(self, version: str, from_station: bool, action: str, outcome: str) -> Observer:
        """The observer of finished calls of one kind.

        Args:
            action: a known action; `unknown` stands for all others.
            outcome: as in the message log: callresult, callerror, timeout, disconnected.
        """

    def unreadable(self, version: str) -> None:
        """A frame was no OCPP-J message, or an answer to nothing we asked."""


class _NoMetrics:
    """Counts nothing."""

    def opened(self, version: str) -> None:
        pass

    def closed(self, version: str, code: int) -> None:
        pass

    def handshake(self, verdict: str) -> None:
        pass

    def call_observer(self, version: str, from_station: bool, action: str, outcome: str) -> Observer:
        return _observe_nothing

    def unreadable(self, version: str) -> None:
        pass


def _observe_nothing(seconds: float) -> None:
    pass


NO_METRICS: OcppMetrics = _NoMetrics()
"""For tests and tools."""
