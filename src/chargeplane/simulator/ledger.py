"""What was sent and what was acknowledged, so that a test can compare it with what a server kept."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable

from msgspec import Struct


class Entry(enum.StrEnum):
    """What happened to a CALL of a station."""

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    LOST = "lost"


class Line(Struct, frozen=True):
    """One line of a ledger.

    Args:
        at: monotonic seconds.
        payload: the CALL's payload as JSON text (for `acknowledged` and `refused` too, so that a line stands alone).
        answer: the CALLRESULT's payload, or the error code of a CALLERROR.
    """

    at: float
    station_id: str
    entry: Entry
    action: str
    message_id: str
    payload: bytes
    answer: bytes | None = None


Record = Callable[[Line], None]
"""Anything that takes lines: `Ledger().add`, a file writer, a pipe to another process."""


class Ledger:
    """Keeps every line in memory.

    Args:
        actions: only these OCPP actions; all where empty.
    """

    __slots__ = ("_actions", "lines")

    def __init__(self, actions: frozenset[str] = frozenset()) -> None:
        self.lines: list[Line] = []
        self._actions = actions

    def add(self, line: Line) -> None:
        """Takes a line."""
        if not self._actions or line.action in self._actions:
            self.lines.append(line)

    def of(self, entry: Entry) -> list[Line]:
        """Every line of a kind, in order."""
        return [line for line in self.lines if line.entry is entry]

    def unacknowledged(self) -> list[Line]:
        """What was sent and never answered (the server may or may not have it)."""
        answered = {
            (line.station_id, line.message_id, line.payload)
            for line in self.lines
            if line.entry in (Entry.ACKNOWLEDGED, Entry.REFUSED)
        }
        seen: set[tuple[str, str, bytes]] = set()
        out: list[Line] = []
        for line in self.of(Entry.SENT):
            key = (line.station_id, line.message_id, line.payload)
            if key not in answered and key not in seen:
                seen.add(key)
                out.append(line)
        return out

    def counts(self) -> Counter[tuple[str, Entry]]:
        """How many lines of each action and kind."""
        return Counter((line.action, line.entry) for line in self.lines)
