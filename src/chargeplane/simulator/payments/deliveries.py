"""Webhooks of the simulated provider: signed, sent until they are taken, and disturbed on command."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import random
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import httpx
import msgspec
from msgspec import Struct

SIGNATURE: Final = "Simulator-Signature"
_TRIES: Final = 8
_FIRST_RETRY_S: Final = 0.5
_KEPT: Final = 10_000


class Disturbance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How deliveries go wrong.

    Args:
        delay_s: each waits so long.
        copies: each is sent so often.
        shuffle: those that wait together go in any order; they wait `delay_s`, or half a second.
        lose: of so many of the next, nothing is sent.
        lose_all: nothing is sent at all.
        wrong_signature: they are signed with another secret.
    """

    delay_s: float = 0.0
    copies: int = 1
    shuffle: bool = False
    lose: int = 0
    lose_all: bool = False
    wrong_signature: bool = False


class Delivery(Struct, frozen=True, kw_only=True):
    """One that was sent, or lost."""

    event_id: str
    kind: str
    intent: str
    taken: bool


def signature(secret: str, body: bytes, at: int) -> str:
    """The header's value: the time, and HMAC-SHA-256 of the time, a dot and the body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return f"t={at},v1={digest}"


class Deliveries:
    """Sends them.

    Args:
        address: of a merchant: its webhook's URL and secret; None where it has none.
    """

    def __init__(self, address: Callable[[str], tuple[str, str] | None]) -> None:
        self._address = address
        self._client = httpx.AsyncClient(timeout=10, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: list[tuple[str, str, str, bytes]] = []
        self.disturbance = Disturbance()
        self.sent: list[Delivery] = []

    def event(self, merchant: str, kind: str, intent: str, data: object) -> None:
        """Something happened: it is told, as the disturbance has it."""
        if self._address(merchant) is None:
            return
        ident = f"ev_{secrets.token_urlsafe(15)}"
        body = msgspec.json.encode({"id": ident, "type": kind, "intent": data})
        wish = self.disturbance
        if wish.lose_all or wish.lose > 0:
            if wish.lose > 0:
                self.disturbance = msgspec.structs.replace(wish, lose=wish.lose - 1)
            self._note(Delivery(event_id=ident, kind=kind, intent=intent, taken=False))
            return
        self._pending += [(merchant, ident, kind, body)] * max(1, min(wish.copies, 20))
        self._spawn(intent, wish.delay_s or (0.5 if wish.shuffle else 0.0))

    async def close(self) -> None:
        """Ends all deliveries."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _spawn(self, intent: str, delay_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._flush(intent, delay_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self, intent: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        pending, self._pending = self._pending, []
        if self.disturbance.shuffle:
            random.shuffle(pending)
        for merchant, ident, kind, body in pending:
            await self._send(merchant, ident, kind, intent, body)

    async def _send(self, merchant: str, ident: str, kind: str, intent: str, body: bytes) -> None:
        delay_s = _FIRST_RETRY_S
        for _ in range(_TRIES):
            address = self._address(merchant)
            if address is None:
                return
            url, secret = address
            if self.disturbance.wrong_signature:
                secret = "wrong" + secret
            headers = {"Content-Type": "application/json", SIGNATURE: signature(secret, body, int(time.time()))}
            with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, OSError):
                answer = await self._client.post(url, content=body, headers=headers)
                if answer.status_code < 300:
                    self._note(Delivery(event_id=ident, kind=kind, intent=intent, taken=True))
                    return
            await asyncio.sleep(delay_s)
            delay_s *= 2
        self._note(Delivery(event_id=ident, kind=kind, intent=intent, taken=False))

    def _note(self, delivery: Delivery) -> None:
        self.sent.append(delivery)
        del self.sent[:-_KEPT]
