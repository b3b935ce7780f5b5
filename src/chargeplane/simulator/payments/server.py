"""The simulated payment provider's HTTP server.

    POST /v1/intents                          {amount, currency, description, reference, return_url?, save?, method?}
    POST /v1/intents/{id}/authorize           by the kept card that `method` named, without the payer
    GET  /v1/intents/{id}
    POST /v1/intents/{id}/increment|capture|cancel|refunds     {amount}
    PUT  /v1/webhook                          {url, secret}
    GET  /v1/intents, /v1/deliveries          what the provider has seen and told
    PUT  /control/webhooks                    a `Disturbance`
    PUT  /control/answers                     {lose_answers: n, fail: n, delay_s}: done but unanswered; 503; late
    POST /control/intents/{id}/expire|dispute|dispute_won|dispute_lost|pay     pay: {card}
    GET, POST /pay/{id}                       the payer's page

A merchant is who has its API key (`Authorization: Bearer KEY`); any key of 8 or more characters is one. `Idempotency-Key` on POST: the same key
gets the first answer. Amounts are decimal texts.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec
import uvicorn
from msgspec import Meta, Struct

from chargeplane.simulator.payments.book import HOLDS_FOR, Book, Intent, RefusalError, Status
from chargeplane.simulator.payments.deliveries import Deliveries, Disturbance
from chargeplane.simulator.payments.pages import card_page, factor_page, over_page, page

_MAX_BODY: Final = 64 * 1024
_KEYS: Final = 100_000
_PATH: Final = re.compile(r"/v1/intents/([A-Za-z0-9_-]{1,64})(?:/(authorize|increment|capture|cancel|refunds))?")
_CONTROL: Final = re.compile(r"/control/intents/([A-Za-z0-9_-]{1,64})/(expire|dispute|dispute_won|dispute_lost|pay)")
_PAY: Final = re.compile(r"/pay/([A-Za-z0-9_-]{1,64})")

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]
_Text = Annotated[str, Meta(min_length=1, max_length=500)]


class _New(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    amount: Decimal
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]
    description: _Text
    reference: _Text
    return_url: _Text | None = None
    save: bool = False
    method: _Text | None = None


class _Amount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    amount: Decimal


class _Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: _Text
    secret: _Text


class _Card(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    card: _Text = "4242424242424242"


class _Answers(Struct, kw_only=True, forbid_unknown_fields=True):
    lose_answers: int = 0
    fail: int = 0
    delay_s: float = 0.0


class _Answer(Struct, frozen=True):
    status: int
    body: bytes
    content_type: bytes = b"application/json"
    location: str | None = None


class _Server(uvicorn.Server):
    ready: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.ready is not None:
            self.ready.set_result(None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs us."""
        yield


