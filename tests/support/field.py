"""Stations as the field has them: raw frames at the OCPP door of a whole server, results read at the REST door."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
from msgspec import json

from chargeplane.main.config import OcppConfig
from chargeplane.main.wiring import Server
from tests.support.raw_station import PING, PONG, TEXT, RawStation

VERSIONS = ("1.6", "2.0.1", "2.1")
VERSIONS_2X = ("2.0.1", "2.1")
PASSWORD = "sixteen-or-more-characters"
T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
REGISTER = "Energy.Active.Import.Register"

QUICK = OcppConfig(
    trigger_boot_after_s=0.5,
    ask_by_evidence_after_s=0.2,
    close_by_evidence_after_s=1.2,
    seen_flush_s=0.2,
    ping_interval_s=1.0,
    ping_timeout_s=4.0,
    shutdown_grace_s=1.0,
)
"""What the server does by itself, soon enough for tests."""

_numbers = count(1)


def at(minutes: float) -> str:
    """A time in the session, as a station writes it."""
    return (T0 + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def now(offset_s: float = 0.0) -> str:
    """A time as a station whose clock is off by so much would write it now."""
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).isoformat().replace("+00:00", "Z")


class Station:
    """A station on a raw socket. Reads all the time: answers go to who waits, calls of the server are answered by `answers`.

    Args:
        answers: payload by action; None leaves the call without an answer, a callable makes the whole frame.
    """

    def __init__(self, world: World, raw: RawStation, station_id: str, version: str) -> None:
        self.world = world
        self.raw = raw
        self.id = station_id
        self.version = version
        self.answers: dict[str, Any] = {}
        self.got: list[tuple[str, Any]] = []
        self.frames: list[list[Any]] = []
        self.close_code: int | None = None
        self._count = count(1)
        self._waiting: dict[object, asyncio.Future[list[Any]]] = {}
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            try:
                opcode, payload, _ = await self._frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            if opcode == PING:
                self.raw.send(payload, PONG)
            elif opcode == TEXT:
                await self._take(json.decode(payload))
            else:
                self.close_code = int.from_bytes(payload[:2], "big")
                break
        async with self._changed:
            self.close_code = self.close_code or 1006
            self._changed.notify_all()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError(f"closed with {self.close_code}"))

    async def _frame(self) -> tuple[int, bytes, int]:
        while True:
            try:
                return await self.raw.read()
            except TimeoutError:
                continue

    async def _take(self, frame: list[Any]) -> None:
        if frame[0] == 2:
            self.got.append((frame[2], frame[3]))
            answer = self.answers.get(frame[2], {"status": "Accepted"})
            if callable(answer):
                answer = answer(frame)
                if answer is not None:
                    self.raw.send(answer if isinstance(answer, str) else json.encode(answer))
            elif answer is not None:
                self.raw.send(json.encode([3, frame[1], answer]))
        elif (future := self._waiting.pop(frame[1], None)) is not None and not future.done():
            future.set_result(frame)
        async with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()

    # -- sending ---------------------------------------------------------------------------------------------------------

    def expect(self, message_id: object) -> asyncio.Future[list[Any]]:
        """The frame that will answer a message id."""
        self._waiting[message_id] = future = asyncio.get_running_loop().create_future()
        return future

    def begin(self, action: str, payload: object, message_id: str | None = None) -> asyncio.Future[list[Any]]:
        """Sends a CALL; its answer is awaited later."""
        ident = message_id or f"m{next(self._count)}"
        future = self.expect(ident)
        self.raw.send(json.encode([2, ident, action, payload]))
        return future

    async def frame(self, action: str, payload: object, message_id: str | None = None) -> list[Any]:
        """Sends a CALL; the whole frame that answers it."""
        return await asyncio.wait_for(self.begin(action, payload, message_id), 30)

    async def call(self, action: str, payload: object, message_id: str | None = None) -> Any:
        """Sends a CALL; the payload of its CALLRESULT."""
        frame = await self.frame(action, payload, message_id)
        assert frame[0] == 3, frame
        return frame[2]

    async def text(self, raw: str | bytes, message_id: object = "x") -> list[Any]:
        """Sends text as it is; the frame that answers `message_id`."""
        future = self.expect(message_id)
        self.raw.send(raw)
        return await asyncio.wait_for(future, 30)

    async def until(self, holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Waits until something that was received makes it true."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(holds)

    async def until_called(self, action: str, timeout_s: float = 5.0) -> Any:
        """The payload of the server's call, when it has come."""
        await self.until(lambda: any(name == action for name, _ in self.got), timeout_s)
        return next(payload for name, payload in self.got if name == action)

    async def leave(self) -> None:
        """Hangs up, and returns when the server knows."""
        self.raw.hang_up()
        await self.world.eventually(self.view, lambda seen: not seen["connected"])

    def asked(self) -> list[str]:
        """What the server called, but for the boot that it may have asked for on a machine that is slow."""
        return [action for action, payload in self.got if payload.get("requestedMessage") != "BootNotification"]

    # -- what every version says in its own way --------------------------------------------------------------------------

    async def boot(self, reason: str = "PowerUp") -> Any:
        """A BootNotification."""
        if self.version == "1.6":
            return await self.call("BootNotification", {"chargePointVendor": "Acme", "chargePointModel": "One"})
        told = {"reason": reason, "chargingStation": {"vendorName": "Acme", "model": "One"}}
        return await self.call("BootNotification", told)

    def status_payload(self, status: str, when: str | None, evse: int = 1) -> dict[str, Any]:
        """A StatusNotification; `Occupied` is `Charging` in 1.6."""
        if self.version == "1.6":
            word = "Charging" if status == "Occupied" else status
            return {
                "connectorId": evse,
                "status": word,
                "errorCode": "NoError",
                **({"timestamp": when} if when else {}),
            }
        return {"evseId": evse, "connectorId": 1, "connectorStatus": status, "timestamp": when or at(0)}

    async def status(self, status: str, when: str | None = None, evse: int = 1) -> Any:
        """Sends a StatusNotification."""
        return await self.call("StatusNotification", self.status_payload(status, when, evse))

    def charge(self, evse: int = 1, ocpp_id: str | None = None, tag: str | None = "TAG") -> Charge:
        """A transaction to be told about."""
        return Charge(self, evse, ocpp_id or f"{self.id}-t{next(self._count)}", tag)

    # -- reading back ----------------------------------------------------------------------------------------------------

    async def view(self) -> Any:
        """The station in REST."""
        return await self.world.get(f"/charging-stations/{self.id}")

    async def transactions(self) -> list[Any]:
        """Its transactions in REST, oldest first."""
        return list(reversed((await self.world.get("/transactions", station_id=self.id, limit=200))["items"]))

    async def transaction(self) -> Any:
        """Its only transaction in REST."""
        (one,) = await self.transactions()
        return one

    async def events(self) -> list[Any]:
        """The stored events of its only transaction."""
        one = await self.transaction()
        return list((await self.world.get(f"/transactions/{one['id']}/events", limit=200))["items"])

    async def samples(self) -> list[Any]:
        """All samples of its only transaction."""
        one = await self.transaction()
        values = (await self.world.get(f"/transactions/{one['id']}/meter-values", limit=200))["items"]
        return [sample for value in values for sample in value["samples"]]

    async def quarantine(self) -> list[Any]:
        """Its entries in the quarantine."""
        return list((await self.world.get("/quarantine", station_id=self.id))["items"])

    async def quirks(self, *rules: str, least: int = 1) -> dict[str, int]:
        """Hits by rule, when each of these rules has at least so many."""

        def hits(view: Any) -> dict[str, int]:
            return {quirk["rule"]: quirk["hits"] for quirk in view["quirks"]}

        seen = await self.world.eventually(self.view, lambda view: all(hits(view).get(r, 0) >= least for r in rules))
        assert all(quirk["description"] and quirk["last_at"] for quirk in seen["quirks"])
        return hits(seen)


