"""A load generator for OCPP-J central systems: it needs a WebSocket URL template, a subprotocol and a number of stations.

One process, one thread, uvloop and picows (a C WebSocket). Frames are made from pre-encoded templates, replies are parsed
with orjson, and every station is driven by call-backs (no task per message), so that the generator itself drives several
tens of thousands of calls a second per core (its ceiling: run it against null_server.py). It talks to nothing but the URLs it
is given.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import resource
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvloop

from benchmarks.load.commands import Commands
from benchmarks.load.payloads import iso_now
from benchmarks.load.runs import Connecting, disconnect_all, make_stations, report_connectors, run_idle, run_scenario
from benchmarks.load.scenarios import SCENARIOS
from benchmarks.load.station import Control, Station
from benchmarks.load.summary import Result, medians
from benchmarks.load.watch import log, wait_quiet

VERSION = "2.0"

EPILOG = """scenarios
  connect         N stations connect and send BootNotification, then leave; repeated --repeat times for
                  each N of --connections (with new station ids each time under --fresh-ids)
  heartbeat       Heartbeat
  status          StatusNotification
  metervalues     MeterValues with 6 sampled values outside of a transaction
  metervalues-tx  6 sampled values within one transaction per station (2.x: TransactionEvent Updated)
  authorize       Authorize
  transaction     1.6: Authorize, StartTransaction, MeterValues(6), StopTransaction
                  2.x: TransactionEvent Started, Updated x 3 (6 sampled values each), Ended
  idle            nothing is sent for --duration seconds; memory before and after
  command         HTTP API call -> station -> answer, at each --command-concurrency

Without --rate the loop is closed: one call in flight per connection, the next right after the answer, so the latencies are
those of a saturated server. With --rate the calls fall due evenly, that many a second over all stations, and each latency
counts from when the call was due, also where the station's earlier call was still open.

examples
  ocpp_load.py --url 'ws://127.0.0.1:9000/ocpp/{id}' --subprotocol ocpp1.6 -n 200,1000,5000 --scenario connect \\
               --watch server=1234 --json connect16.json
  ocpp_load.py --url 'ws://127.0.0.1:9000/ocpp/{id}' --subprotocol ocpp2.1 -n 100 \\
               --scenario heartbeat,metervalues,transaction --duration 10 --repeat 3
  ocpp_load.py --url ... -n 100 --scenario metervalues --rate 5000
  ocpp_load.py --url ... -n 50 --scenario command --command-concurrency 1,50 --command-header 'Authorization: Bearer KEY' \\
               --command-url 'http://127.0.0.1:8080/v1/charging-stations/{id}/calls' \\
               --command-body '{"action":"Reset","payload":{"type":"Soft"}}'
