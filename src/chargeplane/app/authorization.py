"""What follows from id tokens after the moment of authorisation: limits, accounts, and rights that end while a car charges.

Everything here happens after the commit of what it follows from, never on the way of a station's message.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import structlog
from msgspec.structs import replace

from chargeplane.app.commands import Commands
from chargeplane.app.directory import Directory
from chargeplane.app.house import utc_now
from chargeplane.app.presence import Presence
from chargeplane.app.pulse import Pulse
from chargeplane.app.reports import Place
from chargeplane.domain.authorization import Asked, decide, matching
from chargeplane.domain.commands import Command, Start, Stop
from chargeplane.domain.follow_ups import TransactionLimited
from chargeplane.domain.messages import AuthorizationStatus, IdToken, Reading
from chargeplane.domain.token_rules import reached
from chargeplane.domain.transactions import TransactionState
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.time import EPOCH
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import authorization as queries
from chargeplane.store.queries import id_tokens
from chargeplane.store.queries.authorization import LimitedTransaction, RunningTransaction, TokenChanged
from chargeplane.store.queries.charging_stations import NODE_LIVES

STOP_VALID_S: Final = 86_400.0
"""How long an order to stop waits for a station that is away."""

_AGAIN: Final = timedelta(days=7)
_EXPIRY_EVERY: Final = timedelta(seconds=10)
_LONGEST_GROUP: Final = 36  # what every version takes
_LOST: Final = "id token lost its right"
_STOP_AGAIN: Final = timedelta(minutes=2)

log = structlog.get_logger(__name__)
_changed: Final = msgspec.json.Decoder(TokenChanged).decode
_readings: Final = msgspec.json.Decoder(tuple[Reading, ...], strict=False).decode


class Authorization:
    """Keeps limits and accounts, and takes back rights.

    Args:
        every_s: how often limits are looked at.
    """

    def __init__(
        self, database: Database, commands: Commands, stations: Presence, directory: Directory, *, every_s: float = 2.0
    ) -> None:
        self._database = database
        self._commands = commands
        self._stations = stations
        self._directory = directory
        self._pulse = Pulse("authorization", every_s, self._beat)
        self._looked: datetime | None = None
        self._whole_until = self._next_look = utc_now()
        self._settled_again = utc_now()
        commands.completes.setdefault(Start, []).append(self._complete)

    async def start(self) -> None:
        """Begins to look."""
        self._looked = EPOCH  # what ended while nobody was there to look
        self._whole_until = utc_now() + 2 * NODE_LIVES
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def token_changed(self, fact: Fact) -> None:
        """An id token was changed or removed: what it began ends, where the tenant wants that."""
        tenant_id = TenantId(fact.tenant_id)
        if not self._directory.policy(tenant_id).stop_deauthorized:
            return
        token = _changed(fact.payload)
        async with self._database.read() as db:
            running = await queries.running_with(db, tenant_id, token.id_token)
        await self._stop_refused(running)

    async def limited(self, place: Place, report: TransactionLimited) -> None:
        """A transaction with limits has begun."""
        token = report.id_token
        async with self._database.change() as db:
            await queries.limit(
                db, place.tenant_id, place.key, report.transaction_id, report.limits, (token.value, token.type)
            )

    async def _complete(self, tenant_id: TenantId, key: StationKey, command: Start) -> Command:
        """Stations are told the type and the group of a token with which they are to start (OCPP 2.0.1 F01): it is the one that we
        know, and tokens of its group may stop the transaction."""
        async with self._database.read() as db:
            record = matching(command.id_token, await id_tokens.records(db, tenant_id, command.id_token.value))
        if record is None:
            return command
        if command.id_token.type is None and record.type is not None:
            command = replace(command, id_token=replace(command.id_token, type=record.type))
        group = record.group_id
        if command.group_id_token is None and group is not None and len(group) <= _LONGEST_GROUP:
            command = replace(command, group_id_token=IdToken(value=group, type="Central"))
        return command

    async def _beat(self) -> None:
        now = utc_now()
        async with self._database.read() as db:
            limited = await queries.limited(db, self._stations.node_id)
        for one in limited:
            await self._look_at(one, now)
        since = now - _AGAIN if now - self._settled_again > timedelta(minutes=1) else now
        if since < now:
            self._settled_again = now
        async with self._database.change() as db:
            await queries.settle(db, since)
        if self._looked is not None and now >= self._next_look:
            await self._look_for_expired(self._looked, now)
            # a node that is gone counts as there for a while: what ended at its stations meanwhile is found later
            self._looked = EPOCH if now < self._whole_until else now - 2 * NODE_LIVES
            self._next_look = now + _EXPIRY_EVERY

    async def _look_for_expired(self, since: datetime, now: datetime) -> None:
        tenants = self._directory.tenants_that_stop()
        if tenants:
            async with self._database.read() as db:
                running = await queries.running_expired(
                    db, tenants, since, now, self._stations.node_id, by=f"policy: {_LOST}"
                )
            await self._stop_refused(running)

    async def _stop_refused(self, running: list[RunningTransaction]) -> None:
        now = utc_now()
        for one in running:
            token = IdToken(value=one.id_token, type=one.id_token_type)
            async with self._database.read() as db:
                record = matching(token, await id_tokens.records(db, one.tenant_id, token.value))
            if decide(record, now=now, asked=Asked.GO_ON).status is AuthorizationStatus.ACCEPTED:
                continue
            await self._order_stop(one.tenant_id, one.station_key, one.ocpp_transaction_id, _LOST)
            log.info("transaction_deauthorized", transaction=one.id)

    async def _order_stop(self, tenant_id: TenantId, key: StationKey, name: str | None, why: str) -> None:
        if name is None:
            log.warning("transaction_cannot_be_stopped", station=key, why=why)
            return
        await self._commands.give(tenant_id, key, Stop(ocpp_transaction_id=name), by=why, valid_s=STOP_VALID_S)

    async def _look_at(self, one: LimitedTransaction, now: datetime) -> None:
        if one.stop_asked_at is not None and now - one.stop_asked_at < _STOP_AGAIN:
            return
        actor = self._stations.actor(one.station_key)
        link = actor.link
        state = next((known for known in actor.open_transactions if known.id == one.transaction_id), None)
        if state is None or link is None:
            return  # it is looked at again when the station is back
        limits = one.limits
        found = reached(
            limits,
            energy_wh=state.energy_wh,
            started_at=state.started_at,
            soc=await self._soc(state) if limits.max_soc is not None else None,
            now=now,
        )
        if found is None:
            return
        await self._order_stop(one.tenant_id, one.station_key, state.ocpp_transaction_id, f"limit of {found.value}")
        async with self._database.change() as db:
            await queries.limit_reached(db, one.transaction_id, found.value, now)
        log.info("transaction_limit_reached", transaction=one.transaction_id, limit=found.value)

    async def _soc(self, state: TransactionState) -> Decimal | None:
        """The car's state of charge as last told."""
        async with self._database.read() as db:
            text: Any = await db.fetchval(
                "SELECT readings FROM transaction_event WHERE opened_on = ($2::timestamptz AT TIME ZONE 'UTC')::date"
                " AND transaction_id = $1 AND readings LIKE '%\"SoC\"%' ORDER BY ordinal DESC LIMIT 1",
                state.id,
                state.opened_at,
            )
        values = [
            sample.value
            for reading in (_readings(text) if text else ())
            for sample in reading.samples
            if sample.measurand == "SoC" and sample.value is not None
        ]
        return values[-1] if values else None
