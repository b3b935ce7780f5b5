"""What an older version says comes back to it, and nothing of the canonical version goes without a word."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from chargeplane.bridge.ocpi import Context, Party, UnconvertibleError, convert
from chargeplane.ocpi.documents import problems, read
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import knows
from chargeplane.ocpi.v2_3_0.enums import Role
from chargeplane.ocpi.v2_3_0.tokens import Token
from chargeplane.ocpi.versions import Version
from tests.support.ocpi_documents import objects, tree, trees

V211, V221, V230 = Version.V2_1_1, Version.V2_2_1, Version.V2_3_0
OWNER = Party("BE", "BEC")
DRIVER = Party("NL", "TNM")


def location(location_id: str, evse_uid: str, connector_id: str) -> dict[str, Any]:
    at = {"last_updated": "2026-01-01T00:00:00Z"}
    connector = {"standard": "IEC_62196_T2", "format": "CABLE", "power_type": "AC_3_PHASE", **at}
    connector |= {"id": connector_id, "max_voltage": 230, "max_amperage": 16}
    evse = {"uid": evse_uid, "status": "CHARGING", "connectors": [connector], **at}
    place = {
        "address": "A 1",
        "city": "Gent",
        "country": "BEL",
        "coordinates": {"latitude": "51.0", "longitude": "3.7"},
    }
    own = {"country_code": "BE", "party_id": "BEC", "id": location_id, "publish": True, "time_zone": "Europe/Brussels"}
    return {**own, **place, "evses": [evse], **at}


CONTEXT = Context(
    owner=OWNER,
    token_owner=DRIVER,
    peer_role=Role.CPO,
    find_location=location,
    asked_token=tree(Token, random.Random(1)),
)

OLD = [(version, kind, shape) for version in (V221, V211) for kind, shape in objects(version)]


@pytest.mark.parametrize(("version", "kind", "shape"), OLD, ids=lambda value: str(getattr(value, "value", "")))
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_up_and_down_again_is_what_it_was(
    version: Version, kind: Kind, shape: type[Struct], data: st.DataObject
) -> None:
    old = data.draw(trees(shape))
    up = convert(kind, old, version, V230, CONTEXT)
    read(kind, V230, up.tree)  # what comes of it is the object of the canonical version
    down = convert(kind, up.tree, V230, version, CONTEXT)
    lost = {loss.pointer for loss in (*up.losses, *down.losses)}
    assert _without(down.tree, lost | {filled.pointer for filled in up.filled}) == _without(
        old, lost | {filled.pointer for filled in up.filled}
    )
    # Only these may be lost on the way, for the canonical version has no room for them.
    assert lost == {pointer for pointer in lost if _may_go(version, kind, old, pointer)}


def _may_go(version: Version, kind: Kind, old: dict[str, Any], pointer: str) -> bool:
    if version is V221:  # the role of a hub
        return kind in (Kind.CREDENTIALS, Kind.CLIENT_INFO) and "HUB" in str(old)
    if kind in (Kind.COMMAND_RESPONSE, Kind.COMMAND_RESULT):  # one answer is two in later versions
        return pointer == "/result" and old["result"] in ("TIMEOUT", "UNKNOWN_SESSION")
    # A fee is no dimension of later versions, and neither is a period that has nothing else.
    return "FLAT" in str(old) and pointer.startswith("/charging_periods/")


def _without(old: dict[str, Any], pointers: set[str]) -> Any:
    """A document without the fields at pointers, and without lists from which an item went."""

    def walk(value: Any, at: str) -> Any:
        if isinstance(value, dict):
            return {
                name: walk(item, f"{at}/{name}")
                for name, item in value.items()
                if not any(one == f"{at}/{name}" or one.startswith(f"{at}/{name}/") for one in pointers)
            }
        if isinstance(value, list):
            return [walk(item, f"{at}/{place}") for place, item in enumerate(value)]
        return value

    return walk(old, "")


@pytest.mark.parametrize(("kind", "shape"), objects(V230), ids=lambda value: str(getattr(value, "value", "")))
@pytest.mark.parametrize("version", [V221, V211], ids=str)
def test_each_field_is_in_the_result_or_in_the_losses(version: Version, kind: Kind, shape: type[Struct]) -> None:
    """A field whose absence changes neither what comes out nor what is reported was lost in silence."""
    if kind is Kind.VERSION or not knows(version, kind):
        return
    compared = 0
    for seed in range(8):
        document = tree(shape, random.Random(seed), full=seed < 2)
        whole = _outcome(kind, document, version)
        if isinstance(whole, str):
            continue
        compared += 1
        for path in _paths(document):
            if not _told_elsewhere(version, kind, document, path):
                assert _outcome(kind, _removed(document, path), version) != whole, path
    assert compared > 0


def _outcome(kind: Kind, document: dict[str, Any], version: Version) -> Any:
    try:
        made = convert(kind, document, V230, version, CONTEXT)
    except UnconvertibleError as error:
        return str(error)
    return made.tree, [(loss.pointer, loss.value) for loss in made.losses]


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*at, name)
            yield from _paths(item, (*at, name))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _paths(item, (*at, place))


def _removed(document: Any, path: tuple[Any, ...]) -> Any:
    head, *rest = path
    if isinstance(document, list):
        return [_removed(item, tuple(rest)) if place == head else item for place, item in enumerate(document)]
    if rest:
        return {**document, head: _removed(document[head], tuple(rest))}
    return {name: item for name, item in document.items() if name != head}


def _told_elsewhere(version: Version, kind: Kind, document: dict[str, Any], path: tuple[Any, ...]) -> bool:
    name, holder = path[-1], next((part for part in reversed(path[:-1]) if isinstance(part, str)), "")
    value: Any = document
    for part in path:
        value = value[part]
    if value == []:  # as good as absent
        return True
    if name == "tax_included":  # prices are without taxes in older versions
        return bool(value == "NO")
    if version is V221:
        return False
    if name in ("country_code", "party_id"):  # in the URL, or the partner itself
        return kind is not Kind.CREDENTIALS
    if holder == "cdr_token" and name in ("uid", "type"):  # said by the contract
        return bool(value == document["cdr_token"]["contract_id"] or value in ("RFID", "OTHER"))
    if path[0] == "token" and kind is Kind.AUTHORIZATION_INFO:  # it was asked for
        return True
    if name == "publish":  # what is sent is shown
        return bool(value is True)
    return (kind, name) in {(Kind.VERSION_DETAILS, "role"), (Kind.COMMAND_RESPONSE, "timeout")}


@pytest.mark.parametrize(("kind", "shape"), objects(V230), ids=lambda value: str(getattr(value, "value", "")))
@pytest.mark.parametrize("version", [V221, V211], ids=str)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_goes_down_is_right_in_its_version(
    version: Version, kind: Kind, shape: type[Struct], data: st.DataObject
) -> None:
    document = data.draw(trees(shape))
    try:
        made = convert(kind, document, V230, version, CONTEXT)
    except UnconvertibleError:
        return
    if kind is not Kind.VERSION:
        wrong = [pointer for pointer, sentence in problems(kind, version, made.tree) if "longer" not in sentence]
        assert wrong == []
