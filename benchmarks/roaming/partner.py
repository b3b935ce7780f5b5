"""The process of fake partners, as many as wanted behind one port: `/p/{n}/versions` is where each begins.

    python -m benchmarks.roaming.partner PORT --role emsp|cpo --locations 100000

A CPO has a list of Locations; an eMSP has receivers, which take all and count. What was sent is told at `/control`.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
from typing import Any
from urllib.parse import parse_qsl

import uvloop

from benchmarks.roaming import documents
from benchmarks.roaming.wire import ServedConnection

_NOW = b'"timestamp":"2026-01-01T00:00:00Z"'
_OK = b'{"status_code":1000,' + _NOW + b"}"
_EMSP = (
    ("locations", "RECEIVER"),
    ("sessions", "RECEIVER"),
    ("cdrs", "RECEIVER"),
    ("tariffs", "RECEIVER"),
    ("tokens", "SENDER"),
)
_CPO = (("locations", "SENDER"),)


class Partners:
    """Answers."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._documents = [documents.encoded(number) for number in range(args.locations)]
        self._sent: collections.Counter[str] = collections.Counter()
        self._of: collections.Counter[str] = collections.Counter()
        self._pages = 0

    def handle(self, method: str, url: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """One request."""
        path, _, query = url.partition("?")
        parts = path.strip("/").split("/")
        if parts == ["control"]:
            told: dict[str, Any] = {"sent": dict(self._sent), "partners": len(self._of), "pages": self._pages}
            return 200, [], json.dumps(told).encode()
        base = f"http://127.0.0.1:{self._args.port}/{parts[0]}/{parts[1]}"
        if method != "GET":
            self._sent[f"{method} {parts[3] if len(parts) > 3 else ''}"] += 1
            self._of[parts[1]] += 1
            return 200, [], _OK
        if parts[2:] == ["versions"]:
            return (
                200,
                [],
                self._data(
                    [{"version": version, "url": f"{base}/{version}"} for version in ("2.1.1", "2.2.1", "2.3.0")]
                ),
            )
        if len(parts) == 3:
            own = _CPO if self._args.role == "cpo" else _EMSP
            endpoints = [{"identifier": name, "role": side, "url": f"{base}/{parts[2]}/{name}"} for name, side in own]
            endpoints.append({"identifier": "credentials", "role": "SENDER", "url": f"{base}/{parts[2]}/credentials"})
            return 200, [], self._data({"version": parts[2], "endpoints": endpoints})
        return self._page(f"{base}/{parts[2]}/locations", dict(parse_qsl(query)))

    def _data(self, data: Any) -> bytes:
        return b'{"data":' + json.dumps(data).encode() + b',"status_code":1000,' + _NOW + b"}"

    def _page(self, url: str, query: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        self._pages += 1
        offset, total = int(query.get("offset", "0")), len(self._documents)
        limit = min(int(query.get("limit", "0")) or self._args.page, self._args.page)
        found = self._documents[offset : offset + limit]
        headers = [("X-Total-Count", str(total)), ("X-Limit", str(self._args.page))]
        if offset + len(found) < total:
            headers.append(("Link", f'<{url}?offset={offset + len(found)}&limit={limit}>; rel="next"'))
        return 200, headers, b'{"data":[' + b",".join(found) + b'],"status_code":1000,' + _NOW + b"}"


async def serve(args: argparse.Namespace) -> None:
    """Until it is ended."""
    partners = Partners(args)
    server = await asyncio.get_running_loop().create_server(
        lambda: ServedConnection(partners.handle), "127.0.0.1", args.port
    )
    await server.serve_forever()


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("port", type=int)
    p.add_argument("--role", choices=("emsp", "cpo"), default="emsp")
    p.add_argument("--locations", type=int, default=0)
    p.add_argument("--page", type=int, default=1000)
    args = p.parse_args()
    uvloop.run(serve(args))


if __name__ == "__main__":
    main()
