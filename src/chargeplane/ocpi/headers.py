"""Headers: who asks, which message it is, and between which parties it goes.

OCPI 2.3.0 transport_and_format: Authorization header, Message Routing Headers, Unique message IDs. OCPI 2.1.1 knows only the first.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

REQUEST_ID: Final = "X-Request-ID"
CORRELATION_ID: Final = "X-Correlation-ID"
TOTAL_COUNT: Final = "X-Total-Count"
LIMIT: Final = "X-Limit"

_TO_PARTY, _TO_COUNTRY = "OCPI-to-party-id", "OCPI-to-country-code"
_FROM_PARTY, _FROM_COUNTRY = "OCPI-from-party-id", "OCPI-from-country-code"
_SCHEME: Final = re.compile(r"token[ \t]+([\x21-\x7e]{1,1024})[ \t]*", re.IGNORECASE)
_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}")
_PARTY: Final = re.compile(r"[\x21-\x7e]{1,3}")


class TokenForm(enum.StrEnum):
    """How the credentials token stands in the Authorization header."""

    BASE64 = "base64"
    RAW = "raw"


class RoutingParty(Struct, frozen=True):
    """A party in routing headers, as it was written; compare by `key`."""

    country_code: str
    party_id: str

    @property
    def key(self) -> str:
        """By which parties are compared: without case."""
        return f"{self.country_code}{self.party_id}".upper()


class Routing(Struct, frozen=True, kw_only=True):
    """Between which parties a message goes; None where the header is not there."""

    to_party: RoutingParty | None = None
    from_party: RoutingParty | None = None

    def back(self) -> Routing:
        """Of the answer."""
        return Routing(to_party=self.from_party, from_party=self.to_party)


def write_authorization(token: str, form: TokenForm) -> str:
    """The value of the Authorization header."""
    text = base64.b64encode(token.encode()).decode() if form is TokenForm.BASE64 else token
    return f"Token {text}"


def read_authorization(value: str | None) -> list[tuple[str, TokenForm]]:
    """The tokens that a header can mean, the specified form first; empty where it names none.

    A text that is Base64 may be a token of itself: many implementations of 2.1.1 and 2.2 don't encode.
    """
    found = _SCHEME.fullmatch(value.strip()) if value else None
    if found is None:
        return []
    text = found.group(1)
    tokens: list[tuple[str, TokenForm]] = []
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8").strip("\r\n")
        if decoded and "\x00" not in decoded:
            tokens.append((decoded, TokenForm.BASE64))
    except (binascii.Error, ValueError):
        pass
    tokens.append((text, TokenForm.RAW))
    return tokens


def read_id(value: str | None) -> str | None:
    """A request or correlation id; None where there is none that could be given back."""
    return value if value is not None and _ID.fullmatch(value) else None


def read_routing(headers: Mapping[str, str]) -> Routing:
    """The routing headers of a message.

    Args:
        headers: with names in lower case.
    Returns:
        A party of which half is missing or malformed is None.
    """
    return Routing(
        to_party=_party(headers.get(_TO_COUNTRY.lower()), headers.get(_TO_PARTY.lower())),
        from_party=_party(headers.get(_FROM_COUNTRY.lower()), headers.get(_FROM_PARTY.lower())),
    )


def _party(country: str | None, party: str | None) -> RoutingParty | None:
    if country is None or party is None:
        return None
    country, party = country.strip(), party.strip()
    if not _COUNTRY.fullmatch(country) or not _PARTY.fullmatch(party):
        return None
    return RoutingParty(country, party)


def write_routing(routing: Routing) -> dict[str, str]:
    """The routing headers of a message."""
    headers: dict[str, str] = {}
    if routing.to_party is not None:
        headers[_TO_PARTY] = routing.to_party.party_id
        headers[_TO_COUNTRY] = routing.to_party.country_code
    if routing.from_party is not None:
        headers[_FROM_PARTY] = routing.from_party.party_id
        headers[_FROM_COUNTRY] = routing.from_party.country_code
    return headers
