"""The examples of OCPI 2.1.1, which stand in its chapters: read from a clone of the specification where there is one."""

from __future__ import annotations

import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chargeplane.ocpi.documents import DocumentError, encode_tree, read
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from ocpi_specification import VARIABLE, examples, repository

# (chapter and heading, by its start) -> what it is; partial ones are parts of an object, or bodies of a PATCH.
KINDS: tuple[tuple[str, Kind, bool], ...] = (
    ("credentials.md", Kind.CREDENTIALS, False),
    ("mod_cdrs.md", Kind.CDR, False),
    ("mod_locations.md: Example: a simple", Kind.EVSE, True),
    ("mod_locations.md: Example: change", Kind.LOCATION, True),
    ("mod_locations.md: Example: set tariff", Kind.CONNECTOR, True),
    ("mod_locations.md: Example: add", Kind.EVSE, False),
    ("mod_locations.md: Example: delete", Kind.EVSE, True),
    ("mod_locations.md: Example", Kind.LOCATION, False),
    ("mod_locations.md", Kind.LOCATION, True),
    ("mod_sessions.md: Example: update", Kind.SESSION, True),
    ("mod_sessions.md", Kind.SESSION, False),
    ("mod_tariffs.md: Example: Change", Kind.TARIFF, True),
    ("mod_tariffs.md", Kind.TARIFF, False),
    ("mod_tokens.md: Example: invalidate", Kind.TOKEN, True),
    ("mod_tokens.md", Kind.TOKEN, False),
    ("transport_and_format.md: Example: Version information", Kind.VERSION, False),
    ("transport_and_format.md: Example: Version details", Kind.VERSION_DETAILS, False),
    ("transport_and_format.md: Example: Tokens", Kind.TOKEN, False),
    ("version_information_endpoint.md", Kind.VERSION_DETAILS, False),
)

# Chapter and heading -> the fields that are wrong; these break the tables of the specification.
REFUSED: dict[str, set[str]] = {
    # A connector without what a connector must have, and no last_updated.
    "mod_locations.md: Example: add an EVSE": {
        "/last_updated",
        *(f"/connectors/0/{name}" for name in ("power_type", "voltage", "amperage", "last_updated")),
    },
    # last_updated is required since 2.1, and these were not brought up to date.
    "mod_tariffs.md: Example: New Tariff 2 euro per hour": {"/last_updated"},
}

# Chapter and heading -> fields that are repaired, since partners send them so, too.
REPAIRED: dict[str, set[str]] = {
    # A price as text.
    "mod_cdrs.md: Example of a CDR": {"/tariffs/0/elements/0/price_components/0/price"},
    # A version that never was released.
    "transport_and_format.md: Example: Version information response (list of objects)": {"/version"},
}


def found() -> list[Any]:
    clone = repository()
    return [] if clone is None else [pytest.param(title, text, id=title) for title, text in examples(clone, "2.1.1")]


EXAMPLES = found()


def test_the_chapters_are_there() -> None:
    if not EXAMPLES:
        print(f"skipped: the examples of OCPI 2.1.1, 1 branch (set {VARIABLE} to a clone of the specification)")
        pytest.skip(f"no clone of the specification: 1 branch skipped ({VARIABLE})")
    assert len(EXAMPLES) > 25


@pytest.mark.parametrize(("title", "text"), EXAMPLES)
def test_an_example_is_written_as_it_was(title: str, text: str) -> None:
    sent = _json(text)
    if isinstance(sent, dict) and "status_code" in sent:
        if "data" not in sent:
            return  # an envelope that says what went wrong
        sent = sent["data"]
    repaired = set()
    for tree in sent if isinstance(sent, list) else [sent]:
        kind, partial = next((kind, partial) for start, kind, partial in KINDS if title.startswith(start))
        if kind is Kind.VERSION_DETAILS and "endpoints" not in tree:
            kind = Kind.VERSION
        if title in REFUSED:
            with pytest.raises(DocumentError) as caught:
                read(kind, Version.V2_1_1, tree, partial=partial)
            assert {pointer for pointer, _ in caught.value.fields} == REFUSED[title]
            continue
        document = read(kind, Version.V2_1_1, tree, partial=partial)
        repaired |= {repair.pointer for repair in document.repairs}
        if not document.repairs:
            assert document.encode() == encode_tree(tree)
    assert repaired == REPAIRED.get(title, set())


def _json(text: str) -> Any:
    """The JSON in an example: after the request line, and whole where it is a part of an object."""
    text = re.sub(r"^\s*(?:PUT|PATCH|POST) To URL: \S+", "", text).strip()
    if text.startswith('"'):
        text = "{" + text.rstrip(",") + "}"
    return json.loads(text, parse_float=Decimal)
