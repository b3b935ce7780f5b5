"""Where guests charge and what it costs, from locations, tariffs and rating."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from chargeplane.app.house import utc_now
from chargeplane.app.locations import EvsePlace, Locations
from chargeplane.app.payments.ports import TAX, CostSoFar, PayPlace, PriceLine, PublicPrice
from chargeplane.app.reports import Place
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.clock import effective
from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.payments.dearest import dearest, with_tax
from chargeplane.domain.rating import PeriodState, Rating, Reading, StateChange, charge_of, rate, so_far
from chargeplane.domain.tariffs.model import Tariff, TariffDimension, TaxIncluded
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import guest_visits, transactions
from chargeplane.store.queries.paging import Db

_MOST_EVENTS: Final = 100_000
_UNKNOWN_POWER_W: Final = 150_000
"""Of a connector of which nothing is said: rather stopped early than not paid."""

_SESSIONS_KEPT: Final = 1000
"""Open sessions whose messages are kept in memory, the ones looked at last."""

_LATEST: Final = 50
"""Messages among which the last meter values are found."""

_SHORTEST: Final = timedelta(seconds=5)
_LONGEST: Final = timedelta(minutes=30)
_SHORTEST_SPAN: Final = timedelta(milliseconds=300)
_USUAL: Final = timedelta(seconds=60)
_PARKED: Final = frozenset({"EVConnected", "Idle", "SuspendedEV"})
"""OCPP 2.x charging states in which the car takes nothing of its own will."""

_KINDS: Final = {
    TariffDimension.ENERGY: "energy",
    TariffDimension.TIME: "time",
    TariffDimension.PARKING_TIME: "parking_time",
    TariffDimension.FLAT: "flat",
}


class FrozenPrice(Struct, frozen=True, kw_only=True):
    """By what a guest's session is rated, whatever changes meanwhile."""

    tariff_id: str
    version: int
    time_zone: str
    power_w: int


_frozen = msgspec.json.Decoder(FrozenPrice).decode


