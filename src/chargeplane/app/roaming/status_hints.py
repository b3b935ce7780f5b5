"""Which stations' statuses changed, from the nodes that hold their sockets to those that publish.

The nodes that hold sockets say it a few times a second, many stations at once; what is lost on the way (the bus is lossy) is found by
the look that publishing takes itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from chargeplane.app.bus import Bus, Subscription
from chargeplane.kernel.ids import StationKey

_SUBJECT: Final = "roaming.status"
_AT_ONCE: Final = 5000
_encode: Final = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[StationKey]).decode


class StatusHints:
    """Gathers hints and sends them on.

    Args:
        every_s: the longest that one is kept back.
    """

    def __init__(self, bus: Bus, *, every_s: float = 0.1) -> None:
        self._bus = bus
        self._every_s = every_s
        self._noted: set[StationKey] = set()
        self._due: asyncio.TimerHandle | None = None
        self._subscription: Subscription | None = None
        self._listener: Callable[[list[StationKey]], None] | None = None

    def note(self, key: StationKey) -> None:
        """A status of the station changed. Quick: it is called behind the commit of its message."""
        self._noted.add(key)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._every_s, self._send)

    async def listen(self, listener: Callable[[list[StationKey]], None]) -> None:
        """Hears every node's hints from now on."""
        self._listener = listener
        self._subscription = await self._bus.subscribe(_SUBJECT, self._heard)

    async def stop(self) -> None:
        """Says and hears nothing more."""
        if self._due is not None:
            self._due.cancel()
        if self._subscription is not None:
            await self._subscription.cancel()

    def _send(self) -> None:
        self._due = None
        keys, self._noted = list(self._noted), set()
        for start in range(0, len(keys), _AT_ONCE):
            self._bus.publish(_SUBJECT, _encode(keys[start : start + _AT_ONCE]))

    def _heard(self, _: str, payload: bytes) -> None:
        if self._listener is not None:
            self._listener(_decode(payload))
