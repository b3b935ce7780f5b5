"""What is measured. Every part returns plain data for the report."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.bench.processes import STATION_PASSWORD, Failed, load
from benchmarks.bench.provision import provision
from benchmarks.load.watch import Watch, log
from benchmarks.roaming import documents, stage
from benchmarks.roaming.stage import PEER_TOKEN, Node, Process, generate, in_header

_PEER = "/ocpi/cpo/2.2.1/locations/"
_PEER_PUSH = "/ocpi/emsp/2.2.1/locations"
_READERS = {"2.3.0": "R23", "2.2.1": "R22", "2.1.1": "R21"}


def per_core(count: int, cpu: dict[str, Any], name: str = "server") -> float:
    """So many a second of the processor's time."""
    return round(count / cpu["cpu_s"][name], 1) if cpu["cpu_s"].get(name) else 0.0


def _pulled(result: dict[str, Any]) -> dict[str, Any]:
    cpu = result["cpu"]
    out = {
        "locations": result["locations"],
        "per_s": round(result["locations"] / cpu["wall_s"], 1),
        "per_core_s": per_core(result["locations"], cpu),
        "mib_s": round(result["bytes"] / cpu["wall_s"] / 2**20, 1),
        "page_p50_ms": result["page"]["p50_ms"],
        "page_max_ms": result["page"]["max_ms"],
        "cpu_s": cpu["cpu_s"],
        "wall_s": cpu["wall_s"],
    }
    for when in ("before", "after"):
        out[f"rss_mib_{when}"] = round(result[f"memory_{when}"]["server"]["rss_kib"] / 1024, 1)
    return out


def pages(args: argparse.Namespace, node: Node, tokens: dict[str, str]) -> dict[str, Any]:
    """Our server gives all of its Locations, page by page, in each version."""
    out: dict[str, Any] = {}
    for version, token in tokens.items():
        runs = [
            _pulled(
                generate(
                    "pull",
                    node.server.rest,
                    node.path(version, "sender", "locations"),
                    token,
                    node.watch(),
                    limit=args.page,
                )
            )
            for _ in range(args.repeat)
        ]
        out[version] = _median(runs, "per_core_s")
        out[version]["runs"] = [run["per_core_s"] for run in runs]
        log(f"pages {version}: {out[version]['per_core_s']:,.0f}/s of a core, {out[version]['per_s']:,.0f}/s")
    return out


def pages_in_turn(args: argparse.Namespace, node: Node, token: str, peer: Process) -> dict[str, Any]:
    """The same pages of both servers, in turn."""
    runs: dict[str, list[dict[str, Any]]] = {"server": [], "peer": []}
    for turn in range(args.repeat):
        some = {"limit": args.page, "pages": args.peer_pages, "offset": turn * args.peer_pages * args.page}
        path = node.path("2.2.1", "sender", "locations")
        runs["server"].append(_pulled(generate("pull", node.server.rest, path, token, node.watch(), **some)))
        runs["peer"].append(
            _pulled(generate("pull", peer.base, _PEER, in_header(PEER_TOKEN, "2.2.1"), peer.watch(), **some))
        )
    return _compared(runs, "per_s", "per_core_s")


def _compared(runs: dict[str, list[dict[str, Any]]], *names: str) -> dict[str, Any]:
    out: dict[str, Any] = {who: _median(found, names[0]) for who, found in runs.items()}
    for name in names:
        out[f"times_{name}"] = round(
            statistics.median(a[name] / b[name] for a, b in zip(runs["server"], runs["peer"], strict=True) if b[name]),
            1,
        )
    log(f"in turn with the peer: {out['server'][names[0]]:,.0f} to {out['peer'][names[0]]:,.0f}")
    return out


