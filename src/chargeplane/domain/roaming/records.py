"""What is read of the Sessions, CDRs and Tariffs that partners send (canonical documents of OCPI 2.3.0)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec import Raw, Struct

from chargeplane.domain.cdrs.session import CdrPlace
from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.rating.result import Cost, TaxAmount
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.time import as_utc

_NOTHING: Final = Decimal(0)


class TaxSaid(Struct, frozen=True):
    """OCPI TaxAmount."""

    name: str = "VAT"
    amount: Decimal = _NOTHING
    percentage: Decimal | None = None
    account_number: str | None = None


class Price(Struct, frozen=True):
    """OCPI Price."""

    before_taxes: Decimal
    taxes: tuple[TaxSaid, ...] = ()

    @property
    def cost(self) -> Cost:
        """As the rating engine has it."""
        taxes = tuple(
            TaxAmount(
                name=one.name,
                percentage=one.percentage,
                base=self.before_taxes,
                amount=one.amount,
                account_number=one.account_number,
            )
            for one in self.taxes
        )
        return Cost(
            excl=self.before_taxes, incl=self.before_taxes + sum((one.amount for one in taxes), _NOTHING), taxes=taxes
        )


class TokenSaid(Struct, frozen=True):
    """OCPI CdrToken."""

    uid: str
    type: str = "RFID"
    contract_id: str | None = None
    country_code: str = ""
    party_id: str = ""


class DimensionSaid(Struct, frozen=True):
    """OCPI CdrDimension."""

    type: str
    volume: Decimal


class PeriodSaid(Struct, frozen=True):
    """OCPI ChargingPeriod."""

    start_date_time: datetime
    dimensions: tuple[DimensionSaid, ...] = ()
    tariff_id: str | None = None

    def of(self, kind: str) -> Decimal | None:
        """The volume of a dimension; None where it is not told."""
        found = [one.volume for one in self.dimensions if one.type == kind]
        return sum(found, _NOTHING) if found else None


class GeoSaid(Struct, frozen=True):
    """OCPI GeoLocation."""

    latitude: str
    longitude: str


class PlaceSaid(Struct, frozen=True):
    """OCPI CdrLocation."""

    id: str
    coordinates: GeoSaid
    name: str | None = None
    address: str = ""
    city: str = ""
    postal_code: str | None = None
    state: str | None = None
    country: str = ""
    evse_uid: str = ""
    evse_id: str | None = None
    connector_id: str | None = None
    connector_standard: str | None = None
    connector_format: str | None = None
    connector_power_type: str | None = None


class SessionSaid(Struct, frozen=True):
    """OCPI Session."""

    id: str
    start_date_time: datetime
    kwh: Decimal
    cdr_token: TokenSaid
    currency: str
    status: str
    last_updated: datetime
    location_id: str = ""
    evse_uid: str = ""
    connector_id: str | None = None
    end_date_time: datetime | None = None
    authorization_reference: str | None = None
    total_cost: Price | None = None


class CdrSaid(Struct, frozen=True):
    """OCPI CDR."""

    country_code: str
    party_id: str
    id: str
    start_date_time: datetime
    end_date_time: datetime
    cdr_token: TokenSaid
    cdr_location: PlaceSaid
    currency: str
    total_cost: Price
    total_energy: Decimal
    total_time: Decimal = _NOTHING
    total_parking_time: Decimal | None = None
    charging_periods: tuple[PeriodSaid, ...] = ()
    tariffs: tuple[Raw, ...] = ()
    signed_data: Raw = Raw()
    session_id: str | None = None
    authorization_reference: str | None = None
    credit: bool | None = None
    credit_reference_id: str | None = None
    booking_id: str | None = None
    total_fixed_cost: Price | None = None
    total_energy_cost: Price | None = None
    total_time_cost: Price | None = None
    total_parking_cost: Price | None = None
    total_reservation_cost: Price | None = None
    remark: str | None = None


_session: Final = msgspec.json.Decoder(SessionSaid, strict=False).decode
_cdr: Final = msgspec.json.Decoder(CdrSaid, strict=False).decode
_plain: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


def session_said(document: bytes) -> SessionSaid:
    """A Session.

    Raises:
        InvalidInputError: something it needs is missing.
    """
    try:
        return _session(document)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"This is no Session: {error}.", (("", str(error)),)) from None


def cdr_said(document: bytes) -> CdrSaid:
    """A CDR.

    Raises:
        InvalidInputError: something it needs is missing.
    """
    try:
        return _cdr(document)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"This is no CDR: {error}.", (("", str(error)),)) from None


def tariff_said(document: bytes) -> Tariff:
    """A partner's Tariff as the rating engine takes it; what our model does not know is left out.

    Raises:
        InvalidInputError: it cannot be rated by.
    """
    try:
        plain = _plain(document)
        for name in ("country_code", "party_id"):
            # CiStrings: some write them small, ours are in capitals.
            if isinstance(plain.get(name), str):
                plain[name] = plain[name].upper()
        found = msgspec.convert(_known(plain, Tariff), Tariff, strict=False, dec_hook=_number)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, TypeError) as error:
        raise InvalidInputError(f"The tariff cannot be rated by: {error}.", (("", str(error)),)) from None
    return msgspec.structs.replace(found, last_updated=as_utc(found.last_updated))


def _number(kind: type, value: Any) -> Any:
    if kind is Decimal and isinstance(value, (int, Decimal)):
        return Decimal(value)
    raise NotImplementedError


def _known(value: Any, kind: Any) -> Any:
    """The value without what a struct does not know, however deep."""
    if isinstance(value, list):
        inner = next((one for one in get_args(kind) if one is not Ellipsis), None)
        return [_known(one, _struct_in(kind) or inner) for one in value]
    struct = _struct_in(kind)
    if isinstance(value, dict) and struct is not None:
        fields = {one.encode_name: one.type for one in msgspec.structs.fields(struct)}
        return {name: _known(one, fields[name]) for name, one in value.items() if name in fields and one is not None}
    return value


def _struct_in(kind: Any) -> Any:
    """The struct that a type is made of: of `tuple[X, ...]`, `Annotated[X]`, `X | None`; None where there is none."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind
    if get_origin(kind) is None and not get_args(kind):
        return None
    for one in get_args(kind):
        found = _struct_in(one)
        if found is not None:
            return found
    return None


def place_of(said: CdrSaid, time_zone: str) -> CdrPlace:
    """Where a session was.

    Args:
        time_zone: of the partner's Location; CDRs do not tell it.
    """
    place = said.cdr_location
    return CdrPlace(
        id=qualified(said.country_code, said.party_id, place.id),
        name=place.name,
        address=place.address,
        city=place.city,
        postal_code=place.postal_code,
        state=place.state,
        country=place.country,
        country_alpha2=ALPHA2.get(place.country, said.country_code.upper()),
        latitude=place.coordinates.latitude,
        longitude=place.coordinates.longitude,
        time_zone=time_zone,
        evse_uid=place.evse_uid,
        evse_id=place.evse_id,
        connector_id=place.connector_id,
        connector_standard=place.connector_standard,
        connector_format=place.connector_format,
        connector_power_type=place.connector_power_type,
    )


def qualified(country_code: str, party_id: str, ident: str) -> str:
    """A partner's id of a place among ours, as `DE*ABC*LOC1`: agreements name it so."""
    return f"{country_code.upper()}*{party_id.upper()}*{ident}"
