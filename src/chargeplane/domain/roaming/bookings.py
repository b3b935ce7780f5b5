"""Bookings between partners (OCPI 2.3.0 mod_bookings): requests, what they say of an EVSE's free time, what becomes of them.

A provider asks with a BookingRequest, whose request_id it chooses; the same id again asks for a change of the booking, or with `canceled`
for its end. What the operator made of each stands in the Booking, which it owns.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from chargeplane.domain.bookings.policy import AccessMethod, BookingPolicy
from chargeplane.domain.bookings.states import BookingState
from chargeplane.domain.cdrs.session import AuthMethod, RoamingDriver
from chargeplane.domain.roaming.authorization import ocpp_type
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.time import as_utc

NOT_ASSIGNED: Final = "#NA"
"""Instead of an EVSE's uid: any (OCPI 2.3.0 mod_bookings, BookingOption)."""

MOST_REQUESTS: Final = 50
"""Requests that are kept of a booking: the newest."""

_MOST_TOKENS: Final = 20
_LONGEST_CALENDAR_DAYS: Final = 31


class ReservationStatus(enum.StrEnum):
    """How a booking stands (OCPI ReservationStatus)."""

    PENDING = "PENDING"
    RESERVED = "RESERVED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    NO_SHOW = "NO_SHOW"
    FULFILLED = "FULFILLED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


class RequestStatus(enum.StrEnum):
    """How a request stands (OCPI ReservationRequestStatus)."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"
    FAILED = "FAILED"


class CanceledReason(enum.StrEnum):
    """Why a booking was canceled (OCPI CanceledReason)."""

    POWER_OUTAGE = "POWER_OUTAGE"
    BROKEN_CHARGER = "BROKEN_CHARGER"
    FULL = "FULL"
    BLOCKED = "BLOCKED"
    TRAFFIC = "TRAFFIC"
    BROKEN_VEHICLE = "BROKEN_VEHICLE"
    NO_CANCELED = "NO_CANCELED"
    UNKNOWN = "UNKNOWN"


class Cancellation(Struct, frozen=True, kw_only=True):
    """Why, and by whom (OCPI Cancellation)."""

    cancellation_reason: str
    who_canceled: str


class BookingTokenGiven(Struct, frozen=True, kw_only=True):
    """A token that may use a booking (OCPI BookingToken)."""

    country_code: str
    party_id: str
    uid: str
    type: str
    contract_id: str

    @property
    def owner(self) -> str:
        """Whose it is, as parties are compared."""
        return f"{self.country_code}{self.party_id}".upper()


class PeriodGiven(Struct, frozen=True, kw_only=True):
    """From, to (OCPI Period)."""

    start_date_time: datetime
    end_date_time: datetime


class OptionGiven(Struct, frozen=True, kw_only=True):
    """What of a BookingOption is looked at."""

    evse_uid: str | None = None
    connector_id: str | None = None

    @property
    def evse(self) -> str | None:
        """The EVSE that is meant; None: any."""
        return None if self.evse_uid in (None, "", NOT_ASSIGNED) else self.evse_uid


class BookingRequest(Struct, frozen=True, kw_only=True):
    """OCPI BookingRequest.

    Args:
        power_required: kW.
        canceled: it asks to cancel.
    """

    country_code: str
    party_id: str
    request_id: str
    location_id: str
    booking_location_id: str
    period: PeriodGiven
    authorization_reference: str
    booking_option: OptionGiven | None = None
    tokens: tuple[BookingTokenGiven, ...] = ()
    access_information: tuple[Raw, ...] = ()
    power_required: int | None = None
    canceled: Cancellation | None = None

    @property
    def starts_at(self) -> datetime:
        """When it begins."""
        return as_utc(self.period.start_date_time)

    @property
    def ends_at(self) -> datetime:
        """When it ends."""
        return as_utc(self.period.end_date_time)

    @property
    def option(self) -> OptionGiven:
        """What is asked for."""
        return self.booking_option or OptionGiven()


def wrong(pointer: str, sentence: str) -> InvalidInputError:
    """The error that names a field (OCPI status 2001)."""
    return InvalidInputError(f"'{pointer[1:]}': {sentence}.", ((pointer, sentence),))


def check_tokens(ask: BookingRequest) -> None:
    """That a request names tokens, and only its sender's.

    Raises:
        InvalidInputError: naming the field.
    """
    if not ask.tokens:
        raise wrong("/tokens", "At least one token is needed: stations know drivers by theirs")
    if len(ask.tokens) > _MOST_TOKENS:
        raise wrong("/tokens", f"At most {_MOST_TOKENS} tokens")
    sender = f"{ask.country_code}{ask.party_id}".upper()
    for place, token in enumerate(ask.tokens):
        if token.owner != sender:
            raise wrong(f"/tokens/{place}/party_id", "The token belongs to another party")
        if not token.uid:
            raise wrong(f"/tokens/{place}/uid", "Must not be empty")


def driver_of_request(ask: BookingRequest, connection_id: int, ident: int, operator: tuple[str, str]) -> RoamingDriver:
    """Who may charge: the provider vouches for its tokens as it does with a command.

    Args:
        ident: of the booking, as the provider is told it.
        operator: the party of ours.
    """
    first = ask.tokens[0]
    return RoamingDriver(
        connection_id=connection_id,
        country_code=first.country_code,
        party_id=first.party_id,
        uid=first.uid,
        type=first.type,
        contract_id=first.contract_id,
        auth_method=AuthMethod.COMMAND,
        authorization_reference=ask.authorization_reference,
        operator=operator,
        booking_id=str(ident),
    )


def presented_type(token: BookingTokenGiven) -> str:
    """Its type as stations of OCPP 2.x name it."""
    return ocpp_type(token.type)


class Terms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI BookingTerms; times in minutes."""

    supported_access_methods: tuple[AccessMethod, ...]
    change_until_minutes: int
    cancel_until_minutes: int
    rfid_auth_required: bool | None = None
    token_groups_supported: bool | None = None
    remote_auth_supported: bool | None = None
    change_not_allowed: bool | None = None
    early_start_allowed: bool | None = None
    early_start_time: int | None = None
    noshow_timeout: int | None = None
    noshow_fee: bool | None = None
    late_stop_allowed: bool | None = None
    late_stop_time: int | None = None
    overlapping_bookings_allowed: bool | None = None
    min_booking_duration: int | None = None
    max_booking_duration: int | None = None
    booking_terms: str | None = None


