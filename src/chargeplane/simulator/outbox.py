"""What a station has to say: one CALL in flight, a queue behind it, and a memory for what must not be lost.

Messages about transactions are kept until they are answered: over a lost socket, a reboot and a power loss, and sent
again with the same message id and the same content (OCPP 1.6, 3.7; OCPP 2.0.1 E04.FR.01, E13). Everything else is
said while there is somebody to hear it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import Struct


class Answer(Struct, frozen=True):
    """How a CALL ended.

    Args:
        payload: the CALLRESULT's payload as JSON text; None for a CALLERROR and for what was lost.
        error_code: of a CALLERROR; None for what was lost with the socket or never answered.
    """

    payload: bytes | None = None
    error_code: str | None = None
    error_description: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it was a CALLRESULT."""
        return self.payload is not None


LOST = Answer()
"""The message was not answered: the socket closed or the CSMS stayed silent."""

Settle = Callable[[Answer], None]


class Letter:
    """One message to the CSMS.

    Args:
        action: OCPP action.
        write: makes the payload at the first sending (a 1.6 stop does not know its transaction id before); it is not
            called again.
        settle: called once with the answer; for a kept letter only when it was answered or given up.
        kept: about a transaction: survives the socket.
        first: goes before everything else and needs no accepted boot (the boot itself, what Pending allows).
    """

    __slots__ = ("action", "attempts", "first", "kept", "message_id", "payload", "sent", "settle", "write")

    def __init__(
        self,
        action: str,
        write: Callable[[], bytes],
        settle: Settle | None,
        *,
        kept: bool = False,
        first: bool = False,
    ) -> None:
        self.action = action
        self.write = write
        self.settle = settle
        self.kept = kept
        self.first = first
        self.message_id = ""
        self.payload: bytes | None = None
        self.attempts = 0
        self.sent = 0


class Outbox:
    """The queue. Sans-I/O: the station sends what `take` gives."""

    __slots__ = ("_first", "_waiting", "in_flight")

    def __init__(self) -> None:
        self._first: deque[Letter] = deque()
        self._waiting: deque[Letter] = deque()
        self.in_flight: Letter | None = None

    def __len__(self) -> int:
        return len(self._first) + len(self._waiting) + (self.in_flight is not None)

    @property
    def kept(self) -> int:
        """Messages about transactions that are not answered yet."""
        waiting = sum(letter.kept for letter in self._waiting)
        return waiting + (self.in_flight is not None and self.in_flight.kept)

    def add(self, letter: Letter) -> None:
        """Queues a letter."""
        (self._first if letter.first else self._waiting).append(letter)

    def take(self, *, accepted: bool) -> Letter | None:
        """The next letter to send, now in flight; None where one is in flight or nothing may go.

        Args:
            accepted: the boot was accepted; without that only `first` letters go (OCPP 2.0.1 B02.FR.02, B03.FR.03).
        """
        if self.in_flight is not None:
            return None
        if self._first:
            self.in_flight = self._first.popleft()
        elif accepted and self._waiting:
            self.in_flight = self._waiting.popleft()
        return self.in_flight

    def answered(self, message_id: str) -> Letter | None:
        """The letter this answer belongs to; None for a late or foreign one."""
        letter = self.in_flight
        if letter is None or letter.message_id != message_id:
            return None
        self.in_flight = None
        return letter

    def put_back(self) -> Letter | None:
        """The letter in flight goes back to the head of the queue, to be sent again as it was."""
        letter, self.in_flight = self.in_flight, None
        if letter is not None:
            (self._first if letter.first else self._waiting).appendleft(letter)
        return letter

    def drop_flying(self) -> Letter | None:
        """Gives up the letter in flight."""
        letter, self.in_flight = self.in_flight, None
        return letter

    def disconnected(self) -> list[Letter]:
        """The socket is gone: the kept ones stay, in order; returns the others, which are lost."""
        self.put_back()
        lost = [*self._first, *(letter for letter in self._waiting if not letter.kept)]
        self._first.clear()
        self._waiting = deque(letter for letter in self._waiting if letter.kept)
        return lost

    def about_transactions(self) -> list[Letter]:
        """The messages that must not be lost and are not answered yet."""
        flying = [self.in_flight] if self.in_flight is not None else []
        return [letter for letter in (*flying, *self._waiting) if letter.kept]

    def waiting(self) -> deque[Letter]:
        """The queue itself, for faults that reorder or lose."""
        return self._waiting
