"""A scripted charging station: frames over a plain WebSocket client, written from the specification alone.

It knows no code of the project. A case sends what its steps say and expects what its steps say; every message that the
server sends is checked against the official schema, and every frame against OCPP-J. What the server asks on its own
account between the steps (`background`) is answered as a plain station would, and never stands in for a step.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.conformance import schemas

PATIENCE_S = 30.0
"""How long a case waits for the server; the official tool's message timeout is longer."""

EVENTFUL: tuple[str, ...] = ("2.1",)
"""Versions whose stations tell a connector's state by NotifyEvent; the official cases take either."""

_numbers = itertools.count(1)


def moment(seconds: float = 0) -> str:
    """A time relative to now as stations write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class CallError(Exception):
    """The server answered with a CALLERROR."""

    def __init__(self, action: str, code: str, description: str, details: Any) -> None:
        super().__init__(f"{action}: {code}: {description} {details}")
        self.code = code
        self.description = description


class Asked:
    """A CALL of the server, waiting for the station's answer."""

    def __init__(self, station: Station, message_id: str, action: str, payload: dict[str, Any]) -> None:
        self.station = station
        self.message_id = message_id
        self.action = action
        self.payload = payload

    def __getitem__(self, name: str) -> Any:
        return self.payload[name]

    async def answer(self, **payload: Any) -> Asked:
        """A CALLRESULT; what it says is checked too."""
        schemas.check(self.station.version, self.action, payload, response=True)
        await self.station.write([3, self.message_id, payload])
        return self

    async def refuse(self, code: str, description: str = "") -> None:
        """A CALLERROR."""
        await self.station.write([4, self.message_id, code, description, {}])


def _unknown_variables(asked: Asked, word: str, result: str) -> dict[str, Any]:
    rows = asked.payload[word]
    told = [
        {"attributeStatus": "UnknownComponent", "component": row["component"], "variable": row["variable"]}
        for row in rows
    ]
    return {result: told}


BACKGROUND: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "GetVariables": lambda a: _unknown_variables(a, "getVariableData", "getVariableResult"),
    "SetVariables": lambda a: _unknown_variables(a, "setVariableData", "setVariableResult"),
    "GetConfiguration": lambda a: {"unknownKey": a.payload.get("key", [])},
    "ChangeConfiguration": lambda a: {"status": "NotSupported"},
    "GetBaseReport": lambda a: {"status": "NotSupported"},
    "GetReport": lambda a: {"status": "NotSupported"},
    "GetLocalListVersion": lambda a: {"listVersion": 0} if a.station.version == "1.6" else {"versionNumber": 0},
    "GetTransactionStatus": lambda a: {"ongoingIndicator": True, "messagesInQueue": False},
}
"""What a station says to questions that no step of a case asks."""