def sampled(version: str, wh: object, when: str, **more: Any) -> dict[str, Any]:
    """A MeterValue with the register: `wh` is written as given, in 1.6 numbers become text."""
    value = str(wh) if version == "1.6" and isinstance(wh, int | float) else wh
    unit = more.pop("unit", None)
    sample: dict[str, Any] = {"value": value, **more}
    if unit is not None:
        sample |= {"unit": unit} if version == "1.6" else {"unitOfMeasure": {"unit": unit}}
    return {"timestamp": when, "sampledValue": [sample]}


class Charge:
    """A transaction as its station tells of it; payloads can be changed by `more` before they go out."""

    def __init__(self, station: Station, evse: int, ocpp_id: str, tag: str | None) -> None:
        self.station = station
        self.evse = evse
        self.ocpp_id = ocpp_id
        self.tag = tag
        self.seq = count(0)

    def started(self, wh: int, when: float, **more: Any) -> tuple[str, dict[str, Any]]:
        """Action and payload of the start."""
        if self.station.version == "1.6":
            payload = {"connectorId": self.evse, "idTag": self.tag or "", "meterStart": wh, "timestamp": at(when)}
            return "StartTransaction", payload | more
        return "TransactionEvent", self.event("Started", wh, when, "Authorized", token=self.tag, **more)

    def updated(self, wh: object, when: float, **more: Any) -> tuple[str, dict[str, Any]]:
        """Action and payload of values in the transaction."""
        unit = {"unit": more.pop("unit")} if "unit" in more else {}
        if self.station.version == "1.6":
            values = [sampled("1.6", wh, at(when), **unit)]
            return "MeterValues", {
                "connectorId": self.evse,
                "transactionId": int(self.ocpp_id),
                "meterValue": values,
            } | more
        return "TransactionEvent", self.event("Updated", wh, when, "MeterValuePeriodic", **unit, **more)

    def ended(self, wh: int, when: float, tag: str | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
        """Action and payload of the stop."""
        if self.station.version == "1.6":
            payload: dict[str, Any] = {"transactionId": int(self.ocpp_id), "meterStop": wh, "timestamp": at(when)}
            return "StopTransaction", payload | ({"idTag": tag} if tag else {}) | more
        payload = self.event("Ended", wh, when, "EVDeparted", token=tag, **more)
        return "TransactionEvent", payload

    def event(
        self, kind: str, wh: object, when: float, trigger: str, *, token: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """A TransactionEvent's payload; `wh` None brings no values."""
        unit = {"unit": more.pop("unit")} if "unit" in more else {}
        values = {} if wh is None else {"meterValue": [sampled(self.station.version, wh, at(when), **unit)]}
        return {
            "eventType": kind,
            "timestamp": at(when),
            "triggerReason": trigger,
            "seqNo": next(self.seq),
            "transactionInfo": {"transactionId": self.ocpp_id},
            "evse": {"id": self.evse, "connectorId": 1},
            **values,
            **({"idToken": {"idToken": token, "type": "ISO14443"}} if token else {}),
        } | more

    async def start(self, wh: int, when: float, **more: Any) -> Any:
        """Tells of the start; in 1.6 the id that the server gives is used from then on."""
        answer = await self.station.call(*self.started(wh, when, **more))
        if self.station.version == "1.6":
            self.ocpp_id = str(answer["transactionId"])
        return answer

    async def update(self, wh: object, when: float, **more: Any) -> Any:
        """Tells of a register value."""
        return await self.station.call(*self.updated(wh, when, **more))

    async def end(self, wh: int, when: float, tag: str | None = None, **more: Any) -> Any:
        """Tells of the stop."""
        return await self.station.call(*self.ended(wh, when, tag, **more))


def token_status(answer: Any) -> str | None:
    """What an answer says of the id token, in any version."""
    info = answer.get("idTagInfo") or answer.get("idTokenInfo")
    return None if info is None else info["status"]


class World:
    """A whole server and the admin's client."""

    def __init__(self, server: Server, rest: httpx.AsyncClient) -> None:
        self.server = server
        self.rest = rest
        self.authority = b""
        """Certificate of who signed the server's."""
        self._stations: list[Station] = []

    async def get(self, path: str, **params: Any) -> Any:
        """A resource."""
        answer = await self.rest.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object, status: int = 201) -> Any:
        """Makes something."""
        answer = await self.rest.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def register(self, **more: Any) -> str:
        """A registered station with an id of its own."""
        station_id = f"FIELD-{next(_numbers)}"
        await self.post("/charging-stations", {"station_id": station_id, "password": PASSWORD, **more})
        return station_id

    async def plug(self, station_id: str, version: str, **more: Any) -> Station:
        """Connects a station."""
        raw = await RawStation.dial(self.server.ocpp.ports[0])
        auth = f"{station_id}:{PASSWORD}".encode()
        path = more.pop("path", station_id)
        answer = await raw.upgrade(f"/ocpp/{path}", **({"protocols": f"ocpp{version}", "auth": auth} | more))
        assert answer.status == 101, answer.status
        station = Station(self, raw, station_id, version)
        self._stations.append(station)
        return station

    async def station(self, version: str, *, boot: bool = True, **more: Any) -> Station:
        """A new station that has connected and booted."""
        station = await self.plug(await self.register(**more), version)
        if boot:
            await station.boot()
        return station

    async def token(self, status: str = "Accepted", **more: Any) -> str:
        """A new id token."""
        value = f"TAG{next(_numbers)}"
        await self.post("/id-tokens", {"id_token": value, "type": "ISO14443", "status": status, **more})
        return value

    async def eventually(
        self, read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool], timeout_s: float = 30.0
    ) -> Any:
        """What is read when it holds; for what the server does by itself in its own time."""
        seen = None
        try:
            async with asyncio.timeout(timeout_s):
                while not holds(seen := await read()):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"did not come to hold: {seen}") from None
        return seen

    def hang_up(self) -> None:
        """Ends all connections of a test."""
        for station in self._stations:
            station._reading.cancel()
            station.raw.hang_up()
        self._stations.clear()


@contextlib.asynccontextmanager
async def running(server: Server, key: str) -> AsyncIterator[World]:
    """The server started, with the admin's client."""
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.http.port}/v1"
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            yield World(server, client)
    finally:
        await server.stop()