"""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__, epilog=EPILOG
    )
    g = p.add_argument_group("target")
    g.add_argument("--url", required=True, help="WebSocket URL template: {id} station id, {i} its number")
    g.add_argument("--subprotocol", default="ocpp1.6", help="ocpp1.6, ocpp2.0.1, ocpp2.1 (default %(default)s)")
    g.add_argument("--version", choices=["1.6", "2.0.1", "2.1"], help="message set; default: from the subprotocol")
    g.add_argument("--id-format", default="LOAD{i:06d}", help="station id template (default %(default)s)")
    g.add_argument("--id-offset", type=int, default=0, help="number of the first station")
    g.add_argument("--id-tag", default="AB{i:06X}", help="idTag / idToken template (default %(default)s)")
    g.add_argument("--token-type", default="ISO14443", help="2.x idToken type (default %(default)s)")
    g.add_argument("--basic-user", default="{id}", help="basic auth user template (default the station id)")
    g.add_argument("--basic-password", help="basic auth password template; no basic auth without it")
    g.add_argument("--header", action="append", help="extra handshake header 'Name: value'")
    g.add_argument("--deflate", action="store_true", help="offer permessage-deflate and compress where it is agreed to")
    g = p.add_argument_group("load")
    g.add_argument("-n", "--connections", default="100", help="stations; a list like 200,1000,5000 for 'connect'")
    g.add_argument("--idle", type=int, default=0, help="additional stations that connect, boot and stay idle")
    g.add_argument("--scenario", default="heartbeat", help="comma separated list (see below)")
    g.add_argument("--rate", type=float, default=0, metavar="CALLS_PER_S", help="open loop at this many calls a second")
    g.add_argument("--duration", type=float, default=10, help="measured seconds per scenario run")
    g.add_argument("--warmup", type=float, default=2, help="seconds before measuring")
    g.add_argument("--repeat", type=int, default=3)
    g.add_argument("--pause", type=float, default=1, help="seconds between runs")
    g.add_argument("--settle", type=float, default=1, help="seconds after connecting, before measuring")
    g.add_argument("--connect-concurrency", type=int, default=100, help="stations connecting/booting at the same time")
    g.add_argument("--connect-timeout", type=float, default=30)
    g.add_argument("--call-timeout", type=float, default=30)
    g.add_argument("--boot-tries", type=int, default=3, help="BootNotifications until Accepted")
    g.add_argument("--boot-retry-max", type=float, default=2, help="cap for the retry interval that the CSMS asks for")
    g.add_argument("--no-boot", action="store_true", help="do not send BootNotification")
    g.add_argument("--no-setup", action="store_true", help="no StatusNotification per connector before scenarios")
    g.add_argument("--fresh-ids", action="store_true", help="'connect': new station ids for every repetition")
    g = p.add_argument_group("commands")
    g.add_argument("--command-url", help="HTTP URL template: {id} {i} {tag} {seq} {callback} {callback_enc}")
    g.add_argument("--command-method", default="POST")
    g.add_argument("--command-header", action="append")
    g.add_argument("--command-body", default="", help="body template, same names")
    g.add_argument("--command-concurrency", default="1,50")
    g.add_argument(
        "--command-done",
        choices=["http", "callback", "station"],
        default="http",
        help="when a command is done: HTTP response (synchronous API), POST to {callback}, or as soon as "
        "the station has got the call",
    )
    g.add_argument("--callback-port", type=int, default=18999)
    g = p.add_argument_group("measuring and output")
    g.add_argument("--watch", action="append", help="name=pid[,pid]: CPU and memory of these and their children")
    g.add_argument(
        "--wait-quiet",
        type=float,
        default=0,
        metavar="PCT",
        help="before each run wait until other processes use less than PCT%% of one core",
    )
    g.add_argument("--wait-quiet-max", type=float, default=120, metavar="S")
    g.add_argument("--cpu", type=int, help="pin the generator to this core")
    g.add_argument("--label", default="")
    g.add_argument("--json", help="write the result here (else stdout)")
    a = p.parse_args(argv)
    a.connections = [int(x) for x in str(a.connections).split(",")]
    a.scenario = a.scenario.split(",")
    a.command_concurrency = [int(x) for x in a.command_concurrency.split(",")]
    if a.version is None:
        a.version = a.subprotocol.removeprefix("ocpp")
    known = set(SCENARIOS) | {"connect", "idle", "command"}
    for s in a.scenario:
        if s not in known:
            p.error(f"unknown scenario {s}; known: {', '.join(sorted(known))}")
        if s == "command" and not a.command_url:
            p.error("--scenario command needs --command-url")
    return a


class Run:
    """What one command line asks for."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._ctl = Control(args)
        self._results: list[Result] = []
        self._out: Result = {
            "tool": f"ocpp_load.py {VERSION}",
            "label": args.label,
            "started": iso_now().decode(),
            "args": {name: value for name, value in vars(args).items() if name != "basic_password"},
            "host": {"cpus": os.cpu_count(), "affinity": sorted(os.sched_getaffinity(0)), "loadavg": os.getloadavg()},
            "results": self._results,
        }

    async def run(self) -> Result:
        """Everything; the whole result."""
        offset = self._args.id_offset
        if "connect" in self._args.scenario:
            offset = await self._connect(offset)
        over_connections = [name for name in self._args.scenario if name != "connect"]
        if over_connections:
            await self._stay(over_connections, offset)
        self._out["medians"] = medians(self._results)
        self._out["ended"] = iso_now().decode()
        return self._out

    async def _quiet(self) -> None:
        await wait_quiet(self._ctl.watch, self._args.wait_quiet, self._args.wait_quiet_max)

    async def _connect(self, offset: int) -> int:
        """Connect and boot N stations, repeated. Returns the number of the next unused station."""
        args, ctl = self._args, self._ctl
        for count in args.connections:
            for repetition in range(args.repeat):
                ctl.reset()
                stations = make_stations(ctl, count, offset)
                if args.fresh_ids:
                    offset += count
                await self._quiet()
                before = ctl.watch.mem()
                result = await Connecting(ctl, not args.no_boot).run(stations, args.connect_concurrency)
                await asyncio.sleep(args.settle)
                result |= {
                    "scenario": "connect",
                    "connections": count,
                    "repetition": repetition + 1,
                    "mem_before": before,
                    "mem_after": ctl.watch.mem(),
                    "connected_after_settle": sum(not station.closed for station in stations),
                }
                self._results.append(result)
                log(
                    f"connect N={count} #{repetition + 1}: {result['connects_per_s']}/s connects, "
                    f"{result.get('boots_per_s')}/s boots, ok {result['handshakes_ok']}/{count}, boots "
                    f"{result['boots_accepted']}, errors {result['errors']} {result['callerrors']}, cpu {result['cpu']['cpu_s']}"
                )
                await disconnect_all(stations)
                await asyncio.sleep(args.pause)
        return int(offset)

    async def _stay(self, scenarios: list[str], offset: int) -> None:
        """Everything that runs over connections that stay."""
        args, ctl = self._args, self._ctl
        count = args.connections[0]
        active = make_stations(ctl, count, offset)
        idle = make_stations(ctl, args.idle, offset + count)
        self._out["mem_before_connect"] = ctl.watch.mem()
        connected = await Connecting(ctl, not args.no_boot).run(active, args.connect_concurrency)
        self._out["connect"] = connected
        log(
            f"connected {connected['still_connected']}/{count}, boots {connected['boots_accepted']}, {connected['errors']}"
        )
        if idle:
            ctl.reset()
            connected = await Connecting(ctl, not args.no_boot).run(idle, args.connect_concurrency)
            self._out["connect_idle"] = connected
            log(f"idle connections {connected['still_connected']}/{len(idle)}, errors {connected['errors']}")
        if not args.no_setup and any(name in SCENARIOS or name == "command" for name in scenarios):
            self._out["setup_failures"] = await report_connectors(ctl, active)
        await asyncio.sleep(args.settle)
        for repetition in range(args.repeat):
            for name in scenarios:
                await self._quiet()
                for result in await self._measured(name, active, idle):
                    result["repetition"] = repetition + 1
                    self._results.append(result)
                await asyncio.sleep(args.pause)
        lost = [station for station in active + idle if station.closed]
        self._out["connections_lost_by_end"] = len(lost)
        if lost:
            self._out["close_codes"] = dict(collections.Counter(str(station.close_code) for station in lost))
        await disconnect_all(active + idle)
        await asyncio.sleep(0.2)
        self._out["mem_after_disconnect"] = ctl.watch.mem()

    async def _measured(self, name: str, active: list[Station], idle: list[Station]) -> list[Result]:
        ctl = self._ctl
        if name == "idle":
            result = await run_idle(ctl, active + idle)
            log(f"idle: {result['connections']} up, mem {result['mem']}")
            return [result]
        if name == "command":
            results = []
            for concurrency in self._args.command_concurrency:
                result = await Commands(ctl).run(active, concurrency)
                log(
                    f"command c={concurrency}: {result['commands_per_s']}/s, {result['round_trip']} {result['http_status']}"
                )
                results.append(result)
            return results
        result = await run_scenario(ctl, name, active)
        latency = result["latency"] or {}
        log(
            f"{name}: {result['calls_per_s']} calls/s, p50 {latency.get('p50_ms')} p99 {latency.get('p99_ms')} ms, errors "
            f"{result['callerrors']} timeouts {result['timeouts']} {result['statuses']}, cpu/call {result['cpu_ms_per_call']}"
        )
        return [result]


def main() -> None:
    """Runs what the command line asks for and writes the result as JSON."""
    args = parse()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})

    async def run() -> Result:
        return await Run(args).run()

    text = json.dumps(uvloop.run(run()), indent=1)
    if args.json:
        Path(args.json).write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
