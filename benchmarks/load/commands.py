"""HTTP API call -> CSMS -> station -> CSMS -> HTTP: how long a command takes."""

from __future__ import annotations

import asyncio
import collections
import gc
from array import array
from typing import Any, ClassVar, cast
from urllib.parse import quote, urlsplit

from benchmarks.load.payloads import subst
from benchmarks.load.station import Control, Station, now_ns
from benchmarks.load.summary import Result, spread


class HttpClient(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("http connection closed"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode("latin1").split("\r\n")
            headers = {name.strip().lower(): value.strip() for name, _, value in (h.partition(":") for h in head[1:])}
            rest = self._received[end + 4 :]
            if "chunked" in headers.get("transfer-encoding", ""):
                whole = _dechunked(rest)
            else:
                size = int(headers.get("content-length", "0"))
                whole = (rest[:size], rest[size:]) if len(rest) >= size else None
            if whole is None:
                return
            body, self._received = whole
            if self._answer and not self._answer.done():
                self._answer.set_result((int(head[0].split(" ")[1]), body))

    def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> asyncio.Future[tuple[int, bytes]]:
        """Sends a request; (status, body) of its answer."""
        assert self.transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Content-Length: {len(body)}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        return self._answer


def _dechunked(rest: bytes) -> tuple[bytes, bytes] | None:
    """(body, what follows it), or None where it is not all there."""
    body, at = b"", 0
    while True:
        line = rest.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(rest[at:line].split(b";")[0], 16)
        if len(rest) < line + 2 + size + 2:
            return None
        body += rest[line + 2 : line + 2 + size]
        at = line + 2 + size + 2
        if size == 0:
            return body, rest[at:]


class CallbackServer(asyncio.Protocol):
    """Takes POST /cb/{key} and settles the future of that key."""

    waiting: ClassVar[dict[str, asyncio.Future[tuple[int, bytes]]]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode("latin1")
            low = head.lower()
            size = int(low.split("content-length:")[1].split("\r\n")[0]) if "content-length:" in low else 0
            if len(self._received) < end + 4 + size:
                return
            body = self._received[end + 4 : end + 4 + size]
            self._received = self._received[end + 4 + size :]
            future = self.waiting.pop(head.split(" ")[1].rsplit("/", 1)[-1].split("?")[0], None)
            if future and not future.done():
                future.set_result((now_ns(), body))
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")


class Commands:
    """Worker k sends HTTP requests for station k, one at a time."""

    def __init__(self, ctl: Control) -> None:
        self._ctl = ctl
        args = ctl.args
        url = urlsplit(subst(args.command_url, id="x", i=0, tag="x", seq=0, callback="x", callback_enc="x"))
        self._host, self._port = url.hostname or "127.0.0.1", url.port or 80
        self._headers = {"Host": f"{self._host}:{self._port}"}
        if args.command_body:
            self._headers["Content-Type"] = "application/json"
        for header in args.command_header or []:
            name, _, value = header.partition(":")
            self._headers[name.strip()] = value.strip()
        self._from = self._until = 0
        self._seen: dict[int, int] = {}
        self._http, self._station, self._done = array("q"), array("q"), array("q")
        self._statuses: collections.Counter[str] = collections.Counter()
        self._failures: collections.Counter[str] = collections.Counter()
        self._order = {"http_after_station_reply": 0, "http_before_station_call": 0}
        self._samples: list[str] = []

    async def run(self, stations: list[Station], concurrency: int) -> Result:
        """One measured run.

        Raises:
            SystemExit: there are fewer connected stations than `concurrency`.
        """
        ctl, args = self._ctl, self._ctl.args
        ctl.reset()
        live = [station for station in stations if not station.closed][:concurrency]
        if len(live) < concurrency:
            raise SystemExit(f"command scenario: {len(live)} live stations, {concurrency} needed")
        server = None
        if args.command_done == "callback":
            server = await ctl.loop.create_server(CallbackServer, "127.0.0.1", args.callback_port)
        ctl.server_call_hook = lambda station, _action, at: self._seen.__setitem__(station.index, at)
        gc.collect()
        gc.disable()
        self._from = now_ns() + int(args.warmup * 1e9)
        self._until = self._from + int(args.duration * 1e9)
        tasks = [asyncio.create_task(self._worker(station)) for station in live]
        await asyncio.sleep(args.warmup)
        before = ctl.watch.cpu()
        await asyncio.sleep(args.duration)
        cpu = ctl.watch.cpu_delta(before, ctl.watch.cpu())
        await asyncio.gather(*tasks)
        gc.enable()
        ctl.server_call_hook = None
        if server:
            server.close()
        count = len(self._done)
        per_call = {
            name: round(1000 * value / count, 4) for name, value in cpu["cpu_s"].items() if name != "idle" and count
        }
        return {
            "scenario": "command",
            "concurrency": concurrency,
            "connections": sum(not station.closed for station in stations),
            "done_when": args.command_done,
            "commands": count,
            "commands_per_s": round(count / args.duration, 1),
            "round_trip": spread(self._done),
            "http_response": spread(self._http),
            "station_got_call": spread(self._station),
            "order": self._order,
            "http_status": dict(self._statuses),
            "failures": dict(self._failures),
            "sample_replies": self._samples,
            "server_calls": dict(ctl.server_calls),
            "cpu": cpu,
            "cpu_ms_per_call": per_call,
        }

    async def _connected(self) -> HttpClient:
        _, client = await self._ctl.loop.create_connection(HttpClient, self._host, self._port)
        return client

    async def _worker(self, station: Station) -> None:
        client = await self._connected()
        while now_ns() < self._until:
            try:
                await self._one(client, station)
            except (TimeoutError, ConnectionError) as error:
                self._failures[f"http:{type(error).__name__}"] += 1
                if client.transport is not None:
                    client.transport.abort()
                client = await self._connected()
        if client.transport is not None:
            client.transport.close()

    async def _one(self, client: HttpClient, station: Station) -> None:
        ctl, args = self._ctl, self._ctl.args
        number = next(ctl.counter)
        key = f"{station.index}-{number}"
        callback = f"http://127.0.0.1:{args.callback_port}/cb/{key}"
        names: dict[str, Any] = {
            "id": station.station_id,
            "i": station.index,
            "tag": station.tag.decode(),
            "seq": number,
        }
        names |= {"callback": callback, "callback_enc": quote(callback, safe="")}
        url = urlsplit(subst(args.command_url, **names))
        called_back: asyncio.Future[tuple[int, bytes]] | None = None
        if args.command_done == "callback":
            called_back = CallbackServer.waiting[key] = ctl.loop.create_future()
        self._seen.pop(station.index, None)
        begin = now_ns()
        status, body = await asyncio.wait_for(
            client.request(
                args.command_method,
                url.path + ("?" + url.query if url.query else ""),
                self._headers,
                subst(args.command_body, **names).encode(),
            ),
            args.call_timeout,
        )
        answered = done = now_ns()
        self._statuses[str(status)] += 1
        if len(self._samples) < 3:
            self._samples.append(body[:300].decode(errors="replace"))
        synchronous = station.index in self._seen
        if called_back is not None:
            try:
                done, _ = await asyncio.wait_for(called_back, args.call_timeout)
            except TimeoutError:
                self._failures["callback:timeout"] += 1
                CallbackServer.waiting.pop(key, None)
                return
        elif args.command_done == "station":
            limit = now_ns() + ctl.call_timeout_ns
            while station.index not in self._seen and now_ns() < limit:
                await asyncio.sleep(0.0005)
            if station.index not in self._seen:
                self._failures["station:timeout"] += 1
                return
            done = self._seen[station.index]
        if begin >= self._from and done <= self._until:
            self._http.append(answered - begin)
            if station.index in self._seen:
                self._station.append(self._seen[station.index] - begin)
            self._done.append(done - begin)
            self._order["http_after_station_reply" if synchronous else "http_before_station_call"] += 1