def _median(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The run that is in the middle."""
    return dict(sorted(runs, key=lambda run: run[name])[len(runs) // 2])


def pull(args: argparse.Namespace, node: Node, cpo: Process) -> dict[str, Any]:
    """Our client reads all Locations of a partner: it begins by itself when the partner has registered."""
    watch = Watch([word for word in node.watch() if "=" in word])
    before, memory = watch.cpu(), watch.mem()
    party = (documents.COUNTRY, documents.PARTY)
    ident, token = node.join("list", f"{cpo.base}/p/1/versions", "2.3.0", "CPO", party)
    first = _one_pull(node, ident, watch, before, memory)
    before, memory = watch.cpu(), watch.mem()
    node.rest("POST", f"/v1/roaming/partners/{ident}/pull", {"module": "locations", "full": True})
    again = _one_pull(node, ident, watch, before, memory)
    log(f"pull: {first['per_s']:,.0f}/s, again {again['per_s']:,.0f}/s")
    return {"first": first, "again": again, "token": token}


def _one_pull(
    node: Node, ident: str, watch: Watch, before: dict[str, float], memory: dict[str, dict[str, int]]
) -> dict[str, Any]:
    until = time.monotonic() + 180
    while not node.sql(_ENDED, int(ident)):
        if time.monotonic() > until:
            raise Failed("The partner's Locations were not read.")
        time.sleep(0.25)
    cpu, after = watch.cpu_delta(before, watch.cpu()), watch.mem()
    seconds = float(node.sql(_TOOK, int(ident)))
    count = node.sql("SELECT objects FROM partner_pull WHERE connection_id = $1 AND module = 'locations'", int(ident))
    kept = node.sql("SELECT count(*) FROM partner_location WHERE connection_id = $1 AND gone_at IS NULL", int(ident))
    return {
        "locations": count,
        "kept": kept,
        "seconds": round(seconds, 2),
        "per_s": round(count / seconds, 1),
        "cpu_s": cpu["cpu_s"],
        "rss_mib_before": round(memory["server"]["rss_kib"] / 1024, 1),
        "rss_mib_after": round(after["server"]["rss_kib"] / 1024, 1),
    }


_ENDED = "SELECT ended_at IS NOT NULL FROM partner_pull WHERE connection_id = $1 AND module = 'locations'"
_TOOK = (
    "SELECT extract(epoch FROM ended_at - begun_at) FROM partner_pull WHERE connection_id = $1 AND module = 'locations'"
)


def _pushed(result: dict[str, Any]) -> dict[str, Any]:
    if result["lacking"]:
        raise Failed(f"{result['lacking']} of {result['looked_at']} statuses that were acknowledged are not there.")
    return {
        "per_s": result["per_s"],
        "p50_ms": result["latency"]["p50_ms"],
        "p99_ms": result["latency"]["p99_ms"],
        "per_core_s": per_core(result["answered"], result["cpu"]),
        "bad": result["bad"],
        "cpu_s": result["cpu"]["cpu_s"],
        "wall_s": result["cpu"]["wall_s"],
    }


def pushes(args: argparse.Namespace, node: Node, token: str, peer: Process | None) -> dict[str, Any]:
    """Partners' EVSE statuses, each answered when it is durable; the peer's answers are of its memory."""
    out: dict[str, Any] = {}
    path = f"{documents.COUNTRY}/{documents.PARTY}"
    for method in ("PATCH", "PUT"):
        runs: dict[str, list[dict[str, Any]]] = {"server": [], "peer": []}
        some = {"method": method, "duration": args.duration, "warmup": args.warmup, "connections": args.connections}
        for _ in range(args.repeat):
            ours = node.path("2.3.0", "receiver", "locations")
            given = generate(
                "push", node.server.rest, f"{ours}/{path}", token, node.watch(), locations=args.locations, **some
            )
            runs["server"].append(_pushed(given))
            if peer is not None:
                given = generate(
                    "push", peer.base, f"{_PEER_PUSH}/{path}", in_header(PEER_TOKEN, "2.2.1"), peer.watch(),
                    locations=args.peer_locations, **some,
                )  # fmt: skip
                runs["peer"].append(_pushed(given))
        out[method] = _compared(runs, "per_s", "per_core_s") if peer else {"server": _median(runs["server"], "per_s")}
        log(f"{method} of EVSEs: {out[method]['server']['per_s']:,.0f}/s, p99 {out[method]['server']['p99_ms']} ms")
    return out


def authorize(args: argparse.Namespace, node: Node, token: str) -> dict[str, Any]:
    """Partners ask whether drivers of ours may charge."""
    runs = []
    for _ in range(args.repeat):
        result = generate(
            "authorize", node.server.rest, node.path("2.3.0", "sender", "tokens"), token, node.watch(), rate=args.rate,
            duration=args.duration, warmup=args.warmup, locations=args.locations, tokens=args.tokens,
        )  # fmt: skip
        runs.append(
            {
                "rate": result["rate"],
                "answered_per_s": round(result["answered"] / result["cpu"]["wall_s"], 1),
                "unanswered": result["unanswered"],
                **{name: result["latency"][name] for name in ("p50_ms", "p99_ms", "max_ms")},
                "generator_late_p99_ms": result["generator_late"]["p99_ms"],
                "verdicts": result["verdicts"],
                "cpu_s": result["cpu"]["cpu_s"],
                "wall_s": result["cpu"]["wall_s"],
            }
        )
    out = _median(runs, "p99_ms")
    out["runs"] = [run["p99_ms"] for run in runs]
    log(f"authorize at {args.rate:g}/s: p50 {out['p50_ms']} ms, p99 {out['p99_ms']} ms")
    return out


# -- fan-out ---------------------------------------------------------------------------------------------------------


def _stations(node: Node, count: int) -> None:
    """Stations of which every two stand at a Location."""
    provision(node.server, count)
    for number in range(count):
        if number % 2 == 0:
            place = documents.location(number, *stage.PARTY)
            wanted = ("publish", "name", "address", "city", "postal_code", "country", "coordinates", "time_zone")
            node.rest("POST", "/v1/locations", {"id": f"LOC{number}"} | {name: place[name] for name in wanted})
        connector = {name: value for name, value in documents.location(0)["evses"][0]["connectors"][0].items() if name not in ("tariff_ids", "last_updated")}  # fmt: skip
        node.rest(
            "POST",
            f"/v1/locations/LOC{number - number % 2}/evses",
            {"uid": f"E{number}", "station_id": f"LOAD{number:06d}", "ocpp_evse_id": 1, "connectors": [connector]},
        )


def fan_out(args: argparse.Namespace, folder: Path, receivers: Process) -> dict[str, Any]:
    """Stations tell statuses to a server without partners and to one with many, in turn."""
    nodes = {0: Node(folder / "alone"), args.partners: Node(folder / "many")}
    out: dict[str, Any] = {"partners": args.partners, "stations": args.stations}
    try:
        for count, node in nodes.items():
            node.start(("CPO",))
            _stations(node, args.stations)
            for number in range(count):
                party = ("NL", f"P{number:02d}")
                node.join(f"many-{number}", f"{receivers.base}/p/{number}/versions", "2.3.0", "EMSP", party)
        for name, rate in (("open", args.status_rate), ("closed", 0)):
            runs: dict[str, list[dict[str, Any]]] = {"alone": [], "many": []}
            waited: list[float] = []
            for _ in range(args.repeat):
                for count, node in nodes.items():
                    runs["many" if count else "alone"].append(_statuses(args, node, rate, receivers))
                    if count:  # or the next run would share the machine with what is left to tell
                        waited.append(_caught_up(node))
            out[name] = {who: _median(found, "calls_per_s" if not rate else "p99_ms") for who, found in runs.items()}
            pairs = list(zip(runs["alone"], runs["many"], strict=True))
            for what in ("calls_per_s", "p50_ms", "p99_ms"):
                out[name][f"ratio_{what}"] = round(statistics.median(b[what] / a[what] for a, b in pairs), 2)
            log(f"fan-out, {name}: {out[name]}")
            out[name]["caught_up_s"] = max(waited)
    finally:
        for node in nodes.values():
            node.stop()
    return out


_WAITING = "SELECT count(*) FROM roaming_outgoing"


def _caught_up(node: Node) -> float:
    """How long it takes after the last message until every partner has the newest state, in s."""
    began = time.monotonic()
    time.sleep(1)  # in which the last statuses are gathered, and stations that left are noticed
    while node.sql(_WAITING):
        if time.monotonic() - began > 60:
            raise Failed("After a minute partners do not have the newest statuses.")
        time.sleep(0.1)
    return round(time.monotonic() - began, 1)


def _statuses(args: argparse.Namespace, node: Node, rate: float, receivers: Process) -> dict[str, Any]:
    server = node.server
    before = sum(receivers.control()["sent"].values())
    arguments = [
        "--url",
        server.url(""),
        "--subprotocol",
        "ocpp2.0.1",
        "--basic-password",
        STATION_PASSWORD,
        *node.watch(),
    ]
    arguments += ["-n", str(args.stations), "--scenario", "status", "--repeat", "1", "--pause", "0", "--settle", "0.5"]
    arguments += ["--duration", str(args.duration), "--warmup", str(args.warmup)]
    result = load([*arguments, "--rate", str(rate)] if rate else arguments)["results"][0]
    if result["callerrors"] or result["timeouts"] or result["lost_connections"]:
        raise Failed(f"Stations had trouble: {result['callerrors']}, {result['timeouts']} timeouts")
    return {
        "calls_per_s": result["calls_per_s"],
        **{name: result["latency"][name] for name in ("p50_ms", "p99_ms", "max_ms")},
        "pushes": sum(receivers.control()["sent"].values()) - before,
        "cpu_s": result["cpu"]["cpu_s"],
        "wall_s": result["cpu"]["wall_s"],
    }
