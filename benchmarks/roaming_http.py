"""The benchmarks of roaming over HTTP: starts the real server, fake partners and `extrawest-ocpi`, measures them in turn, checks that
what was acknowledged is stored, and writes a result file and the tables of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.bench.processes import ROOT, Failed
from benchmarks.load.watch import log
from benchmarks.roaming import parts, report, stage

PARTS = ("pages", "peer", "pull", "push", "authorize", "fan_out")


def parse() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    p.add_argument("--locations", type=int, default=100_000)
    p.add_argument("--page", type=int, default=1000)
    p.add_argument("--tokens", type=int, default=10_000)
    p.add_argument("--rate", type=float, default=500, help="questions about id tokens a second")
    p.add_argument("--connections", type=int, default=50, help="partners that send statuses at once")
    p.add_argument("--partners", type=int, default=50, help="partners that are told statuses")
    p.add_argument("--stations", type=int, default=100)
    p.add_argument("--status-rate", type=float, default=200, help="StatusNotifications a second of the open loop")
    p.add_argument("--peer-pages", type=int, default=2, help="pages that are asked of both servers in a turn")
    p.add_argument("--peer-locations", type=int, default=10_000, help="the peer's list")
    p.add_argument("--duration", type=float, default=5, help="measured seconds of a run")
    p.add_argument("--warmup", type=float, default=1)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--data-dir", type=Path, help="kept afterwards (default: a new one, removed)")
    p.add_argument("--json", type=Path, help="result file (default: benchmarks/results/roaming-TIME.json)")
    p.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md")
    p.add_argument("--render", type=Path, metavar="FILE", help="measure nothing, make the tables of this result file")
    return p.parse_args()


def _packages() -> Path:
    return Path(sys.prefix) / "peers"


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs the parts."""
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        receivers = stage.partners("emsp")
        stack.callback(receivers.stop)
        receivers.start()
        if set(args.parts) - {"fan_out"}:
            found |= _of_one_node(args, folder, receivers)
        if "fan_out" in args.parts:
            found["fan_out"] = parts.fan_out(args, folder, receivers)
    return found


def _of_one_node(args: argparse.Namespace, folder: Path, receivers: stage.Process) -> dict[str, Any]:
    found: dict[str, Any] = {"in_turn": {}}
    with contextlib.ExitStack() as stack:
        node = stage.Node(folder / "node")
        stack.callback(node.stop)
        node.start(("CPO", "EMSP"))
        log("filling")
        node.fill_documents(args.locations)
        node.fill_tokens(args.tokens)
        tokens = {
            version: node.join(f"reader-{name}", f"{receivers.base}/p/{name}/versions", version, "EMSP", ("NL", name))[
                1
            ]
            for version, name in parts._READERS.items()
        }
        peer = None
        if "peer" in args.parts:
            peer = stage.peer(_packages(), args.peer_locations)
            stack.callback(peer.stop)
            peer.start()
        if "pages" in args.parts:
            found["pages"] = parts.pages(args, node, tokens)
        if peer is not None:
            found["in_turn"]["pages of Locations, 2.2.1"] = parts.pages_in_turn(args, node, tokens["2.2.1"], peer)
        if not {"pull", "push", "authorize"} & set(args.parts):
            return found
        cpo = stage.partners("cpo", args.locations)
        stack.callback(cpo.stop)
        cpo.start()
        pulled = parts.pull(args, node, cpo)
        token = pulled.pop("token")
        found["pull"] = pulled
        node.tidy()
        if "push" in args.parts:
            for method, row in parts.pushes(args, node, token, peer).items():
                found["in_turn"][f"{method} of EVSEs"] = row
        if "authorize" in args.parts:
            node.tidy()
            found["authorize"] = parts.authorize(args, node, token)
    return found


def _busy(found: Any) -> Iterator[float]:
    """How many cores others used in each run."""
    if isinstance(found, dict):
        if isinstance(found.get("cpu_s"), dict) and found.get("wall_s"):
            yield found["cpu_s"].get("others", 0) / found["wall_s"]
        for value in found.values():
            yield from _busy(value)


def _cpu() -> str:
    with open("/proc/cpuinfo") as file:
        return next(
            (line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.machine()
        )


def main() -> int:
    """Measures or renders."""
    args = parse()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        sys.path[:2]
    )  # what is measured is this checkout, wherever the environment points
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all processes that were started
    if args.render:
        result = json.loads(args.render.read_text())
    else:
        folder = args.data_dir or Path(tempfile.mkdtemp(prefix="chargeplane-bench-", dir="/tmp"))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)
        result = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "args": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
            "host": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        }
        try:
            result |= measure(args, folder.absolute())
        except Failed as error:
            log(error)
            return 1
        finally:
            if args.data_dir is None:
                shutil.rmtree(folder, ignore_errors=True)
        result["others"] = round(statistics.median([*_busy(result)] or [0.0]), 2)
        result["seconds"] = round((datetime.now(UTC) - datetime.fromisoformat(result["started"])).total_seconds())
        file = args.json or ROOT / "benchmarks" / "results" / f"roaming-{result['started'].replace(':', '')}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
        log(f"result in {file}, after {result['seconds']} s")
    text = report.tables(result)
    if args.docs:
        report.write_into(ROOT / "docs" / "benchmarks.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
