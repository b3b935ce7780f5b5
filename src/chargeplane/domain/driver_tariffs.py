"""Tariffs of drivers for stations that calculate costs by themselves (OCPP 2.1 I08)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.station_tariffs import StationTariff
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.domain.tariffs.to_station import for_station

_YES: Final = frozenset({"true", "1"})


class Calculates(Struct, frozen=True, kw_only=True):
    """What a station says of its own calculating (TariffCostCtrlr, instance Tariff).

    Args:
        tariffs: it calculates by tariffs.
        most_elements: of one tariff; None where it does not say.
        conditions: whether prices may have conditions; None where it does not say.
    """

    tariffs: bool = False
    most_elements: int | None = None
    conditions: bool | None = None


def calculates(variables: Iterable[tuple[str, str]]) -> Calculates:
    """Reads what a station reported.

    Args:
        variables: names and values of TariffCostCtrlr, instance Tariff.
    """
    told = {name.lower(): value.strip().lower() for name, value in variables}
    most, conditions = told.get("maxelements", ""), told.get("conditionssupported")
    return Calculates(
        # Where it can be switched off, both say yes (2.1 part 2, TariffCostCtrlr).
        tariffs=told.get("enabled") in _YES and told.get("available", "true") in _YES,
        most_elements=int(most) if most.isdecimal() else None,
        conditions=None if conditions is None else conditions in _YES,
    )


def driver_tariff(tariff: Tariff, able: Calculates) -> StationTariff | None:
    """A driver's tariff as the answer to Authorize carries it; None where the station could not take it, and might refuse the driver for it.

    It has no time from which it holds (I08.FR.09); where ours has one, its id is another than that of the same tariff as a default
    (FR.08: other content, other id).
    """
    if not able.tariffs:
        return None
    made = for_station(tariff).tariff
    if made.valid_from is not None:
        made = replace(made, valid_from=None, tariff_id=f"{made.tariff_id}:driver")
    sides = (
        made.energy,
        made.charging_time,
        made.idle_time,
        made.fixed_fee,
        made.reservation_time,
        made.reservation_fixed,
    )
    prices = [price for side in sides if side is not None for price in side.prices]
    if able.most_elements is not None and len(prices) > able.most_elements:
        return None
    if able.conditions is False and any(price.conditions is not None for price in prices):
        return None
    return made
