"""The official JSON schemas, and instances made from them: right ones, and ones wrong in one place."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema

from chargeplane.ocpp import CATALOGUE, OcppVersion

Schema = dict[str, Any]
Json = Any

TIMESTAMP = "2026-01-31T12:00:00.000Z"
FOLDERS = {OcppVersion.V16: "v16", OcppVersion.V201: "v201", OcppVersion.V21: "v21"}


def _folder(version: OcppVersion) -> Path:
    return Path(str(importlib.metadata.distribution("ocpp").locate_file(f"ocpp/{FOLDERS[version]}/schemas")))


@functools.cache
def schema_names(version: OcppVersion) -> frozenset[str]:
    """File names (without ending) of a version's schemas."""
    return frozenset(path.stem for path in _folder(version).glob("*.json"))


def schema_name(version: OcppVersion, action: str, response: bool) -> str:
    """Name of the schema of an action's request or response."""
    if response:
        return f"{action}Response"
    if version is OcppVersion.V16 or CATALOGUE[version][action].response is None:
        return action
    return f"{action}Request"


@functools.cache
def schema_of(version: OcppVersion, name: str) -> Schema:
    """A schema by name."""
    schema: Schema = json.loads((_folder(version) / f"{name}.json").read_text(encoding="utf-8-sig"))
    return schema


@functools.cache
def validator(version: OcppVersion, name: str) -> Any:
    """A validator of a schema, formats checked."""
    schema = schema_of(version, name)
    return jsonschema.validators.validator_for(schema)(schema)


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" in schema:
        found: Schema = root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
        return found
    return schema


def instance(schema: Schema, root: Schema, rng: random.Random, share: float) -> Json:
    """A right instance.

    Args:
        share: how many of the optional fields it has, 0 to 1.
    """
    schema = _resolved(schema, root)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            made = {
                name: instance(part, root, rng, share)
                for name, part in schema.get("properties", {}).items()
                if name in required or rng.random() < share
            }
            if schema.get("additionalProperties", True) is not False and share == 1:
                made["vendorsOwn"] = {"nested": [1, "two", None]}
            return made
        case "array":
            fewest = max(schema.get("minItems", 0), 1 if share else 0)
            most = min(schema.get("maxItems", fewest + 2), fewest + 2)
            return [instance(schema["items"], root, rng, share) for _ in range(rng.randint(fewest, most))]
        case "string":
            if schema.get("format") == "date-time":
                return TIMESTAMP
            if schema.get("format") == "uri":
                return "ftp://example.org/file"
            longest = schema.get("maxLength", 40)
            return "".join(rng.choice("aZ0-_ é€") for _ in range(longest if share == 1 else rng.randint(0, longest)))
        case "integer":
            return rng.randint(int(schema.get("minimum", -(2**31))), int(schema.get("maximum", 2**31 - 1)))
        case "number":
            return rng.randint(int(schema.get("minimum", -1000)), int(schema.get("maximum", 1000)) - 1) + 0.5
        case "boolean":
            return rng.random() < 0.5
        case None:
            return rng.choice([{"any": ["thing"]}, "text", 7])
        case other:
            raise AssertionError(other)


def _wrong_values(schema: Schema) -> Iterator[tuple[str, Json]]:
    """Values that a schema refuses, each with the rule it breaks."""
    if "enum" in schema:
        yield "enum", "NoSuchValue"
        yield "type", 5
        return
    match schema.get("type"):
        case "object":
            yield "type", []
        case "array":
            yield "type", {}
            if schema.get("minItems"):
                yield "minItems", []
        case "string":
            yield "type", 5
            if "maxLength" in schema:
                yield "maxLength", "x" * (schema["maxLength"] + 1)
        case "integer":
            yield "type", "5"
            yield "type", 5.5
            yield "32 bit", 10**16
            if "minimum" in schema:
                yield "minimum", int(schema["minimum"]) - 1
            if "maximum" in schema:
                yield "maximum", int(schema["maximum"]) + 1
        case "number":
            yield "type", True
            yield "bound", 1e30
            if "minimum" in schema:
                yield "minimum", schema["minimum"] - 1
            if "maximum" in schema:
                yield "maximum", schema["maximum"] + 1
        case "boolean":
            yield "type", "true"


def broken(schema: Schema, root: Schema, right: Json, pointer: str = "") -> Iterator[tuple[str, str, Json]]:
    """Every instance that differs from a right one in one place and breaks one rule there.

    Yields:
        JSON pointer, rule, instance.
    """
    schema = _resolved(schema, root)
    for rule, value in _wrong_values(schema):
        yield pointer, rule, value
    if schema.get("type") == "object" and isinstance(right, dict):
        for name in schema.get("required", ()):
            yield f"{pointer}/{name}", "required", {k: v for k, v in right.items() if k != name}
        if schema.get("additionalProperties", True) is False:
            yield f"{pointer}/noSuchField", "unknown", {**right, "noSuchField": 1}
        for name, part in schema.get("properties", {}).items():
            if name in right:
                for where, rule, value in broken(part, root, right[name], f"{pointer}/{name}"):
                    yield where, rule, {**right, name: value}
    elif schema.get("type") == "array" and right:
        if "maxItems" in schema:
            yield pointer, "maxItems", [right[0]] * (schema["maxItems"] + 1)
        for where, rule, value in broken(schema["items"], root, right[0], f"{pointer}/0"):
            yield where, rule, [value, *right[1:]]