class PaymentSimulator:
    """The server.

    Args:
        port: 0 for any.
        holds_for: how long a hold lasts.
        public_url: where payers reach it; its own address unless given.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        holds_for: timedelta = HOLDS_FOR,
        public_url: str | None = None,
    ) -> None:
        self._host = host
        self.port = port
        self._public_url = public_url
        self._webhooks: dict[str, tuple[str, str]] = {}
        self._keys: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._answers = _Answers()
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.shift = timedelta()
        """Its clock is ahead by so much."""
        self.deliveries = Deliveries(self._webhooks.get)
        self.book = Book(self._now, self._changed, holds_for=holds_for)

    @property
    def url(self) -> str:
        """Where it is reached."""
        return self._public_url or f"http://{self._host}:{self.port}"

    def tell(self, merchant: str, url: str, secret: str) -> None:
        """Sends a merchant's webhooks to an address from now on.

        Args:
            merchant: its API key.
            secret: what they are signed with.
        """
        self._webhooks[merchant] = (url, secret)

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def _changed(self, kind: str, intent: Intent) -> None:
        self.deliveries.event(intent.merchant, kind, intent.id, self.shown(intent))

    async def start(self) -> None:
        """Binds and serves."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self._host, self.port))
        self.port = bound.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http="httptools",
            interface="asgi3",
            proxy_headers=False,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        config.load()
        self._server = _Server(config)
        self._server.lifespan = config.lifespan_class(config)
        ready = asyncio.get_running_loop().create_future()
        self._server.ready = ready
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="payment simulator")
        await ready

    async def stop(self) -> None:
        """Ends."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
        await self.deliveries.close()

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    async def _app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            return
        method, path = scope["method"], scope["path"]
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            answer = await self._route(method, path, headers, body)
        except RefusalError as refusal:
            answer = _json(refusal.status, {"error": {"code": refusal.code, "message": str(refusal)}})
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            answer = _json(422, {"error": {"code": "malformed", "message": str(error)}})
        if answer is None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
            return  # the connection breaks before the answer is complete
        sent = [
            (b"content-type", answer.content_type),
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
            (
                b"content-security-policy",
                b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
            ),
        ]
        if answer.location is not None:
            sent.append((b"location", answer.location.encode("ascii", "ignore")))
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})

    async def _route(self, method: str, path: str, headers: dict[bytes, str], body: bytes) -> _Answer | None:
        if path.startswith("/pay/"):
            return self._pay(method, path, body)
        if path.startswith("/control/"):
            return self._control(method, path, body)
        if path == "/health":
            return _json(200, {"status": "ok"})
        if not path.startswith("/v1/"):
            return _Answer(
                404, page("PaySim", "<section><p>There is nothing here.</p></section>"), b"text/html; charset=utf-8"
            )
        kind, _, merchant = headers.get(b"authorization", "").partition(" ")
        if kind.lower() != "bearer" or len(merchant) < 8:
            raise RefusalError(
                401, "unauthenticated", "Send 'Authorization: Bearer KEY' with a key of 8 or more characters."
            )
        wish = self._answers
        if wish.delay_s:
            await asyncio.sleep(wish.delay_s)
        if method == "POST" and wish.fail > 0:
            wish.fail -= 1
            raise RefusalError(503, "unavailable", "On command: try again.")
        key = (merchant, headers.get(b"idempotency-key", ""))
        if method == "POST" and key[1] and key in self._keys:
            return self._keys[key]
        answer = self._api(method, path, merchant, key[1], body)
        if method == "POST" and key[1]:
            self._keys[key] = answer
            if len(self._keys) > _KEYS:
                self._keys.popitem(last=False)
        if method == "POST" and wish.lose_answers > 0:
            wish.lose_answers -= 1
            return None
        return answer

    def _api(self, method: str, path: str, merchant: str, key: str, body: bytes) -> _Answer:
        if path == "/v1/webhook" and method == "PUT":
            told = msgspec.json.decode(body, type=_Webhook)
            self._webhooks[merchant] = (told.url, told.secret)
            return _json(200, {"url": told.url})
        if path == "/v1/deliveries" and method == "GET":
            return _json(200, {"items": self.deliveries.sent})
        if path == "/v1/intents":
            if method == "GET":
                return _json(200, {"items": [self.shown(one) for one in self.book.all() if one.merchant == merchant]})
            new = msgspec.json.decode(body, type=_New, strict=False)
            return _json(
                201,
                self.shown(
                    self.book.open(
                        merchant,
                        new.amount,
                        new.currency,
                        new.description,
                        new.reference,
                        new.return_url,
                        save=new.save,
                        by=new.method,
                    )
                ),
            )
        found = _PATH.fullmatch(path)
        if found is None:
            raise RefusalError(404, "not_found", "There is nothing here.")
        intent = self.book.get(found[1], merchant)
        if found[2] is None:
            return _json(200, self.shown(intent))
        if method != "POST":
            raise RefusalError(405, "method_not_allowed", "Use POST.")
        if found[2] == "cancel":
            self.book.cancel(intent)
            return _json(200, self.shown(intent))
        if found[2] == "authorize":
            self.book.authorize(intent)
            return _json(200, self.shown(intent))
        amount = msgspec.json.decode(body, type=_Amount, strict=False).amount
        if found[2] == "increment":
            self.book.increment(intent, amount)
        elif found[2] == "capture":
            self.book.capture(intent, amount)
        else:
            self.book.refund(intent, amount, key or "none")
        return _json(200, self.shown(intent))

    def _control(self, method: str, path: str, body: bytes) -> _Answer:
        if path == "/control/webhooks" and method == "PUT":
            self.deliveries.disturbance = msgspec.json.decode(body, type=Disturbance)
            return _json(200, self.deliveries.disturbance)
        if path == "/control/answers" and method == "PUT":
            self._answers = msgspec.json.decode(body, type=_Answers)
            return _json(200, self._answers)
        found = _CONTROL.fullmatch(path)
        if found is None or method != "POST":
            raise RefusalError(404, "not_found", "There is nothing here.")
        intent = self.book.get(found[1])
        match found[2]:
            case "expire":
                self.book.expire(intent)
            case "pay":
                self.book.present(intent, msgspec.json.decode(body or b"{}", type=_Card).card)
            case "dispute":
                self.book.dispute(intent, "open")
            case "dispute_won":
                self.book.dispute(intent, "won")
            case _:
                self.book.dispute(intent, "lost")
        return _json(200, self.shown(intent))

    def _pay(self, method: str, path: str, body: bytes) -> _Answer:
        found = _PAY.fullmatch(path)
        html = b"text/html; charset=utf-8"
        try:
            if found is None:
                raise RefusalError(404, "not_found", "There is nothing here.")
            intent = self.book.get(found[1])
        except RefusalError:
            return _Answer(404, page("Pay", "<section><p>There is no such payment.</p></section>"), html)
        error: str | None = None
        if method == "POST":
            form = {
                name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=10).items()
            }
            try:
                match form.get("do"):
                    case "cancel":
                        self.book.give_up(intent)
                    case "confirm":
                        self.book.confirm(intent, form.get("code", ""))
                    case _:
                        self.book.present(intent, form.get("number", ""))
            except RefusalError as refusal:
                error = str(refusal)
        if intent.status is Status.REQUIRES_PAYMENT_METHOD:
            return _Answer(200, card_page(intent, error), html)
        if intent.status is Status.REQUIRES_ACTION:
            return _Answer(200, factor_page(intent), html)
        if intent.return_url is not None and intent.return_url.startswith(("http://", "https://")):
            return _Answer(303, b"", html, intent.return_url)
        return _Answer(200, over_page(intent), html)

    def shown(self, intent: Intent) -> dict[str, Any]:
        """An intent as the API shows it. No card number is kept that could be shown."""
        waits = intent.status in (Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_ACTION)
        return {
            "id": intent.id,
            "status": intent.status.value,
            "amount": str(intent.amount),
            "currency": intent.currency,
            "reference": intent.reference,
            "authorized": str(intent.authorized),
            "captured": str(intent.captured),
            "refunded": str(intent.refunded),
            "refunds": [{"id": one.id, "amount": str(one.amount), "key": one.key} for one in intent.refunds],
            "captures": intent.captures,
            "holds": intent.holds,
            "released": intent.released,
            "fee": str(intent.fee),
            "saved": intent.saved,
            "dispute": intent.dispute,
            "error": intent.error,
            "method": intent.method,
            "expires_at": intent.expires_at.isoformat(),
            "pay_url": f"{self.url}/pay/{intent.id}" if waits else None,
        }


def _json(status: int, value: object) -> _Answer:
    return _Answer(status, msgspec.json.encode(value))


async def _body(receive: _Receive) -> bytes | None:
    taken = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        taken += message.get("body", b"")
        if len(taken) > _MAX_BODY:
            return None
        if not message.get("more_body"):
            return bytes(taken)
