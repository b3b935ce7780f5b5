"""Connecting stations, and measured runs over them: closed loop, open loop, idle."""

from __future__ import annotations

import asyncio
import base64
import collections
import gc
from array import array
from typing import Any
from urllib.parse import quote

from picows import WSCloseCode, WSUpgradeRequest, WSUpgradeResponse, ws_connect

from benchmarks.load import payloads
from benchmarks.load.payloads import subst
from benchmarks.load.scenarios import SCENARIOS
from benchmarks.load.station import Control, Station, now_ns
from benchmarks.load.summary import Result, spread
from benchmarks.load.watch import log

_TICK_S = 0.001


def make_stations(ctl: Control, count: int, offset: int) -> list[Station]:
    """Stations number `offset` and on."""
    args = ctl.args
    return [Station(ctl, i, subst(args.id_format, i=i), subst(args.id_tag, i=i)) for i in range(offset, offset + count)]


class Connecting:
    """Connects (and boots) stations, at most `concurrency` of them in progress at a time."""

    def __init__(self, ctl: Control, boot: bool) -> None:
        self._ctl = ctl
        self._boot = boot
        self._handshakes, self._boots, self._both = array("q"), array("q"), array("q")
        self._errors: collections.Counter[str] = collections.Counter()
        self._statuses: collections.Counter[str] = collections.Counter()
        self._last_connected = self._last_booted = 0

    async def run(self, stations: list[Station], concurrency: int) -> Result:
        """Connects all; how it went."""
        ctl = self._ctl
        waiting = iter(stations)

        async def worker() -> None:
            for station in waiting:
                await self._one(station)

        before = ctl.watch.cpu()
        begin = now_ns()
        await asyncio.gather(*[worker() for _ in range(min(concurrency, len(stations)))])
        end = now_ns()

        def per_s(count: int, last: int) -> float:
            return round(count / ((last - begin) / 1e9), 1) if count else 0

        result: Result = {
            "requested": len(stations),
            "concurrency": concurrency,
            "handshakes_ok": len(self._handshakes),
            "still_connected": sum(not station.closed for station in stations),
            "boots_accepted": len(self._boots),
            "boot_statuses": dict(self._statuses),
            "errors": dict(self._errors),
            "callerrors": dict(ctl.callerrors),
            "deflated": sum(station.deflated for station in stations),
            "seconds": round((end - begin) / 1e9, 3),
            "connects_per_s": per_s(len(self._handshakes), self._last_connected),
            "handshake": spread(self._handshakes),
            "cpu": ctl.watch.cpu_delta(before, ctl.watch.cpu()),
        }
        if self._boot:
            result["boots_per_s"] = per_s(len(self._boots), self._last_booted)
            result["boot"] = spread(self._boots)
            result["connect_and_boot"] = spread(self._both)
        return result

    def _headers(self, station: Station) -> dict[str, str]:
        args = self._ctl.args
        headers = {"Sec-WebSocket-Protocol": args.subprotocol}
        if args.basic_password is not None:
            names = {"id": station.station_id, "i": station.index}
            credentials = f"{subst(args.basic_user, **names)}:{subst(args.basic_password, **names)}"
            headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        if args.deflate:
            headers["Sec-WebSocket-Extensions"] = (
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
            )
        for header in args.header or []:
            name, _, value = header.partition(":")
            headers[name.strip()] = value.strip()
        return headers

    async def _one(self, station: Station) -> None:
        args = self._ctl.args
        agreed: dict[str, str] = {}

        def factory(_request: WSUpgradeRequest, response: WSUpgradeResponse) -> Station:
            agreed.update((name.lower(), value) for name, value in response.headers.items())
            return station

        begin = now_ns()
        try:
            await ws_connect(
                factory,
                subst(args.url, id=quote(station.station_id, safe=""), i=station.index),
                extra_headers=self._headers(station),
                enable_auto_pong=True,
                websocket_handshake_timeout=args.connect_timeout,
                read_buffer_init_size=2048,
            )
        except Exception as error:  # every failure is counted by kind
            self._errors[f"connect:{type(error).__name__}:{str(error)[:80]}"] += 1
            return
        if agreed.get("sec-websocket-protocol") != args.subprotocol:
            self._errors[f"subprotocol:{agreed.get('sec-websocket-protocol')}"] += 1
        station.deflated = "permessage-deflate" in agreed.get("sec-websocket-extensions", "")
        connected = now_ns()
        self._handshakes.append(connected - begin)
        self._last_connected = max(self._last_connected, connected)
        if self._boot:
            await self._booted(station, begin)

    async def _booted(self, station: Station, begin: int) -> None:
        args = self._ctl.args
        for left in reversed(range(args.boot_tries)):
            if station.closed:
                self._errors[f"closed-before-boot:{station.close_code}"] += 1
                return
            sent = now_ns()
            body = payloads.boot(self._ctl.v16, station.station_id)
            answer = await station.call("BootNotification", body, args.call_timeout)
            end = now_ns()
            if answer is None:
                self._errors[f"boot:closed:{station.close_code}" if station.closed else "boot:timeout-or-error"] += 1
                return
            self._statuses[str(answer.get("status"))] += 1
            if answer.get("status") == "Accepted":
                self._boots.append(end - sent)
                self._both.append(end - begin)
                self._last_booted = max(self._last_booted, end)
                return
            if left:
                await asyncio.sleep(min(float(answer.get("interval") or 1), args.boot_retry_max))


