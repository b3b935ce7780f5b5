"""Numbers handed out in memory from blocks that a sequence reserves: never given twice, over all nodes and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from chargeplane.kernel.errors import UnavailableError


class IdBlocks:
    """A supply of numbers from one PostgreSQL sequence whose INCREMENT is the size of a block.

    `take` is synchronous; `refill` is awaited beforehand so that there are always some in hand. Numbers of a block that a stopped
    process had left are lost, which costs nothing but numbers.

    Args:
        sequence: name of the sequence.
        block: its INCREMENT.
        fetch: runs a query and gives its one value.
    """

    def __init__(self, sequence: str, block: int, fetch: Callable[[str], Awaitable[Any]]) -> None:
        self._sequence = sequence
        self._block = block
        self._fetch = fetch
        self._next = 0
        self._end = 0
        self._reserve: tuple[int, int] | None = None
        self._refilling: asyncio.Future[None] | None = None

    @property
    def low(self) -> bool:
        """Whether the next block should be fetched now (and nobody does)."""
        return self._reserve is None and self._refilling is None

    @property
    def empty(self) -> bool:
        """Whether `take` would fail."""
        return self._next >= self._end and self._reserve is None

    async def refill(self) -> None:
        """Fetches the next block if there is none in reserve; several callers wait for the one query."""
        if self._reserve is not None:
            return
        if self._refilling is not None:
            await asyncio.shield(self._refilling)
            return
        self._refilling = done = asyncio.get_running_loop().create_future()
        try:
            start = int(await self._fetch(f"SELECT nextval('{self._sequence}')"))
            self._reserve = (start, start + self._block)
        finally:
            self._refilling = None
            done.set_result(None)

    def prime(self) -> None:
        """Puts the reserve in use, so that the next `refill` fetches another block."""
        if self._next >= self._end and self._reserve is not None:
            self._next, self._end = self._reserve
            self._reserve = None

    def take(self) -> int:
        """The next number.

        Raises:
            UnavailableError: none in hand (the database has been gone for longer than a block lasts).
        """
        if self._next >= self._end:
            if self._reserve is None:
                raise UnavailableError(
                    f"No numbers of {self._sequence} are in hand; the database must be reached first."
                )
            self._next, self._end = self._reserve
            self._reserve = None
        number = self._next
        self._next += 1
        return number
