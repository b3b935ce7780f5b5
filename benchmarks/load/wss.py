"""TLS at the stations' door: full handshakes with a boot, resumed ones, and idle sockets, from one process.

    python benchmarks/load/wss.py --port 9443 --ca root.pem --password SECRET -n 3000 --json FILE

Each connection is a TCP socket, a TLS handshake with the certificate checked, the WebSocket upgrade with a password and an accepted
BootNotification. Sockets of the idle run stay and are held while the caller reads the server's memory: it says `held`, and goes on when
its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import uvloop

_BOOT = {
    "ocpp1.6": b'[2,"b","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]',
    "ocpp2.0.1": b'[2,"b","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}]',
}


class Resuming(ssl.SSLContext):
    """Offers the session it is given with every handshake."""

    session: ssl.SSLSession | None = None

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """As asyncio calls it, with the session."""
        named["session"] = self.session
        return super().wrap_bio(*arguments, **named)


def masked(payload: bytes) -> bytes:
    """A text frame of a client, masked with zeros."""
    head = bytes([0x81, 0x80 | len(payload)]) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class Station(asyncio.Protocol):
    """One connection up to its accepted boot."""

    __slots__ = ("_buffer", "_hello", "done", "ident", "resumed", "tls", "transport", "upgraded")

    def __init__(self, ident: str, password: str, protocol: str, done: asyncio.Future[bool]) -> None:
        secret = base64.b64encode(f"{ident}:{password}".encode()).decode()
        self._hello = (
            f"GET /ocpp/{ident} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Sec-WebSocket-Protocol: {protocol}\r\nAuthorization: Basic {secret}\r\n\r\n"
        ).encode()
        self.ident = protocol
        self.done = done
        self.upgraded = False
        self.resumed = False
        self.tls: ssl.SSLObject | None = None
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake is done."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.tls = transport.get_extra_info("ssl_object")
        self.resumed = bool(self.tls and self.tls.session_reused)
        self.transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        """The upgrade's answer, then the boot's."""
        self._buffer += data
        if not self.upgraded and b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                self._end(ok=False)
                return
            self.upgraded = True
            assert self.transport is not None
            self.transport.write(masked(_BOOT[self.ident]))
        if self.upgraded and b'"Accepted"' in self._buffer:
            self._buffer = b""
            self._end(ok=True)

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever the reason."""
        self._end(ok=False)

    def _end(self, *, ok: bool) -> None:
        if not self.done.done():
            self.done.set_result(ok)


class Run:
    """What happened in one run."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self.resumed = 0
        self.versions: dict[str, int] = {}
        self.held: list[Station] = []

    def told(self, seconds: float) -> dict[str, Any]:
        """For the report."""
        found = sorted(self.latencies)

        def at(share: float) -> float | None:
            return round(found[min(len(found) - 1, int(len(found) * share))] * 1000, 2) if found else None

        return {
            "connections": len(found),
            "failed": self.failed,
            "resumed": self.resumed,
            "seconds": round(seconds, 3),
            "per_s": round(len(found) / seconds, 1),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "tls": self.versions,
        }


async def connect(
    args: argparse.Namespace, context: ssl.SSLContext, numbers: Iterator[int], run: Run, keep: bool
) -> None:
    """One after the other, as long as there are numbers."""
    loop = asyncio.get_running_loop()
    for number in numbers:
        began = time.perf_counter()
        done: asyncio.Future[bool] = loop.create_future()
        station = Station(f"LOAD{number:06d}", args.password, args.protocol, done)
        try:
            await loop.create_connection(
                lambda station=station: station, "127.0.0.1", args.port, ssl=context, server_hostname="localhost"
            )
            ok = await asyncio.wait_for(done, 30)
        except (OSError, TimeoutError) as error:
            print(f"{number}: {error}", file=sys.stderr)
            ok = False
        if not ok:
            run.failed += 1
            continue
        run.latencies.append(time.perf_counter() - began)
        run.resumed += station.resumed
        assert station.tls is not None
        version = station.tls.version() or "?"
        run.versions[version] = run.versions.get(version, 0) + 1
        if isinstance(context, Resuming) and context.session is None:
            context.session = station.tls.session
        if keep:
            run.held.append(station)
        else:
            assert station.transport is not None
            station.transport.abort()


def context_of(args: argparse.Namespace, kind: type[ssl.SSLContext]) -> ssl.SSLContext:
    """A client's context that trusts the server's authority."""
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(args.ca)
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[args.tls]
    context.minimum_version = context.maximum_version = version
    return context


async def measured(
    args: argparse.Namespace, kind: type[ssl.SSLContext], count: int, *, keep: bool = False
) -> tuple[Run, dict[str, Any]]:
    """So many connections, some at a time."""
    context, run = context_of(args, kind), Run()
    if isinstance(context, Resuming):
        await connect(args, context, iter([0]), Run(), False)
        await asyncio.sleep(0.1)
    numbers = iter(range(count))
    began = time.perf_counter()
    await asyncio.gather(*(connect(args, context, numbers, run, keep) for _ in range(args.at_once)))
    return run, run.told(time.perf_counter() - began)


async def main(args: argparse.Namespace) -> dict[str, Any]:
    """The runs that were asked for."""
    if args.hold:
        run, told = await measured(args, ssl.SSLContext, args.connections, keep=True)
        print("held", len(run.held), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        return told
    await measured(args, ssl.SSLContext, min(200, args.connections))  # the server's first ones load what it needs
    _, full = await measured(args, ssl.SSLContext, args.connections)
    _, resumed = await measured(args, Resuming, args.connections)
    return {"full": full, "resumed": resumed}


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--ca", required=True)
    p.add_argument("--password", required=True)
    p.add_argument("--protocol", choices=sorted(_BOOT), default="ocpp2.0.1")
    p.add_argument("--tls", choices=("1.2", "1.3"), default="1.3")
    p.add_argument("-n", "--connections", type=int, default=2000)
    p.add_argument("--at-once", type=int, default=32)
    p.add_argument("--hold", action="store_true", help="connect, and stay until standard input ends")
    p.add_argument("--json", type=Path, required=True)
    given = p.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        given.json.write_text(json.dumps(runner.run(main(given))))
