"""Our id tokens as partners know them, and what they are answered about them (OCPI 2.3.0 mod_tokens)."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import Asked, IdTokenRecord, decide
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.domain.token_rules import EvseType, Here, restricts
from chargeplane.kernel.time import rfc3339

LONGEST_UID: Final = 36


class TokenType(enum.StrEnum):
    """OCPI TokenType."""

    RFID = "RFID"
    APP_USER = "APP_USER"
    EMAID = "EMAID"
    OTHER = "OTHER"
    AD_HOC_USER = "AD_HOC_USER"
    """For one use, of somebody who pays at a terminal: in commands alone."""


class Whitelist(enum.StrEnum):
    """OCPI WhitelistType: whether the operator asks us before it lets a driver charge."""

    ALLOWED = "ALLOWED"
    ALLOWED_OFFLINE = "ALLOWED_OFFLINE"
    NEVER = "NEVER"


class Allowed(enum.StrEnum):
    """OCPI AllowedType."""

    ALLOWED = "ALLOWED"
    BLOCKED = "BLOCKED"
    EXPIRED = "EXPIRED"
    NO_CREDIT = "NO_CREDIT"
    NOT_ALLOWED = "NOT_ALLOWED"


class Provider(Struct, frozen=True):
    """Our party that issues the tokens."""

    country_code: str
    party_id: str
    name: str


class OwnToken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI Token."""

    country_code: str
    party_id: str
    uid: str
    type: TokenType
    contract_id: str
    issuer: str
    valid: bool
    whitelist: Whitelist
    last_updated: str
    group_id: str | None = None
    language: str | None = None


