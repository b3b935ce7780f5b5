"""The simulated provider (`simulator/payments`), over HTTP."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import httpx
import msgspec
from msgspec import Struct

from chargeplane.app.payments.ports import (
    BadWebhookError,
    Begun,
    DeclinedError,
    Order,
    ProviderSettings,
    Told,
    UnknownPaymentError,
)
from chargeplane.domain.payments.states import Dispute, Ended, Seen
from chargeplane.domain.payments.steps import Capabilities
from chargeplane.edges.payments.settings import only, secret, url
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.money import Money

_TIMEOUT_S: Final = 15.0
_OLDEST_S: Final = 600
_LARGEST: Final = 256 * 1024


class _Refund(Struct, frozen=True, kw_only=True):
    key: str


class _Intent(Struct, frozen=True, kw_only=True):
    id: str
    status: str
    authorized: Decimal
    captured: Decimal
    refunded: Decimal
    refunds: list[_Refund]
    dispute: str
    error: str | None
    method: str | None
    expires_at: datetime
    pay_url: str | None
    fee: Decimal = Decimal(0)
    saved: str | None = None


class _Event(Struct, frozen=True, kw_only=True):
    id: str
    type: str
    intent: _Intent


_intent = msgspec.json.Decoder(_Intent, strict=False).decode
_event = msgspec.json.Decoder(_Event, strict=False).decode

_ENDS: Final = {"canceled": Ended.VOIDED, "failed": Ended.FAILED, "expired": Ended.EXPIRED}


class SimulatorProvider:
    """A client of it; a `Provider`.

    Args:
        base: where it is.
        key: of the merchant.
        webhook_secret: what its webhooks are signed with.
    """

    able = Capabilities(page=True, increment=True, webhooks=True, disputes=True, saved=True, holds_for_s=7 * 86_400)

    def __init__(self, base: str, key: str, webhook_secret: str) -> None:
        self._secret = webhook_secret
        self._client = httpx.AsyncClient(
            base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False
        )

    async def start(self, order: Order) -> Begun:
        """Opens an intent with a page for the payer."""
        body = {
            "amount": str(order.hold.amount),
            "currency": order.hold.currency,
            "description": order.description[:500],
            "reference": order.reference,
            "return_url": order.return_url,
            "save": order.save,
            "method": order.method,
        }
        intent = await self._ask("POST", "/v1/intents", body, order.key)
        return Begun(ref=intent.id, seen=_seen(intent))

    async def authorize(self, ref: str, amount: Money, key: str) -> Seen:
        """Holds by the kept card that the payment was begun with.

        Raises:
            DeclinedError: it names none, or its bank refuses.
        """
        return _seen(await self._ask("POST", f"/v1/intents/{ref}/authorize", {}, key))

    async def increment(self, ref: str, total: Money, key: str) -> Seen:
        """Raises the hold."""
        return _seen(await self._ask("POST", f"/v1/intents/{ref}/increment", {"amount": str(total.amount)}, key))

    async def capture(self, ref: str, amount: Money, key: str) -> Seen:
        """Takes of the hold."""
        return _seen(await self._ask("POST", f"/v1/intents/{ref}/capture", {"amount": str(amount.amount)}, key))

    async def void(self, ref: str, key: str) -> Seen:
        """Releases the hold."""
        return _seen(await self._ask("POST", f"/v1/intents/{ref}/cancel", {}, key))

    async def refund(self, ref: str, amount: Money, key: str) -> Seen:
        """Gives back."""
        return _seen(await self._ask("POST", f"/v1/intents/{ref}/refunds", {"amount": str(amount.amount)}, key))

    async def fetch(self, ref: str, currency: str) -> Seen:
        """How it stands."""
        return _seen(await self._ask("GET", f"/v1/intents/{ref}", None, None))

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Told]:
        """One event."""
        if len(body) > _LARGEST:
            raise BadWebhookError("The body is too large.")
        parts: dict[str, str] = {}
        for part in headers.get("simulator-signature", "").split(","):
            name, _, value = part.partition("=")
            parts[name] = value
        at = parts.get("t", "")
        if not at.isascii() or not at.isdecimal() or len(at) > 12:
            raise BadWebhookError("The signature is missing.")
        expected = hmac.new(self._secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), parts.get("v1", "").encode()):
            raise BadWebhookError("The signature is wrong.")
        if abs(now.timestamp() - int(at)) > _OLDEST_S:
            raise BadWebhookError("The signature is too old.")
        try:
            event = _event(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadWebhookError(f"The event cannot be read: {error}") from error
        return (
            Told(
                event_id=event.id, kind=event.type, ref=event.intent.id, seen=_seen(event.intent), payload=body.decode()
            ),
        )

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, key: str | None) -> _Intent:
        try:
            answer = await self._client.request(
                method, path, json=body, headers={} if key is None else {"Idempotency-Key": key}
            )
        except (httpx.HTTPError, OSError) as error:
            raise UnavailableError(
                f"The simulated provider does not answer: {str(error) or type(error).__name__}."
            ) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise UnavailableError(f"The simulated provider answered {answer.status_code}.")
        try:
            if answer.status_code < 300:
                return _intent(answer.content)
            told = msgspec.json.decode(answer.content, type=dict[str, dict[str, str]])["error"]
        except (msgspec.MsgspecError, KeyError) as error:
            raise UnavailableError("The simulated provider answered something else.") from error
        if answer.status_code == 404:
            raise UnknownPaymentError(told.get("message", "There is no such intent."))
        if answer.status_code == 401:
            raise UnavailableError("The simulated provider does not know the key.")
        raise DeclinedError(told.get("code", "refused"), told.get("message", "It was refused."))


def simulator_provider(settings: ProviderSettings) -> SimulatorProvider:
    """One of a tenant.

    Raises:
        InvalidInputError: a setting is missing or wrong.
    """
    only(settings, ("url",), ("key", "webhook_secret"))
    return SimulatorProvider(url(settings, "url"), secret(settings, "key"), secret(settings, "webhook_secret"))


def _seen(intent: _Intent) -> Seen:
    return Seen(
        action=True,
        authorized=intent.authorized,
        captured=intent.captured,
        refunded=intent.refunded,
        refunds=frozenset(one.key for one in intent.refunds),
        ended=_ENDS.get(intent.status),
        dispute=Dispute(intent.dispute),
        expires_at=intent.expires_at if intent.status in ("authorized", "captured") else None,
        action_url=intent.pay_url,
        error=intent.error,
        method=intent.method,
        fee=intent.fee,
        saved=intent.saved,
    )