class GuestPlaces:
    """EVSEs by their codes; implements `Places`."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations

    async def by_code(self, code: str) -> PayPlace | None:
        """The EVSE; None where there is none, it is bound to no station, or is not for guests."""
        found = await self._locations.evse_by_code(code)
        if found is None or found.station_key is None or found.station_id is None or found.ocpp_evse_id is None:
            return None
        connector = found.connector or (found.connectors[0] if found.connectors else None)
        return PayPlace(
            tenant_id=found.tenant_id,
            code=found.code,
            evse_uid=found.evse_uid,
            evse_name=found.evse_id,
            station_key=found.station_key,
            station_id=found.station_id,
            ocpp_evse_id=found.ocpp_evse_id,
            location_id=found.location_id,
            name=found.location_name or found.location_id,
            address=None,
            time_zone=found.time_zone.key,
            connector=None if connector is None else connector.standard,
            power_w=None if connector is None else connector.power_w,
            for_guests=_for_guests(found),
        )


def _for_guests(place: EvsePlace) -> bool:
    return not place.payment_methods or PaymentMethod.WEB in place.payment_methods


class GuestPrices:
    """What guests pay, by the public tariff of the connector; implements `Prices`.

    Args:
        hold: held for a session where the tariff names no amount to be reserved, in major units of any currency.
    """

    def __init__(self, tariffs: Tariffs, *, hold: Decimal = Decimal(50)) -> None:
        self._tariffs = tariffs
        self._hold = hold

    async def public(self, place: PayPlace, at: datetime) -> PublicPrice | None:
        """The price; None where no tariff says one."""
        tariff = await self._tariffs.public_for(place.tenant_id, place.evse_uid, at)
        if tariff is None:
            return None
        hold = tariff.preauthorize_amount or self._hold
        frozen = FrozenPrice(
            tariff_id=tariff.id,
            version=tariff.version,
            time_zone=place.time_zone,
            power_w=place.power_w or _UNKNOWN_POWER_W,
        )
        return PublicPrice(
            currency=tariff.currency,
            lines=tuple(_lines(tariff)),
            hold=Money(amount=hold, currency=tariff.currency).rounded(),
            frozen=msgspec.json.encode(frozen),
            words={text.language: text.text for text in tariff.tariff_alt_text},
        )


class _Heard(Struct, kw_only=True):
    """What was read of an open transaction so far; the next look reads what came since.

    Args:
        ordinal: of the newest message.
    """

    opened_at: datetime
    ordinal: int = 0
    readings: list[Reading] = []
    states: list[StateChange] = []


class TransactionCosts:
    """What transactions cost so far, rated by the price that was frozen; implements `Costs`.

    A session is looked at every few seconds, and a long one has thousands of messages: those that were read are kept in memory, without
    what is not rated. The final price is made of all of them, read anew.
    """

    def __init__(self, database: Database, tariffs: Tariffs) -> None:
        self._database = database
        self._tariffs = tariffs
        self._heard: OrderedDict[int, _Heard] = OrderedDict()
        self.rows_read = 0
        """Messages that were read, all looks together."""

    async def so_far(self, tenant_id: TenantId, session_id: int, price: bytes | None) -> CostSoFar | None:
        """What it would cost if it ended now; its price where it has ended."""
        if price is None:
            async with self._database.read() as db:
                shown = await guest_visits.frozen_price(db, tenant_id, session_id)
            if shown is None:
                return None
            price = msgspec.json.decode(shown, type=PublicPrice).frozen
        by = _frozen(price)
        tariff = await self._tariffs.frozen(tenant_id, by.tariff_id, by.version)
        if tariff is None:
            return None
        async with self._database.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
            place = await transactions.place(db, tenant_id, session_id)
            view = await transactions.one(db, tenant_id, session_id)
            if place is None or view is None:
                return None
            heard = self._heard.pop(session_id, None)
            if heard is None or view.state != "open" or heard.opened_at != place.opened_at:
                heard = _Heard(opened_at=place.opened_at)
            rows = await transactions.events_since(db, place, heard.ordinal, _MOST_EVENTS)
        self.rows_read += len(rows)
        cost = await asyncio.to_thread(_rated, rows, heard, view, tariff, by)
        if view.state == "open":
            # As a whole, or not at all: a look that was cut off has put nothing back.
            self._heard[session_id] = heard
            while len(self._heard) > _SESSIONS_KEPT:
                self._heard.popitem(last=False)
        return cost


def _rated(
    rows: list[Any], heard: _Heard, view: transactions.TransactionView, tariff: Tariff, by: FrozenPrice
) -> CostSoFar:
    now = utc_now()
    final = view.state != "open"
    start = view.started_at
    for row in rows:
        at = effective(row["at"], row["received_at"])
        heard.readings.append(Reading(at=at, energy_wh=row["energy_wh"], ordinal=row["ordinal"]))
        state = transactions.charging_state_of(row["payload"])
        if state is not None:
            heard.states.append(
                StateChange(at=at, state=PeriodState.PARKING if state in _PARKED else PeriodState.CHARGING)
            )
        heard.ordinal = row["ordinal"]
    readings, states = heard.readings, heard.states
    newest = max((one.at for one in readings), default=start)
    end = max(start, view.stopped_at or newest)
    charge = charge_of(start, end, readings, states, total_wh=view.energy_wh)
    zone = ZoneInfo(by.time_zone)
    rating = rate(charge, tariff, zone) if final else so_far(charge, tariff, zone, max(now, end))
    times = sorted({one.at for one in readings[-_LATEST:]})[-6:]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    interval = min(max(max(gaps, default=_USUAL), _SHORTEST), _LONGEST)
    most = dearest(tariff, max(by.power_w, _seen_power_w(readings[-_LATEST:])))
    return CostSoFar(
        cost=Money(amount=rating.due.incl, currency=tariff.currency),
        energy_wh=view.energy_wh,
        per_hour=most.per_hour,
        jump=most.jump,
        lines=tuple(_spoken(rating)),
        told_at=newest,
        meter_interval=interval,
        final=final,
    )


def _seen_power_w(readings: Sequence[Reading]) -> int:
    """The highest of the last values, and a tenth more: a connector may give more than it was described with."""
    last = sorted(readings, key=lambda one: one.at)[-6:]
    powers = [
        (b.energy_wh - a.energy_wh) * 3600 / Decimal(str((b.at - a.at).total_seconds()))
        for a, b in itertools.pairwise(last)
        if b.at - a.at >= _SHORTEST_SPAN
    ]
    return int(max(powers, default=Decimal(0)) * 11 / 10)


def _spoken(rating: Rating) -> list[tuple[str, Decimal]]:
    """The bill by what it is for, in the order of the groups, and the taxes in it."""
    return [
        *((group.value, cost.incl) for group, cost in rating.groups.items()),
        *(
            (f"{TAX}{tax.name}" + ("" if tax.percentage is None else f" {tax.percentage.normalize():f} %"), tax.amount)
            for tax in rating.due.taxes
        ),
    ]


def _lines(tariff: Tariff) -> list[PriceLine]:
    """The prices, taxes included where the tariff names them."""
    made: list[PriceLine] = []
    for element in tariff.elements:
        if element.restrictions is not None and element.restrictions.about is not None:
            continue
        for component in element.price_components:
            price = component.price * with_tax(tariff, component.vat)
            if price == 0 and len(tariff.elements) > 1:
                continue
            r = element.restrictions
            words = []
            if r is not None:
                if r.start_time or r.end_time:
                    words.append(f"{r.start_time or '00:00'}-{r.end_time or '24:00'}")
                if r.day_of_week:
                    words.append(", ".join(day.value[:3].capitalize() for day in r.day_of_week))
                if r.min_duration:
                    words.append(f"> {r.min_duration // 60} min")
                if r.max_duration:
                    words.append(f"< {r.max_duration // 60} min")
                if r.min_kwh is not None:
                    words.append(f"> {r.min_kwh:f} kWh")
                if r.max_kwh is not None:
                    words.append(f"< {r.max_kwh:f} kWh")
                if r.min_power is not None:
                    words.append(f"> {r.min_power:f} kW")
                if r.max_power is not None:
                    words.append(f"< {r.max_power:f} kW")
            made.append(
                PriceLine(
                    kind=_KINDS[component.type],
                    price=Money(amount=price.normalize() + 0, currency=tariff.currency),
                    incl_tax=tariff.tax_included is not TaxIncluded.NO or component.vat is not None,
                    condition=" ".join(words) or None,
                )
            )
    return made


class TerminalCurrencies:
    """What stations' terminals take: the currency of the tariff we gave the station, else that of
    the tenant's newest payment; implements `Terminals`.

    Args:
        default: where none says.
    """

    def __init__(self, default: str = "EUR") -> None:
        self._default = default

    async def currency(self, db: Db, place: Place) -> str:
        """The currency (ISO 4217)."""
        found: str | None = await db.fetchval(
            "SELECT tariff ->> 'currency' FROM station_tariff WHERE station_key = $1 AND tariff ? 'currency' LIMIT 1",
            place.key,
        )
        if found is None:
            found = await db.fetchval(
                "SELECT currency FROM payment WHERE tenant_id = $1 AND purpose <> 'terminal' ORDER BY id DESC LIMIT 1",
                place.tenant_id,
            )
        return found or self._default