class Station:
    """A charging station of one version.

    Args:
        url: of the station at the server's door.
        station_id: its identity.
        password: for HTTP Basic, security profiles 1 and 2.
        tls: for security profiles 2 and 3.
    """

    def __init__(
        self,
        url: str,
        station_id: str,
        version: str,
        *,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        self.id = station_id
        self.version: str = version
        self.password = password
        self.tls = tls
        self.user = station_id
        self.background: dict[str, Callable[[Asked], dict[str, Any]]] = dict(BACKGROUND)
        self.seen: list[tuple[str, Any]] = []
        """Every CALL of the server, in order."""
        self.close_code: int | None = None
        self.problem: AssertionError | None = None
        """What was wrong with a message of the server; the test fails with it."""
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._calls: asyncio.Queue[Asked | None] = asyncio.Queue()
        self._waiting: dict[str, tuple[str, asyncio.Future[list[Any]]]] = {}
        self._ids: set[str] = set()

    # -- the connection ---------------------------------------------------------------------------------------------------

    async def connect(self, *, subprotocols: tuple[str, ...] | None = None) -> None:
        """Opens the WebSocket.

        Raises:
            InvalidStatus: the server refused the upgrade.
        """
        await self.close()
        headers = {}
        if self.password is not None:
            headers["Authorization"] = "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()
        self._socket = await connect(
            self.url,
            subprotocols=[Subprotocol(one) for one in subprotocols or (f"ocpp{self.version}",)],
            additional_headers=headers,
            ssl=self.tls,
            server_hostname="localhost" if self.tls is not None else None,
            compression=None,
            ping_interval=None,
            open_timeout=PATIENCE_S,
            proxy=None,
        )
        self.close_code = None
        self._calls = asyncio.Queue()
        self._ids = set()
        self._reading = asyncio.create_task(self._read(self._socket))

    async def refused(self) -> int:
        """Tries to connect and is refused; the HTTP status."""
        status = await self.tried()
        assert status is not None, "The server took the connection."
        return status

    async def tried(self) -> int | None:
        """Tries to connect; the HTTP status of the refusal, None where it was taken, and hangs up."""
        try:
            await self.connect()
        except InvalidStatus as error:
            return error.response.status_code
        await self.close()
        return None

    @property
    def subprotocol(self) -> str | None:
        """What was agreed on."""
        return None if self._socket is None else self._socket.subprotocol

    async def close(self) -> None:
        """Hangs up."""
        if self._socket is not None:
            await self._socket.close()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        self._socket = self._reading = None

    async def write(self, frame: list[Any]) -> None:
        """Sends a frame."""
        assert self._socket is not None
        await self._socket.send(json.dumps(frame, separators=(",", ":")))

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                self._take(await socket.recv())
        except ConnectionClosed:
            self.close_code = socket.close_code
        except AssertionError as error:
            self.problem = error
        finally:
            for _, future in self._waiting.values():
                if not future.done():
                    future.set_exception(self.problem or ConnectionError(f"closed with {socket.close_code}"))
            self._waiting.clear()
            self._calls.put_nowait(None)

    def _take(self, text: str | bytes) -> None:
        assert isinstance(text, str), "OCPP-J, 4.1: messages are text frames"
        frame = json.loads(text)
        kind, message_id = frame[0], frame[1]
        if kind == 2:
            # OCPP-J 2.0.1, 4.2.1: four elements; 4.1.4: at most 36 characters, never used before on this connection
            assert len(frame) == 4, frame
            assert 0 < len(message_id) <= 36, frame
            assert message_id not in self._ids, frame
            self._ids.add(message_id)
            schemas.check(self.version, frame[2], frame[3], response=False)
            self.seen.append((frame[2], frame[3]))
            self._calls.put_nowait(Asked(self, message_id, frame[2], frame[3]))
            return
        action, future = self._waiting.pop(message_id)
        if kind == 3:
            assert len(frame) == 3, frame
            schemas.check(self.version, action, frame[2], response=True)
        else:
            assert kind == 4, frame
            assert len(frame) == 5, frame
            assert len(frame[3]) <= 255, frame
        if not future.done():
            future.set_result([action, *frame])

    # -- what the station says --------------------------------------------------------------------------------------------

    async def send(self, action: str, payload: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """Sends a CALL that fits its schema and gives the payload of its CALLRESULT.

        Raises:
            CallError: the server answered with a CALLERROR.
        """
        told = {**(payload or {}), **fields}
        schemas.check(self.version, action, told, response=False)
        return await self.send_raw(action, told)

    async def send_raw(self, action: str, payload: object) -> dict[str, Any]:
        """The same with any payload."""
        message_id = f"s{next(_numbers)}"
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = (action, future)
        await self.write([2, message_id, action, payload])
        _, kind, _, *rest = await asyncio.wait_for(future, PATIENCE_S)
        if kind == 4:
            raise CallError(action, *rest)
        found: dict[str, Any] = rest[0]
        return found

    async def error(self, action: str, payload: dict[str, Any] | None = None, **fields: Any) -> CallError:
        """Sends a CALL that must be answered with a CALLERROR."""
        try:
            answer = await self.send(action, payload, **fields)
        except CallError as error:
            return error
        raise AssertionError(f"{action} was answered with {answer}")

    # -- what the server asks ---------------------------------------------------------------------------------------------

    async def expect(self, action: str, **fields: Any) -> Asked:
        """The server's next CALL of an action, with these values in its payload.

        CALLs of other actions that come first are of the background and are answered so; so are those of the same action that
        ask something else, where the background knows the action.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    asked = await self._calls.get()
                    if asked is None:
                        raise self.problem or AssertionError(f"hung up ({self.close_code}) instead of sending {action}")
                    if asked.action == action and (action not in self.background or self._fits(asked, fields)):
                        return self._checked(asked, fields)
                    await self._answer_in_background(asked)
        except TimeoutError:
            raise AssertionError(f"The server sent no {action}; it sent {self.seen}") from None

    @staticmethod
    def _fits(asked: Asked, fields: dict[str, Any]) -> bool:
        return {name: asked.payload.get(name) for name in fields} == fields

    def _checked(self, asked: Asked, fields: dict[str, Any]) -> Asked:
        found = {name: asked.payload.get(name) for name in fields}
        assert found == fields, f"{asked.action}: {asked.payload}"
        return asked

    async def _answer_in_background(self, asked: Asked) -> None:
        plain = self.background.get(asked.action)
        if plain is None:
            await asked.refuse("NotImplemented" if self.version == "1.6" else "NotSupported")
        else:
            await asked.answer(**plain(asked))

    async def attend(self, task: asyncio.Task[Any]) -> None:
        """Answers what the background knows until a task is done; a CALL that it does not know is left for a step to expect."""
        while not task.done():
            waiting = asyncio.create_task(self._calls.get())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                return
            asked = waiting.result()
            if asked is None or asked.action not in self.background:
                self._calls.put_nowait(asked)
                return
            await self._answer_in_background(asked)

    async def until_closed(self) -> int | None:
        """Waits until the server closes the connection; the close code."""
        assert self._reading is not None
        await asyncio.wait_for(asyncio.shield(self._reading), PATIENCE_S)
        return self.close_code

    # -- what every version says in its own way ---------------------------------------------------------------------------

    async def boot(self, reason: str = "PowerUp") -> dict[str, Any]:
        """A BootNotification; its answer."""
        if self.version == "1.6":
            return await self.send("BootNotification", chargePointVendor="Plain", chargePointModel="Scripted")
        return await self.send(
            "BootNotification", reason=reason, chargingStation={"vendorName": "Plain", "model": "Scripted"}
        )

    async def notify_status(self, status: str, evse: int = 1, connector: int = 1, **more: Any) -> None:
        """Tells the state of a connector, by StatusNotification or NotifyEvent."""
        if self.version == "1.6":
            told = {"connectorId": evse, "errorCode": "NoError", "status": status, "timestamp": moment()}
            await self.send("StatusNotification", told, **more)
        elif self.version not in EVENTFUL:
            told = {"evseId": evse, "connectorId": connector, "connectorStatus": status, "timestamp": moment()}
            await self.send("StatusNotification", told, **more)
        else:
            event = {
                "eventId": next(_numbers),
                "timestamp": moment(),
                "trigger": "Delta",
                "actualValue": status,
                "eventNotificationType": "HardWiredNotification",
                "component": {"name": "Connector", "evse": {"id": evse, "connectorId": connector}},
                "variable": {"name": "AvailabilityState"},
            }
            assert await self.send("NotifyEvent", generatedAt=moment(), seqNo=0, eventData=[event], **more) == {}

    async def notify_all(self, status: str, evses: int = 2) -> None:
        """The same of every connector of the station: two EVSEs with a connector each."""
        for evse in range(1, evses + 1):
            await self.notify_status(status, evse)
