"""Commands to stations that are known for something: asked within their limits, waited for as long as they take, understood as they
mean it. What a person sends as a raw call goes out as it is.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from chargeplane.bridge.repairs.known import meant
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind
from chargeplane.domain.quirks import Known, Limit
from chargeplane.kernel.errors import ConflictError, RuleError

_CHANGES: Final = frozenset({"ChangeConfiguration", "SetVariables"})
_RESTART_S: Final = 20.0
"""How long a station that restarts on a change is given to begin to."""

_object: Final = msgspec.json.Decoder(dict[str, Any])


class Asking(Protocol):
    """The socket that asks."""

    @property
    def station_id(self) -> str:
        """As registered."""
        ...

    async def ask(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """Sends a call in its turn."""
        ...

    def hit(self, rules: tuple[str, ...]) -> None:
        """Counts rules that were needed."""


class Considerate:
    """What one socket remembers of its station for this.

    Args:
        socket: that asks.
        known: with quirks.
    """

    __slots__ = ("_gone", "_known", "_socket", "_until")

    def __init__(self, socket: Asking, known: Known) -> None:
        self._socket = socket
        self._known = known
        self._until = 0.0
        self._gone: asyncio.Event | None = None

    def ended(self) -> None:
        """The socket is gone."""
        if self._gone is not None:
            self._gone.set()

    async def ask(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """A call, and how it ended as the station meant it.

        Raises:
            RuleError: the station does not take such a call; the sentence says what it takes.
            ConflictError: it restarts first; nothing was sent.
        """
        known, socket = self._known, self._socket
        self._within_limits(action, payload)
        await self._settled()
        patience = known.answers_within(action)
        long = timeout_s if patience is None else max(timeout_s, patience[0])
        outcome = await socket.ask(action, payload, long)
        fired: tuple[str, ...] = ()
        if patience is not None and outcome.latency_ms is not None and outcome.latency_ms > timeout_s * 1000:
            fired = (patience[1],)
        if outcome.outcome is CallOutcomeKind.CALLRESULT:
            answer, names = meant(known, action, outcome.payload or b"")
            if names:
                outcome = replace(outcome, payload=answer)
                fired += names
        elif outcome.outcome is CallOutcomeKind.DISCONNECTED and (name := known.close_means_accepted.get(action)):
            outcome = replace(outcome, outcome=CallOutcomeKind.CALLRESULT, payload=b'{"status":"Accepted"}')
            fired += (name,)
        if action in _CHANGES and (name := known.limits.get(Limit.RESTARTS_ON_CHANGE)) and _changed(outcome):
            self._gone = asyncio.Event()
            self._until = monotonic() + _RESTART_S
            fired += (name,)
        if fired:
            socket.hit(fired)
        return outcome

    def _within_limits(self, action: str, payload: bytes) -> None:
        known, station = self._known, self._socket.station_id
        longest = known.max_message_bytes
        if longest is not None and len(payload) > longest[0]:
            self._socket.hit((longest[1],))
            raise RuleError(
                f"'{station}' takes calls of at most {longest[0]} bytes (quirk {longest[1]}); this {action} has {len(payload)}."
            )
        most = known.max_items.get(action)
        if most is None:
            return
        for field, value in _object.decode(payload).items():
            if isinstance(value, list) and len(value) > most[0]:
                self._socket.hit((most[1],))
                raise RuleError(
                    f"'{station}' takes at most {most[0]} items in {field} of {action} (quirk {most[1]}); these are {len(value)}."
                )

    async def _settled(self) -> None:
        """Returns when a restart that a change brings is not to be expected any more."""
        gone = self._gone
        if gone is None:
            return
        try:
            await asyncio.wait_for(gone.wait(), max(0.0, self._until - monotonic()))
        except TimeoutError:
            if self._gone is gone:
                self._gone = None
            return
        raise ConflictError(
            f"'{self._socket.station_id}' restarts after a change of its configuration; ask it when it is back."
        )


def _changed(outcome: CallOutcome) -> bool:
    """Whether the station took at least one change."""
    if outcome.outcome is not CallOutcomeKind.CALLRESULT:
        return False
    try:
        told = _object.decode(outcome.payload or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    results = told.get("setVariableResult")
    if isinstance(results, list):
        return any(isinstance(one, dict) and one.get("attributeStatus") == "Accepted" for one in results)
    return told.get("status") == "Accepted"
