"""Every example of the specification decodes and is written again as it was, but for those that break its own rules."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chargeplane.ocpi.documents import Document, DocumentError, encode_tree, parse, read
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.repairs import Walk
from chargeplane.ocpi.v2_3_0.types import DisplayText
from chargeplane.ocpi.versions import Version
from tests.support.ocpi_examples import VARIABLE, folder

BRANCHES = {
    "2.2.1": Version.V2_2_1,
    "2.3.0-core": Version.V2_3_0,
    "2.3.0-payments": Version.V2_3_0,
    "2.3.0-bookings": Version.V2_3_0,
}

# By the start of the file's name, the first that fits; partial ones are parts of an object, or bodies of a PATCH.
KINDS: tuple[tuple[str, Kind, bool], ...] = (
    ("booking_location_patch_example_calendar", Kind.CALENDAR, True),
    ("booking_location_patch", Kind.BOOKING_LOCATION, True),
    ("booking_location", Kind.BOOKING_LOCATION, False),
    ("booking_patch", Kind.BOOKING, True),
    ("booking_request_patch", Kind.BOOKING_REQUEST, True),
    ("booking", Kind.BOOKING, False),
    ("cdr", Kind.CDR, False),
    ("credentials", Kind.CREDENTIALS, False),
    ("location_energymix", Kind.LOCATION, True),
    ("location_patch_example_tariff", Kind.CONNECTOR, True),
    ("location_patch_example_location", Kind.LOCATION, True),
    ("location_patch", Kind.EVSE, True),
    ("location_put_example_add_evse", Kind.EVSE, False),
    ("location_hours", Kind.LOCATION, True),
    ("location_regularhours", Kind.LOCATION, True),
    ("location", Kind.LOCATION, False),
    ("payment_financial_advice", Kind.FINANCIAL_ADVICE_CONFIRMATION, False),
    ("payment_terminal_activate", Kind.TERMINAL_ACTIVATION, False),
    ("payment_terminal_location_assignment", Kind.TERMINAL, True),
    ("payment_terminal_put_update", Kind.TERMINAL, True),
    ("payment_terminal", Kind.TERMINAL, False),
    ("session_patch", Kind.SESSION, True),
    ("session", Kind.SESSION, False),
    ("tariffrestriction", Kind.TARIFF, True),
    ("tariff", Kind.TARIFF, False),
    ("token_patch", Kind.TOKEN, True),
    ("token", Kind.TOKEN, False),
    ("transport_and_format_get_token", Kind.TOKEN, False),
    ("transport_and_format_version_details", Kind.VERSION_DETAILS, False),
    ("transport_and_format_version_info", Kind.VERSION, False),
    ("version_details", Kind.VERSION_DETAILS, False),
    ("versions_info", Kind.VERSION, False),
)

# File name -> the fields that are wrong. These break the specification's own tables and are refused.
REFUSED: dict[str, set[str]] = {
    # The body of a PUT without last_updated, which is required.
    "tariff_put_example": {"/last_updated"},
    # Connectors without what a connector must have.
    "location_put_example_add_evse": {
        f"/connectors/0/{name}" for name in ("power_type", "max_voltage", "max_amperage")
    },
    # Requests of the booking without what they are for.
    "booking_example": {f"/booking_requests/{place}/booking_request/booking_location_id" for place in (0, 1)},
    # Seconds of 99.
    "booking_location_example": {
        f"/calendars/{place}/{name}"
        for place in (0, 1)
        for name in ("end_before", "available_timeslots/0/end_date_time")
    },
    # The names of fields end in a space.
    "booking_location_patch_example_calendar": {
        f"/available_timeslots/0/{name}" for name in ("start_date_time", "end_date_time")
    },
    # Terms without what they require: objects inside a PATCH are whole.
    "booking_location_patch_example_terms": {
        f"/booking_terms/{name}"
        for name in ("supported_access_methods", "change_until_minutes", "cancel_until_minutes")
    },
    # A failed capture without eft_data, which is required.
    "payment_financial_advice_confirmation_example_failure": {"/eft_data"},
}
REFUSED_IN: dict[tuple[str, str], set[str]] = {
    # Embedded tariffs are still those of 2.2.1.
    **{(branch, "cdr_example"): {"/tariffs/0/tax_included"} for branch in BRANCHES if branch.startswith("2.3.0")},
    # Places of parking are named by their ids alone, as in the first edition.
    ("2.3.0-bookings", "location_example"): {f"/evses/{evse}/parking/{place}" for evse in (0, 1) for place in (0, 1)},
    ("2.3.0-bookings", "location_example_parking_garage_opening_hours"): {"/evses/0/parking/0"},
}

# File name -> repairs that are due: the example breaks a rule in a way that partners do, too.
REPAIRED: dict[str, set[str]] = {
    # Amounts as in 2.2.1.
    "payment_financial_advice_confirmation_create": {"/total_costs"},
    "payment_financial_advice_confirmation_example_success": {"/total_costs"},
    # The body of a POST with nothing but the id, as the chapter allows and its table does not.
    "payment_terminal_create_minimal": {"/last_updated"},
}


def examples() -> list[Any]:
    place = folder()
    if place is None:
        return []
    return [
        pytest.param(branch, path, id=f"{branch}-{path.stem}")
        for branch in BRANCHES
        for path in sorted((place / branch).glob("*.json"))
    ]


EXAMPLES = examples()


def test_the_examples_are_there() -> None:
    if not EXAMPLES:
        print(f"skipped: the examples of OCPI, 4 folders (set {VARIABLE} to where they are)")
        pytest.skip(f"the examples of OCPI are not here: 4 folders skipped ({VARIABLE})")
    assert len(EXAMPLES) > 200


@pytest.mark.parametrize(("branch", "path"), EXAMPLES)
def test_an_example_is_written_as_it_was(branch: str, path: Path) -> None:
    if path.stem == "type_displaytext_example":
        walk = Walk(lambda _choices, _value: False)
        walk.object(parse(path.read_bytes()), DisplayText, "")
        assert (walk.errors, walk.repairs) == ([], [])
        return
    kind, partial = next((kind, partial) for start, kind, partial in KINDS if path.stem.startswith(start))
    sent = _body(path)
    wrong = REFUSED_IN.get((branch, path.stem)) or REFUSED.get(path.stem)
    for tree in sent if isinstance(sent, list) else [sent]:
        if wrong is not None:
            with pytest.raises(DocumentError) as caught:
                read(kind, BRANCHES[branch], tree, partial=partial)
            assert {pointer for pointer, _ in caught.value.fields} == wrong
            continue
        document = read(kind, BRANCHES[branch], tree, partial=partial)
        _same(document, tree, REPAIRED.get(path.stem, set()))


def _body(path: Path) -> Any:
    tree = json.loads(path.read_bytes(), parse_float=Decimal)
    return tree["data"] if path.stem.startswith("transport_and_format") else tree


def _same(document: Document, sent: Any, repaired: set[str]) -> None:
    assert {repair.pointer for repair in document.repairs} == repaired
    if not repaired:
        written = document.encode()
        assert written == encode_tree(sent)  # fields in their order, numbers with their digits
        by_others = json.loads(written, parse_float=Decimal)  # not by our own reader alone
        assert by_others == sent
