"""A tiny seeded source of noise.

`random.Random` keeps 2.5 KiB of state; with thousands of stations in one process that is most of a station. This one
keeps one integer (splitmix64, public domain algorithm) and is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_MASK = (1 << 64) - 1

T = TypeVar("T")


class Noise:
    """Repeatable pseudo-random numbers.

    Args:
        seed: equal seeds give equal sequences.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def bits(self) -> int:
        """64 uniform random bits."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1."""
        return self.bits() % limit

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.bits() % (high - low + 1)

    def fraction(self) -> float:
        """A float in [0, 1)."""
        return (self.bits() >> 11) / (1 << 53)

    def chance(self, probability: float) -> bool:
        """True with the given probability (0 to 1)."""
        return self.fraction() < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.bits() % len(options)]

    def uuid(self) -> str:
        """Text of the shape of a version 4 UUID, repeatable under the seed."""
        text = f"{self.bits():016x}{self.bits():016x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
