"""The official JSON schemas, read from the package `ocpp` alone: nothing of the server's own types is in this judgement."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jsonschema

FOLDERS = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}


@functools.cache
def folder(version: str) -> Path:
    """Where a version's schemas are."""
    return Path(str(importlib.metadata.distribution("ocpp").locate_file(f"ocpp/{FOLDERS[version]}/schemas")))


@functools.cache
def schema(version: str, name: str) -> dict[str, Any]:
    """A schema by the name of its file without the ending."""
    found: dict[str, Any] = json.loads((folder(version) / f"{name}.json").read_text(encoding="utf-8-sig"))
    return found


def name_of(version: str, action: str, *, response: bool) -> str:
    """The schema's name of an action's request or response; what is sent as SEND has no `Request` in its name."""
    if response:
        return f"{action}Response"
    bare = version == "1.6" or not (folder(version) / f"{action}Request.json").exists()
    return action if bare else f"{action}Request"


@functools.cache
def _validator(version: str, name: str) -> Any:
    found = schema(version, name)
    kind = jsonschema.validators.validator_for(found)
    return kind(found, format_checker=kind.FORMAT_CHECKER)


def check(version: str, action: str, payload: object, *, response: bool) -> None:
    """Fails where a payload does not fit its schema, with every place named."""
    problems = [
        f"{error.json_path}: {error.message}"
        for error in _validator(version, name_of(version, action, response=response)).iter_errors(payload)
    ]
    assert not problems, f"OCPP {version} {action} {'response' if response else 'request'}: {problems}\n{payload}"