async def disconnect_all(stations: list[Station], timeout_s: float = 60.0) -> None:
    """Closes in slices: thousands of closes at once are a test of their own."""
    live = [station for station in stations if not station.closed]
    for start in range(0, len(live), 200):
        for station in live[start : start + 200]:
            if station.transport is not None:
                station.transport.send_close(WSCloseCode.OK)
        await asyncio.sleep(0.05)
    waits = [station.disconnected for station in live if station.disconnected and not station.disconnected.done()]
    if waits:
        await asyncio.wait(waits, timeout=timeout_s)
    for station in live:
        if station.transport is not None:
            station.transport.disconnect(False)
    await asyncio.sleep(0.1)


async def report_connectors(ctl: Control, stations: list[Station]) -> int:
    """One StatusNotification per connector: many CSMSs make their connectors from it. Returns how many failed."""
    places = asyncio.Semaphore(ctl.args.connect_concurrency)

    async def one(station: Station) -> int:
        failed = 0
        async with places:
            for connector in (0, 1) if ctl.v16 else (1,):
                body = payloads.status(ctl.v16, 0, connector)
                if station.closed:
                    return failed + 1
                failed += await station.call("StatusNotification", body, ctl.args.call_timeout) is None
        return failed

    return sum(await asyncio.gather(*[one(station) for station in stations]))


async def _sweep(ctl: Control, stations: list[Station]) -> None:
    """Ends calls that were not answered in time."""
    while True:
        await asyncio.sleep(0.5)
        now = now_ns()
        for station in stations:
            if (
                station.pending is not None
                and station.script is not None
                and now - station.sent_at > ctl.call_timeout_ns
            ):
                ctl.timeouts += 1
                station.settled(now, None)


class _Slots:
    """The open loop's clock: `rate` calls a second fall due, evenly, dealt to the stations in turn.

    A call's latency counts from the moment it was due, also where the station's earlier call was still open then, so a
    slow server cannot hide its slowness by slowing the generator (no coordinated omission). Calls are dispatched once a
    millisecond; how late that was is `dispatch_lag`, the generator's own part of the latency.
    """

    def __init__(self, ctl: Control, stations: list[Station], rate: float) -> None:
        self._ctl = ctl
        self._stations = stations
        self._gap_ns = 1e9 / rate
        self.lags = array("q")
        self.due = 0

    async def run(self) -> None:
        """Until cancelled."""
        stations, gap, count = self._stations, self._gap_ns, len(self._stations)
        begin = now_ns()
        number = 0
        while True:
            await asyncio.sleep(_TICK_S)
            now = now_ns()
            window = self._ctl.window
            while (due := begin + int(number * gap)) <= now:
                stations[number % count].slot(due)
                number += 1
                if window is not None and due >= window[0]:
                    self.due += due < window[1]
                    self.lags.append(now - due)


_AFTER_LOOKING_S = 0.25


