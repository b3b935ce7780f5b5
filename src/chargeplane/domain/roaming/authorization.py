"""May a partner's driver charge at our stations: what its provider said beforehand, and what it says when it is asked.

Source: OCPI 2.3.0 mod_tokens (Real-time authorization, WhitelistType, AuthorizationInfo), mod_commands (StartSession, ReserveNow).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import KEY_CODE, NO_AUTHORIZATION, IdTokenRecord
from chargeplane.domain.cdrs.session import AuthMethod, RoamingDriver
from chargeplane.domain.messages import AuthorizationStatus, IdToken

COMMAND_HOLDS: Final = timedelta(minutes=15)
"""So long after a command its token is not asked about (OCPI 2.3.0 mod_commands, StartSession)."""

GRANT_HOLDS: Final = timedelta(minutes=15)
"""So long after a provider let a driver in may a transaction begin by it; then it is another use."""

_OURS: Final = frozenset({NO_AUTHORIZATION, KEY_CODE, "Local", "DirectPayment"})
_LONGEST_1_6: Final = 20


class Whitelist(enum.StrEnum):
    """OCPI WhitelistType."""

    ALWAYS = "ALWAYS"
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


STATUS: Final[Mapping[Allowed, AuthorizationStatus]] = {
    Allowed.ALLOWED: AuthorizationStatus.ACCEPTED,
    Allowed.BLOCKED: AuthorizationStatus.BLOCKED,
    Allowed.EXPIRED: AuthorizationStatus.EXPIRED,
    Allowed.NO_CREDIT: AuthorizationStatus.NO_CREDIT,
    Allowed.NOT_ALLOWED: AuthorizationStatus.NOT_AT_THIS_LOCATION,
}
"""What a station is told."""


class KnownToken(Struct, frozen=True, kw_only=True):
    """A token as its provider pushed it.

    Args:
        connection_id: over which it came.
    """

    connection_id: int
    country_code: str
    party_id: str
    uid: str
    type: str
    contract_id: str
    valid: bool
    whitelist: Whitelist
    group_id: str | None = None
    language: str | None = None


class Course(enum.Enum):
    """How it is decided."""

    WHITELIST = "by what the provider pushed"
    ASK = "by asking the provider"
    ASK_ELSE_WHITELIST = "by asking; where there is no answer, by what was pushed"


def course(whitelist: Whitelist, *, ask_allowed: bool = False) -> Course:
    """How a token is decided (OCPI 2.3.0 mod_tokens, WhitelistType).

    Args:
        ask_allowed: asks also where it is left to us; without an answer what was pushed holds.
    """
    if whitelist is Whitelist.ALWAYS:
        return Course.WHITELIST
    if whitelist is Whitelist.ALLOWED:
        return Course.ASK_ELSE_WHITELIST if ask_allowed else Course.WHITELIST
    return Course.ASK_ELSE_WHITELIST if whitelist is Whitelist.ALLOWED_OFFLINE else Course.ASK


_TYPES: Final = {
    "RFID": "ISO14443",
    "APP_USER": "Central",
    "AD_HOC_USER": "Central",
    "OTHER": "Central",
    "EMAID": "eMAID",
}
_ASKED: Final = {"iso14443": "RFID", "iso15693": "RFID", "emaid": "EMAID", "central": "APP_USER"}


def ocpp_type(kind: str) -> str:
    """The OCPP 2.x type of a token of OCPI."""
    return _TYPES.get(kind.upper(), "Central")


def ocpi_type(kind: str | None) -> str:
    """The OCPI type of a token as a station presented it; 1.6 has cards (OCPI: RFID where it is not said)."""
    return "RFID" if kind is None else _ASKED.get(kind.casefold(), "OTHER")


def may_be_partners(token: IdToken) -> bool:
    """Whether a token that we do not know may be a partner's: not where the station itself vouches for it, or it is a PIN."""
    return bool(token.value) and token.type not in _OURS and len(token.value) <= 36


def fitting(token: IdToken, known: Iterable[KnownToken]) -> list[KnownToken]:
    """The pushed tokens that a presented one may mean, valid ones first."""
    found = [
        one
        for one in known
        if one.uid.casefold() == token.value.casefold()
        and (token.type is None or one.type.upper() in ("OTHER", ocpi_type(token.type)) or _is_virtual(one, token))
    ]
    return sorted(found, key=lambda one: not one.valid)


