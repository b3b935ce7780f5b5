"""The bus over NATS, for several processes or machines.

`publish` puts the message into a bounded queue that one task sends; where the queue is full or NATS away, it is
dropped and counted, because live events are not worth the memory of an outage. A first byte tells an answer from a
responder's error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from chargeplane.app.bus import (
    MAX_PAYLOAD,
    MessageHandler,
    NoResponderError,
    RequestHandler,
    RequestTimeoutError,
    ResponderError,
    check_subject,
)
from chargeplane.kernel.errors import ChargeplaneError, InvalidInputError, UnavailableError

_logger = logging.getLogger(__name__)

_ANSWER: Final = b"\x00"
_ERROR: Final = b"\x01"
_QUEUE_BYTES: Final = 16 * 1024 * 1024
_PREFIX: Final = "chargeplane."
_FLUSH_S: Final = 5


class NatsBus:
    """Bus over a NATS server.

    Args:
        url: `nats://[user:password@|token@]host:port`, several with commas; `tls://` for TLS.
        name: of this process, as NATS shows it.
    """

    def __init__(self, url: str, *, name: str = "chargeplane") -> None:
        self._url = url
        self._name = name
        self._client: Client | None = None
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued_bytes = 0
        self._flushes: list[asyncio.Future[Client | None]] = []
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._subscriptions: set[NatsSubscription] = set()
        self._gap_callbacks: list[Callable[[], None]] = []
        self._dropped = 0

    async def connect(self) -> None:
        """Connects; from then on the connection comes back by itself after an outage, with all subscriptions.

        Raises:
            UnavailableError: NATS cannot be reached.
            InvalidInputError: it refuses the login.
        """
        try:
            self._client = await nats.connect(
                self._url.split(","),
                name=self._name,
                max_reconnect_attempts=1,
                reconnect_time_wait=0.2,  # seconds
                connect_timeout=5,
                ping_interval=20,
                max_outstanding_pings=2,
                allow_reconnect=False,  # the first attempt fails where it fails, in place of trying for ever
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                pending_size=_QUEUE_BYTES,
            )
        except nats.errors.AuthorizationError as error:
            raise InvalidInputError("NATS refused the login of CHARGEPLANE_NATS_URL.") from error
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise UnavailableError(f"NATS cannot be reached: {str(error) or type(error).__name__}.") from error
        self._client.options["allow_reconnect"] = True
        self._client.options["max_reconnect_attempts"] = -1
        self._pump = asyncio.create_task(self._send(), name="nats-publications")

    @property
    def connected(self) -> bool:
        """See Bus."""
        return self._client is not None and self._client.is_connected

    @property
    def dropped(self) -> int:
        """See Bus."""
        return self._dropped

    def publish(self, subject: str, payload: bytes) -> None:
        """See Bus."""
        if not self.connected or self._queued_bytes + len(payload) > _QUEUE_BYTES or len(payload) > MAX_PAYLOAD:
            self._dropped += 1
            return
        self._queue.append((subject, payload))
        self._queued_bytes += len(payload)
        self._wake.set()

    async def flush(self) -> None:
        """See Bus."""
        if not self._open().is_connected:
            raise UnavailableError("NATS is away.")
        sent = asyncio.get_running_loop().create_future()
        self._flushes.append(sent)
        self._wake.set()
        try:
            async with asyncio.timeout(_FLUSH_S):
                client = await sent
                if client is None:
                    raise UnavailableError("NATS is away.")
                await _told(client)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise UnavailableError(f"NATS is away: {str(error) or type(error).__name__}.") from error

    async def subscribe(self, subject: str, handler: MessageHandler) -> _Cancellable:
        """See Bus."""
        check_subject(subject, wildcards=True)

        async def hear(message: Msg) -> None:
            try:
                handler(message.subject.removeprefix(_PREFIX), message.data)
            except Exception:
                _logger.exception("subscriber_failed subject=%s", message.subject)

        return await self._listen(subject, hear)

    async def respond(self, subject: str, handler: RequestHandler) -> _Cancellable:
        """See Bus."""
        check_subject(subject)

        async def hear(message: Msg) -> None:
            # A task each: a slow answer must not hold up the next request's.
            task = asyncio.create_task(self._answer(message, handler))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return await self._listen(subject, hear)

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """See Bus."""
        client = self._open()
        if not client.is_connected:
            raise UnavailableError("NATS is away.")
        check_subject(subject)
        try:
            message = await client.request(_PREFIX + subject, payload, timeout=timeout_s)
        except nats.errors.NoRespondersError:
            raise NoResponderError(subject) from None
        except (nats.errors.TimeoutError, TimeoutError):
            raise RequestTimeoutError(subject, timeout_s) from None
        except (nats.errors.Error, OSError) as error:
            raise UnavailableError(f"NATS is away: {str(error) or type(error).__name__}.") from error
        if message.data[:1] == _ERROR:
            raise ResponderError(message.data[1:].decode(errors="replace"))
        return message.data[1:]

    def on_gap(self, callback: Callable[[], None]) -> None:
        """See Bus."""
        self._gap_callbacks.append(callback)

    async def close(self) -> None:
        """See Bus."""
        client, self._client = self._client, None
        for task in [*self._tasks, *([self._pump] if self._pump else [])]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if client is not None:
            await self._say_goodbye(client)
            await client.close()

    async def _say_goodbye(self, client: Client) -> None:
        """Ends the subscriptions at the server first: a request that came after us would find a responder and wait."""
        for subscription in self._subscriptions:
            with contextlib.suppress(nats.errors.Error, OSError):  # ended already, or NATS is away
                await subscription.unsubscribe()
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            if client.is_connected:
                await _told(client)

    async def _listen(self, subject: str, hear: Callable[[Msg], Coroutine[Any, Any, None]]) -> _Cancellable:
        client = self._open()
        try:
            subscription = await client.subscribe(_PREFIX + subject, cb=hear)
        except nats.errors.Error as error:
            raise UnavailableError("The bus is closed.") from error
        # The server knows it before we return. In a storm of stations one flush serves all that came meanwhile.
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(client))
        await asyncio.shield(self._flushing)
        self._subscriptions.add(subscription)
        return _Cancellable(subscription, self._subscriptions)

    async def _flush(self, client: Client) -> None:
        await asyncio.sleep(0)
        self._flushing = None  # who subscribes from now on needs the next one
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):  # away: subscribes again when it is back
            if client.is_connected:
                await _told(client)

    async def _answer(self, message: Msg, handler: RequestHandler) -> None:
        try:
            answer = _ANSWER + await handler(message.data)
        except ChargeplaneError as error:
            answer = _ERROR + str(error).encode()
        except Exception:
            _logger.exception("responder_failed subject=%s", message.subject)
            answer = _ERROR + b"The responder failed; its log says why."
        if message.reply:
            with contextlib.suppress(nats.errors.Error, OSError):  # the requester will time out
                await message.respond(answer)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            flushes, self._flushes = self._flushes, []
            while self._queue:
                subject, payload = self._queue.popleft()
                self._queued_bytes -= len(payload)
                client = self._client
                try:
                    if client is None or not client.is_connected:
                        raise nats.errors.ConnectionReconnectingError
                    await client.publish(_PREFIX + subject, payload)
                except (nats.errors.Error, OSError, TimeoutError):
                    self._dropped += 1
            for sent in flushes:
                if not sent.done():
                    sent.set_result(self._client)

    def _open(self) -> Client:
        if self._client is None:
            raise UnavailableError("The bus is closed.")
        return self._client

    async def _on_error(self, error: Exception) -> None:
        _logger.warning("bus_error error=%s", str(error) or type(error).__name__)

    async def _on_disconnected(self) -> None:
        if self._client is not None:
            _logger.warning("bus_disconnected")

    async def _on_reconnected(self) -> None:
        _logger.info("bus_reconnected")
        for callback in self._gap_callbacks:
            try:
                callback()
            except Exception:
                _logger.exception("gap_callback_failed")


async def _told(client: Client) -> None:
    """Returns when the server has handled everything that was given to the client.

    The client writes a flush's PING straight to the socket, before the commands that still wait for its flusher: these must be
    out first, or the answer says nothing about them.
    """
    while client.is_connected and client.pending_data_size:  # noqa: ASYNC110 - its flusher has no event to wait for
        await asyncio.sleep(0)
    await client.flush(_FLUSH_S)


class _Cancellable:
    __slots__ = ("_all", "_subscription")

    def __init__(self, subscription: NatsSubscription, everyone: set[NatsSubscription]) -> None:
        self._subscription = subscription
        self._all = everyone

    async def cancel(self) -> None:
        """See Subscription."""
        self._all.discard(self._subscription)
        with contextlib.suppress(nats.errors.Error):
            await self._subscription.unsubscribe()
