"""The benchmarks: starts the real server and the in-memory peer, drives them in turn, checks that what was acknowledged is
stored, and writes a result file and the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bench import parts, report, wss
from benchmarks.bench.prefill import prefill
from benchmarks.bench.processes import ROOT, VERSIONS, Failed, Peer, Server
from benchmarks.bench.provision import provision
from benchmarks.load.watch import log

PARTS = ("throughput", "half_load", "memory", "storm", "wss")


def parse() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    p.add_argument("--versions", nargs="+", choices=VERSIONS, default=VERSIONS)
    p.add_argument("--scenarios", nargs="+", choices=parts.SCENARIOS, default=parts.SCENARIOS)
    p.add_argument("-n", "--connections", type=int, default=100)
    p.add_argument("--duration", type=float, default=10, help="measured seconds of a run")
    p.add_argument("--warmup", type=float, default=2)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--no-peer", action="store_true", help="without the in-memory peer")
    p.add_argument("--prefill", type=int, default=0, metavar="N", help="transactions stored before measuring (1000000)")
    p.add_argument("--prefill-events", type=int, default=20, help="meter rows of each")
    p.add_argument("--prefill-days", type=int, default=30, help="past days they are spread over")
    p.add_argument("--memory-connections", type=int, nargs=2, default=(1000, 10_000), metavar=("FEW", "MANY"))
    p.add_argument("--wss-connections", type=int, default=3000, help="TLS handshakes of a run")
    p.add_argument("--wss-memory", type=int, nargs=2, default=(500, 3000), metavar=("FEW", "MANY"))
    p.add_argument("--storm-connections", type=int, default=10_000)
    p.add_argument("--settle", type=float, default=5, help="seconds before memory is read")
    p.add_argument("--wait-quiet", type=float, default=0, metavar="PCT", help="see ocpp_load.py")
    p.add_argument("--data-dir", type=Path, help="kept afterwards (default: a new one, removed)")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="CHARGEPLANE_NAME for the server")
    p.add_argument("--json", type=Path, help="result file (default: benchmarks/results/TIME.json)")
    p.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md")
    p.add_argument("--render", type=Path, metavar="FILE", help="measure nothing, make the tables of this result file")
    return p.parse_args()


def _cpu() -> str:
    with open("/proc/cpuinfo") as file:
        return next(
            (line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.machine()
        )


def _stations_needed(args: argparse.Namespace) -> int:
    counts = [args.connections]
    counts += [args.memory_connections[1]] if "memory" in args.parts else []
    counts += [args.storm_connections] if "storm" in args.parts else []
    return int(max(counts))


def measure(args: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """Runs the parts."""
    result: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "args": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "host": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        "prefilled": args.prefill,
    }
    with contextlib.ExitStack() as stack:
        own = {"TLS_SERVER_NAMES": "localhost"} if "wss" in args.parts else {}
        server = Server(data_dir, own | dict(pair.split("=", 1) for pair in args.set))
        stack.callback(server.stop)
        server.start()
        if set(args.parts) != {"wss"}:
            provision(server, _stations_needed(args))
        if args.prefill:
            prefill(server, args.prefill, args.prefill_events, args.prefill_days)
            server.stop()
            server.start()
        peer = None
        if "throughput" in args.parts and not args.no_peer:
            peer = Peer()
            stack.callback(peer.stop)
            peer.start()
        if "throughput" in args.parts:
            result["throughput"] = parts.throughput(args, server, peer)
        if "half_load" in args.parts:
            result["half_load"] = parts.half_load(args, server, result.get("throughput", {}))
        if "storm" in args.parts:
            result["storm"] = parts.storm(args, server)
        if "memory" in args.parts:
            result["memory"] = parts.memory(args, server)
        if "wss" in args.parts:  # the last one: it gives the stations another security profile
            provision(server, max(args.wss_connections, args.wss_memory[1]), profile=2)
            result["wss"] = wss.wss(args, server, data_dir)
    return result


def main() -> int:
    """Measures or renders."""
    args = parse()
    if args.render:
        result = json.loads(args.render.read_text())
    else:
        data_dir = args.data_dir or Path(tempfile.mkdtemp(prefix="chargeplane-bench-"))
        try:
            result = measure(args, data_dir.absolute())
        except Failed as error:
            log(error)
            return 1
        finally:
            if args.data_dir is None:
                shutil.rmtree(data_dir, ignore_errors=True)
        file = args.json or ROOT / "benchmarks" / "results" / f"{result['started'].replace(':', '')}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
        log(f"result in {file}")
    text = report.tables(result)
    if args.docs:
        report.write_into(ROOT / "docs" / "benchmarks.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