def _is_virtual(known: KnownToken, token: IdToken) -> bool:
    return ocpp_type(known.type).casefold() == (token.type or "").casefold()


def provider_of_emaid(contract: str) -> tuple[str, str] | None:
    """Country code and party id of who issued an eMAID; None where it is none (`DE-ABC-C12345678-X` and without separators)."""
    plain = contract.replace("-", "").replace("*", "").upper()
    if len(plain) < 5 or not plain[:2].isalpha() or not plain[2:5].isalnum() or not plain.isascii():
        return None
    return plain[:2], plain[2:5]


class Answer(Struct, frozen=True, kw_only=True):
    """What a provider answered (OCPI AuthorizationInfo).

    Args:
        token: as it is now; None: the provider does not know it.
        evse_uids: where it may charge, of those asked for; None: nothing was said.
        text: for the driver.
    """

    allowed: Allowed
    token: KnownToken | None
    evse_uids: tuple[str, ...] | None = None
    authorization_reference: str | None = None
    text: str | None = None


def driver_of(token: KnownToken, method: AuthMethod, reference: str | None = None) -> RoamingDriver:
    """Who is let in."""
    return RoamingDriver(
        connection_id=token.connection_id,
        country_code=token.country_code,
        party_id=token.party_id,
        uid=token.uid,
        type=token.type,
        contract_id=token.contract_id,
        auth_method=method,
        authorization_reference=reference,
    )


def by_whitelist(presented: IdToken, known: KnownToken) -> IdTokenRecord:
    """The record of a token that is decided by what was pushed. An invalid one is blocked: OCPI does not say why it is."""
    return IdTokenRecord(
        value=presented.value,
        status=AuthorizationStatus.ACCEPTED if known.valid else AuthorizationStatus.BLOCKED,
        group_id=known.group_id,
        language=known.language,
    )


def by_answer(presented: IdToken, answer: Answer, evses: Mapping[str, int], now: datetime) -> IdTokenRecord:
    """The record of a token that its provider was asked about. A station may go by it for this one use.

    Args:
        evses: the station's EVSEs, by their uids.
    """
    status = STATUS[answer.allowed]
    numbers: tuple[int, ...] = ()
    if status is AuthorizationStatus.ACCEPTED and answer.evse_uids:
        by_uid = {uid.casefold(): number for uid, number in evses.items()}
        numbers = tuple(by_uid[uid.casefold()] for uid in answer.evse_uids if uid.casefold() in by_uid)
        if not numbers:
            status = AuthorizationStatus.NOT_AT_THIS_LOCATION
        elif len(numbers) == len(evses):
            numbers = ()
    token = answer.token
    return IdTokenRecord(
        value=presented.value,
        status=status,
        valid_until=now + GRANT_HOLDS,
        group_id=None if token is None else token.group_id,
        language=None if token is None else token.language,
        personal_message=answer.text,
        evse_ids=numbers,
    )


def by_command(presented: IdToken) -> IdTokenRecord:
    """The record of a token that was let in before: its provider has authorised it."""
    return IdTokenRecord(value=presented.value, status=AuthorizationStatus.ACCEPTED)


def alias_of(number: int) -> str:
    """What a station knows a token by that is too long for OCPP 1.6."""
    return f"R{number:019d}"


def presentable(uid: str, version: str | None) -> bool:
    """Whether a station of this version can be told a token by its uid (OCPP 1.6 IdToken: 20 characters, 2.x: 36 at most)."""
    return len(uid) <= (_LONGEST_1_6 if version == "1.6" else 36)


_driver = msgspec.json.Decoder(RoamingDriver).decode
_encode: Final = msgspec.json.Encoder().encode


def driver_from(text: str) -> RoamingDriver:
    """From the store."""
    return _driver(text)


def driver_text(driver: RoamingDriver) -> str:
    """As stored."""
    return _encode(driver).decode()


class Standing(Struct, frozen=True, kw_only=True):
    """Where a station's EVSEs are: what a provider is told of the place (OCPI LocationReferences).

    Args:
        evses: numbers of the station's EVSEs by their uids.
    """

    location_id: str
    evses: Mapping[str, int]

    def references(self, evse_ids: Sequence[int]) -> tuple[str, tuple[str, ...]]:
        """Location id and EVSE uids that are asked about: those named, all where none is."""
        wanted = [uid for uid, number in self.evses.items() if number in evse_ids]
        return self.location_id, tuple(wanted or self.evses)
