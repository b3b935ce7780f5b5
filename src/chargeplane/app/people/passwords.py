"""People's passwords: argon2id (RFC 9106), in threads of their own, so few at once that the loop and its neighbours stay free."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from chargeplane.domain.people.passwords import normalized
from chargeplane.kernel.errors import UnavailableError

_MOST_WAITING: Final = 200


T = TypeVar("T")


class HashingCost(Struct, frozen=True, kw_only=True):
    """What a hash costs.

    Args:
        memory_kib: KiB of memory.
        passes: over that memory.
        at_once: hashes that are worked out at the same time.
    """

    memory_kib: int = 65_536
    passes: int = 3
    at_once: int = 2


class Passwords:
    """Makes and checks hashes."""

    def __init__(self, cost: HashingCost = HashingCost()) -> None:  # noqa: B008
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(max_workers=cost.at_once, thread_name_prefix="password")
        self._waiting = 0
        self._dummy = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """What to store of a password.

        Raises:
            UnavailableError: too many wait.
        """
        return await self._in_thread(self._hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether a password is the one that was stored. Takes as long where nothing is stored.

        Raises:
            UnavailableError: too many wait.
        """
        right = await self._in_thread(self._verify, stored or self._dummy, password)
        return right and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made at another cost and is worth making again."""
        return self._hasher.check_needs_rehash(stored)

    async def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(normalized(password))

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, normalized(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= _MOST_WAITING:
            raise UnavailableError("Too many people sign in at this moment; try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1
