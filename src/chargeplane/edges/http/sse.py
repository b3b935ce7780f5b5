"""Server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from litestar.response import Stream

HEARTBEAT_S: Final = 15.0
"""Silence after which a comment is sent, so that proxies keep the connection and a dead one is found."""

HELLO: Final = b": chargeplane\nretry: 2000\n\n"
HEARTBEAT: Final = b": heartbeat\n\n"
LOST: Final = b'event: lost\ndata: {"type":"lost","data":{"reason":"Events were lost; read the resources anew."}}\n\n'


def event(kind: str, data: bytes, ident: str | None = None) -> bytes:
    """One event; `data` is JSON on one line."""
    head = f"id: {ident}\n" if ident is not None else ""
    return f"{head}event: {kind}\n".encode() + b"data: " + data + b"\n\n"


def stream(source: AsyncIterator[bytes], close: Callable[[], None]) -> Stream:
    """The response that sends what `source` yields; `close` is called when either side ends it."""

    async def guarded() -> AsyncIterator[bytes]:
        try:
            async for piece in source:
                yield piece
        finally:
            close()

    return Stream(
        guarded(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
