"""The schema says of a field what its type says."""

from __future__ import annotations

import pytest
from msgspec import Struct

from chargeplane.ocpi.schema import Base, fields_of
from chargeplane.ocpi.v2_3_0.enums import ConnectorType, Status
from chargeplane.ocpi.v2_3_0.locations import EVSE, Connector, Location, RegularHours


def test_required_and_optional_fields_have_their_limits() -> None:
    fields = fields_of(Location)
    assert (fields["address"].max_length, fields["address"].cardinality) == (255, "1")
    assert (fields["state"].max_length, fields["state"].cardinality) == (45, "?")
    assert (fields["id"].ci, fields["city"].ci) == (True, False)


def test_lists_say_whether_one_is_needed() -> None:
    fields = fields_of(EVSE)
    assert (fields["connectors"].cardinality, fields["connectors"].shape) == ("+", Connector)
    assert (fields["images"].cardinality, fields["accepted_service_providers"].max_length) == ("*", 50)


@pytest.mark.parametrize(
    ("shape", "name", "choices", "open_"),
    [(Connector, "standard", ConnectorType, True), (EVSE, "status", Status, False)],
)
def test_enumerations_are_open_or_closed(shape: type[Struct], name: str, choices: type, open_: bool) -> None:
    field = fields_of(shape)[name]
    assert (field.base, field.choices, field.open) == (Base.ENUM, choices, open_)


def test_whole_numbers_have_bounds() -> None:
    weekday = fields_of(RegularHours)["weekday"]
    assert (weekday.base, weekday.low, weekday.high) == (Base.INT, 1, 7)
