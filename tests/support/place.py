"""A node with its stations over a real database, without sockets: what a station says goes straight to its actor."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from chargeplane.app.directory import Directory
from chargeplane.app.house import StationSettings
from chargeplane.app.ports import CloseReason, Proof, Received
from chargeplane.app.stations import Stations
from chargeplane.domain.messages import (
    IdToken,
    Reading,
    ReportKind,
    Sample,
    StationAnswer,
    StationMessage,
    TransactionReport,
)
from chargeplane.store.commit import GroupCommitter, Node
from chargeplane.store.tokens import TokenReader


class Link:
    """A socket that notes why it was closed."""

    accepted = True
    ocpp_version = "2.0.1"
    remote_address = "127.0.0.1:5000"
    proof = Proof(profile=1)

    def __init__(self) -> None:
        self.closed: list[CloseReason] = []

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)

    def know_again(self) -> None:
        pass

    async def call(self, action: str, payload: bytes, timeout_s: float) -> Any:
        raise AssertionError("no test here calls the station")

    async def command(self, command: Any, timeout_s: float) -> Any:
        raise AssertionError("no test here commands the station")


class Place:
    """A node with its stations, on a database of its own."""

    def __init__(self, url: str, name: str = "node") -> None:
        self.url = url
        self.node = Node(name)
        self.made: list[Any] = []

    async def connect(self) -> Any:
        self.made.append(await asyncpg.connect(self.url))
        return self.made[-1]

    async def start(self) -> Place:
        self.db = await self.connect()
        await self.node.register(self.db)
        self.committer = GroupCommitter(self.node, self.connect)
        await self.committer.start()
        self.directory = Directory(self.db.fetch)
        await self.directory.load()
        self.tokens = TokenReader(self.connect)
        self.stations = Stations(
            directory=self.directory,
            node=self.node,
            committer=self.committer,
            connect=self.connect,
            tokens=self.tokens,
            settings=StationSettings(trigger_boot_after_s=None),
            check_password=lambda credentials, password: True,
            unknown=lambda tenant, station, address: None,
        )
        await self.stations.start()
        return self

    async def stop(self) -> None:
        await self.stations.stop()
        await self.committer.stop()
        await self.tokens.stop()
        for db in self.made:
            db.terminate()


class Talk:
    """A station that may send several messages without waiting for answers."""

    def __init__(self, place: Place, station_id: str = "CS1") -> None:
        credentials = place.stations.find(None, station_id)
        assert credentials is not None
        self.link = Link()
        self.actor = place.stations.connected(credentials, self.link)
        self.answers: list[tuple[str, StationAnswer]] = []
        self.number = 0

    def say(
        self, message: StationMessage, action: str = "TransactionEvent", payload: bytes = b""
    ) -> asyncio.Future[Any]:
        self.number += 1
        name = f"m{self.number}"
        payload = payload or b'{"n":%d}' % self.number
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(value: StationAnswer) -> None:
            self.answers.append((name, value))
            told.set_result(value)

        digest = hashlib.blake2b(action.encode() + payload, digest_size=16).digest()
        self.actor.receive(Received(message, name, action, payload, digest, datetime.now(UTC)), answer)
        return told


def report(kind: ReportKind, wh: int, *, seq: int, token: str | None = None, ocpp_id: str = "T1") -> TransactionReport:
    at = datetime.now(UTC)
    return TransactionReport(
        kind=kind,
        ocpp_transaction_id=ocpp_id,
        csms_assigns_id=False,
        at=at,
        seq_no=seq,
        evse_id=1,
        connector_id=1,
        id_token=IdToken(value=token, type="Central") if token is not None else None,
        readings=(Reading(at, (Sample("Energy.Active.Import.Register", Decimal(wh), "Wh"),)),),
    )
