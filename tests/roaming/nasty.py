"""A partner that does what partners do wrong, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chargeplane.domain.roaming.connection import (
    BusinessDetails,
    ConnectionState,
    ModuleUrl,
    PartnerParty,
    PartyId,
    PartyRole,
    Peer,
)
from chargeplane.kernel.ids import TenantId


@dataclass
class Asked:
    """A request it got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Asked], "tuple[int, dict[str, str], bytes] | None"]


def enveloped(
    data: Any = None, status: int = 1000, http: int = 200, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """A good answer."""
    body: dict[str, Any] = {"status_code": status, "timestamp": "2026-01-01T00:00:00Z"}
    if data is not None:
        body["data"] = data
    return http, headers, json.dumps(body).encode()


@dataclass
class NastyPartner:
    """Answers as it is told; None: never."""

    answer: Answer
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def peer(self, ident: int = 1, version: str = "2.2.1", **more: Any) -> Peer:
        """A connection with it."""
        modules = tuple(
            ModuleUrl(name, side, f"{self.url}/{side.lower()}/{name}")
            for name in ("locations", "sessions", "cdrs", "tariffs", "tokens", "commands")
            for side in ("SENDER", "RECEIVER")
        )
        return Peer(
            id=ident,
            tenant_id=TenantId(1),
            name=f"nasty {ident}",
            state=ConnectionState.REGISTERED,
            version=version,
            versions_url=f"{self.url}/versions",
            modules=modules,
            parties=(
                PartnerParty(
                    id=PartyId("DE", "NST"), role=PartyRole.EMSP, business_details=BusinessDetails(name="Nasty")
                ),
            ),
            **more,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                parts = urlsplit(target)
                asked = Asked(method, parts.path, dict(parse_qsl(parts.query)), headers, body)
                self.asked.append(asked)
                found = self.answer(asked)
                if found is None:
                    await asyncio.sleep(3600)
                    return
                status, given, sent = found
                lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(sent)}"]
                lines += [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + sent)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def nasty(answer: Answer) -> AsyncIterator[NastyPartner]:
    """One that listens."""
    partner = NastyPartner(answer)
    server = await asyncio.start_server(partner._serve, "127.0.0.1", 0)
    partner.port = server.sockets[0].getsockname()[1]
    try:
        yield partner
    finally:
        server.close()
