"""How many sockets there may be, and how many failed attempts an address may make.

Only failures are counted against an address: a whole site of stations may stand behind one, and a neighbour's wrong
password must not lock out the others. So a good handshake passes whatever the address did before; a failed one above
the limit is answered with 429 instead of its reason, and the password of one station is not even looked at after too
many wrong ones from one address.
"""

from __future__ import annotations

from typing import Final

_MAX_KEYS: Final = 20_000
"""Addresses remembered; the oldest are forgotten first, so that a scan from many addresses allocates no more."""


class Throttle:
    """A token bucket per key, kept only for keys that spent something.

    Args:
        burst: tokens of a fresh key.
        per_s: tokens given back per second.
    """

    __slots__ = ("_buckets", "_burst", "_per_s")

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._buckets: dict[object, tuple[float, float]] = {}

    def left(self, key: object, now: float) -> bool:
        """Whether the key has a token left; takes none.

        Args:
            now: seconds of a monotonic clock.
        """
        bucket = self._buckets.get(key)
        return bucket is None or bucket[0] + (now - bucket[1]) * self._per_s >= 1.0

    def take(self, key: object, now: float) -> bool:
        """Takes a token; False where the key has none left (and stays at none)."""
        tokens, since = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._per_s)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > _MAX_KEYS:
            del self._buckets[next(iter(self._buckets))]
        return allowed

    def __len__(self) -> int:
        return len(self._buckets)


class Occupancy:
    """Sockets in all and per peer address.

    Args:
        limit: in all.
        per_address: of one address.
    """

    __slots__ = ("_by_address", "_limit", "_per_address", "total")

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._by_address: dict[str, int] = {}
        self.total = 0

    def enter(self, address: str, *, shared: bool = False) -> bool:
        """Counts a socket in; False where it is one too many (it is counted all the same until it leaves).

        Args:
            shared: the address is a proxy's: it has no limit of its own.
        """
        here = self._by_address.get(address, 0) + 1
        self._by_address[address] = here
        self.total += 1
        return self.total <= self._limit and (shared or here <= self._per_address)

    def move(self, address: str, to: str) -> bool:
        """Counts a socket that came by a proxy against whom it was made for; False where it is one too many of theirs."""
        self.leave(address)
        return self.enter(to)

    def leave(self, address: str) -> None:
        """Counts a socket out."""
        here = self._by_address[address] - 1
        if here:
            self._by_address[address] = here
        else:
            del self._by_address[address]
        self.total -= 1
