"""Slows down whoever tries to sign in again and again: by account and by address, on all nodes together.

An attempt counts as failed before it is looked at and is forgiven when it succeeds, so that a hundred at once are a hundred. What is
stored is a hash of account and address, keyed with the installation's key: the table names nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from chargeplane.domain.people.lockout import BY_ACCOUNT, BY_ADDRESS, BY_KEYS, LockoutRule
from chargeplane.kernel.errors import ThrottledError
from chargeplane.store.database import Database
from chargeplane.store.queries import logins
from chargeplane.store.secrets import InstallationKeys


class Attempt(Struct, frozen=True, kw_only=True):
    """An attempt that counts as failed until it is forgiven."""

    account: bytes
    address: bytes | None
    failures: int


class Guard:
    """Counts attempts.

    Args:
        by_account, by_address: when they stop being looked at.
    """

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        *,
        by_account: LockoutRule = BY_ACCOUNT,
        by_address: LockoutRule = BY_ADDRESS,
    ) -> None:
        self._database = database
        self._keyed = keys.digest
        self._by_account = by_account
        self._by_address = by_address

    async def begin(self, account: Sequence[str], address: str | None, rule: LockoutRule | None = None) -> Attempt:
        """An attempt that is about to be looked at.

        Args:
            account: what is tried: the door, the tenant and the e-mail address, say.
            address: from where; None where that is not known.
            rule: for the account, in place of the usual one.
        Raises:
            ThrottledError: it is not looked at, for there were too many.
        """
        rule = rule or self._by_account
        attempt = Attempt(
            account=self._hash("account", *account),
            address=None if not address else self._hash("address", address),
            failures=0,
        )
        now = datetime.now(UTC)
        subjects = [(attempt.account, rule)]
        if attempt.address is not None:
            subjects.append((attempt.address, self._by_address))
        async with self._database.change() as db:
            known = await logins.failures_of(db, [subject for subject, _ in subjects])
            waits = [
                (one.locked_until - now).total_seconds()
                for one in known.values()
                if one.locked_until is not None and one.locked_until > now
            ]
            failures = 0
            if not waits:
                for subject, its_rule in subjects:
                    count = await logins.failed(db, subject, now, now - its_rule.forgotten_after)
                    if subject == attempt.account:
                        failures = count
                    wait_s = its_rule.wait_s(count)
                    if wait_s > 0:
                        await logins.lock(db, subject, now + timedelta(seconds=wait_s))
        if waits:
            wait = max(waits)
            raise ThrottledError(f"Too many attempts failed; try again in {_in_words(wait)}.", wait)
        return Attempt(account=attempt.account, address=attempt.address, failures=failures)

    async def succeeded(self, attempt: Attempt) -> None:
        """It was right: the account starts anew; the address has one failure less."""
        async with self._database.change() as db:
            await logins.forgive(db, attempt.account)
            if attempt.address is not None:
                await logins.take_back(db, attempt.address)

    async def require_unlocked(self, address: str) -> None:
        """Refuses an address from which too many wrong keys came, to any node.

        Raises:
            ThrottledError: until it has waited.
        """
        subject = self._hash("keys", address)
        async with self._database.read() as db:
            until = await logins.locked_until(db, subject)
        wait = 0.0 if until is None else (until - datetime.now(UTC)).total_seconds()
        if wait > 0:
            raise ThrottledError(f"Too many wrong keys came from {address}; try again in {_in_words(wait)}.", wait)

    async def wrong_key(self, address: str) -> None:
        """Counts a wrong key."""
        subject, now = self._hash("keys", address), datetime.now(UTC)
        async with self._database.change() as db:
            count = await logins.failed(db, subject, now, now - BY_KEYS.forgotten_after)
            wait_s = BY_KEYS.wait_s(count)
            if wait_s > 0:
                await logins.lock(db, subject, now + timedelta(seconds=wait_s))

    def _hash(self, *parts: str) -> bytes:
        return self._keyed("login failures", "\x00".join(parts).encode())


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{int(seconds) + 1} s"
    return f"{int(seconds // 60) + 1} minutes"
