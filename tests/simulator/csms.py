"""A CSMS of a hundred lines for the simulator's own tests: real sockets, every frame checked against its version's
types, everything kept in lists, and told to misbehave by the test."""

from __future__ import annotations

import asyncio
import itertools
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import msgspec
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from chargeplane.ocpp.catalogue import decode_request, decode_response
from chargeplane.ocpp.versions import OcppVersion

NOW = "2026-01-31T12:00:00.000Z"


class Received(msgspec.Struct):
    station_id: str
    message_id: str
    action: str
    payload: dict[str, Any]
    frame: bytes


class Csms:
    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[Received] = []
        self.sockets: dict[str, Socket] = {}
        self.handshakes: list[dict[str, str]] = []
        self.boot_status = ["Accepted"]
        self.boot_interval = 300
        self.id_tokens: dict[str, str] = {}
        self.mute: set[str] = set()
        self.refuse: dict[str, int] = {}
        self.hold = False
        self.status_code = 101
        self.transaction_ids = itertools.count(1001)
        self.url = ""
        self.check = True
        self.on_received: Callable[[Received], None] | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[str, asyncio.Future[list[Any]]] = {}
        self._changed = asyncio.Event()

    def of(self, action: str, station_id: str | None = None) -> list[dict[str, Any]]:
        return [
            r.payload
            for r in self.received
            if r.action == action and (station_id is None or r.station_id == station_id)
        ]

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def note(self, received: Received) -> None:
        self.received.append(received)
        self._changed.set()
        if self.on_received is not None:
            self.on_received(received)

    async def call(self, station_id: str, action: str, payload: dict[str, Any] | None = None) -> Any:
        """The answer's payload, or the whole CALLERROR frame."""
        message_id = f"c{next(self._numbers)}"
        future = self._calls[message_id] = asyncio.get_running_loop().create_future()
        socket = self.sockets[station_id]
        socket.send([2, message_id, action, payload or {}])
        frame = await asyncio.wait_for(future, 30)
        if frame[0] == 3:
            decode_response(socket.version, action, msgspec.json.encode(frame[2]))
            return frame[2]
        return frame

    def answer_of_station(self, frame: list[Any]) -> None:
        future = self._calls.pop(frame[1], None)
        if future is not None and not future.done():
            future.set_result(frame)

    def reply(self, version: OcppVersion, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        if action == "BootNotification":
            status = self.boot_status.pop(0) if len(self.boot_status) > 1 else self.boot_status[0]
            return {"status": status, "currentTime": NOW, "interval": self.boot_interval}
        if action == "Heartbeat":
            return {"currentTime": NOW}
        if version is OcppVersion.V16:
            if action == "StartTransaction":
                info = {"status": self.id_tokens.get(payload["idTag"], "Accepted")}
                return {"transactionId": next(self.transaction_ids), "idTagInfo": info}
            if action == "Authorize":
                return {"idTagInfo": {"status": self.id_tokens.get(payload["idTag"], "Accepted")}}
        elif "idToken" in payload:
            return {"idTokenInfo": {"status": self.id_tokens.get(payload["idToken"]["idToken"], "Accepted")}}
        if action == "DataTransfer":
            return {"status": "Accepted"}
        return {}


class Socket(WSListener):
    def __init__(self, csms: Csms, station_id: str, version: OcppVersion) -> None:
        self.csms, self.station_id, self.version = csms, station_id, version
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.csms.sockets[self.station_id] = self
        self.csms._changed.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.csms.sockets.get(self.station_id) is self:
            del self.csms.sockets[self.station_id]
        self.csms._changed.set()

    def send(self, frame: list[Any]) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, msgspec.json.encode(frame))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        if frame.msg_type != WSMsgType.TEXT:
            return
        data = frame.get_payload_as_bytes()
        csms = self.csms
        try:
            message = msgspec.json.decode(data)
        except msgspec.DecodeError:
            csms.note(Received(self.station_id, "", "garbage", {}, data))
            return
        if message[0] != 2:
            csms.answers.append(Received(self.station_id, message[1], "", {}, data))
            csms.answer_of_station(message)
            return
        _, message_id, action, payload = message
        if csms.check:
            decode_request(self.version, action, msgspec.json.encode(payload))
        csms.note(Received(self.station_id, message_id, action, payload, data))
        if csms.hold or action in csms.mute:
            return
        if csms.refuse.get(action, 0) > 0:
            csms.refuse[action] -= 1
            self.send([4, message_id, "InternalError", "", {}])
            return
        answer = csms.reply(self.version, action, payload)
        decode_response(self.version, action, msgspec.json.encode(answer))
        self.send([3, message_id, answer])


@asynccontextmanager
async def running_csms(port: int = 0) -> AsyncIterator[Csms]:
    csms = Csms()

    def accept(request: WSUpgradeRequest) -> Any:
        headers = {key.lower(): value for key, value in request.headers.items()}
        station_id = unquote(request.path.decode().rsplit("/", 1)[-1])
        headers["authorization"] = b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode("latin-1")
        csms.handshakes.append({"station_id": station_id, **headers})
        if csms.status_code != 101:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(csms.status_code, b"no"), None)
        name = headers["sec-websocket-protocol"]
        version = OcppVersion.from_subprotocol(name)
        assert version is not None
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": name}),
            Socket(csms, station_id, version),
        )

    server = await ws_create_server(accept, "127.0.0.1", port, use_aiofastnet=False)
    csms.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"
    try:
        yield csms
    finally:
        for socket in list(csms.sockets.values()):
            if socket.transport is not None:
                socket.transport.disconnect()
        server.close()
