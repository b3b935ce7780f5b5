"""Tariffs that stations calculate with by themselves (OCPP 2.1 I07 to I11)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, reply_of
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.commands.display_and_cost import ClearTariffs, GetTariffs, SetDefaultTariff
from chargeplane.domain.station_tariffs import StationTariff, TariffAssignment, TariffsCleared, TariffsThere
from chargeplane.kernel.errors import ConflictError, RuleError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import station_tariffs as queries
from chargeplane.store.queries.station_tariffs import StationTariffView


class TariffsOfStation(Struct, frozen=True, kw_only=True):
    """What we want a station to calculate with, and what it says it has.

    Args:
        at_station: None where it was not asked.
    """

    wanted: list[StationTariffView]
    at_station: list[TariffAssignment] | None = None


class StationTariffs:
    """Use cases about default tariffs at stations."""

    def __init__(self, database: Database, commands: Commands) -> None:
        self._database = database
        self._commands = commands

    async def put(
        self, caller: Caller, station_id: str, evse_id: int, tariff: StationTariff, valid_s: float
    ) -> TariffsOfStation:
        """Sets the default tariff of an EVSE, or of all with 0; returns when the station took or refused it.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.change() as db:
            await queries.put(db, caller.tenant_id, key, evse_id, tariff.tariff_id, tariff, caller.actor)
        outcome = await self._commands.ask(
            caller.tenant_id, key, SetDefaultTariff(tariff=tariff, evse_id=evse_id), by=caller.actor, valid_s=valid_s
        )
        done = outcome.state is CommandState.ACCEPTED
        async with self._database.change() as db:
            await queries.settle(
                db, key, evse_id, tariff.tariff_id, "set" if done else "refused", None if done else _why(outcome)
            )
            return TariffsOfStation(wanted=await queries.of_station(db, key))

    async def clear(
        self, caller: Caller, station_id: str, evse_id: int | None, tariff_ids: tuple[str, ...], valid_s: float
    ) -> TariffsCleared:
        """Has a station forget default tariffs: all, of one EVSE, some.

        Raises:
            NotFoundError: the tenant has no such station.
            ConflictError: the station refused, or did not become reachable in time.
        """
        key = await self._key(caller, station_id)
        outcome = await self._commands.ask(
            caller.tenant_id,
            key,
            ClearTariffs(tariff_ids=tariff_ids, evse_id=evse_id),
            by=caller.actor,
            valid_s=valid_s,
        )
        if outcome.state is not CommandState.ACCEPTED and outcome.status != "NoTariff":
            raise ConflictError(f"The tariffs were not cleared: {_why(outcome)}")
        async with self._database.change() as db:
            await queries.forget(db, key, evse_id, list(tariff_ids))
        return reply_of(outcome, TariffsCleared) or TariffsCleared()

    async def of_station(self, caller: Caller, station_id: str, ask: bool) -> TariffsOfStation:
        """The tariffs of a station.

        Args:
            ask: asks the station as well.

        Raises:
            NotFoundError: the tenant has no such station.
            RuleError: the station was asked and did not say.
        """
        key = await self._key(caller, station_id)
        there: list[TariffAssignment] | None = None
        if ask:
            outcome = await self._commands.ask(caller.tenant_id, key, GetTariffs(), by=caller.actor, valid_s=0)
            if outcome.state is not CommandState.ACCEPTED and outcome.status != "NoTariff":
                raise RuleError(f"The station did not say: {_why(outcome)}")
            told = reply_of(outcome, TariffsThere)
            there = [] if told is None else list(told.assignments)
        async with self._database.read() as db:
            return TariffsOfStation(wanted=await queries.of_station(db, key), at_station=there)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key


def _why(outcome: CommandOutcome) -> str:
    return outcome.reason or f"the command ended {outcome.state.value}."
