"""permessage-deflate (RFC 7692) without context takeover in either direction.

OCPP 2.0.1 part 4, 3.3 requires it of a CSMS. Without context takeover every message is a stream of its own: nothing
is kept for an idle connection, and two stations' messages never share a window.
"""

from __future__ import annotations

import zlib
from typing import Final

_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender strips from the end of each message (RFC 7692, 7.2.1)."""

_WINDOW_BITS: Final = 12
"""Our messages are a few KB: a 4 KiB window costs 32 KiB for the moment of compressing, the default 256 KiB."""


class DeflateError(Exception):
    """A compressed message cannot be inflated."""


class TooLargeError(Exception):
    """A compressed message inflates to more than the limit."""


def negotiate(offers: str) -> str | None:
    """Our answer to a `Sec-WebSocket-Extensions` header.

    Args:
        offers: the header's value(s), joined with commas.
    Returns:
        The response header's value for the first acceptable permessage-deflate offer, or None where there is none.
        It always asks for no context takeover both ways, which a server may do unasked (RFC 7692, 7.1.1.2).
    """
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() != "permessage-deflate":
            continue
        answer = _accept(parameters)
        if answer is not None:
            return answer
    return None


def _accept(parameters: list[str]) -> str | None:
    answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    seen: set[str] = set()
    for parameter in parameters:
        key, has_value, value = parameter.partition("=")
        key, value = key.strip().lower(), value.strip().strip('"')
        # RFC 7692, 7.1: an offer with an unknown, repeated or ill-valued parameter is declined, not an error.
        if key in seen:
            return None
        seen.add(key)
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if has_value:
                return None
        elif key == "client_max_window_bits":
            # The largest window inflates whatever the station's is: nothing to answer.
            if has_value and _window_bits(value) is None:
                return None
        elif key == "server_max_window_bits":
            bits = _window_bits(value)
            # zlib makes no raw stream with a 256-byte window, so 8 cannot be promised; below ours neither.
            if bits is None or bits < _WINDOW_BITS:
                return None
            answer += f"; server_max_window_bits={bits}"
        else:
            return None
    return answer


def _window_bits(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and 8 <= int(value) <= 15 and value[0] != "0" else None


def inflate(data: bytes, limit: int) -> bytes:
    """The message inside a compressed one, never allocating more than the limit.

    Args:
        data: payload of the message's frames, joined.
        limit: in bytes.
    Raises:
        TooLargeError: the message is larger than the limit.
        DeflateError: the data is no deflate stream.
    """
    inflater = zlib.decompressobj(-15)
    try:
        message = inflater.decompress(data + _TAIL, limit + 1)
    except zlib.error as error:
        raise DeflateError(str(error)) from None
    if len(message) > limit:
        raise TooLargeError
    return message


def deflate(message: bytes) -> bytes:
    """The message as the payload of one compressed frame."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -_WINDOW_BITS, 5)
    return (deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]
