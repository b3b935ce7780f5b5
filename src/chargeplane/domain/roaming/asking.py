"""What we ask operators to do at their stations (OCPI 2.3.0 mod_commands, Sender): bodies, and how far a command is.

sent       it is on its way, or was sent and not answered
waiting    the operator took it; the station's result comes later
done       the station did it
refused    the operator, or the station, will not
failed     it could not be done, or the operator could not be reached
timed_out  nothing was heard in time; what is heard later still counts
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from chargeplane.domain.roaming.own_tokens import OwnToken


class CommandType(enum.StrEnum):
    """OCPI CommandType, and what is asked about charging profiles."""

    START_SESSION = "START_SESSION"
    STOP_SESSION = "STOP_SESSION"
    RESERVE_NOW = "RESERVE_NOW"
    UNLOCK_CONNECTOR = "UNLOCK_CONNECTOR"
    CANCEL_RESERVATION = "CANCEL_RESERVATION"
    ACTIVE_PROFILE = "ACTIVE_PROFILE"
    SET_PROFILE = "SET_PROFILE"
    CLEAR_PROFILE = "CLEAR_PROFILE"


RESULTS: Final = {
    CommandType.ACTIVE_PROFILE: "active",
    CommandType.SET_PROFILE: "set",
    CommandType.CLEAR_PROFILE: "clear",
}
"""Of what is asked about charging profiles: which result it is, in our response_url (two of them look alike)."""

ROWS: Final = {
    CommandType.START_SESSION: 38,
    CommandType.STOP_SESSION: 39,
    CommandType.RESERVE_NOW: 40,
    CommandType.UNLOCK_CONNECTOR: 41,
    CommandType.CANCEL_RESERVATION: 42,
    CommandType.ACTIVE_PROFILE: 44,
    CommandType.SET_PROFILE: 45,
    CommandType.CLEAR_PROFILE: 46,
}
"""Of the table of endpoints."""


class CommandState(enum.StrEnum):
    """How far a command is."""

    SENT = "sent"
    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


OPEN: Final = (CommandState.SENT, CommandState.WAITING)


class StartSession(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI StartSession."""

    response_url: str
    token: OwnToken
    location_id: str
    evse_uid: str | None = None
    connector_id: str | None = None
    authorization_reference: str | None = None


class StopSession(Struct, frozen=True, kw_only=True):
    """OCPI StopSession."""

    response_url: str
    session_id: str


class ReserveNow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI ReserveNow."""

    response_url: str
    token: OwnToken
    expiry_date: str
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


class ProfilePeriod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OCPI ChargingProfilePeriod: a limit from a second of the profile on."""

    start_period: Annotated[int, Meta(ge=0, le=31_536_000)]
    limit: Annotated[float, Meta(ge=0, le=10_000_000)]


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """OCPI ChargingProfile.

    Args:
        duration: s; None: until the end of the session.
        charging_rate_unit: W, or A of each phase.
    """

    charging_rate_unit: Literal["W", "A"]
    charging_profile_period: Annotated[tuple[ProfilePeriod, ...], Meta(min_length=1, max_length=1000)]
    start_date_time: Annotated[datetime, Meta(tz=True)] | None = None
    duration: Annotated[int, Meta(ge=1, le=31_536_000)] | None = None
    min_charging_rate: Annotated[float, Meta(ge=0, le=10_000_000)] | None = None


class Preferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """OCPI ChargingPreferences.

    Args:
        energy_need: kWh.
    """

    profile_type: Literal["CHEAP", "FAST", "GREEN", "REGULAR"]
    departure_time: Annotated[datetime, Meta(tz=True)] | None = None
    energy_need: Annotated[float, Meta(ge=0, le=100_000)] | None = None
    discharge_allowed: bool | None = None


class SetProfile(Struct, frozen=True, kw_only=True):
    """OCPI SetChargingProfile."""

    charging_profile: Profile
    response_url: str


class Asked(Struct, frozen=True, kw_only=True):
    """What stands in the URL of a request without a body."""

    query: dict[str, str]


Body = StartSession | StopSession | ReserveNow | CancelReservation | UnlockConnector | SetProfile | Asked


class _Text(Struct, frozen=True):
    text: str = ""
    language: str = ""


class Answer(Struct, frozen=True):
    """OCPI CommandResponse, and CommandResult.

    Args:
        timeout: s, until when the result is there; of the response.
    """

    result: str
    timeout: int | None = None
    message: tuple[_Text, ...] | _Text | None = None

    @property
    def text(self) -> str | None:
        """What it says to people; the English text before others."""
        if self.message is None:
            return None
        texts = self.message if isinstance(self.message, tuple) else (self.message,)
        found = next((one.text for one in texts if one.language == "en"), None)
        return found or next((one.text for one in texts), None)


encoded: Final = msgspec.json.Encoder().encode
_answer: Final = msgspec.json.Decoder(Answer, strict=False).decode


def answer_of(document: bytes) -> Answer | None:
    """An answer or a result; None where it is neither."""
    try:
        return _answer(document)
    except msgspec.MsgspecError:
        return None


_REFUSALS: Final = frozenset({"REJECTED", "NOT_SUPPORTED", "UNKNOWN_SESSION", "UNKNOWN_RESERVATION", "EVSE_OCCUPIED"})


def after_response(result: str) -> CommandState:
    """Where a command is when the operator has answered (CommandResponseType)."""
    return CommandState.WAITING if result.upper() == "ACCEPTED" else CommandState.REFUSED


def after_result(result: str) -> CommandState:
    """Where a command is when the station's result came (CommandResultType)."""
    word = result.upper()
    if word == "ACCEPTED":
        return CommandState.DONE
    if word == "TIMEOUT":
        return CommandState.TIMED_OUT
    return CommandState.REFUSED if word in _REFUSALS else CommandState.FAILED


class CommandRecord(Struct, frozen=True, kw_only=True):
    """A command as it is kept.

    Args:
        reference: our authorization_reference, by which its session is found.
        expires_at: when it counts as timed out.
    """

    id: int
    type: CommandType
    partner: str
    connection_id: int
    requested_by: str
    driver_id: int | None
    reference: str | None
    state: CommandState
    response: str | None
    result: str | None
    message: str | None
    created_at: datetime
    answered_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
