"""Where our drivers may charge at partners: their Locations as they told them, with what a session would cost there by their tariffs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.domain.rating import Cost, Expected, PricesNow, Rating, estimate, prices_now
from chargeplane.domain.roaming.records import tariff_said
from chargeplane.domain.roaming.replicas import ConnectorKeys, Module, whole_location
from chargeplane.domain.tariffs.model import Tariff, TariffType
from chargeplane.kernel.errors import NotFoundError, RuleError
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.database import Database
from chargeplane.store.queries import partner_places as queries
from chargeplane.store.queries import replicas as replica_queries
from chargeplane.store.queries.paging import Db, Mark, Position
from chargeplane.store.queries.partner_places import FoundPlace, PlaceFilter

ENERGY_WH: Final = Decimal(20_000)
"""That a session is priced for where nobody says."""

_LEAST_POWER_W: Final = 1


class _Connector(ConnectorKeys, frozen=True):
    format: str | None = None
    tariff_ids: tuple[str, ...] = ()


class _Evse(Struct, frozen=True):
    uid: str
    connectors: tuple[_Connector, ...] = ()
    evse_id: str | None = None
    physical_reference: str | None = None


class _Operator(Struct, frozen=True):
    name: str | None = None


class _Geo(Struct, frozen=True):
    latitude: str
    longitude: str


class _Location(Struct, frozen=True):
    address: str | None = None
    postal_code: str | None = None
    country: str | None = None
    coordinates: _Geo | None = None
    operator: _Operator | None = None


_evse: Final = msgspec.json.Decoder(_Evse, strict=False).decode
_location: Final = msgspec.json.Decoder(_Location, strict=False).decode


class PriceView(Struct, frozen=True, kw_only=True):
    """What charging costs at a connector, by its tariff. Without taxes that the tariff does not name.

    Args:
        per_kwh, per_hour, per_parking_hour, fee: with taxes, as they hold now; null where nothing is asked.
        session: of a session of the energy asked for, with taxes, in minor units.
    """

    tariff_id: str
    currency: str
    per_kwh: MoneyView | None
    per_hour: MoneyView | None
    per_parking_hour: MoneyView | None
    fee: MoneyView | None
    session: MoneyView


class PartnerConnectorView(Struct, frozen=True, kw_only=True):
    """A connector. `price` is null where no tariff says."""

    id: str
    standard: str
    format: str | None
    power_type: str
    power_w: int
    price: PriceView | None


class PartnerEvseView(Struct, frozen=True, kw_only=True):
    """An EVSE. `status` is OCPI's word, as the partner told it last."""

    uid: str
    evse_id: str | None
    physical_reference: str | None
    status: str
    connectors: tuple[PartnerConnectorView, ...]


class PartnerLocationView(Struct, frozen=True, kw_only=True):
    """A partner's Location.

    Args:
        partner: country code and party, as `DE*ABC`; with `id` it names the place.
        operator: as the partner calls it.
        distance_m: from the point asked for.
    """

    partner: str
    id: str
    name: str | None
    operator: str | None
    address: str | None
    postal_code: str | None
    city: str | None
    country: str | None
    latitude: float | None
    longitude: float | None
    time_zone: str | None
    distance_m: float | None
    last_updated: datetime
    evses: tuple[PartnerEvseView, ...]


