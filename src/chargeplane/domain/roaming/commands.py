"""What partners ask of our stations, and how that ended (OCPI 2.3.0 mod_commands, mod_charging_profiles)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.reservations import ReservationState
from chargeplane.domain.roaming.authorization import KnownToken, Whitelist


class Asked(enum.StrEnum):
    """What is asked (OCPI CommandType, and the three requests about charging profiles)."""

    START_SESSION = "START_SESSION"
    STOP_SESSION = "STOP_SESSION"
    RESERVE_NOW = "RESERVE_NOW"
    CANCEL_RESERVATION = "CANCEL_RESERVATION"
    UNLOCK_CONNECTOR = "UNLOCK_CONNECTOR"
    GET_PROFILE = "GET_PROFILE"
    SET_PROFILE = "SET_PROFILE"
    CLEAR_PROFILE = "CLEAR_PROFILE"

    @property
    def is_profile(self) -> bool:
        """Whether it is about a charging profile."""
        return self in (Asked.GET_PROFILE, Asked.SET_PROFILE, Asked.CLEAR_PROFILE)


class Response(enum.StrEnum):
    """What is said at once (OCPI CommandResponseType, ChargingProfileResponseType)."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    UNKNOWN_SESSION = "UNKNOWN_SESSION"
    TOO_OFTEN = "TOO_OFTEN"


class Result(enum.StrEnum):
    """How it ended at the station (OCPI CommandResultType)."""

    ACCEPTED = "ACCEPTED"
    CANCELED_RESERVATION = "CANCELED_RESERVATION"
    EVSE_OCCUPIED = "EVSE_OCCUPIED"
    EVSE_INOPERATIVE = "EVSE_INOPERATIVE"
    FAILED = "FAILED"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    REJECTED = "REJECTED"
    TIMEOUT = "TIMEOUT"
    UNKNOWN_RESERVATION = "UNKNOWN_RESERVATION"


class TokenGiven(Struct, frozen=True, kw_only=True):
    """The token that comes with a command (OCPI Token); its provider has authorised it."""

    country_code: str
    party_id: str
    uid: str
    type: str
    contract_id: str
    group_id: str | None = None

    def known(self, connection_id: int) -> KnownToken:
        """As one that was pushed."""
        return KnownToken(
            connection_id=connection_id,
            country_code=self.country_code,
            party_id=self.party_id,
            uid=self.uid,
            type=self.type,
            contract_id=self.contract_id,
            valid=True,
            whitelist=Whitelist.NEVER,
            group_id=self.group_id,
        )


class StartSession(Struct, frozen=True, kw_only=True):
    """OCPI StartSession."""

    response_url: str
    token: TokenGiven
    location_id: str
    evse_uid: str | None = None
    connector_id: str | None = None
    authorization_reference: str | None = None


class StopSession(Struct, frozen=True, kw_only=True):
    """OCPI StopSession."""

    response_url: str
    session_id: str


class ReserveNow(Struct, frozen=True, kw_only=True):
    """OCPI ReserveNow."""

    response_url: str
    token: TokenGiven
    expiry_date: datetime
    reservation_id: str
    location_id: str
    evse_uid: str | None = None
    authorization_reference: str | None = None


class CancelReservation(Struct, frozen=True, kw_only=True):
    """OCPI CancelReservation."""

    response_url: str
    reservation_id: str


class UnlockConnector(Struct, frozen=True, kw_only=True):
    """OCPI UnlockConnector."""

    response_url: str
    location_id: str
    evse_uid: str
    connector_id: str


class ProfilePeriod(Struct, frozen=True, kw_only=True):
    """OCPI ChargingProfilePeriod: seconds from the start, and a limit in the profile's unit."""

    start_period: int
    limit: Decimal


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI ChargingProfile.

    Args:
        start_date_time: None: from the start of charging.
        duration: s; None: until the end.
        charging_rate_unit: W, or A for each phase.
    """

    charging_rate_unit: str
    start_date_time: datetime | None = None
    duration: int | None = None
    min_charging_rate: Decimal | None = None
    charging_profile_period: tuple[ProfilePeriod, ...] = ()


class SetProfile(Struct, frozen=True, kw_only=True):
    """OCPI SetChargingProfile."""

    charging_profile: Profile
    response_url: str


def result_of(asked: Asked, outcome: CommandOutcome) -> Result:
    """How a command ended, as its provider is told."""
    if outcome.state is CommandState.ACCEPTED:
        return Result.ACCEPTED
    if outcome.state in (CommandState.TIMED_OUT, CommandState.EXPIRED):
        return Result.TIMEOUT
    if outcome.state is not CommandState.REJECTED:
        return Result.NOT_SUPPORTED if _is_not_known(outcome) else Result.FAILED
    if outcome.call is None:
        return Result.NOT_SUPPORTED  # its version cannot say it
    word = outcome.status or ""
    if word in ("NotSupported", "NotImplemented"):
        return Result.NOT_SUPPORTED
    if asked is Asked.CANCEL_RESERVATION:
        return Result.UNKNOWN_RESERVATION  # OCPP 1.6, 5.2; 2.0.1 H02: no reservation has this id
    if asked is Asked.UNLOCK_CONNECTOR:
        return _UNLOCKED.get(word, Result.FAILED)
    return _WORDS.get(word, Result.REJECTED)


_WORDS: Final[Mapping[str, Result]] = {
    "Occupied": Result.EVSE_OCCUPIED,
    "Faulted": Result.EVSE_INOPERATIVE,
    "Unavailable": Result.EVSE_INOPERATIVE,
}
_UNLOCKED: Final[Mapping[str, Result]] = {
    "UnlockFailed": Result.FAILED,
    "OngoingAuthorizedTransaction": Result.REJECTED,
    "UnknownConnector": Result.NOT_SUPPORTED,
}


def _is_not_known(outcome: CommandOutcome) -> bool:
    return outcome.call is not None and outcome.call.error_code in ("NotSupported", "NotImplemented")


RESERVED: Final[Mapping[ReservationState, Result]] = {
    ReservationState.ACCEPTED: Result.ACCEPTED,
    ReservationState.USED: Result.ACCEPTED,
    ReservationState.OCCUPIED: Result.EVSE_OCCUPIED,
    ReservationState.FAULTED: Result.EVSE_INOPERATIVE,
    ReservationState.UNAVAILABLE: Result.EVSE_INOPERATIVE,
    ReservationState.REJECTED: Result.REJECTED,
    ReservationState.UNREACHED: Result.TIMEOUT,
}
"""How asking a station to keep a place ended; anything else is FAILED."""


def profile_result(asked: Asked, result: Result) -> str:
    """The same for charging profiles (OCPI ChargingProfileResultType), which knows neither silence nor failure."""
    if result is Result.ACCEPTED:
        return "ACCEPTED"
    # OCPP 1.6, 5.3 and 2.0.1 K10: the station has no such profile.
    return "UNKNOWN" if asked is Asked.CLEAR_PROFILE and result is Result.REJECTED else "REJECTED"
