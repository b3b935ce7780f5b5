"""The bus of a server that is one process: calls in the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from chargeplane.app.bus import (
    MessageHandler,
    NoResponderError,
    RequestHandler,
    RequestTimeoutError,
    ResponderError,
    check_subject,
)
from chargeplane.kernel.errors import ChargeplaneError, UnavailableError

_logger = logging.getLogger(__name__)


class InProcessBus:
    """Bus within one event loop. Handlers run soon after `publish` returned, never inside of it, as over a network."""

    def __init__(self) -> None:
        self._exact: dict[str, list[_Listener]] = {}
        self._wild: list[_Listener] = []
        self._responders: dict[str, list[_Responder]] = {}
        self._closed = False

    @property
    def connected(self) -> bool:
        """See Bus."""
        return not self._closed

    @property
    def dropped(self) -> int:
        """See Bus; nothing is ever lost here."""
        return 0

    def publish(self, subject: str, payload: bytes) -> None:
        """See Bus."""
        listeners = self._exact.get(subject, ())
        if listeners or self._wild:
            loop = asyncio.get_running_loop()
            for listener in listeners:
                loop.call_soon(listener.deliver, subject, payload)
            for listener in self._wild:
                if matches(listener.words, subject):
                    loop.call_soon(listener.deliver, subject, payload)

    async def flush(self) -> None:
        """See Bus."""
        self._check_open()

    async def subscribe(self, subject: str, handler: MessageHandler) -> _Listener:
        """See Bus."""
        self._check_open()
        check_subject(subject, wildcards=True)
        wild = "*" in subject or ">" in subject
        listeners = self._wild if wild else self._exact.setdefault(subject, [])
        listener = _Listener(subject, handler, lambda one: self._forget(one, listeners))
        listeners.append(listener)
        return listener

    async def respond(self, subject: str, handler: RequestHandler) -> _Responder:
        """See Bus."""
        self._check_open()
        check_subject(subject)
        responder = _Responder(self, subject, handler)
        self._responders.setdefault(subject, []).append(responder)
        return responder

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """See Bus."""
        self._check_open()
        responders = self._responders.get(subject)
        if not responders:
            raise NoResponderError(subject)
        responder = responders[-1]
        try:
            async with asyncio.timeout(timeout_s):
                return await responder.handler(payload)
        except TimeoutError:
            raise RequestTimeoutError(subject, timeout_s) from None
        except ChargeplaneError as error:
            raise ResponderError(str(error)) from error
        except Exception as error:
            _logger.exception("responder_failed subject=%s", subject)
            raise ResponderError("The responder failed; its log says why.") from error

    def on_gap(self, callback: Callable[[], None]) -> None:
        """See Bus; there are no gaps here."""

    async def close(self) -> None:
        """See Bus."""
        self._closed = True
        self._exact.clear()
        self._wild.clear()
        self._responders.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("The bus is closed.")

    def _forget(self, listener: _Listener, listeners: list[_Listener]) -> None:
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._exact.pop(listener.subject, None)

    def forget_responder(self, responder: _Responder) -> None:
        """For _Responder.cancel."""
        responders = self._responders.get(responder.subject, [])
        if responder in responders:
            responders.remove(responder)
        if not responders:
            self._responders.pop(responder.subject, None)


class _Listener:
    __slots__ = ("_forget", "_handler", "active", "subject", "words")

    def __init__(self, subject: str, handler: MessageHandler, forget: Callable[[_Listener], None]) -> None:
        self.subject = subject
        self.words = subject.split(".")
        self.active = True
        self._handler = handler
        self._forget = forget

    def deliver(self, subject: str, payload: bytes) -> None:
        if not self.active:
            return
        try:
            self._handler(subject, payload)
        except Exception:
            _logger.exception("subscriber_failed subject=%s", subject)

    async def cancel(self) -> None:
        self.active = False
        self._forget(self)


class _Responder:
    __slots__ = ("_bus", "handler", "subject")

    def __init__(self, bus: InProcessBus, subject: str, handler: RequestHandler) -> None:
        self.subject = subject
        self.handler = handler
        self._bus = bus

    async def cancel(self) -> None:
        self._bus.forget_responder(self)


def matches(pattern: list[str], subject: str) -> bool:
    """Whether a subject fits a subscription's words."""
    words = subject.split(".")
    for place, word in enumerate(pattern):
        if word == ">":
            return len(words) > place
        if place >= len(words) or (word != "*" and word != words[place]):
            return False
    return len(words) == len(pattern)
