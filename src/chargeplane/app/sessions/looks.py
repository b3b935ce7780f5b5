"""The messages of long sessions that go on, kept between two looks, so that each reads only what came since.

What is priced while a session goes on comes of messages that were read once; what it costs in the end comes of all of them, read again. A node that
was not the last to look reads all of them: nothing but time depends on what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chargeplane.domain.cdrs.charging import ToldEvent
from chargeplane.kernel.ids import TransactionId

_MOST: Final = 50_000
_FEW: Final = 100


class Looks:
    """What was read of sessions that go on; of those looked at longest ago nothing, where there are many.

    Args:
        most: messages of all sessions together; one takes one to two kilobytes.
        few: sessions of fewer messages are read again each time.
    """

    def __init__(self, *, most: int = _MOST, few: int = _FEW) -> None:
        self._most = most
        self._few = few
        self._told: dict[TransactionId, Sequence[ToldEvent]] = {}
        self.kept = 0
        """Messages."""

    def known(self, ident: TransactionId) -> Sequence[ToldEvent]:
        """The messages read so far, by ordinal."""
        return self._told.get(ident, ())

    def note(self, ident: TransactionId, told: Sequence[ToldEvent]) -> None:
        """Keeps what was read of a session that goes on.

        Args:
            told: all of its messages; not to be changed any more.
        """
        self.forget(ident)
        if not self._few <= len(told) <= self._most:
            return
        self._told[ident] = told
        self.kept += len(told)
        while self.kept > self._most:
            self.forget(next(iter(self._told)))

    def forget(self, ident: TransactionId) -> None:
        """Keeps nothing of a session."""
        self.kept -= len(self._told.pop(ident, ()))
