"""The official JSON schemas, messages drawn from them, and the way a message takes through the bridge."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from hypothesis import strategies as st

from chargeplane.bridge import INCOMING, repair, undecodable
from chargeplane.domain.messages import StationMessage
from chargeplane.ocpp.catalogue import CATALOGUE, PayloadError, decode_request
from chargeplane.ocpp.versions import OcppVersion

V16, V201, V21 = OcppVersion.V16, OcppVersion.V201, OcppVersion.V21
VERSIONS = (V16, V201, V21)
_FOLDER = {V16: "v16", V201: "v201", V21: "v21"}

Step = tuple[OcppVersion, str]
STATION_ACTIONS: list[Step] = [
    (version, action) for version in VERSIONS for action, spec in CATALOGUE[version].items() if spec.from_station
]
ANSWERED: list[Step] = [(v, a) for v, a in STATION_ACTIONS if CATALOGUE[v][a].response is not None]


@cache
def schema(version: OcppVersion, name: str) -> dict[str, Any]:
    """The official schema of `name` (`MeterValuesRequest`, `MeterValuesResponse`, ...)."""
    if version is V16:
        name = name.removesuffix("Request")
    text = (files("ocpp") / _FOLDER[version] / "schemas" / f"{name}.json").read_text(encoding="utf-8-sig")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def _validator(version: OcppVersion, name: str) -> Any:
    found = schema(version, name)
    return jsonschema.validators.validator_for(found)(found, format_checker=jsonschema.FormatChecker())


def validate(version: OcppVersion, name: str, payload: Any) -> None:
    """Raises jsonschema.ValidationError where the payload does not fit the official schema."""
    _validator(version, name).validate(payload)


def taken(version: OcppVersion, action: str, payload: bytes) -> tuple[Any, StationMessage | None]:
    """What an edge does with a payload: the request, and what it means (None: a CALLERROR)."""
    request: Any
    try:
        request = decode_request(version, action, payload)
    except PayloadError as error:
        repaired = repair(version, action, payload)
        if repaired is None:
            return None, undecodable(version, action, error)
        request = repaired.request
    return request, INCOMING[version][action](request)


def take(version: OcppVersion, action: str, payload: bytes) -> StationMessage | None:
    """What a payload means; None: a CALLERROR."""
    return taken(version, action, payload)[1]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    [
        "",
        " ",
        "-1",
        "0",
        "string",
        "null",
        "'; DROP TABLE transaction; --",
        "\x00",
        "a\x00b",
        "Ünïcode \u2603",
        "\U0001f50c",
    ]
)
TIMES = st.sampled_from(
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.123456789Z",
        "2026-01-31T12:00:00+14:00",
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ]
)
NUMBERS = (
    st.integers(-(10**9), 10**9)
    | st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 6))
    | st.just(0.30005000000000004)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def drawn(found: dict[str, Any], root: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """Values that fit a schema; integers keep to OCPP's 32 bits."""
    root = root or found
    if "$ref" in found:
        name = found["$ref"].rsplit("/", 1)[1]
        if name == "CustomDataType":
            return st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2).map(lambda d: {**d, "vendorId": "x"})
        return _defined(root["definitions"], name)
    if "enum" in found:
        return st.sampled_from(found["enum"])
    kind = found.get("type")
    if kind == "object":
        return _object(found, root)
    if kind == "array":
        return st.lists(
            drawn(found["items"], root), min_size=found.get("minItems", 0), max_size=min(found.get("maxItems", 3), 3)
        )
    if kind == "string":
        if found.get("format") == "date-time":
            return TIMES
        limit = found.get("maxLength", 60)
        return TEXTS.map(lambda text: text[:limit])
    if kind == "integer":
        low = int(found.get("minimum", -(2**31)))
        high = int(found.get("maximum", 2**31 - 1))
        return st.sampled_from([x for x in (-1, 0, 1, 2, 7) if low <= x <= high]) | st.integers(low, high)
    if kind == "number":
        low, high = found.get("minimum"), found.get("maximum")
        if "multipleOf" in found:
            return st.integers(-1000, 1000).map(lambda x: x * 10)
        return NUMBERS.filter(lambda x: (low is None or x >= low) and (high is None or x <= high))
    if kind == "boolean":
        return st.booleans()
    return JSON


def _defined(definitions: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: drawn(definitions[name], {"definitions": definitions}))


def _object(found: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    required = set(found.get("required", ()))
    fields = found.get("properties", {})
    return st.fixed_dictionaries(
        {name: drawn(kind, root) for name, kind in fields.items() if name in required},
        optional={name: drawn(kind, root) for name, kind in fields.items() if name not in required},
    )


def request_name(version: OcppVersion, action: str) -> str:
    """The schema of a request; the one SEND has no suffix."""
    return action if CATALOGUE[version][action].response is None else f"{action}Request"
