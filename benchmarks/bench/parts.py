"""What is measured. Every part returns plain data for the report."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.bench.ledger import Ledger, sample_by_rest
from benchmarks.bench.processes import Peer, Server, connected, load, target
from benchmarks.load.watch import Watch, log

SCENARIOS = ("heartbeat", "metervalues", "metervalues-tx", "authorize", "transaction")


def _timing(args: argparse.Namespace) -> list[str]:
    out = ["--repeat", "1", "--duration", str(args.duration), "--warmup", str(args.warmup), "--pause", "0"]
    return [*out, "--wait-quiet", str(args.wait_quiet)] if args.wait_quiet else out


def _unsure(result: dict[str, Any]) -> int:
    return int(result["timeouts"] + result["lost_connections"] + result["unfinished"])


def _one_run(
    args: argparse.Namespace, on: Server | Peer, version: str, scenario: str, rate: float = 0
) -> dict[str, Any]:
    ledger = Ledger(on) if isinstance(on, Server) else None
    arguments = [*target(version, on), "-n", str(args.connections), "--scenario", scenario, *_timing(args)]
    result: dict[str, Any] = load([*arguments, "--rate", str(rate)] if rate else arguments)["results"][0]
    if ledger is not None:
        result["check"] = ledger.compare(scenario, result["totals"], _unsure(result))
    return result


def _median(runs: list[dict[str, Any]], *path: str) -> float | None:
    numbers = []
    for run in runs:
        value: Any = run
        for name in path:
            value = (value or {}).get(name)
        if isinstance(value, int | float):
            numbers.append(value)
    return round(statistics.median(numbers), 4) if numbers else None


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the repetitions of one measurement, and whether all was well."""
    out: dict[str, Any] = {
        "calls_per_s": _median(runs, "calls_per_s"),
        "sessions_per_s": _median(runs, "sequences_per_s"),
        **{level: _median(runs, "latency", level) for level in ("p50_ms", "p99_ms", "p999_ms", "max_ms")},
        "cpu_cores": {
            name: round(statistics.median(run["cpu"]["cpu_s"][name] / run["cpu"]["wall_s"] for run in runs), 3)
            for name in runs[0]["cpu"]["cpu_s"]
        },
        "cpu_us_per_call": {
            name: round(1000 * value, 1)
            for name in runs[0]["cpu_ms_per_call"]
            if (value := _median(runs, "cpu_ms_per_call", name)) is not None
        },
        "problems": sum(_unsure(run) + sum(run["callerrors"].values()) + run["unexpected_replies"] for run in runs),
        "statuses": runs[-1]["statuses"],
        "runs": [run["calls_per_s"] for run in runs],
    }
    if all("check" in run for run in runs):
        out["checks"] = [run["check"] for run in runs]
        out["all_stored"] = all(run["check"]["agrees"] for run in runs)
    if "rate" in runs[0]:
        out["rate"] = runs[0]["rate"]
        out["unanswered"] = sum(run["unanswered"] for run in runs)
        out["dispatch_lag_p99_ms"] = _median(runs, "dispatch_lag", "p99_ms")
    return out


def throughput(args: argparse.Namespace, server: Server, peer: Peer | None) -> dict[str, Any]:
    """Closed loop: server and peer in turn, medians of the repetitions."""
    out: dict[str, Any] = {}
    for version in args.versions:
        for scenario in args.scenarios:
            runs: dict[str, list[dict[str, Any]]] = {"server": [], "peer": []}
            for _ in range(args.repeat):
                for on in (server, peer) if peer else (server,):
                    runs[on.name].append(_one_run(args, on, version, scenario))
            row: dict[str, Any] = {name: summary(found) for name, found in runs.items() if found}
            if peer and row["peer"]["calls_per_s"]:
                row["times_the_peer"] = round(row["server"]["calls_per_s"] / row["peer"]["calls_per_s"], 2)
            out[f"{version} {scenario}"] = row
            log(f"{version} {scenario}: {_line(row)}")
    out["rest_sample"] = sample_by_rest(server)
    return out


def _line(row: dict[str, Any]) -> str:
    ours = row["server"]
    text = f"{ours['calls_per_s']:,.0f} calls/s, p99 {ours['p99_ms']} ms, stored: {ours.get('all_stored')}"
    if "peer" in row:
        text += f"; peer {row['peer']['calls_per_s']:,.0f}, {row.get('times_the_peer')} times"
    return text + (f"; PROBLEMS {ours['problems']}" if ours["problems"] else "")


def half_load(args: argparse.Namespace, server: Server, full: dict[str, Any]) -> dict[str, Any]:
    """Open loop at half of what the closed loop reached (measured first where it was not)."""
    out: dict[str, Any] = {}
    for version in args.versions:
        for scenario in args.scenarios:
            key = f"{version} {scenario}"
            known = full.get(key, {}).get("server", {}).get("calls_per_s")
            rate = round((known or _one_run(args, server, version, scenario)["calls_per_s"]) / 2)
            out[key] = summary([_one_run(args, server, version, scenario, max(rate, 1)) for _ in range(args.repeat)])
            log(f"{key} at {rate:,} calls/s: p50 {out[key]['p50_ms']} ms, p99 {out[key]['p99_ms']} ms")
    return out


def memory(args: argparse.Namespace, server: Server) -> dict[str, Any]:
    """Memory of idle connections, in a fresh server process, with and without compression."""
    few, many = args.memory_connections
    out: dict[str, Any] = {}
    for name, extra in (("plain", []), ("deflate", ["--deflate"])):
        server.stop()
        server.start()
        watch = Watch([word for word in server.watch() if "=" in word])
        arguments = [*target(args.versions[0], server), *extra, "--settle", "0"]
        readings = {0: watch.mem()}
        with connected(arguments, few):
            time.sleep(args.settle)
            readings[few] = watch.mem()
            with connected([*arguments, "--id-offset", str(few)], many - few):
                time.sleep(args.settle)
                readings[many] = watch.mem()
        per = {
            f"{kind}_kib_per_connection": round(
                (readings[many]["server"][f"{kind}_kib"] - readings[few]["server"][f"{kind}_kib"]) / (many - few), 2
            )
            for kind in ("rss", "pss")
        }
        out[name] = {"connections": [few, many], "readings": {str(n): value for n, value in readings.items()}, **per}
        log(f"memory {name}: {per}")
    return out


def storm(args: argparse.Namespace, server: Server) -> dict[str, Any]:
    """Many stations connect and boot at once."""
    count = args.storm_connections
    patience = ["--connect-timeout", "120", "--call-timeout", "120", "--settle", "2", "--pause", "2"]
    arguments = [*target(args.versions[0], server), "-n", str(count), "--scenario", "connect", *patience]
    results = load([*arguments, "--connect-concurrency", str(count), "--repeat", str(args.repeat)])["results"]
    out = {
        "stations": count,
        "accepted": [result["boots_accepted"] for result in results],
        "still_connected": [result["connected_after_settle"] for result in results],
        "boots_per_s": statistics.median(result["boots_per_s"] for result in results),
        "boot_p99_ms": statistics.median(result["boot"]["p99_ms"] for result in results),
        "connect_and_boot_p99_ms": statistics.median(result["connect_and_boot"]["p99_ms"] for result in results),
        "errors": [result["errors"] for result in results],
        "cpu_s": results[-1]["cpu"]["cpu_s"],
    }
    log(f"storm: {out['boots_per_s']:,.0f} boots/s, accepted {out['accepted']}, errors {out['errors']}")
    return out
