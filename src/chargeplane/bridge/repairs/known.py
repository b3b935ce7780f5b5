"""What a station's quirks say of the text of its messages: other names of fields, fields left out, words of its own."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from chargeplane.bridge.repairs.shape import parsed
from chargeplane.domain.quirks import Known, WireRule

NamedRule: TypeAlias = tuple[str, WireRule]
"""A rule and the quirk that it belongs to."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def undo(rules: tuple[NamedRule, ...], value: Any) -> tuple[Any, tuple[str, ...]]:
    """The payload as it was meant, and the quirks that it took.

    Args:
        rules: of the payload's action.
        value: as `shape.parsed` gives it; anything but an object stays as it is.
    """
    fired: dict[str, None] = {}
    if not isinstance(value, dict):
        return value, ()
    for name, rule in rules:
        for written, meant in rule.rename.items():
            if written in value and meant not in value:
                value = {meant if key == written else key: held for key, held in value.items()}
                fired[name] = None
        for field, words in rule.words.items():
            word = value.get(field)
            if isinstance(word, str) and word in words:
                value = {**value, field: words[word]}
                fired[name] = None
        for field, filled in rule.absent.items():
            if value.get(field) is None:
                value = {**value, field: filled}
                fired[name] = None
    return value, tuple(fired)


def meant(known: Known, action: str, payload: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A station's answer to a call of ours as it was meant, and the quirks that it took.

    Args:
        action: of the call.
        payload: of the CALLRESULT, as received.
    """
    empty = known.empty_means_accepted.get(action)
    rules = known.wire_of(action)
    if empty is None and not rules:
        return payload, ()
    try:
        value = parsed(payload or b"null")
    except ValueError:
        return payload, ()
    names: tuple[str, ...] = ()
    if rules:
        value, names = undo(rules, value)
    if empty is not None and not (isinstance(value, dict) and value.get("status")):
        value = {**(value if isinstance(value, dict) else {}), "status": "Accepted"}
        names = (*names, empty)
    return (_encode(value), names) if names else (payload, ())
