"""Sessions and CDRs of partners' drivers at our stations (OCPI 2.3.0 mod_sessions, mod_cdrs)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from chargeplane.bridge.roaming.tariffs import tariff_document
from chargeplane.bridge.roaming.values import Document, filled, moment, number
from chargeplane.domain.cdrs.cdr import CdrContent, ChargingPeriod, Dimension, DimensionType, Totals
from chargeplane.domain.cdrs.session import CdrPlace, RoamingDriver, SessionState
from chargeplane.domain.rating.result import Cost
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.published import SessionNow, SignedValue

NOT_AVAILABLE: Final = "#NA"
"""OCPI 2.3.0 transport_and_format, "No data available"."""

_STATES: Final = {
    SessionState.ACTIVE: "ACTIVE",
    SessionState.ENDED: "ACTIVE",
    SessionState.SETTLED: "COMPLETED",
    SessionState.CREDITED: "INVALID",
}
_LONGEST_SIGNED: Final = 5000
_NO_CURRENCY: Final = "XXX"
"""ISO 4217: no currency is involved; where no tariff holds."""


def session_document(session: SessionNow, party: PartyId) -> Document:
    """A Session. What ended and still waits for messages is ACTIVE: COMPLETED is never changed any more."""
    driver, place = session.driver, session.place
    over = session.state in (SessionState.SETTLED, SessionState.CREDITED)
    return filled(
        {
            "country_code": party.country_code,
            "party_id": party.party_id,
            "id": str(session.id),
            "start_date_time": moment(session.started_at),
            "end_date_time": moment(session.stopped_at) if over and session.stopped_at is not None else None,
            "kwh": number(session.energy_wh / 1000),
            "cdr_token": token_document(driver),
            "auth_method": driver.auth_method.value,
            "authorization_reference": driver.authorization_reference,
            "location_id": place.id,
            "evse_uid": place.evse_uid,
            "connector_id": place.connector_id or NOT_AVAILABLE,
            "currency": session.currency or _NO_CURRENCY,
            "charging_periods": [_period(one, session.tariff_id) for one in session.periods],
            "total_cost": None if session.cost is None else _price_of(*session.cost),
            "status": _STATES[session.state],
            "last_updated": moment(session.last_updated),
        }
    )


def cdr_document(
    ident: str,
    session_id: int,
    content: CdrContent,
    driver: RoamingDriver,
    party: PartyId,
    created_at: datetime,
    *,
    credits: str | None = None,
    signed: Document | None = None,
) -> Document | None:
    """A CDR; None where no tariff held: a CDR without a price cannot be told (OCPI requires `total_cost`).

    Args:
        credits: id of the CDR that this one takes back.
        signed: its signed data.
    """
    totals, tariff = content.totals, content.tariff
    if totals.cost is None or tariff is None:
        return None
    return filled(
        {
            "country_code": party.country_code,
            "party_id": party.party_id,
            "id": ident,
            "start_date_time": moment(content.started_at),
            "end_date_time": moment(content.ended_at),
            "booking_id": driver.booking_id,
            "session_id": None if content.without_session else str(session_id),
            "cdr_token": token_document(driver),
            "auth_method": driver.auth_method.value,
            "authorization_reference": driver.authorization_reference,
            "cdr_location": place_document(content.place),
            "currency": tariff.currency,
            "tariffs": [tariff_document(tariff, tariff.id, party, tariff.last_updated)],
            "charging_periods": [_period(one, tariff.id) for one in content.charging_periods]
            or [_period(_nothing(content), tariff.id)],
            "signed_data": signed,
            **_totals(totals, credits is not None),
            "invoice_reference_id": driver.invoice_reference_id,
            "remark": None if content.reason is None else content.reason[:255],
            "credit": True if credits is not None else None,
            "credit_reference_id": credits,
            "last_updated": moment(created_at),
        }
    )


def token_document(driver: RoamingDriver) -> Document:
    """A CdrToken."""
    return {
        "country_code": driver.country_code,
        "party_id": driver.party_id,
        "uid": driver.uid,
        "type": driver.type,
        "contract_id": driver.contract_id,
    }


def place_document(place: CdrPlace) -> Document:
    """A CdrLocation: what is not known of the connector is `#NA`."""
    return filled(
        {
            "id": place.id,
            "name": place.name,
            "address": place.address,
            "city": place.city,
            "postal_code": place.postal_code,
            "state": place.state,
            "country": place.country,
            "coordinates": {"latitude": place.latitude, "longitude": place.longitude},
            "evse_uid": place.evse_uid,
            "evse_id": place.evse_id or NOT_AVAILABLE,
            "connector_id": place.connector_id or NOT_AVAILABLE,
            "connector_standard": place.connector_standard or "IEC_62196_T2",
            "connector_format": place.connector_format or "SOCKET",
            "connector_power_type": place.connector_power_type or "AC_3_PHASE",
        }
    )


def signed_document(values: Sequence[SignedValue], public_key: str | None) -> Document | None:
    """SignedData of OCMF records; None where there are none that can be told.

    Args:
        public_key: of the meter, DER in Base64.
    """
    told = [
        {
            "nature": value.nature,
            "plain_data": value.data,
            "signed_data": base64.b64encode(value.data.encode()).decode(),
        }
        for value in values
        if len(value.data) <= _LONGEST_SIGNED * 3 // 4
    ]
    if not told:
        return None
    return filled({"encoding_method": "OCMF", "public_key": public_key, "signed_values": told})


def signed_values(data: Sequence[str]) -> list[SignedValue]:
    """A session's signed values, in the order of arrival, with the event that each belongs to: the first, the last, what is between.

    Stations that put begin and end in one record (OCMF with several readings) send a single one: it is that of the end.
    """
    last = len(data) - 1
    return [
        SignedValue(nature="End" if place == last else "Start" if place == 0 else "Intermediate", data=one)
        for place, one in enumerate(data)
    ]


def _nothing(content: CdrContent) -> ChargingPeriod:
    none = Dimension(type=DimensionType.TIME, volume=Decimal(0))
    return ChargingPeriod(start_date_time=content.started_at, dimensions=(none,))


def _period(period: ChargingPeriod, tariff_id: str | None) -> Document:
    return filled(
        {
            "start_date_time": moment(period.start_date_time),
            "dimensions": [{"type": one.type.value, "volume": number(one.volume)} for one in period.dimensions],
            "tariff_id": tariff_id,
        }
    )


def _totals(totals: Totals, credit: bool) -> Document:
    """The totals. Of a credit only `total_cost` is negative (OCPI 2.3.0 mod_cdrs, Credit CDRs); here all costs of one are."""
    assert totals.cost is not None
    sign = -1 if credit else 1
    return {
        "total_cost": price_document(totals.cost),
        "total_fixed_cost": _cost(totals.fixed_cost, sign),
        "total_energy": number(totals.energy_kwh),
        "total_energy_cost": _cost(totals.energy_cost, sign),
        "total_time": number(totals.time_h),
        "total_time_cost": _cost(totals.time_cost, sign),
        "total_parking_time": number(totals.parking_time_h) if totals.parking_time_h else None,
        "total_parking_cost": _cost(totals.parking_cost, sign),
        "total_reservation_cost": _cost(totals.reservation_cost, sign),
    }


def _cost(cost: Cost | None, sign: int) -> Document | None:
    return None if cost is None else price_document(cost, sign)


def price_document(cost: Cost, sign: int = 1) -> Document:
    """A Price: before taxes, and each tax.

    Args:
        sign: -1 turns it round.
    """
    return filled(
        {
            "before_taxes": number(sign * cost.excl),
            "taxes": [
                filled(
                    {
                        "name": tax.name,
                        "account_number": tax.account_number,
                        "percentage": None if tax.percentage is None else number(tax.percentage),
                        "amount": number(sign * tax.amount),
                    }
                )
                for tax in cost.taxes
            ],
        }
    )


def _price_of(excl: Decimal, incl: Decimal) -> Document:
    taxes = [{"name": "VAT", "amount": number(incl - excl)}] if incl != excl else []
    return filled({"before_taxes": number(excl), "taxes": taxes})