def terms_told(policy: BookingPolicy, *, no_show_fee: bool) -> Terms:
    """What a partner is told of the tenant's policy. Times are in whole minutes, never better than they are.

    Args:
        no_show_fee: a tariff asks for it.
    """
    until = math.ceil(policy.free_cancel_s / 60)
    return Terms(
        rfid_auth_required=False,
        token_groups_supported=True,
        remote_auth_supported=True,
        supported_access_methods=policy.access_methods,
        change_until_minutes=until,
        cancel_until_minutes=until,
        change_not_allowed=False,
        early_start_allowed=policy.lead_s >= 60,
        early_start_time=int(policy.lead_s // 60),
        noshow_timeout=int(policy.no_show_s // 60),
        noshow_fee=no_show_fee,
        late_stop_allowed=True,
        late_stop_time=int(policy.buffer_s // 60),
        overlapping_bookings_allowed=policy.max_at_a_time > 1,
        min_booking_duration=math.ceil(policy.min_s / 60),
        max_booking_duration=int(policy.max_s // 60),
        booking_terms=policy.terms_url,
    )


def too_late(terms: Terms, starts_at: datetime, now: datetime, *, cancels: bool) -> bool:
    """Whether a booking may be changed, or canceled, no more by whoever booked it."""
    minutes = terms.cancel_until_minutes if cancels else terms.change_until_minutes
    return now > starts_at - timedelta(minutes=minutes)


# What is free


class Span(Struct, frozen=True, order=True):
    """From, to; half-open, aware."""

    start: datetime
    end: datetime


def days_told(policy: BookingPolicy, now: datetime) -> Span:
    """What a calendar is about: from the beginning of today (UTC), so that it changes once a day by itself, as far as may be booked."""
    begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = min(math.ceil(policy.max_ahead_s / 86_400) + 1, _LONGEST_CALENDAR_DAYS)
    return Span(begin, begin + timedelta(days=days))


def free_spans(policy: BookingPolicy, days: Span, taken: Iterable[Span]) -> list[Span]:
    """When an EVSE can be booked.

    Args:
        taken: intervals with the buffer behind each; in any order.
    """
    buffer, least = timedelta(seconds=policy.buffer_s), timedelta(seconds=max(policy.min_s, 60))
    found: list[Span] = []
    at = days.start
    for one in sorted(taken):
        if one.end <= at:
            continue
        # What is booked before another booking needs its buffer, too.
        until = min(one.start - buffer, days.end)
        if until - at >= least:
            found.append(Span(at, until))
        at = max(at, one.end)
        if at >= days.end:
            return found
    if days.end - at >= least:
        found.append(Span(at, days.end))
    return found


class ConnectorTold(Struct, frozen=True, kw_only=True):
    """What of a connector a booking location tells."""

    standard: str
    format: str
    power_type: str
    power_w: int


class BookingPlaceNow(Struct, frozen=True, kw_only=True):
    """An EVSE that can be booked, as partners are told (OCPI BookingLocation): one for each EVSE, under the EVSE's uid.

    Args:
        free: empty where nothing is.
        days: what the calendar is about.
    """

    evse_uid: str
    location_id: str
    connectors: Sequence[ConnectorTold]
    tariff_ids: Sequence[str]
    terms: Terms
    days: Span
    free: Sequence[Span]

    @property
    def power_w(self) -> int:
        """At most."""
        return max((one.power_w for one in self.connectors), default=0)


# What partners asked for


class RequestKept(Struct, frozen=True, kw_only=True):
    """A request and what became of it.

    Args:
        request: canonical JSON as it came.
    """

    status: RequestStatus
    received_at: datetime
    request: Raw


class PartnerBooking(Struct, frozen=True, kw_only=True):
    """What is kept of a booking beside the booking itself.

    Args:
        terms: as they were when it was asked for.
        rejected: nothing was booked; `evse_uid`, `starts_at` and `ends_at` are what was asked for then.
        canceled: why it ended, where the provider said so.
    """

    terms: Terms
    location_id: str
    requests: tuple[RequestKept, ...]
    tokens: tuple[BookingTokenGiven, ...]
    access_information: tuple[Raw, ...] = ()
    reference: str = ""
    rejected: bool = False
    canceled: Cancellation | None = None
    evse_uid: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class BookingNow(Struct, frozen=True, kw_only=True):
    """A booking as its provider is told (OCPI Booking)."""

    id: str
    request_id: str
    kept: PartnerBooking
    status: ReservationStatus
    location_id: str
    evse_uid: str | None
    connector_id: str | None
    starts_at: datetime
    ends_at: datetime
    tariff_ids: tuple[str, ...]
    power_w: int | None
    canceled: Cancellation | None


_STATUS: Final = {
    BookingState.CREATED: ReservationStatus.PENDING,
    BookingState.CONFIRMED: ReservationStatus.RESERVED,
    BookingState.ACTIVE: ReservationStatus.RESERVED,
    BookingState.USED: ReservationStatus.FULFILLED,
    BookingState.COMPLETED: ReservationStatus.FULFILLED,
    BookingState.NO_SHOW: ReservationStatus.NO_SHOW,
    BookingState.CANCELED: ReservationStatus.CANCELED,
    BookingState.FAILED: ReservationStatus.CANCELED,
}


def status_of(state: BookingState) -> ReservationStatus:
    """How a booking of ours stands, in OCPI's words. FULFILLED is one whose session has started; what failed after it was RESERVED is one
    that the operator canceled (OCPI 2.3.0 mod_bookings, Flow and Lifecycle)."""
    return _STATUS[state]


def canceled_by_us(state: BookingState, kept_by: str | None) -> Cancellation | None:
    """What a provider is told of a booking that ended otherwise than it asked."""
    if state is BookingState.FAILED:
        reason = CanceledReason.BROKEN_CHARGER if kept_by is None else CanceledReason.FULL
        return Cancellation(cancellation_reason=reason.value, who_canceled="CPO")
    if state is BookingState.CANCELED:
        return Cancellation(cancellation_reason=CanceledReason.UNKNOWN.value, who_canceled="CPO")
    return None


_kept = msgspec.json.Decoder(PartnerBooking).decode
_encode: Final = msgspec.json.Encoder().encode


def kept_of(text: str) -> PartnerBooking:
    """From the store."""
    return _kept(text)


def kept_text(value: PartnerBooking) -> str:
    """As stored."""
    return _encode(value).decode()


# Bookings of our drivers at partners


class AskedState(enum.StrEnum):
    """How a booking of a driver of ours at a partner stands."""

    SENT = "sent"
    """The partner was asked and has not answered."""
    PENDING = "pending"
    RESERVED = "reserved"
    FULFILLED = "fulfilled"
    NO_SHOW = "no_show"
    CANCELED = "canceled"
    REJECTED = "rejected"
    FAILED = "failed"
    """The partner could not be asked, or said that it failed."""


OVER: Final = (
    AskedState.FULFILLED,
    AskedState.NO_SHOW,
    AskedState.CANCELED,
    AskedState.REJECTED,
    AskedState.FAILED,
)

_ASKED: Final = {
    ReservationStatus.PENDING: AskedState.PENDING,
    ReservationStatus.RESERVED: AskedState.RESERVED,
    ReservationStatus.FULFILLED: AskedState.FULFILLED,
    ReservationStatus.NO_SHOW: AskedState.NO_SHOW,
    ReservationStatus.CANCELED: AskedState.CANCELED,
    ReservationStatus.REJECTED: AskedState.REJECTED,
    ReservationStatus.FAILED: AskedState.FAILED,
    ReservationStatus.UNKNOWN: AskedState.PENDING,
}


class _RequestSaid(Struct, frozen=True):
    request_status: str
    request_received: datetime


class _TimeslotSaid(Struct, frozen=True):
    start_date_time: datetime
    end_date_time: datetime
    max_power: float | None = None


class BookingSaid(Struct, frozen=True):
    """What is read of a partner's Booking."""

    id: str
    request_id: str
    country_code: str
    party_id: str
    period: _TimeslotSaid
    reservation_status: str
    location_id: str
    booking_option: OptionGiven | None = None
    canceled: Cancellation | None = None
    booking_requests: tuple[_RequestSaid, ...] = ()
    access_information: tuple[Raw, ...] = ()

    @property
    def state(self) -> AskedState:
        """In our words."""
        try:
            return _ASKED[ReservationStatus(self.reservation_status.upper())]
        except ValueError:
            return AskedState.PENDING

    @property
    def asked(self) -> RequestStatus:
        """How the last request stands."""
        if not self.booking_requests:
            return RequestStatus.PENDING
        last = max(enumerate(self.booking_requests), key=lambda one: (as_utc(one[1].request_received), one[0]))[1]
        try:
            return RequestStatus(last.request_status.upper())
        except ValueError:
            return RequestStatus.PENDING


class _CalendarSaid(Struct, frozen=True):
    available_timeslots: tuple[_TimeslotSaid, ...] = ()


class PlaceOptionSaid(Struct, frozen=True):
    """What is read of the BookingOption of a place."""

    evse_uid: str | None = None
    connector_types: tuple[str, ...] | str = ()
    power_types: tuple[str, ...] | str = ()


class BookingPlaceSaid(Struct, frozen=True):
    """What is read of a partner's BookingLocation."""

    id: str
    location_id: str
    booking_option: PlaceOptionSaid | None = None
    tariff_ids: tuple[str, ...] = ()
    booking_terms: dict[str, Any] | None = None
    calendars: tuple[_CalendarSaid, ...] = ()

    @property
    def free(self) -> list[Span]:
        """When it can be booked; slots that touch are one, what ends before it begins is none."""
        spans = sorted(
            Span(as_utc(slot.start_date_time), as_utc(slot.end_date_time))
            for calendar in self.calendars
            for slot in calendar.available_timeslots
        )
        found: list[Span] = []
        for one in spans:
            if one.end <= one.start:
                continue
            if found and one.start <= found[-1].end:
                found[-1] = Span(found[-1].start, max(found[-1].end, one.end))
            else:
                found.append(one)
        return found


_booking_said: Final = msgspec.json.Decoder(BookingSaid, strict=False).decode
_place_said: Final = msgspec.json.Decoder(BookingPlaceSaid, strict=False).decode


def booking_said(document: bytes) -> BookingSaid | None:
    """A Booking; None where it is none."""
    try:
        return _booking_said(document)
    except msgspec.MsgspecError:
        return None


def booking_place_said(document: bytes) -> BookingPlaceSaid | None:
    """A BookingLocation; None where it is none."""
    try:
        return _place_said(document)
    except msgspec.MsgspecError:
        return None


CiText = Annotated[str, Meta(min_length=1, max_length=36)]
