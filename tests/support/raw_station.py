"""A station in raw bytes: sends what no client library would, and shows what came back."""

from __future__ import annotations

import asyncio
import os
import struct
from base64 import b64encode

from msgspec import json

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
PATIENCE_S = 60.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Answer:
    """Head of an HTTP response."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body


class RawStation:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, port: int) -> RawStation:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, raw: bytes) -> Answer:
        """Sends a request and reads its response."""
        self.writer.write(raw)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        answer = Answer(head[:-4], b"")
        answer.body = await self.reader.readexactly(int(answer.headers.get("content-length", "0")))
        return answer

    async def upgrade(
        self,
        path: str,
        *,
        protocols: str | None = "ocpp1.6",
        auth: bytes | None = None,
        extensions: str | None = None,
        headers: dict[str, str] | None = None,
        drop: tuple[str, ...] = (),
    ) -> Answer:
        """The opening request, with or without this and that."""
        lines = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        }
        if protocols is not None:
            lines["Sec-WebSocket-Protocol"] = protocols
        if auth is not None:
            lines["Authorization"] = "Basic " + b64encode(auth).decode()
        if extensions is not None:
            lines["Sec-WebSocket-Extensions"] = extensions
        lines |= headers or {}
        for name in drop:
            del lines[name]
        request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        return await self.ask(request.encode("utf-8", "surrogateescape"))

    def send(self, payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0) -> None:
        """Queues one frame."""
        self.writer.write(frame(payload, opcode, fin=fin, rsv=rsv))

    async def read(self) -> tuple[int, bytes, int]:
        """(opcode, payload, reserved bits) of the next frame."""
        first, second = await asyncio.wait_for(self.reader.readexactly(2), PATIENCE_S)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0xF, await asyncio.wait_for(self.reader.readexactly(size), PATIENCE_S), (first >> 4) & 7

    async def message(self) -> list[object]:
        """The next text message as JSON."""
        while True:
            opcode, payload, rsv = await self.read()
            if opcode == TEXT:
                assert rsv == 0
                return json.decode(payload, type=list)
            assert opcode == PING, (opcode, payload)

    async def call(self, message_id: str, action: str, payload: object) -> list[object]:
        """Sends a CALL and reads the next message."""
        self.send(json.encode([2, message_id, action, payload]))
        return await self.message()

    async def close_code(self) -> int:
        """Code of the close frame that comes next; answers it and sees the connection end."""
        while True:
            opcode, payload, _ = await self.read()
            if opcode == CLOSE:
                self.send(payload[:2], CLOSE)
                assert await self.ended()
                return int.from_bytes(payload[:2], "big")

    async def ended(self) -> bool:
        """Waits for the end of the connection."""
        try:
            while await asyncio.wait_for(self.reader.read(65536), PATIENCE_S):
                pass
        except ConnectionError:
            pass
        return True

    def hang_up(self) -> None:
        """Ends the connection."""
        self.writer.close()


def frame(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A masked frame (RFC 6455, 5.2)."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if len(data) < 126:
        head = struct.pack("!BB", first, 0x80 | len(data))
    elif len(data) < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, len(data))
    mask = os.urandom(4)
    whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "big")
    return head + mask + whole.to_bytes(len(data), "big")