class PartnerPlaces:
    """Looks for them."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    async def search(
        self,
        caller: Caller,
        wanted: PlaceFilter,
        limit: int,
        after: Position | None,
        *,
        energy_wh: Decimal | None = None,
    ) -> list[tuple[Mark, PartnerLocationView]]:
        """Locations that fit with their position in the list, the nearest first.

        Args:
            energy_wh: of the session that is priced; None: 20 kWh.
        """
        async with self._database.read() as db:
            found = await queries.search(db, caller.tenant_id, wanted, limit, after)
            prices = _Prices(self._now(), energy_wh or ENERGY_WH)
            await prices.read(db, caller, found)
        return [((one.distance_m or 0.0, one.key), _view(one, prices)) for one in found]

    async def document(self, caller: Caller, party: tuple[str, str], ident: str) -> bytes:
        """A Location as its owner sends it (OCPI 2.3.0).

        Raises:
            NotFoundError: there is none.
        """
        async with self._database.read() as db:
            row = await replica_queries.location(
                db, (caller.tenant_id, party[0].upper(), party[1].upper(), ident.lower())
            )
        if row is None:
            raise NotFoundError("location", f"{'*'.join(party)}*{ident}")
        return whole_location(row.document, row.last_updated, row.evses)


class _Prices:
    """Each tariff is read once, and each price worked out once, for a search."""

    def __init__(self, at: datetime, energy_wh: Decimal) -> None:
        self._at = at
        self._energy_wh = energy_wh
        self._tariffs: dict[tuple[str, str, str], Tariff] = {}
        self._known: dict[tuple[str, str, str, int, str], PriceView | None] = {}

    async def read(self, db: Db, caller: Caller, found: Sequence[FoundPlace]) -> None:
        named: dict[tuple[str, str], set[str]] = {}
        for place in found:
            ids = named.setdefault((place.country_code, place.party_id), set())
            for _, _, document in place.evses:
                for connector in _evse(document).connectors:
                    ids.update(one.lower() for one in connector.tariff_ids)
        for party, ids in named.items():
            if not ids:
                continue
            for row in await replica_queries.objects_by_id(db, caller.tenant_id, Module.TARIFFS, party, sorted(ids)):
                try:
                    self._tariffs[(*party, row.id.lower())] = tariff_said(row.document)
                except RuleError:
                    continue  # a tariff that cannot be rated by prices nothing

    def of(self, place: FoundPlace, connector: _Connector) -> PriceView | None:
        """By the first tariff for contracts that holds now; those for ad hoc payment are for others."""
        for ident in connector.tariff_ids:
            tariff = self._tariffs.get((place.country_code, place.party_id, ident.lower()))
            if tariff is None or not tariff.holds(self._at) or tariff.type is TariffType.AD_HOC_PAYMENT:
                continue
            key = (place.country_code, place.party_id, ident.lower(), connector.power_w, place.time_zone or "UTC")
            if key not in self._known:
                self._known[key] = self._price(tariff, connector.power_w, zone_of(place.time_zone))
            return self._known[key]
        return None

    def _price(self, tariff: Tariff, power_w: int, zone: ZoneInfo) -> PriceView | None:
        return price_of(tariff, power_w, zone, self._at, self._energy_wh)


def price_of(tariff: Tariff, power_w: int, zone: ZoneInfo, at: datetime, energy_wh: Decimal) -> PriceView | None:
    """What a tariff asks at a connector; None where it cannot be rated by."""
    power = max(power_w, _LEAST_POWER_W)
    try:
        expected = Expected(at=at, energy_wh=energy_wh, default_power_w=Decimal(power))
        rating: Rating = estimate(expected, tariff, zone)
        now: PricesNow = prices_now(tariff, zone, at, power_w=Decimal(power))
    except (RuleError, ArithmeticError):
        return None

    def money(cost: Cost | None) -> MoneyView | None:
        return None if cost is None else Money(amount=cost.incl, currency=tariff.currency).view()

    return PriceView(
        tariff_id=tariff.id,
        currency=tariff.currency,
        per_kwh=money(now.per_kwh),
        per_hour=money(now.per_hour),
        per_parking_hour=money(now.per_parking_hour),
        fee=money(now.fee),
        session=rating.due_incl.view(),
    )


def zone_of(name: str | None) -> ZoneInfo:
    """A time zone by its name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _view(place: FoundPlace, prices: _Prices) -> PartnerLocationView:
    said = _location(place.document)
    geo = said.coordinates
    return PartnerLocationView(
        partner=f"{place.country_code}*{place.party_id}",
        id=place.id,
        name=place.name,
        operator=None if said.operator is None else said.operator.name,
        address=said.address,
        postal_code=said.postal_code,
        city=place.city,
        country=said.country,
        latitude=degrees(None if geo is None else geo.latitude),
        longitude=degrees(None if geo is None else geo.longitude),
        time_zone=place.time_zone,
        distance_m=place.distance_m,
        last_updated=place.last_updated,
        evses=tuple(_evse_view(place, status, document, prices) for _, status, document in place.evses),
    )


def _evse_view(place: FoundPlace, status: str, document: bytes, prices: _Prices) -> PartnerEvseView:
    said = _evse(document)
    return PartnerEvseView(
        uid=said.uid,
        evse_id=said.evse_id,
        physical_reference=said.physical_reference,
        status=status,
        connectors=tuple(
            PartnerConnectorView(
                id=one.id,
                standard=one.standard,
                format=one.format,
                power_type=one.power_type,
                power_w=one.power_w,
                price=prices.of(place, one),
            )
            for one in said.connectors
        ),
    )


def degrees(text: str | None) -> float | None:
    """A coordinate as a number; None where it is none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
