"""Reaching a station wherever its socket is: on this node directly, on another over the bus.

A station's commands travel on a subject of its own, which the node subscribes to while it holds the socket. So there is no registry
of who holds what that could go stale: where nobody listens, the station is not connected.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from chargeplane.app.bus import Bus, NoResponderError, RequestTimeoutError, Subscription
from chargeplane.app.ports import CloseReason, StationLink
from chargeplane.app.stations import Stations
from chargeplane.domain.commands import CallOutcome, Command, CommandOutcome
from chargeplane.domain.messages import Registration
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationKey, TransactionId

_MARGIN_S = 5.0
"""What a question over the bus may take beyond the station's own time."""


class _Ask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question to the node that holds a station."""

    do: str
    key: int
    action: str = ""
    payload: bytes = b""
    command: Command | None = None
    timeout_s: float = 30.0
    reason: str = ""
    transaction_id: int = 0


class _Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The node's answer: one of the results, or an error by name."""

    call: CallOutcome | None = None
    command: CommandOutcome | None = None
    version: str | None = None
    ready: bool = False
    error: str = ""
    message: str = ""
    fields: tuple[tuple[str, str], ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode_ask = msgspec.msgpack.Decoder(_Ask).decode
_decode_told = msgspec.msgpack.Decoder(_Told).decode

_ERRORS = {"conflict": ConflictError, "unavailable": UnavailableError}


def _subject(key: StationKey) -> str:
    return f"station.{key}"


class NodeReach:
    """Implements `reach.StationReach` for a node.

    Args:
        stations: of this node.
        bus: to the others.
        alone: there are no others: nothing need be asked or announced.
    """

    def __init__(self, stations: Stations, bus: Bus, *, alone: bool) -> None:
        self._alone = alone
        self._stations = stations
        self._bus = bus
        self._subscriptions: dict[StationKey, Subscription] = {}
        stations.on_connected = self._connected
        stations.on_disconnected = self._disconnected

    async def call(self, key: StationKey, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        """A raw CALL, sent as given.

        Raises:
            ConflictError: the station is not connected.
            InvalidInputError: the payload does not fit the schema of the station's version.
        """
        link = self._stations.link(key)
        if link is not None:
            return await link.call(action, payload, timeout_s)
        told = await self._ask(_Ask(do="call", key=key, action=action, payload=payload, timeout_s=timeout_s), timeout_s)
        assert told.call is not None
        return told.call

    async def command(self, key: StationKey, command: Command, timeout_s: float) -> CommandOutcome:
        """A version-free command.

        Raises:
            ConflictError: the station is not connected.
            InvalidInputError: the station's version cannot express the command.
        """
        link = self._stations.link(key)
        if link is not None:
            return await link.command(command, timeout_s)
        told = await self._ask(_Ask(do="command", key=key, command=command, timeout_s=timeout_s), timeout_s)
        assert told.command is not None
        return told.command

    async def ready(self, key: StationKey, *, pending: bool = False) -> bool:
        """Whether commands may go to the station now: connected, and its registration accepted.

        Args:
            pending: or pending (OCPP 2.0.1 B02.FR.01); one that is rejected is left alone (B03.FR.03).
        """
        credentials = self._stations.directory.by_key(key)
        if credentials is None or credentials.registration is Registration.REJECTED:
            return False
        if not pending and credentials.registration is not Registration.ACCEPTED:
            return False
        link = self._stations.link(key)
        if link is not None:
            return pending or link.accepted
        try:
            told = await self._ask(_Ask(do="version", key=key), 1.0)
            return told.ready or (pending and told.version is not None)
        except ConflictError:
            return False

    async def version(self, key: StationKey) -> str | None:
        """OCPP version of the open socket; None where the station is not connected."""
        link = self._stations.link(key)
        if link is not None:
            return link.ocpp_version
        try:
            return (await self._ask(_Ask(do="version", key=key), 1.0)).version
        except ConflictError:
            return None

    async def close(self, key: StationKey, reason: CloseReason) -> None:
        """Closes the station's socket if it has one."""
        link = self._stations.link(key)
        if link is not None:
            link.close(reason)
            return
        try:
            await self._ask(_Ask(do="close", key=key, reason=reason.name), 1.0)
        except ConflictError:
            return

    async def close_transaction(self, key: StationKey, transaction_id: TransactionId, reason: str, actor: str) -> None:
        """Closes an open transaction by hand, through the station's actor; returns after the commit.

        Where the station is connected nowhere, this node takes it over.

        Raises:
            ConflictError: the transaction is closed already.
            NotFoundError: the station has no such transaction.
        """
        if self._stations.link(key) is None:
            try:
                told = await self._ask(
                    _Ask(do="close_transaction", key=key, transaction_id=transaction_id, reason=reason), 10.0
                )
            except ConflictError:
                pass  # connected nowhere
            else:
                if told.error:
                    raise NotFoundError("open transaction", str(transaction_id))
                return
        await self._stations.close_transaction(key, transaction_id, reason)

    async def stop(self) -> None:
        """Leaves the bus."""
        for subscription in list(self._subscriptions.values()):
            await subscription.cancel()

    async def _ask(self, ask: _Ask, timeout_s: float) -> _Told:
        if self._alone:
            raise ConflictError("The station is not connected.")
        try:
            told = _decode_told(
                await self._bus.request(_subject(StationKey(ask.key)), _encode(ask), timeout_s + _MARGIN_S)
            )
        except (NoResponderError, RequestTimeoutError):
            raise ConflictError("The station is not connected.") from None
        if told.error == "invalid":
            raise InvalidInputError(told.message, told.fields)
        if told.error in _ERRORS:
            raise _ERRORS[told.error](told.message)
        return told

    def _connected(self, key: StationKey) -> None:
        if self._alone or key in self._subscriptions:
            return
        self._stations.spawn(self._subscribe(key))

    async def _subscribe(self, key: StationKey) -> None:
        subscription = await self._bus.respond(_subject(key), self._serve)
        if self._stations.link(key) is None or key in self._subscriptions:
            await subscription.cancel()
        else:
            self._subscriptions[key] = subscription

    def _disconnected(self, key: StationKey) -> None:
        subscription = self._subscriptions.pop(key, None)
        if subscription is not None:
            self._stations.spawn(subscription.cancel())

    async def _serve(self, message: bytes) -> bytes:
        """Answers another node's question."""
        ask = _decode_ask(message)
        key = StationKey(ask.key)
        link: StationLink | None = self._stations.link(key)
        if link is None:
            return _encode(_Told(error="conflict", message="The station is not connected."))
        try:
            if ask.do == "call":
                return _encode(_Told(call=await link.call(ask.action, ask.payload, ask.timeout_s)))
            if ask.do == "command" and ask.command is not None:
                return _encode(_Told(command=await link.command(ask.command, ask.timeout_s)))
            if ask.do == "close":
                link.close(CloseReason[ask.reason])
            elif ask.do == "close_transaction":
                await self._stations.close_transaction(key, TransactionId(ask.transaction_id), ask.reason)
            return _encode(_Told(version=link.ocpp_version, ready=link.accepted))
        except InvalidInputError as error:
            return _encode(_Told(error="invalid", message=str(error), fields=error.fields))
        except NotFoundError as error:
            return _encode(_Told(error="not_found", message=str(error)))
        except UnavailableError as error:
            return _encode(_Told(error="unavailable", message=str(error)))
        except ConflictError as error:
            return _encode(_Told(error="conflict", message=str(error)))
