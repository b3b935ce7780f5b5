"""The business view of a transaction: what was frozen when it began, and how far it is."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct


class SessionState(enum.StrEnum):
    """How far a session is."""

    ACTIVE = "active"
    ENDED = "ended"
    """The transaction is over; what is missing of it may still come."""
    SETTLED = "settled"
    """It has a CDR that stands."""
    CREDITED = "credited"
    """Its CDR was taken back and nothing stands in its place."""


class PricedBy(enum.StrEnum):
    """Where a session's tariff comes from."""

    AGREEMENT = "agreement"
    CONNECTOR = "connector"
    PUBLIC = "public"
    """Without a contract: what anybody pays at the connector."""
    OPERATOR = "operator"
    """Somebody put another one in its place, with a reason."""
    PARTNER = "partner"
    """What the partner asks at whose station it was."""
    NOTHING = "nothing"


class SignedPolicy(enum.StrEnum):
    """What signed meter values are to a tenant."""

    IGNORE = "ignore"
    SHOW = "show"
    """Verified and shown; nothing is held for them."""
    REQUIRE = "require"
    """What they do not prove is held."""


class AuthMethod(enum.StrEnum):
    """By what a partner's driver was let in (OCPI AuthMethod)."""

    AUTH_REQUEST = "AUTH_REQUEST"
    COMMAND = "COMMAND"
    WHITELIST = "WHITELIST"


class RoamingDriver(Struct, frozen=True, kw_only=True):
    """Who charges, where that is a driver of a roaming partner.

    Args:
        connection_id: over which the partner is reached.
        country_code, party_id: of the provider whose token it is.
        uid, type, contract_id: of the token, as the provider names it (OCPI Token); the station may know it by another name.
        authorization_reference: the provider's, of the authorisation that held.
        operator: country code and party id of ours that the session is told under.
        booking_id: of the booking that the session uses, as the provider was told it.
        invoice_reference_id: under which the driver finds the invoice that we make; None where we make none.
    """

    connection_id: int
    country_code: str
    party_id: str
    uid: str
    type: str
    contract_id: str
    auth_method: AuthMethod
    authorization_reference: str | None = None
    operator: tuple[str, str] | None = None
    booking_id: str | None = None
    invoice_reference_id: str | None = None


class CdrPlace(Struct, frozen=True, kw_only=True):
    """Where a session was, as it was called then (OCPI 2.3.0 mod_cdrs, CdrLocation).

    Args:
        country: ISO 3166-1 alpha-3, as OCPI has it; `country_alpha2` the short one.
        time_zone: IANA name.
    """

    id: str
    name: str | None
    address: str
    city: str
    postal_code: str | None
    state: str | None
    country: str
    country_alpha2: str
    latitude: str
    longitude: str
    time_zone: str
    evse_uid: str
    evse_id: str | None
    connector_id: str | None
    connector_standard: str | None
    connector_format: str | None
    connector_power_type: str | None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)


class CdrToken(Struct, frozen=True, kw_only=True):
    """Who charged (OCPI 2.3.0 mod_cdrs, CdrToken).

    Args:
        type: OCPP's word; None from OCPP 1.6.
        contract_id: number of the agreement.
    """

    uid: str
    type: str | None = None
    contract_id: str | None = None


class FrozenAgreement(Struct, frozen=True, kw_only=True):
    """The agreement under which a session runs.

    Args:
        version: of its terms, as they held when the session began.
        currency: of its amounts.
        time_zone: in which its months begin.
    """

    id: int
    number: str
    version: int
    currency: str
    time_zone: str


class Frozen(Struct, frozen=True, kw_only=True):
    """What a session was begun with; stays, whatever is changed afterwards.

    Args:
        station_id, ocpp_evse_id, ocpp_connector_id, ocpp_transaction_id: at the station.
        tariff_id, tariff_version: None where it costs nothing.
        reserved_from: when the reservation that it used began.
        roaming: where a partner's driver charges.
    """

    place: CdrPlace
    station_id: str
    ocpp_evse_id: int
    ocpp_connector_id: int | None
    ocpp_transaction_id: str | None
    token: CdrToken | None = None
    driver_id: int | None = None
    agreement: FrozenAgreement | None = None
    payment_id: int | None = None
    priced_by: PricedBy = PricedBy.NOTHING
    tariff_id: str | None = None
    tariff_version: int | None = None
    reserved_from: datetime | None = None
    roaming: RoamingDriver | None = None


class Override(Struct, frozen=True, kw_only=True):
    """What a person set for a session; every later rating goes by it.

    Args:
        tariff_id, tariff_version: in place of the frozen one.
        energy_wh: in place of the measured one.
    """

    tariff_id: str | None = None
    tariff_version: int | None = None
    energy_wh: Decimal | None = None


_frozen = msgspec.json.Decoder(Frozen).decode
_override = msgspec.json.Decoder(Override).decode
_encode: Final = msgspec.json.Encoder().encode


def frozen_text(value: Frozen | Override) -> str:
    """As stored."""
    return _encode(value).decode()


def frozen_of(text: str) -> Frozen:
    """From the store."""
    return _frozen(text)


def override_of(text: str | None) -> Override | None:
    """From the store."""
    return None if text is None else _override(text)
