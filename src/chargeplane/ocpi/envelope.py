"""What every answer is wrapped in (OCPI 2.3.0 transport_and_format, Response format)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from chargeplane.kernel.errors import PeerError
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpi.status import Status

_string: Final = msgspec.json.Encoder().encode


class Envelope(Struct, frozen=True):
    """An answer as it came.

    Args:
        data: JSON as it was; UNSET where there was none.
        status_code: see `Status`; unknown ones are kept.
        timestamp: as text: peers write it in many ways, and nothing depends on it.
    """

    status_code: int
    data: Raw | UnsetType = UNSET
    status_message: str | None = None
    timestamp: str | None = None


_decode = msgspec.json.Decoder(Envelope, strict=False).decode
_items: Final = msgspec.json.Decoder(list[Raw]).decode


def write(now: datetime, data: bytes | None = None, status: int = Status.SUCCESS, message: str | None = None) -> bytes:
    """An envelope.

    Args:
        data: JSON; None leaves the field out.
    """
    parts = [] if data is None else [b'"data":' + data]
    parts.append(b'"status_code":%d' % status)
    if message is not None:
        parts.append(b'"status_message":' + _string(message))
    parts.append(b'"timestamp":"' + rfc3339(now).encode() + b'"')
    return b"{" + b",".join(parts) + b"}"


def write_list(now: datetime, documents: Sequence[bytes], message: str | None = None) -> bytes:
    """An envelope around a list of documents, which are JSON already."""
    said = b"" if message is None else b',"status_message":' + msgspec.json.encode(message)
    at = rfc3339(now).encode()
    return b'{"data":[' + b",".join(documents) + b'],"status_code":1000' + said + b',"timestamp":"' + at + b'"}'


def read(body: bytes) -> Envelope:
    """The envelope in a body.

    Raises:
        PeerError: there is none; the sentence says what there is.
    """
    try:
        return _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise PeerError(f"The answer is no OCPI envelope: {error}") from None


def data_of(envelope: Envelope) -> bytes | None:
    """The data as JSON; None where there is none, or null."""
    if isinstance(envelope.data, UnsetType):
        return None
    data = bytes(envelope.data)
    return None if data == b"null" else data


def items_of(envelope: Envelope) -> list[bytes]:
    """The data as a list of documents.

    Raises:
        PeerError: it is no list.
    """
    data = data_of(envelope)
    if data is None:
        return []
    try:
        return [bytes(item) for item in _items(data)]
    except msgspec.MsgspecError as error:
        raise PeerError(f"The answer's data is no list: {error}") from None
