"""Where a session is and which tariff holds there, with the real database behind it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.locations import EvseWanted, Locations
from chargeplane.app.locations.binding import Binding
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.locations.model import (
    ConnectorContent,
    ConnectorFormat,
    EvseContent,
    GeoPoint,
    LocationContent,
    PaymentMethod,
    PowerType,
)
from chargeplane.domain.tariffs.model import (
    PriceComponent,
    TariffContent,
    TariffDimension,
    TariffElement,
    TariffType,
    TaxIncluded,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from tests.support.rest import Rest

CALLER = Caller(key_id=0, tenant_id=TenantId(1), name="test", scopes=frozenset())
TENANT = TenantId(1)
_numbers = itertools.count(1)


def ident(word: str) -> str:
    return f"{word}-{next(_numbers)}"


def location(**more: object) -> LocationContent:
    fields: dict[str, object] = {
        "address": "Torstr. 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": GeoPoint(latitude="52.52900", longitude="13.40100"),
    }
    return LocationContent(**(fields | more))  # type: ignore[arg-type]


def connector(number: int = 1, **more: object) -> ConnectorContent:
    fields: dict[str, object] = {
        "id": str(number),
        "standard": "IEC_62196_T2",
        "format": ConnectorFormat.SOCKET,
        "power_type": PowerType.AC_3_PHASE,
        "max_voltage": 230,
        "max_amperage": 32,
        "ocpp_connector_id": number,
    }
    return ConnectorContent(**(fields | more))  # type: ignore[arg-type]


def tariff(price: str = "0.39", **more: object) -> TariffContent:
    fields: dict[str, object] = {
        "currency": "EUR",
        "tax_included": TaxIncluded.YES,
        "elements": (
            TariffElement(
                price_components=(PriceComponent(type=TariffDimension.ENERGY, price=Decimal(price), vat=Decimal(19)),)
            ),
        ),
    }
    return TariffContent(**(fields | more))  # type: ignore[arg-type]


@pytest.fixture
def locations(rest: Rest) -> Locations:
    events = EventFeed()
    return Locations(rest.database, events, Binding(rest.database, events))


@pytest.fixture
def tariffs(rest: Rest) -> Tariffs:
    return Tariffs(rest.database, EventFeed())


async def test_an_evse_is_found_by_what_it_is_bound_to_by_its_uid_and_by_its_code(
    rest: Rest, locations: Locations
) -> None:
    station = ident("CP")
    key = await rest.station(station)
    place = await locations.create(CALLER, ident("loc"), location())
    uid = ident("evse")
    evse = await locations.add_evse(
        CALLER,
        place.id,
        uid,
        EvseWanted(
            content=EvseContent(evse_id="DE*ABC*E1", payment_methods=(PaymentMethod.WEB,)),
            station_id=station,
            ocpp_evse_id=2,
            connectors=[connector(1), connector(2, standard="IEC_62196_T2_COMBO", power_type=PowerType.DC)],
        ),
    )
    found = await locations.evse_by(TENANT, key, 2, 2)
    assert found is not None
    assert (found.location_id, found.evse_uid, found.connector_id) == (place.id, uid, "2")
    assert (found.time_zone, found.country, found.country_alpha3) == (ZoneInfo("Europe/Berlin"), "DE", "DEU")
    assert found.payment_methods == (PaymentMethod.WEB,)
    assert await locations.evse_by_uid(TENANT, uid.upper(), "2") == found
    by_code = await locations.evse_by_code(evse.code.upper())
    assert by_code is not None
    assert by_code.evse_uid == uid
    assert by_code.connector is None
    assert await locations.evse_by(TENANT, key, 3) is None
    assert await locations.evse_by(TenantId(2), key, 2) is None
    with pytest.raises(ConflictError, match=uid):
        await locations.add_evse(
            CALLER,
            place.id,
            None,
            EvseWanted(content=EvseContent(), station_id=station, ocpp_evse_id=2, connectors=[connector()]),
        )
    await locations.remove_evse(CALLER, uid, None)
    assert await locations.evse_by(TENANT, key, 2) is None
    assert (await locations.evse(CALLER, uid)).status == "REMOVED"
    with pytest.raises(ConflictError, match="never given again"):
        await locations.add_evse(CALLER, place.id, uid, EvseWanted(content=EvseContent(), connectors=[connector()]))


async def test_a_station_at_a_location_gets_evses_of_what_it_reported(rest: Rest, locations: Locations) -> None:
    place = await locations.create(CALLER, ident("Loc"), location())
    station = ident("CP")
    key = await rest.station(station, location_id=place.id.lower())
    assert await locations.evse_by(TENANT, key, 1, 1) is None
    for evse, number in ((0, 0), (1, 1), (2, 1), (2, 2)):
        await rest.execute(
            "INSERT INTO connector (station_key, evse_id, connector_id, status, reported, received_at)"
            " VALUES ($1, $2, $3, 'Available', 'Available', now())",
            key,
            evse,
            number,
        )
    for evse, number, component, name, value in (
        (2, 1, "Connector", "ConnectorType", "cCCS2"),
        (2, 0, "EVSE", "Power", "150000"),
    ):
        await rest.execute(
            "INSERT INTO station_variable (station_key, component, evse_id, connector_id, variable, value, reported_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, now())",
            key,
            component,
            evse,
            number,
            name,
            value,
        )
    found = await locations.evse_by(TENANT, key, 2, 1)
    assert found is not None
    assert found.evse_uid == f"{station}-2"
    assert found.connector is not None
    assert (found.connector.standard, found.connector.power_type) == ("IEC_62196_T2_COMBO", PowerType.DC)
    assert found.connector.power_w == 150_000
    shown = await locations.one(CALLER, place.id)
    assert [(evse.ocpp_evse_id, len(evse.connectors), evse.made_from_report) for evse in shown.evses] == [
        (1, 1, True),
        (2, 2, True),
    ]
    again = await locations.evse_by(TENANT, key, 2, 1)
    assert again == found


async def test_two_who_ask_at_once_get_the_same_evses_also_by_their_location(rest: Rest, locations: Locations) -> None:
    place = await locations.create(CALLER, ident("Loc"), location())
    key = await rest.station(ident("CP"), location_id=place.id)
    await rest.execute(
        "INSERT INTO connector (station_key, evse_id, connector_id, status, reported, received_at)"
        " SELECT $1, n, 1, 'Available', 'Available', now() FROM generate_series(1, 4) AS n",
        key,
    )
    asked = [locations.evse_by(TENANT, key, number) for number in (1, 2, 3, 4)]
    *found, shown = await asyncio.gather(*asked, locations.one(CALLER, place.id))
    assert all(found)
    assert len(shown.evses) == 4
    assert len((await locations.one(CALLER, place.id)).evses) == 4


async def test_a_version_never_changes_and_the_newest_that_is_valid_holds(rest: Rest, tariffs: Tariffs) -> None:
    name = ident("T")
    now = datetime.now(UTC)
    made = await tariffs.create(CALLER, name, "House", tariff("0.39"), None)
    assert (made.version, made.latest_version) == (1, 1)
    changed = await tariffs.put(CALLER, name.lower(), "House", tariff("0.49"), now + timedelta(days=1), made.revision)
    assert (changed.id, changed.version) == (name, 2)
    for at, price in ((timedelta(hours=1), "0.39"), (timedelta(days=2), "0.49")):
        found = await tariffs.version_of(TENANT, name, now + at)
        assert found is not None
        assert found.elements[0].price_components[0].price == Decimal(price)
    frozen = await tariffs.frozen(TENANT, name, 1)
    assert frozen is not None
    assert frozen.version == 1
    with pytest.raises(StaleError):
        await tariffs.put(CALLER, name, None, tariff(), None, made.revision)
    with pytest.raises(InvalidInputError, match="currency"):
        await tariffs.put(CALLER, name, None, tariff(currency="SEK"), None, None)
    with pytest.raises(Exception, match="never changed"):
        await rest.execute("UPDATE tariff_version SET body = '{}'")
    with pytest.raises(ConflictError, match="retire"):
        await tariffs.delete(CALLER, name, None)
    await tariffs.retire(CALLER, name, None, None)
    assert await tariffs.version_of(TENANT, name, datetime.now(UTC) + timedelta(seconds=1)) is None
    assert await tariffs.frozen(TENANT, name, 2) is not None
    later = await tariffs.create(CALLER, ident("T"), None, tariff(), now + timedelta(days=9))
    await tariffs.delete(CALLER, later.id, None)
    with pytest.raises(NotFoundError):
        await tariffs.one(CALLER, later.id)


async def test_the_public_tariff_is_the_ad_hoc_one_of_the_connector(
    rest: Rest, locations: Locations, tariffs: Tariffs
) -> None:
    regular, ad_hoc, ended = ident("R"), ident("A"), ident("E")
    await tariffs.create(CALLER, regular, None, tariff(type=TariffType.REGULAR), None)
    await tariffs.create(CALLER, ad_hoc, None, tariff("0.59", type=TariffType.AD_HOC_PAYMENT), None)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await tariffs.create(CALLER, ended, None, tariff(type=TariffType.AD_HOC_PAYMENT, end_date_time=past), None)
    place = await locations.create(CALLER, None, location())
    uid = ident("evse")
    with pytest.raises(InvalidInputError, match="no tariff 'nowhere'"):
        await locations.add_evse(
            CALLER, place.id, uid, EvseWanted(content=EvseContent(), connectors=[connector(tariff_ids=("nowhere",))])
        )
    wanted = connector(tariff_ids=(ended.lower(), regular))
    await locations.add_evse(CALLER, place.id, uid, EvseWanted(content=EvseContent(), connectors=[wanted]))
    now = datetime.now(UTC)
    found = await tariffs.public_for(TENANT, uid, now)
    assert found is not None
    assert found.id == regular
    assert await tariffs.assign(CALLER, ad_hoc, [(uid, None)]) == 1
    found = await tariffs.public_for(TENANT, uid, now)
    assert found is not None
    assert found.id == ad_hoc
    contract = await tariffs.at_connector(TENANT, (ended, ad_hoc, regular), now)
    assert contract is not None
    assert contract.id == regular
    with pytest.raises(ConflictError, match=f"{uid}/1"):
        await tariffs.delete(CALLER, ad_hoc, None)
    assert await tariffs.assign(CALLER, ad_hoc, [(uid, "1")], off=True) == 1
    assert await tariffs.assign(CALLER, ad_hoc, [(uid, "1")], off=True) == 0
