"""DATEX II of a tenant's published locations over a socket. With the folder of the schemas in CHARGEPLANE_DATEX2_SCHEMAS (DATEXII_3_*.xsd of
version 3.7) they are validated too; without it, order and words are looked at where it matters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from lxml import etree

from chargeplane.domain.locations.model import EvseStatus
from chargeplane.edges.datex2.words import STATUS, connector_type
from tests.rating.test_rest_locations import add, connector, ident, make
from tests.support.rest import Rest, assert_problem

_SCHEMAS = os.environ.get("CHARGEPLANE_DATEX2_SCHEMAS")
AEGI = "{http://datex2.eu/schema/3/afirEnergyInfrastructure}"
AFAC = "{http://datex2.eu/schema/3/afirFacilities}"
COM = "{http://datex2.eu/schema/3/common}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"

PUBLIC = {"country": "DE", "national_id": "DE-NAP-4711", "party_id": "ABC", "language": "de"}


def tariff(ident: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": ident,
        "type": "AD_HOC_PAYMENT",
        "currency": "EUR",
        "tax_included": "YES",
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.59, "vat": 19.0}]}],
    }
    return made | more


async def publish(rest: Rest, settings: dict[str, Any] | None) -> None:
    answer = await rest.client.patch("/v1/tenants/default", json={"settings": {"public_data": settings}})
    assert answer.status_code == 200, answer.text


async def publication(rest: Rest, which: str) -> Any:
    answer = await rest.client.get(f"/public/default/datex2/{which}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/xml")
    tree = etree.fromstring(answer.content)
    if _SCHEMAS:
        schema = etree.XMLSchema(etree.parse(Path(_SCHEMAS) / "DATEXII_3_D2Payload.xsd"))
        assert schema.validate(tree), schema.error_log
    return tree


def site(tree: Any, location_id: str) -> Any:
    (found,) = [one for one in tree.iter(f"{AEGI}energyInfrastructureSite") if one.get("id") == location_id]
    return found


def words(element: Any, tag: str) -> list[str]:
    return [one.text for one in element.iter(tag)]


@pytest_asyncio.fixture(loop_scope="session")
async def published(rest: Rest) -> Any:
    await publish(rest, PUBLIC)
    yield
    await publish(rest, None)


async def test_what_a_tenant_does_not_publish_nobody_sees(rest: Rest) -> None:
    await make(rest)
    for which in ("table", "status"):
        assert_problem(await rest.client.get(f"/public/default/datex2/{which}"), 404)
        assert_problem(await rest.client.get(f"/public/nobody/datex2/{which}"), 404)


async def test_settings_that_cannot_be_name_their_field(rest: Rest) -> None:
    answer = await rest.client.patch(
        "/v1/tenants/default", json={"settings": {"public_data": PUBLIC | {"country": "Germany"}}}
    )
    assert_problem(answer, 422)
    assert "/settings/public_data/country" in answer.text


@pytest.mark.usefixtures("published")
async def test_a_location_with_its_points_connectors_and_hours(rest: Rest) -> None:
    made = await make(
        rest,
        name="Müller & Söhne <Hof>",
        postal_code="10119",
        parking_type="ON_STREET",
        operator={"name": "ABC Strom", "website": "https://abc.example"},
        owner={"name": "Stadt"},
        help_phone="+49 30 1234",
        energy_mix={"is_green_energy": True},
        directions=[{"language": "de", "text": "Im Hof links"}],
        opening_times={
            "twentyfourseven": False,
            "regular_hours": [{"weekday": 1, "period_begin": "08:00", "period_end": "24:00"}],
            "exceptional_closings": [
                {"period_begin": "2026-12-24T00:00:00Z", "period_end": "2026-12-25T00:00:00Z"},
            ],
        },
    )
    evse = await add(
        rest,
        made["id"],
        evse_id=f"DE*ABC*E{made['id'][4:]}",
        capabilities=["RFID_READER", "RESERVABLE", "REMOTE_START_STOP_CAPABLE"],
        physical_reference="3b",
        payment_methods=["contract", "web"],
        connectors=[
            connector(capabilities=["ISO_15118_2_PLUG_AND_CHARGE"]),
            connector(
                id="2",
                standard="IEC_62196_T2_COMBO",
                format="CABLE",
                power_type="DC",
                max_voltage=920,
                max_amperage=500,
                max_electric_power=300000,
                ocpp_connector_id=2,
            ),
        ],
    )
    tree = await publication(rest, "table")
    assert tree.get(f"{XSI}type") == "aegi:EnergyInfrastructureTablePublication"
    assert words(tree, f"{COM}nationalIdentifier") == ["DE-NAP-4711"]
    found = site(tree, made["id"])
    assert "Müller & Söhne <Hof>" in words(found, f"{COM}value")
    (point,) = found.iter(f"{AEGI}refillPoint")
    assert (point.get("id"), point.get("version")) == (evse["evse_id"], "1")
    assert words(point, f"{AEGI}maxPowerAtSocket") == ["22080", "300000"]
    assert words(point, f"{AEGI}connectorType") == ["iec62196T2", "iec62196T2COMBO"]
    assert words(point, f"{AEGI}connectorFormat") == ["socket", "otherCable"]
    assert words(point, f"{AEGI}reservation") == ["optional"]
    assert words(point, f"{AEGI}smartRechargingServices") == ["plugAndCharge"]
    assert words(found, f"{AEGI}authenticationAndIdentificationMethods") == ["rfid", "apps", "website"]
    assert words(found, f"{AEGI}typeOfSite") == ["onstreet"]
    assert words(found, f"{COM}startTimeOfPeriod") == ["08:00:00"]
    assert len(list(found.iter(f"{COM}exceptionPeriod"))) == 1
    assert words(found, f"{AFAC}telephoneNumber") == ["+49 30 1234"]
    text = etree.tostring(tree).decode()
    assert "station_id" not in text
    assert evse["code"] not in text


@pytest.mark.usefixtures("published")
async def test_a_price_stands_with_its_conditions_and_nothing_is_rounded_away_in_silence(rest: Rest) -> None:
    name = ident("T")
    elements: list[dict[str, Any]] = [
        {
            "price_components": [{"type": "ENERGY", "price": 0.395, "vat": 19.0}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00", "day_of_week": ["SATURDAY", "SUNDAY"]},
        },
        {"price_components": [{"type": "ENERGY", "price": 0.59, "vat": 19.0}, {"type": "FLAT", "price": 1.0}]},
        {
            "price_components": [{"type": "TIME", "price": 6.0, "step_size": 60}],
            "restrictions": {"min_duration": 14400},
        },
        {"price_components": [{"type": "PARKING_TIME", "price": 2.5}]},
        {"price_components": [{"type": "FLAT", "price": 5}], "restrictions": {"reservation": "RESERVATION"}},
    ]
    body = tariff(name, elements=elements, max_price={"before_taxes": 50, "after_taxes": 59.5})
    answer = await rest.client.post("/v1/tariffs", json=body)
    assert answer.status_code == 201, answer.text
    made = await make(rest)
    for _ in range(2):
        await add(rest, made["id"], connectors=[connector(tariff_ids=[name])], payment_methods=["terminal_contactless"])
    tree = await publication(rest, "table")
    found = site(tree, made["id"])
    (rate,) = found.iter(f"{AEGI}energyRate")  # the other EVSE refers to it
    (reference,) = found.iter(f"{AEGI}energyRateByReference")
    assert reference.get("id") == rate.get("id")
    assert words(rate, f"{AEGI}ratePolicy") == ["adHoc"]
    assert words(rate, f"{AEGI}priceType") == [
        "pricePerKWh",
        "pricePerKWh",
        "basePrice",
        "pricePerMinute",
        "pricePerMinute",
    ]
    assert words(rate, f"{AEGI}value") == ["0.40", "0.59", "1.00", "0.10", "0.04"]
    assert words(rate, f"{AEGI}taxRate") == ["19", "19"]
    assert words(rate, f"{AEGI}maximumDeliveryFee") == ["59.50"]
    assert words(rate, f"{AFAC}paymentMeans") == ["nfc"]
    night, _, _, stay, parked = rate.iter(f"{AEGI}energyPrice")
    assert "exactly 0.395 EUR per kWh" in words(night, f"{COM}value")
    assert words(night, f"{COM}startTimeOfPeriod") == ["22:00:00", "00:00:00"]
    assert words(night, f"{COM}endTimeOfPeriod") == ["24:00:00", "06:00:00"]
    assert words(night, f"{COM}applicableDay") == ["saturday", "sunday"]
    assert words(stay, f"{AEGI}fromMinute") == ["240"]
    assert words(parked, f"{COM}value") == ["exactly 2.5 EUR per hour; while the vehicle takes no energy"]


@pytest.mark.usefixtures("published")
async def test_what_contracts_pay_is_not_published(rest: Rest) -> None:
    cheap, ad_hoc = ident("T"), ident("T")
    for name, kind, price in ((cheap, "REGULAR", 0.29), (ad_hoc, "AD_HOC_PAYMENT", 0.69)):
        elements = [{"price_components": [{"type": "ENERGY", "price": price}]}]
        answer = await rest.client.post("/v1/tariffs", json=tariff(name, type=kind, elements=elements))
        assert answer.status_code == 201, answer.text
    made = await make(rest)
    await add(rest, made["id"], connectors=[connector(tariff_ids=[cheap, ad_hoc])])
    found = site(await publication(rest, "table"), made["id"])
    assert words(found, f"{AEGI}value") == ["0.69"]


@pytest.mark.usefixtures("published")
async def test_unpublished_locations_and_removed_points_are_in_neither(rest: Rest) -> None:
    hidden = await make(rest, publish=False)
    await add(rest, hidden["id"])
    made = await make(rest)
    kept, gone = await add(rest, made["id"]), await add(rest, made["id"])
    assert (await rest.client.delete(f"/v1/evses/{gone['uid']}")).status_code == 204
    table, status = await publication(rest, "table"), await publication(rest, "status")
    for tree in (table, status):
        idents = [one.get("id") for one in tree.iter()]
        assert kept["uid"] in idents
        assert gone["uid"] not in idents
        assert hidden["id"] not in idents


@pytest.mark.usefixtures("published")
async def test_the_status_names_the_points_of_the_table_and_what_is_planned(rest: Rest) -> None:
    made = await make(rest)
    schedule = [{"period_begin": "2026-12-01T00:00:00Z", "status": "INOPERATIVE", "period_end": "2026-12-02T00:00:00Z"}]
    evse = await add(rest, made["id"], declared_status="OUTOFORDER", status_schedule=schedule)
    tree = await publication(rest, "status")
    (point,) = [
        one for one in tree.iter(f"{AEGI}refillPointStatus") if one.find(f"{AFAC}reference").get("id") == evse["uid"]
    ]
    assert words(point, f"{AEGI}status") == ["outOfOrder", "inoperative"]
    table = {one.get("id"): one.get("version") for one in (await publication(rest, "table")).iter()}
    for reference in tree.iter(f"{AFAC}reference"):
        assert table[reference.get("id")] == reference.get("version")


async def test_an_address_that_asks_too_often_waits(rest: Rest) -> None:
    # From an address of its own, so that nobody else has to wait.
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.77")
    async with httpx.AsyncClient(transport=elsewhere, base_url=str(rest.client.base_url)) as guest:
        answers = [await guest.get("/public/default/datex2/table") for _ in range(40)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert int(refused[0].headers["Retry-After"]) > 0


def test_every_status_and_a_word_for_every_connector() -> None:
    assert set(STATUS) == set(EvseStatus)
    assert connector_type("GBT_DC") == ("other", "GBT_DC")
    assert connector_type("DOMESTIC_F") == ("domesticFType", None)
