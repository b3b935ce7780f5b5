"""JSON kept as text, given back as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from chargeplane.kernel.text import made_storable


def as_json(kept: str | bytes | None) -> Any:
    """What was kept, to be put into an answer: JSON where it is JSON, else its text.

    Args:
        kept: a payload as a station sent it: it may be anything.
    """
    if kept is None:
        return None
    raw = kept.encode() if isinstance(kept, str) else kept
    try:
        raw.decode()
        msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return raw.decode("utf-8", "replace")
    return msgspec.Raw(raw)


_encode = msgspec.json.Encoder(decimal_format="number").encode


def jsonb(value: Any) -> str:
    """JSON text that a jsonb column takes, whatever a station wrote: U+0000 and lone surrogates become U+FFFD."""
    return made_storable(_encode(value).decode("utf-8", "replace")).replace("\\u0000", "\\ufffd")


def json_object(value: Any) -> dict[str, Any]:
    """A jsonb object, whether or not the connection decodes it by itself."""
    decoded = msgspec.json.decode(value) if isinstance(value, str | bytes) else value
    return decoded if isinstance(decoded, dict) else {}
