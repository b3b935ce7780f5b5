"""What we publish is what OCPI 2.3.0 takes: read back by the library, nothing unknown in it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from chargeplane.bridge.roaming.locations import capabilities_of, location_document
from chargeplane.bridge.roaming.sessions import cdr_document, session_document, signed_document, signed_values
from chargeplane.bridge.roaming.tariffs import tariff_document
from chargeplane.bridge.roaming.values import moment, number, written
from chargeplane.domain.cdrs.cdr import CdrContent, ChargingPeriod, Dimension, DimensionType, Totals, credit_of
from chargeplane.domain.cdrs.session import AuthMethod, CdrPlace, PricedBy, RoamingDriver, SessionState
from chargeplane.domain.locations.model import (
    Business,
    ConnectorContent,
    ConnectorFormat,
    EvseContent,
    EvseParking,
    EvseStatus,
    ExceptionalPeriod,
    GeoPoint,
    Hours,
    LocationContent,
    ParkingPlace,
    PaymentMethod,
    PowerType,
    PublishToken,
    RegularHours,
)
from chargeplane.domain.rating.result import Cost, TaxAmount
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.published import ConnectorNow, EvseNow, SessionNow
from chargeplane.domain.tariffs.model import (
    DisplayText,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffDimension,
    TariffElement,
    TariffType,
    TaxIncluded,
)
from chargeplane.ocpi.documents import decode
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
US = PartyId(country_code="DE", party_id="CPO")
DRIVER = RoamingDriver(
    connection_id=7,
    country_code="NL",
    party_id="TNM",
    uid="012345678",
    type="RFID",
    contract_id="NL-TNM-C12345678-X",
    auth_method=AuthMethod.AUTH_REQUEST,
    authorization_reference="REF-1",
)
PLACE = CdrPlace(
    id="LOC1",
    name="Yard",
    address="Torstr. 1",
    city="Berlin",
    postal_code="10119",
    state=None,
    country="DEU",
    country_alpha2="DE",
    latitude="52.52900",
    longitude="13.40100",
    time_zone="Europe/Berlin",
    evse_uid="E1",
    evse_id="DE*CPO*E1",
    connector_id="1",
    connector_standard="IEC_62196_T2",
    connector_format="SOCKET",
    connector_power_type="AC_3_PHASE",
)


def accepted(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """The document as partners read it."""
    found = decode(kind, Version.V2_3_0, written(document))
    assert found.unknown() == ()
    assert found.repairs == ()
    return dict(msgspec.json.decode(found.encode()))


def evse(**more: Any) -> EvseNow:
    fields: dict[str, Any] = {
        "content": EvseContent(evse_id="DE*CPO*E1"),
        "uid": "E1",
        "status": EvseStatus.AVAILABLE,
        "bound": True,
        "connectors": [
            ConnectorNow(
                content=ConnectorContent(
                    id="1",
                    standard="IEC_62196_T2",
                    format=ConnectorFormat.SOCKET,
                    power_type=PowerType.AC_3_PHASE,
                    max_voltage=230,
                    max_amperage=32,
                    tariff_ids=("T",),
                ),
                last_updated=AT,
            )
        ],
        "last_updated": AT,
    }
    return EvseNow(**(fields | more))


def place(**more: Any) -> LocationContent:
    fields: dict[str, Any] = {
        "address": "Torstr. 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": GeoPoint(latitude="52.52900", longitude="13.40100"),
    }
    return LocationContent(**(fields | more))


def test_times_fit_ocpis_25_characters() -> None:
    assert moment(AT) == "2026-03-01T12:00:00.123Z"
    assert len(moment(AT)) <= 25


@pytest.mark.parametrize(
    ("value", "said"), [("0", "0"), ("1.50", "1.5"), ("0.123456", "0.1235"), ("1E+2", "100"), ("-3.0", "-3")]
)
def test_numbers_have_four_decimals_and_no_exponent(value: str, said: str) -> None:
    assert written({"n": number(Decimal(value))}) == f'{{"n":{said}}}'.encode()


def test_location_has_all_that_is_described() -> None:
    content = place(
        name="Yard",
        publish=False,
        publish_allowed_to=(PublishToken(visual_number="12", issuer="NewMotion"),),
        operator=Business(name="We", website="https://we.example"),
        facilities=("HOTEL",),
        help_phone="+49 30 1",
        directions=(DisplayText(language="de", text="Links"),),
        opening_times=Hours(
            twentyfourseven=False,
            regular_hours=(RegularHours(weekday=1, period_begin="08:00", period_end="20:00"),),
            exceptional_closings=(ExceptionalPeriod(period_begin=AT, period_end=AT),),
        ),
        parking_places=(
            ParkingPlace(
                id="P1", vehicle_types=("PERSONAL_VEHICLE",), restricted_to_type=False, reservation_required=False
            ),
        ),
        tags=("secret-word",),
    )
    parked = evse(content=EvseContent(evse_id="DE*CPO*E1", parking=(EvseParking(parking_id="P1"),)))
    said = accepted(Kind.LOCATION, location_document(content, "LOC1", [parked], US, AT))
    assert (said["country_code"], said["party_id"], said["id"]) == ("DE", "CPO", "LOC1")
    assert said["publish_allowed_to"] == [{"visual_number": "12", "issuer": "NewMotion"}]
    assert said["opening_times"]["exceptional_closings"][0]["period_begin"] == "2026-03-01T12:00:00.123Z"
    assert said["evses"][0]["parking"] == [{"parking_id": "P1"}]
    assert said["charging_when_closed"] is True
    assert b"secret-word" not in written(said)


def test_published_location_names_no_tokens() -> None:
    content = place(publish=True, publish_allowed_to=(PublishToken(uid="1"),), party_id="SUB", country_code="NL")
    said = accepted(Kind.LOCATION, location_document(content, "LOC1", [], US, AT))
    assert "publish_allowed_to" not in said
    assert (said["country_code"], said["party_id"]) == ("NL", "SUB")


def test_removed_evse_gives_back_its_evse_id_and_cannot_be_started() -> None:
    gone = evse(status=EvseStatus.REMOVED)
    (said,) = accepted(Kind.LOCATION, location_document(place(), "LOC1", [gone], US, AT))["evses"]
    assert said["status"] == "REMOVED"
    assert "evse_id" not in said
    assert "capabilities" not in said


def test_accepted_ways_to_pay_are_published_per_evse() -> None:
    paid = EvseContent(
        payment_methods=(
            PaymentMethod.CONTRACT,
            PaymentMethod.PLUG_AND_CHARGE,
            PaymentMethod.TERMINAL_CREDIT_CARD,
            PaymentMethod.TERMINAL_DEBIT_CARD,
            PaymentMethod.TERMINAL_CONTACTLESS,
        ),
        capabilities=("RFID_READER", "CREDIT_CARD_PAYABLE"),
        accepted_service_providers=("Elaad",),
    )
    assert capabilities_of(paid, bound=True) == [
        "RFID_READER",
        "CREDIT_CARD_PAYABLE",
        "DEBIT_CARD_PAYABLE",
        "CONTACTLESS_CARD_SUPPORT",
        "REMOTE_START_STOP_CAPABLE",
    ]
    (said,) = accepted(Kind.LOCATION, location_document(place(), "L", [evse(content=paid)], US, AT))["evses"]
    assert said["accepted_service_providers"] == ["Elaad"]
    assert said["connectors"][0]["capabilities"] == ["ISO_15118_2_PLUG_AND_CHARGE"]


TARIFF = Tariff(
    id="T",
    version=3,
    last_updated=AT,
    currency="EUR",
    type=TariffType.REGULAR,
    tax_included=TaxIncluded.NO,
    tariff_alt_text=(DisplayText(language="en", text="2 per hour"),),
    min_price=PriceLimit(before_taxes=Decimal("0.50")),
    elements=(
        TariffElement(
            price_components=(
                PriceComponent(type=TariffDimension.ENERGY, price=Decimal("0.2500"), vat=Decimal("19.0"), step_size=0),
            ),
            restrictions=Restrictions(start_time="09:00", max_kwh=Decimal("20.5")),
        ),
        TariffElement(
            price_components=(PriceComponent(type=TariffDimension.FLAT, price=Decimal(0)),), restrictions=Restrictions()
        ),
    ),
)


def test_tariff_keeps_prices_and_restrictions() -> None:
    said = accepted(Kind.TARIFF, tariff_document(TARIFF, "T", US, AT))
    first, second = said["elements"]
    assert first["price_components"] == [{"type": "ENERGY", "price": 0.25, "vat": 19, "step_size": 1}]
    assert first["restrictions"] == {"start_time": "09:00", "max_kwh": 20.5}
    assert second == {"price_components": [{"type": "FLAT", "price": 0, "step_size": 1}]}
    assert said["tax_included"] == "NO"
    assert said["min_price"] == {"before_taxes": 0.5}


PERIODS = (
    ChargingPeriod(
        start_date_time=AT,
        dimensions=(
            Dimension(type=DimensionType.ENERGY, volume=Decimal("12.345678")),
            Dimension(type=DimensionType.TIME, volume=Decimal("1.5")),
        ),
    ),
)


def cost(excl: str, tax: str) -> Cost:
    return Cost(
        excl=Decimal(excl),
        incl=Decimal(excl) + Decimal(tax),
        taxes=(TaxAmount(name="VAT", percentage=Decimal(19), base=Decimal(excl), amount=Decimal(tax)),),
    )


CONTENT = CdrContent(
    station_id="CS1",
    ocpp_transaction_id="tx",
    place=PLACE,
    token=None,
    agreement=None,
    priced_by=PricedBy.CONNECTOR,
    started_at=AT,
    ended_at=AT,
    stop_reason="Local",
    tariff=TARIFF,
    charging_periods=PERIODS,
    totals=Totals(
        energy_kwh=Decimal("12.345678"),
        time_h=Decimal("1.5"),
        parking_time_h=Decimal("0.25"),
        reservation_time_h=Decimal(0),
        cost=cost("3.09", "0.59"),
        energy_cost=cost("3.0864", "0.5864"),
    ),
    rating=None,
    roaming=DRIVER,
)


def test_cdr_has_driver_place_tariff_and_totals() -> None:
    signed = signed_document(signed_values(["OCMF|{}|{}", "OCMF|{1}|{}", "OCMF|{2}|{}"]), "S0VZ")
    document = cdr_document("11", 5, CONTENT, DRIVER, US, AT, signed=signed)
    assert document is not None
    said = accepted(Kind.CDR, document)
    assert said["cdr_token"] == {
        "country_code": "NL",
        "party_id": "TNM",
        "uid": "012345678",
        "type": "RFID",
        "contract_id": "NL-TNM-C12345678-X",
    }
    assert (said["auth_method"], said["authorization_reference"], said["session_id"]) == ("AUTH_REQUEST", "REF-1", "5")
    assert said["cdr_location"]["evse_id"] == "DE*CPO*E1"
    assert said["tariffs"][0]["id"] == "T"
    assert said["charging_periods"][0]["tariff_id"] == "T"
    assert said["total_cost"] == {
        "before_taxes": 3.09,
        "taxes": [{"name": "VAT", "percentage": 19, "amount": 0.59}],
    }
    assert said["total_energy"] == 12.3457
    assert "total_fixed_cost" not in said
    natures = [one["nature"] for one in said["signed_data"]["signed_values"]]
    assert natures == ["Start", "Intermediate", "End"]
    first = said["signed_data"]["signed_values"][0]
    assert base64.b64decode(first["signed_data"]).decode() == first["plain_data"] == "OCMF|{}|{}"
    assert said["signed_data"]["public_key"] == "S0VZ"


def test_credit_negates_the_total_alone_and_names_what_it_takes_back() -> None:
    document = cdr_document("12", 5, credit_of(CONTENT, "wrong"), DRIVER, US, AT, credits="11")
    assert document is not None
    said = accepted(Kind.CDR, document)
    assert (said["credit"], said["credit_reference_id"]) == (True, "11")
    assert said["total_cost"]["before_taxes"] == -3.09
    assert said["total_cost"]["taxes"][0]["amount"] == -0.59
    assert said["total_energy_cost"]["before_taxes"] == 3.0864
    assert said["total_energy"] == 12.3457


def test_cdr_without_a_price_is_not_told() -> None:
    unpriced = replace(CONTENT, tariff=None, totals=replace(CONTENT.totals, cost=None))
    assert cdr_document("13", 5, unpriced, DRIVER, US, AT) is None


@pytest.mark.parametrize(
    ("state", "status", "ended"),
    [
        (SessionState.ACTIVE, "ACTIVE", False),
        (SessionState.ENDED, "ACTIVE", False),
        (SessionState.SETTLED, "COMPLETED", True),
    ],
)
def test_session_is_completed_only_when_it_is_settled(state: SessionState, status: str, ended: bool) -> None:
    now = SessionNow(
        id=5,
        place=PLACE,
        driver=DRIVER,
        state=state,
        started_at=AT,
        stopped_at=AT,
        energy_wh=Decimal(12345),
        currency=None,
        cost=None,
        tariff_id=None,
        periods=PERIODS,
        last_updated=AT,
    )
    said = accepted(Kind.SESSION, session_document(now, US))
    assert said["status"] == status
    assert ("end_date_time" in said) is ended
    assert said["kwh"] == 12.345
    assert "total_cost" not in said
    said = accepted(
        Kind.SESSION, session_document(replace(now, cost=(Decimal(1), Decimal("1.19")), currency="EUR"), US)
    )
    assert said["total_cost"] == {"before_taxes": 1, "taxes": [{"name": "VAT", "amount": 0.19}]}
