"""Reaching a station on whichever node holds its socket.

REST may run on any node; a station's socket is on one. The use cases speak to this port: on the node of the socket it
is the station's actor, elsewhere the bus carries the question there and the answer back.
"""

from __future__ import annotations

from typing import Protocol

from chargeplane.app.ports import CloseReason
from chargeplane.domain.commands import CallOutcome, Command, CommandOutcome
from chargeplane.kernel.ids import StationKey, TransactionId


class StationReach(Protocol):
    """A station, wherever it is connected."""

    async def call(self, key: StationKey, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """A raw CALL, sent as given.

        Raises:
            ConflictError: the station is not connected.
            InvalidInputError: the payload does not fit the schema of the station's version.
        """
        ...

    async def command(self, key: StationKey, command: Command, timeout_s: float) -> CommandOutcome:
        """A version-free command.

        Raises:
            ConflictError: the station is not connected.
            InvalidInputError: the station's version cannot express the command.
        """
        ...

    async def ready(self, key: StationKey, *, pending: bool = False) -> bool:
        """Whether commands may go to the station now: connected, and its registration accepted.

        Args:
            pending: or pending (OCPP 2.0.1 B02.FR.01); one that is rejected is left alone (B03.FR.03).
        """
        ...

    async def version(self, key: StationKey) -> str | None:
        """OCPP version of the open socket; None where the station is not connected."""
        ...

    async def close(self, key: StationKey, reason: CloseReason) -> None:
        """Closes the station's socket if it has one."""

    async def close_transaction(self, key: StationKey, transaction_id: TransactionId, reason: str, actor: str) -> None:
        """Closes an open transaction by hand, through the station's actor; returns after the commit.

        Raises:
            ConflictError: the transaction is closed already.
            NotFoundError: the station has no such transaction.
        """


class Directory(Protocol):
    """The stations' credentials in every worker's memory."""

    async def refresh(self, key: StationKey) -> None:
        """Returns when every worker has what the database says of the station."""

    async def refresh_tenants(self) -> None:
        """Returns when every worker knows the tenants the database has."""