class LocationReferences(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI LocationReferences."""

    location_id: str
    evse_uids: tuple[str, ...] = ()


class Text(Struct, frozen=True):
    """OCPI DisplayText."""

    language: str
    text: str


class AuthorizationInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI AuthorizationInfo."""

    allowed: Allowed
    token: OwnToken
    location: LocationReferences | None = None
    authorization_reference: str | None = None
    info: Text | None = None


_TYPES: Final = {
    "iso14443": TokenType.RFID,
    "iso15693": TokenType.RFID,
    "emaid": TokenType.EMAID,
    "central": TokenType.APP_USER,
}
_OCPP: Final = {
    TokenType.RFID: ("iso14443", "iso15693"),
    TokenType.EMAID: ("emaid",),
    TokenType.APP_USER: ("central",),
}
_encode: Final = msgspec.json.Encoder().encode
references_of: Final = msgspec.json.Decoder(LocationReferences).decode


def ocpi_type(kind: str | None) -> TokenType | None:
    """The type partners know an id token by; None where it is nothing that is shown at partners' stations."""
    return TokenType.RFID if kind is None else _TYPES.get(kind.lower())


def is_of(kind: str | None, wanted: str) -> bool:
    """Whether an id token of ours is of an OCPI type. OTHER, and types that are not known, are anything."""
    try:
        named = _OCPP.get(TokenType(wanted.upper()))
    except ValueError:
        return True
    return named is None or kind is None or kind.lower() in named


def contract_of(provider: Provider, kind: TokenType, uid: str, driver_id: int | None, id_token_id: int) -> str:
    """The contract of a token: one of each driver, as an eMAID without check digit (OCPI: a uid is no contract)."""
    if kind is TokenType.EMAID:
        return uid
    instance = f"T{id_token_id:08d}" if driver_id is None else f"C{driver_id:08d}"
    return f"{provider.country_code}{provider.party_id}{instance}".upper()


class OwnContract(Struct, frozen=True):
    """What a contract of ours says.

    Args:
        party: country code and party id in capitals.
        driver_id: whose it is; None where it is that of a token without a driver.
        id_token_id: of that token.
    """

    party: str
    driver_id: int | None
    id_token_id: int | None


_CONTRACT: Final = re.compile(r"([A-Z]{2}[A-Z0-9]{3})([CT])([0-9]{8,18})", re.ASCII)


def own_contract(text: str) -> OwnContract | None:
    """A contract as `contract_of` makes them, taken apart, in any case; None where it is no such."""
    found = _CONTRACT.fullmatch(text.upper())
    if found is None:
        return None
    number = int(found[3])
    return OwnContract(found[1], number if found[2] == "C" else None, number if found[2] == "T" else None)


def whitelist_of(record: IdTokenRecord) -> Whitelist:
    """A token with an account or limits is asked about each time; one with rules, whenever we can be reached."""
    if record.credit is not None or record.credit_wh is not None or record.concurrent_limit is not None:
        return Whitelist.NEVER
    if record.rules is not None and restricts(record.rules):
        return Whitelist.ALLOWED_OFFLINE
    return Whitelist.ALLOWED


def token_of(
    provider: Provider,
    record: IdTokenRecord,
    *,
    id_token_id: int,
    driver_id: int | None,
    at: datetime,
    now: datetime,
) -> OwnToken | None:
    """An id token as partners get it; None where they get none: a key code, a car's address, one that is too long.

    Args:
        at: when it changed last.
    """
    kind = ocpi_type(record.type)
    if kind is None or not 0 < len(record.value) <= LONGEST_UID:
        return None
    begun = record.valid_from is None or record.valid_from <= now
    valid = (
        record.status is AuthorizationStatus.ACCEPTED
        and begun
        and (record.valid_until is None or now < record.valid_until)
    )
    language = (record.language or "")[:2].lower()
    return OwnToken(
        country_code=provider.country_code,
        party_id=provider.party_id,
        uid=record.value,
        type=kind,
        contract_id=contract_of(provider, kind, record.value, driver_id, id_token_id),
        issuer=provider.name[:64],
        valid=valid,
        whitelist=whitelist_of(record),
        last_updated=rfc3339(at),
        group_id=record.group_id if record.group_id and len(record.group_id) <= LONGEST_UID else None,
        language=language if len(language) == 2 else None,
    )


def encoded(value: OwnToken | AuthorizationInfo) -> bytes:
    """Canonical JSON."""
    return _encode(value)


_ALLOWED: Final = {
    AuthorizationStatus.ACCEPTED: Allowed.ALLOWED,
    AuthorizationStatus.BLOCKED: Allowed.BLOCKED,
    AuthorizationStatus.INVALID: Allowed.BLOCKED,
    AuthorizationStatus.EXPIRED: Allowed.EXPIRED,
    AuthorizationStatus.NO_CREDIT: Allowed.NO_CREDIT,
}


def answered(
    record: IdTokenRecord,
    *,
    now: datetime,
    open_count: int,
    place: str | None,
    asked: Sequence[str],
    evse_types: Mapping[str, EvseType],
) -> tuple[Allowed, tuple[str, ...]]:
    """Whether a token may charge, and at which of the EVSEs that were asked for.

    Args:
        open_count: sessions the token has open, here and at partners.
        place: of the Location, as `DE*ABC*LOC1`; None where none is named.
        asked: EVSE uids; empty is any.
        evse_types: of those that we have a copy of. OCPI: opening hours and status are not looked at.
    """
    fitting: list[str] = []
    first: AuthorizationStatus | None = None
    for uid in asked or ("",):
        kind = evse_types.get(uid)
        here = Here(location_id=place, evse_types={} if kind is None else {1: kind})
        info = decide(
            record,
            now=now,
            evse_ids=() if kind is None else (1,),
            concurrent_count=open_count,
            asked=Asked.START,
            here=here,
        )
        if info.status is AuthorizationStatus.ACCEPTED:
            fitting.append(uid)
        elif first is None:
            first = info.status
    if fitting:
        return Allowed.ALLOWED, tuple(one for one in fitting if one)
    assert first is not None
    return _ALLOWED.get(first, Allowed.NOT_ALLOWED), ()
