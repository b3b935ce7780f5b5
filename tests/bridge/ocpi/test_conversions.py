"""What becomes of single fields between the versions: "Between the versions" of the chapters, row by row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from chargeplane.bridge.ocpi import Context, Party, UnconvertibleError, Why, convert, to_canonical
from chargeplane.bridge.ocpi.zones import zone_of
from chargeplane.ocpi.documents import decode, encode_tree, problems
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.v2_3_0.enums import Role
from chargeplane.ocpi.versions import Version

V211, V221, V230 = Version.V2_1_1, Version.V2_2_1, Version.V2_3_0
AT = "2026-01-01T10:00:00Z"
CONTEXT = Context(owner=Party("BE", "BEC"), token_owner=Party("NL", "TNM"))


def down(kind: Kind, tree: dict[str, Any], target: Version, context: Context = CONTEXT) -> tuple[Any, dict[str, Why]]:
    made = convert(kind, tree, V230, target, context)
    return made.tree, {loss.pointer: loss.why for loss in made.losses}


def up(kind: Kind, tree: dict[str, Any], source: Version, context: Context = CONTEXT) -> dict[str, Any]:
    made = convert(kind, tree, source, V230, context).tree
    assert isinstance(made, dict)
    return made


def connector(**more: Any) -> dict[str, Any]:
    made = {"id": "1", "standard": "IEC_62196_T2", "format": "CABLE", "power_type": "AC_3_PHASE"}
    return {**made, "max_voltage": 230, "max_amperage": 16, "last_updated": AT, **more}


def location(*connectors: dict[str, Any], **more: Any) -> dict[str, Any]:
    evse = {"uid": "E1", "status": "AVAILABLE", "connectors": list(connectors) or [connector()], "last_updated": AT}
    own = {"country_code": "BE", "party_id": "BEC", "id": "LOC1", "publish": True, "address": "A 1", "city": "Gent"}
    place = {"country": "BEL", "coordinates": {"latitude": "51.047599", "longitude": "3.729944"}, "postal_code": "9000"}
    return {**own, **place, "time_zone": "Europe/Brussels", "evses": [evse], "last_updated": AT, **more}


def old_location(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = convert(Kind.LOCATION, location(), V230, V211, CONTEXT).tree
    return {**made, **more}


def tariff(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {"country_code": "BE", "party_id": "BEC", "id": "T1", "currency": "EUR", "tax_included": "NO"}
    return {**own, "elements": [{"price_components": list(components) or [price("0.30")]}], "last_updated": AT, **more}


def price(amount: str, vat: str | None = None) -> dict[str, Any]:
    made = {"type": "ENERGY", "price": Decimal(amount), "step_size": 1}
    return made if vat is None else {**made, "vat": Decimal(vat)}


def token(**more: Any) -> dict[str, Any]:
    own = {"country_code": "NL", "party_id": "TNM", "uid": "U1", "type": "RFID", "contract_id": "NL-TNM-1"}
    return {**own, "issuer": "TNM", "valid": True, "whitelist": "NEVER", "last_updated": AT, **more}


def session(**more: Any) -> dict[str, Any]:
    who = {"country_code": "NL", "party_id": "TNM", "uid": "NL-TNM-1", "type": "RFID", "contract_id": "NL-TNM-1"}
    where = {"location_id": "LOC1", "evse_uid": "E1", "connector_id": "1"}
    own = {"country_code": "BE", "party_id": "BEC", "id": "S1", "start_date_time": AT, "kwh": 1, "cdr_token": who}
    return {
        **own,
        **where,
        "auth_method": "WHITELIST",
        "currency": "EUR",
        "status": "ACTIVE",
        "last_updated": AT,
        **more,
    }


def cdr(**more: Any) -> dict[str, Any]:
    place = {"id": "LOC1", "address": "A 1", "city": "Gent", "postal_code": "9000", "country": "BEL"}
    place |= {"evse_uid": "E1", "evse_id": "BE*BEC*E1", "connector_id": "1", "connector_standard": "IEC_62196_T2"}
    spot = {**place, "coordinates": {"latitude": "51.047599", "longitude": "3.729944"}}
    spot |= {"connector_format": "CABLE", "connector_power_type": "AC_3_PHASE"}
    ours = {name: value for name, value in session().items() if name not in _OF_SESSIONS}
    period = {"start_date_time": AT, "dimensions": [{"type": "ENERGY", "volume": 1}]}
    totals = {"total_cost": {"before_taxes": 1}, "total_energy": 1, "total_time": 1}
    return {**ours, "end_date_time": AT, "cdr_location": spot, "charging_periods": [period], **totals, **more}


_OF_SESSIONS = ("location_id", "evse_uid", "connector_id", "kwh", "status")

# Prices


def test_vat_of_2_2_1_is_the_sum_of_the_taxes() -> None:
    taxes = [{"name": "GST", "amount": Decimal("0.50")}, {"name": "QST", "amount": Decimal("1.00")}]
    made, losses = down(Kind.SESSION, session(total_cost={"before_taxes": Decimal("10.00"), "taxes": taxes}), V221)
    assert made["total_cost"] == {"excl_vat": Decimal("10.00"), "incl_vat": Decimal("11.50")}
    assert losses == {"/total_cost/taxes": Why.NO_FIELD}


def test_an_amount_without_known_taxes_has_no_amount_with_vat() -> None:
    made, losses = down(Kind.SESSION, session(total_cost={"before_taxes": 10}), V221)
    assert (made["total_cost"], losses) == ({"excl_vat": 10}, {})


@pytest.mark.parametrize("vat", ["12.10", "10"])
def test_vat_of_2_2_1_becomes_a_tax_and_comes_back(vat: str) -> None:
    old = {"excl_vat": Decimal("10"), "incl_vat": Decimal(vat)}
    tree = down(Kind.SESSION, session(), V221)[0] | {"total_cost": old}
    new = up(Kind.SESSION, tree, V221)
    assert new["total_cost"] == {"before_taxes": 10, "taxes": [{"name": "VAT", "amount": Decimal(vat) - 10}]}
    assert down(Kind.SESSION, new, V221) == (tree, {})


def test_2_1_1_has_the_amount_without_taxes() -> None:
    cost = {"before_taxes": Decimal("10.00"), "taxes": [{"name": "VAT", "amount": 2}]}
    made, losses = down(Kind.CDR, cdr(total_cost=cost), V211)
    assert (made["total_cost"], losses["/total_cost/taxes"]) == (Decimal("10.00"), Why.NO_FIELD)


# Tariffs


def test_taxes_are_taken_out_of_prices_that_include_them() -> None:
    made, losses = down(Kind.TARIFF, tariff(price("0.363", "21"), tax_included="YES"), V221)
    assert made["elements"][0]["price_components"][0]["price"] == Decimal("0.3")
    assert (losses, "tax_included" in made) == ({}, False)


def test_a_price_without_end_is_rounded_and_told() -> None:
    made, losses = down(Kind.TARIFF, tariff(price("0.30", "19"), tax_included="YES"), V211)
    assert made["elements"][0]["price_components"][0]["price"] == Decimal("0.252101")
    assert losses["/elements/0/price_components/0/price"] is Why.ROUNDED


def test_a_price_with_unknown_taxes_inside_is_told() -> None:
    _, losses = down(Kind.TARIFF, tariff(price("0.30"), tax_included="YES"), V221)
    assert losses == {"/elements/0/price_components/0/price": Why.TAXES}


def test_older_tariffs_are_without_taxes() -> None:
    assert up(Kind.TARIFF, down(Kind.TARIFF, tariff(), V221)[0], V221)["tax_included"] == "NO"
    assert up(Kind.TARIFF, down(Kind.TARIFF, tariff(), V211)[0], V211)["tax_included"] == "NO"


def test_limits_are_prices_in_2_2_1_and_nothing_in_2_1_1() -> None:
    new = tariff(min_price={"before_taxes": 1, "after_taxes": Decimal("1.21")})
    assert down(Kind.TARIFF, new, V221)[0]["min_price"] == {"excl_vat": 1, "incl_vat": Decimal("1.21")}
    assert down(Kind.TARIFF, new, V211)[1] == {"/min_price": Why.NO_FIELD}


@pytest.mark.parametrize(
    ("restriction", "target"),
    [({"max_current": 16}, V211), ({"reservation": "RESERVATION"}, V211), ({"booking": "BOOKING"}, V221)],
)
def test_an_element_whose_restriction_cannot_be_said_is_left_out(restriction: dict[str, Any], target: Version) -> None:
    restricted = {"price_components": [price("9")], "restrictions": {"min_kwh": 1, **restriction}}
    new = tariff()
    new["elements"].append(restricted)
    made, losses = down(Kind.TARIFF, new, target)
    assert len(made["elements"]) == 1
    assert losses["/elements/1"] is Why.NO_RESTRICTION
    with pytest.raises(UnconvertibleError):
        convert(Kind.TARIFF, {**new, "elements": [restricted]}, V230, target, CONTEXT)


# Locations


@pytest.mark.parametrize(
    ("target", "standard", "left"),
    [
        (V221, "MCS", None),
        (V211, "MCS", None),
        (V221, "SAE_J3400", "TESLA_S"),
        (V211, "GBT_DC", None),
        (V221, "GBT_DC", "GBT_DC"),
    ],
)
def test_connectors_of_standards_that_a_version_does_not_know(target: Version, standard: str, left: str | None) -> None:
    made, losses = down(Kind.LOCATION, location(connector(), connector(id="2", standard=standard)), target)
    standards = [one["standard"] for one in made["evses"][0]["connectors"]]
    assert standards == ["IEC_62196_T2", *([left] if left else [])]
    assert ("/evses/0/connectors/1/standard" in losses) is (left != standard)
    assert problems(Kind.LOCATION, target, made) == ()


def test_an_evse_of_which_no_connector_is_left_goes_and_is_told() -> None:
    made, losses = down(Kind.LOCATION, location(connector(standard="MCS")), V221)
    assert made["evses"] == []
    assert losses["/evses/0"] is Why.EMPTIED


def test_capabilities_that_a_version_does_not_know_are_told() -> None:
    evse = {**location()["evses"][0], "capabilities": ["RFID_READER", "PED_TERMINAL", "NLABC_X"]}
    made, losses = down(Kind.EVSE, evse, V211)
    assert made["capabilities"] == ["RFID_READER"]
    assert losses == {"/capabilities/1": Why.NO_VALUE, "/capabilities/2": Why.NO_VALUE}


@pytest.mark.parametrize(
    ("parking", "kind", "lost"),
    [
        ("ON_STREET", "ON_STREET", False),
        (None, "UNKNOWN", False),
        ("ALONG_MOTORWAY", "OTHER", True),
        ("ON_DRIVEWAY", "OTHER", True),
    ],
)
def test_types_of_location(parking: str | None, kind: str, lost: bool) -> None:
    new = location() if parking is None else location(parking_type=parking)
    made, losses = down(Kind.LOCATION, new, V211)
    assert (made["type"], "/parking_type" in losses) == (kind, lost)
    assert up(Kind.LOCATION, made, V211).get("parking_type") == (None if parking is None else kind)


def test_connectors_of_2_1_1_have_one_tariff() -> None:
    made, losses = down(Kind.CONNECTOR, connector(tariff_ids=["A", "B"]), V211)
    assert (made["tariff_id"], made["voltage"], losses) == ("A", 230, {"/tariff_ids/1": Why.ONE_ONLY})
    assert up(Kind.CONNECTOR, made, V211)["tariff_ids"] == ["A"]


def test_2_1_1_shows_every_location() -> None:
    _, losses = down(Kind.LOCATION, location(publish=False), V211)
    assert losses == {"/publish": Why.SHOWN_TO_ALL}


def test_long_addresses_are_cut_and_ids_are_not() -> None:
    made, losses = down(Kind.LOCATION, location(address="A" * 60, id="L" * 60), V211)
    assert (len(made["address"]), len(made["id"]), losses) == (45, 60, {"/address": Why.CUT})


def test_the_owner_and_the_time_zone_of_a_location_of_2_1_1_come_from_elsewhere() -> None:
    made = convert(Kind.LOCATION, old_location(), V211, V230, CONTEXT)
    assert (made.tree["country_code"], made.tree["party_id"], made.tree["publish"]) == ("BE", "BEC", True)
    tree = old_location()
    del tree["time_zone"]
    assert up(Kind.LOCATION, tree, V211)["time_zone"] == "Europe/Brussels"
    with pytest.raises(UnconvertibleError, match="country_code"):
        convert(Kind.LOCATION, tree, V211, V230)


def test_a_postal_code_that_2_1_1_asks_for_is_made_up_and_told() -> None:
    new = location()
    del new["postal_code"]
    made = convert(Kind.LOCATION, new, V230, V211, CONTEXT)
    assert [(filled.pointer, filled.value) for filled in made.filled] == [("/postal_code", "-")]
    assert "postal_code" not in up(Kind.LOCATION, made.tree, V211)


@pytest.mark.parametrize(
    ("country", "latitude", "longitude", "zone"),
    [
        ("BEL", None, None, "Europe/Brussels"),
        ("ESP", "28.1", "-15.4", "Atlantic/Canary"),
        ("USA", "37.77", "-122.4", "America/Los_Angeles"),
        ("USA", None, None, None),
        ("XYZ", "1", "1", None),
    ],
)
def test_zones_of_places(country: str, latitude: str | None, longitude: str | None, zone: str | None) -> None:
    assert zone_of(country, latitude, longitude) == zone


def test_a_patch_gets_no_field_that_it_had_not() -> None:
    made = convert(Kind.LOCATION, {"name": "N", "last_updated": AT}, V211, V230, CONTEXT, partial=True)
    assert (made.tree, made.filled) == ({"name": "N", "last_updated": AT}, ())
    made = convert(Kind.EVSE, {"status": "CHARGING", "last_updated": AT}, V230, V211, CONTEXT, partial=True)
    assert made.tree == {"status": "CHARGING", "last_updated": AT}


# Tokens


@pytest.mark.parametrize(("target", "kind"), [(V221, "EMAID"), (V211, "EMAID"), (V211, "APP_USER")])
def test_types_of_token_that_a_version_does_not_know(target: Version, kind: str) -> None:
    made, losses = down(Kind.TOKEN, token(type=kind), target)
    assert (made["type"], losses) == ("OTHER", {"/type": Why.NEAREST})


def test_the_contract_is_the_auth_id_of_2_1_1() -> None:
    made, losses = down(Kind.TOKEN, token(), V211)
    assert (made["auth_id"], "country_code" in made, losses) == ("NL-TNM-1", False, {})
    assert up(Kind.TOKEN, made, V211) == token()


def test_an_authorisation_of_2_1_1_is_about_the_token_that_was_asked_for() -> None:
    old = {"allowed": "ALLOWED", "location": {"location_id": "L", "evse_uids": ["E"], "connector_ids": ["1"]}}
    context = Context(asked_token=token())
    new = up(Kind.AUTHORIZATION_INFO, old, V211, context)
    assert new["token"] == token()
    assert down(Kind.AUTHORIZATION_INFO, new, V211, context) == (old, {})
    with pytest.raises(UnconvertibleError, match="/token"):
        convert(Kind.AUTHORIZATION_INFO, old, V211, V230)


# Sessions and CDRs


def test_a_session_of_2_1_1_has_its_location_with_the_one_evse_and_connector() -> None:
    context = Context(find_location=lambda *_: location(connector(id="1"), connector(id="2")))
    made, losses = down(Kind.SESSION, session(), V211, context)
    assert made["auth_id"] == "NL-TNM-1"
    assert [one["id"] for one in made["location"]["evses"][0]["connectors"]] == ["1"]
    assert losses == {}
    assert problems(Kind.SESSION, V211, made) == ()


def test_a_session_whose_location_is_not_known_cannot_go_to_2_1_1() -> None:
    with pytest.raises(UnconvertibleError, match="/location"):
        convert(Kind.SESSION, session(), V230, V211)


def test_the_location_of_a_session_of_2_1_1_gives_the_ids_and_stays() -> None:
    context = Context(owner=Party("BE", "BEC"), find_location=lambda *_: location(), find_token=lambda _: token())
    old = down(Kind.SESSION, session(), V211, context)[0]
    new = up(Kind.SESSION, old, V211, context)
    assert (new["location_id"], new["evse_uid"], new["connector_id"]) == ("LOC1", "E1", "1")
    assert new["cdr_token"]["uid"] == "U1"
    assert new["location"] == old["location"]
    # A partner of 2.2.1 never had it.
    assert down(Kind.SESSION, new, V221)[1] == {"/location": Why.NO_FIELD}


def test_a_token_of_2_1_1_that_nobody_knows_is_made_of_its_contract_and_told() -> None:
    old = down(Kind.SESSION, session(), V211, Context(find_location=lambda *_: location()))[0]
    made = convert(Kind.SESSION, old, V211, V230, CONTEXT)
    assert made.tree["cdr_token"] == {**session()["cdr_token"], "type": "OTHER"}
    assert [filled.pointer for filled in made.filled] == ["/cdr_token/uid", "/cdr_token/type"]


def test_a_cdr_of_2_1_1_has_a_location_made_of_what_the_cdr_tells() -> None:
    made, losses = down(Kind.CDR, cdr(), V211)
    assert losses == {}
    evse = made["location"]["evses"][0]
    assert (made["stop_date_time"], evse["uid"], evse["connectors"][0]["standard"]) == (AT, "E1", "IEC_62196_T2")
    assert problems(Kind.CDR, V211, made) == ()
    again = up(Kind.CDR, made, V211)
    assert again["cdr_location"] == cdr()["cdr_location"]


def test_what_a_cdr_loses_downwards_is_told() -> None:
    signed = {"encoding_method": "OCMF", "signed_values": [{"nature": "Start", "plain_data": "a", "signed_data": "b"}]}
    _, losses = down(Kind.CDR, cdr(signed_data=signed, session_id="S1", credit=True), V211)
    assert losses == dict.fromkeys(("/signed_data", "/session_id", "/credit"), Why.NO_FIELD)


def test_a_fee_of_2_1_1_is_no_dimension_later() -> None:
    old = down(Kind.CDR, cdr(), V211)[0]
    old["charging_periods"] = [{"start_date_time": AT, "dimensions": [{"type": "FLAT", "volume": 1}]}]
    made = convert(Kind.CDR, old, V211, V230, CONTEXT)
    assert made.tree["charging_periods"][0]["dimensions"] == [{"type": "TIME", "volume": 0}]
    assert made.losses[0].pointer == "/charging_periods/0/dimensions/0/type"


# Commands, credentials, versions


def test_reservation_ids_are_numbers_in_2_1_1() -> None:
    command = {"response_url": "https://x.test/1", "token": token(), "expiry_date": AT, "location_id": "LOC1"}
    made, losses = down(Kind.RESERVE_NOW, {**command, "reservation_id": "abc"}, V211)
    assert (isinstance(made["reservation_id"], int), losses) == (True, {"/reservation_id": Why.NEAREST})
    assert down(Kind.RESERVE_NOW, {**command, "reservation_id": "42"}, V211)[0]["reservation_id"] == 42
    kept = Context(reservation_number=lambda _: 7)
    assert down(Kind.RESERVE_NOW, {**command, "reservation_id": "abc"}, V211, kept)[0]["reservation_id"] == 7
    assert up(Kind.RESERVE_NOW, made | {"reservation_id": 42}, V211)["reservation_id"] == "42"


def test_2_1_1_answers_commands_with_one_object_both_ways() -> None:
    assert up(Kind.COMMAND_RESPONSE, {"result": "ACCEPTED"}, V211) == {"result": "ACCEPTED", "timeout": 30}
    assert up(Kind.COMMAND_RESULT, {"result": "TIMEOUT"}, V211) == {"result": "TIMEOUT"}
    assert down(Kind.COMMAND_RESULT, {"result": "EVSE_OCCUPIED"}, V211) == (
        {"result": "REJECTED"},
        {"/result": Why.NEAREST},
    )


@pytest.mark.parametrize("kind", [Kind.CANCEL_RESERVATION, Kind.SET_CHARGING_PROFILE, Kind.CLIENT_INFO])
def test_what_2_1_1_does_not_have_cannot_be_sent(kind: Kind) -> None:
    with pytest.raises(UnconvertibleError, match=r"2\.1\.1"):
        convert(kind, {}, V230, V211)


def role(name: str, country: str, party: str) -> dict[str, Any]:
    return {"role": name, "business_details": {"name": party}, "party_id": party, "country_code": country}


def test_a_hub_is_a_role_in_2_2_1_and_a_field_in_2_3_0() -> None:
    new = {"token": "t", "url": "https://x.test", "hub_party_id": "NLHUB", "roles": [role("CPO", "BE", "BEC")]}
    made, losses = down(Kind.CREDENTIALS, new, V221)
    assert [(one["role"], one["country_code"], one["party_id"]) for one in made["roles"]] == [
        ("CPO", "BE", "BEC"),
        ("HUB", "NL", "HUB"),
    ]
    assert losses == {}
    assert up(Kind.CREDENTIALS, made, V221) == new


def test_2_1_1_has_one_party() -> None:
    new = {"token": "t", "url": "https://x.test", "roles": [role("CPO", "BE", "BEC"), role("EMSP", "BE", "MSP")]}
    made, losses = down(Kind.CREDENTIALS, new, V211, Context(peer_role=Role.EMSP))
    assert (made["party_id"], losses) == ("MSP", {"/roles/0": Why.ONE_ONLY})
    assert up(Kind.CREDENTIALS, made, V211, Context(peer_role=Role.EMSP))["roles"] == [role("EMSP", "BE", "MSP")]


def test_endpoints_of_2_1_1_are_those_of_what_the_partner_is() -> None:
    listed = [{"identifier": name, "url": f"https://x.test/{name}"} for name in ("locations", "tokens", "commands")]
    old = {"version": "2.1.1", "endpoints": listed}
    as_cpo = up(Kind.VERSION_DETAILS, old, V211, Context(peer_role=Role.CPO))
    assert [one["role"] for one in as_cpo["endpoints"]] == ["SENDER", "RECEIVER", "RECEIVER"]
    as_emsp = up(Kind.VERSION_DETAILS, old, V211, Context(peer_role=Role.EMSP))
    assert [one["role"] for one in as_emsp["endpoints"]] == ["RECEIVER", "SENDER", "SENDER"]


def test_the_list_of_versions_is_the_same_in_all() -> None:
    entry = {"version": "2.3.0", "url": "https://x.test"}
    assert down(Kind.VERSION, entry, V211) == (entry, {})


# The whole


def test_from_2_1_1_to_2_2_1_goes_through_the_canonical_version() -> None:
    made = convert(Kind.LOCATION, old_location(type="OTHER"), V211, V221, CONTEXT)
    assert problems(Kind.LOCATION, V221, made.tree) == ()
    assert [(loss.value, loss.why) for loss in made.losses] == [("OTHER", Why.NO_VALUE)]


def test_what_was_received_is_read_again_as_the_canonical_struct() -> None:
    document = decode(Kind.LOCATION, V211, encode_tree(old_location()))
    canonical, made = to_canonical(document, CONTEXT)
    assert (canonical.version, canonical.value.evses[0].connectors[0].max_voltage) == (V230, 230)
    assert made.losses == ()
    assert to_canonical(canonical)[0] is canonical


def test_a_tree_that_is_no_such_object_is_no_crash() -> None:
    with pytest.raises(UnconvertibleError):
        convert(Kind.SESSION, {"total_cost": 3, "cdr_token": 4}, V230, V211)