async def run_scenario(ctl: Control, name: str, stations: list[Station]) -> Result:
    """One measured run over connected stations."""
    args = ctl.args
    ctl.reset()
    ctl.stop = False
    ctl.open_loop = bool(args.rate)
    live = [station for station in stations if not station.closed]
    ctl.active = len(live)
    ctl.all_done = ctl.loop.create_future()
    sweeping = asyncio.create_task(_sweep(ctl, live))
    gc.collect()
    gc.disable()
    for station in live:
        station.start(SCENARIOS[name](station))
    slots = _Slots(ctl, live, args.rate) if args.rate else None
    ticking = asyncio.create_task(slots.run()) if slots else None
    await asyncio.sleep(args.warmup)
    before = ctl.watch.cpu()
    # Looking through the processes stops this one for tens of milliseconds; the answers that came meanwhile are not the server's.
    await asyncio.sleep(_AFTER_LOOKING_S)
    begin = now_ns()
    ctl.window = (begin, begin + int(args.duration * 1e9))
    per_second: list[int] = []
    count = max(1, int(args.duration))
    seen = 0
    for _ in range(count):
        await asyncio.sleep(args.duration / count)
        per_second.append(ctl.answered - seen)
        seen = ctl.answered
    after = ctl.watch.cpu()
    if ticking is not None:
        await _drained(ctl, live)
        ticking.cancel()
        ctl.open_loop = False
    ctl.stop = True
    gc.enable()
    for station in live:
        station.resume()
    try:
        await asyncio.wait_for(ctl.all_done, args.call_timeout * 2)
    except TimeoutError:
        log(f"  {name}: {ctl.active} stations did not finish")
    sweeping.cancel()
    unfinished = ctl.active
    for station in live:
        station.script = None
        station.pending = None
    cpu = ctl.watch.cpu_delta(before, after)
    result: Result = {
        "scenario": name,
        "connections": len(live),
        "seconds": args.duration,
        "answered": ctl.answered,
        "calls_per_s": round(ctl.answered / args.duration, 1),
        "per_second": per_second,
        "latency": spread([ns for values in ctl.latencies.values() for ns in values]),
        "per_action": {action: spread(values) for action, values in ctl.latencies.items()},
        "totals": dict(ctl.totals),
        "callerrors": dict(ctl.callerrors),
        "timeouts": ctl.timeouts,
        "lost_connections": ctl.lost,
        "unfinished": unfinished,
        "unexpected_replies": ctl.unexpected,
        "statuses": dict(ctl.statuses),
        "server_calls": dict(ctl.server_calls),
        "cpu": cpu,
        "cpu_ms_per_call": _per_call(cpu, ctl.answered / args.duration),
        "mem": ctl.watch.mem(),
    }
    if slots is not None:
        result |= {
            "rate": args.rate,
            "due": slots.due,
            "unanswered": slots.due - ctl.answered,
            "dispatch_lag": spread(slots.lags),
        }
    if name == "transaction":
        result["sequences"] = len(ctl.sequence_latencies)
        result["sequences_per_s"] = round(len(ctl.sequence_latencies) / args.duration, 1)
        result["sequence_latency"] = spread(ctl.sequence_latencies)
    return result


async def _drained(ctl: Control, stations: list[Station]) -> None:
    """Waits until no call that was due in the window is still in line or unanswered, at most the calls' time-out."""
    assert ctl.window is not None
    end = ctl.window[1]
    give_up = now_ns() + ctl.call_timeout_ns

    def behind(station: Station) -> bool:
        waits = station.due and station.due[0] < end
        return bool(waits) or (station.pending is not None and station.from_ns < end)

    while now_ns() < give_up and any(map(behind, stations)):
        await asyncio.sleep(0.01)


def _per_call(cpu: dict[str, Any], calls_per_s: float) -> dict[str, float]:
    if not calls_per_s:
        return {}
    calls = calls_per_s * cpu["wall_s"]
    return {name: round(1000 * value / calls, 4) for name, value in cpu["cpu_s"].items() if name != "idle"}


async def run_idle(ctl: Control, stations: list[Station]) -> Result:
    """Nothing is sent for a while; what that costs."""
    at_start = ctl.watch.mem()
    ctl.reset()
    before = ctl.watch.cpu()
    await asyncio.sleep(ctl.args.duration)
    return {
        "scenario": "idle",
        "connections": sum(not station.closed for station in stations),
        "mem_at_start": at_start,
        "mem": ctl.watch.mem(),
        "cpu": ctl.watch.cpu_delta(before, ctl.watch.cpu()),
        "server_calls": dict(ctl.server_calls),
    }
