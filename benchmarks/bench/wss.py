"""TLS: handshakes a second with a boot, resumed ones, and the memory of sockets."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bench.processes import ROOT, STATION_PASSWORD, Failed, Server
from benchmarks.bench.provision import Rest
from benchmarks.load.watch import Watch, log

_RUNS = (("1.3", "ocpp2.0.1"), ("1.2", "ocpp1.6"))


async def _root(server: Server) -> str:
    async with Rest(server) as rest:
        return str((await rest.get("/v1/certificate-authority"))["root"])


def _command(server: Server, ca: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "benchmarks" / "load" / "wss.py"),
        *("--port", str(server.ocpps_port), "--ca", str(ca), "--password", STATION_PASSWORD, "--json", str(out)),
        *more,
    ]


def _rss_kib(server: Server) -> int:
    return int(Watch(server.watch()[1::2]).mem()["server"]["rss_kib"])


def wss(args: argparse.Namespace, server: Server, folder: Path) -> dict[str, Any]:
    """The memory of idle sockets, then full and resumed handshakes with TLS 1.3 and 1.2."""
    ca, out = folder / "root.pem", folder / "wss.json"
    ca.write_text(asyncio.run(_root(server)))
    result: dict[str, Any] = {}
    # First: what handshakes leave behind would be taken for the sockets' memory, or hide it.
    readings = {}
    for count in args.wss_memory:
        process = subprocess.Popen(
            _command(server, ca, out, "--hold", "-n", str(count)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline().split()
        if line != ["held", str(count)]:
            process.kill()
            raise Failed(f"{count} stations were to stay connected: {' '.join(line) or 'the generator failed'}")
        time.sleep(args.settle)
        readings[str(count)] = _rss_kib(server)
        process.communicate()
        time.sleep(1)
    few, many = args.wss_memory
    each = (readings[str(many)] - readings[str(few)]) / (many - few)
    result["memory"] = {"rss_kib": readings, "kib_per_connection": round(each, 1)}
    log(f"wss memory: {each:.1f} KiB a connection")
    for tls, protocol in _RUNS:
        watch = Watch(server.watch()[1::2])
        before = watch.cpu()
        done = subprocess.run(
            _command(server, ca, out, "--tls", tls, "--protocol", protocol, "-n", str(args.wss_connections)),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"The TLS generator failed:\n{done.stderr[-2000:]}")
        told = json.loads(out.read_text())
        told["cpu"] = watch.cpu_delta(before, watch.cpu())
        result[tls] = told
        for kind in ("full", "resumed"):
            row = told[kind]
            log(f"wss, TLS {tls}, {kind}: {row['per_s']:,.0f} a second, p99 {row['p99_ms']} ms, failed {row['failed']}")
    return result
