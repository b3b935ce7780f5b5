"""What stations exchange with us besides charging: vendors' data, batteries, periodic values, payments at the station."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from chargeplane.domain.messages import IdToken


class DataTransferAsk(Struct, frozen=True, kw_only=True):
    """DataTransfer from a station (OCPP 1.6, 4.3; 2.0.1 P02).

    Args:
        data: as JSON text; None where there is none. In 1.6 always a text.
    """

    vendor_id: str
    message_id: str | None = None
    data: bytes | None = None


class DataTransferStatus(enum.StrEnum):
    """OCPP DataTransferStatusEnum."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    UNKNOWN_MESSAGE_ID = "UnknownMessageId"
    UNKNOWN_VENDOR_ID = "UnknownVendorId"


class DataTransferAnswer(Struct, frozen=True, kw_only=True):
    """What a plug-in answers, and what a station answered.

    Args:
        data: anything JSON can hold; a station of 1.6 gets it as a text.
    """

    status: DataTransferStatus
    data: Any = None


class Battery(Struct, frozen=True, kw_only=True):
    """A battery in a slot.

    Args:
        soc, soh: percent.
    """

    evse_id: int
    serial_number: str
    soc: Decimal
    soh: Decimal
    production_date: datetime | None = None
    vendor_info: str | None = None


class BatterySwapReport(Struct, frozen=True, kw_only=True, tag="battery_swap"):
    """BatterySwap (OCPP 2.1 S03).

    Args:
        event: BatteryIn, BatteryOut or BatteryOutTimeout.
        request_id: joins the in and the out of one swap, and our request where we asked for it.
    """

    event: str
    request_id: int
    id_token: IdToken
    batteries: tuple[Battery, ...]


class StreamParameters(Struct, frozen=True, kw_only=True):
    """When a station sends what it gathered (OCPP 2.1 PeriodicEventStreamParamsType).

    Args:
        interval_s: after so long.
        values: after so many.
    """

    interval_s: int | None = None
    values: int | None = None


class StreamOpening(Struct, frozen=True, kw_only=True):
    """OpenPeriodicEventStream (OCPP 2.1 N11)."""

    id: int
    monitor_id: int
    parameters: StreamParameters


class StreamAccepted(Struct, frozen=True, kw_only=True):
    """The stream may be used."""


class StreamClosing(Struct, frozen=True, kw_only=True, tag="stream_closed"):
    """ClosePeriodicEventStream (OCPP 2.1 N13)."""

    id: int


class StreamValue(Struct, frozen=True, kw_only=True):
    """One value at its time."""

    at: datetime
    value: str


class StreamValues(Struct, frozen=True, kw_only=True, tag="stream_values"):
    """NotifyPeriodicEventStream (OCPP 2.1 N15).

    Args:
        pending: how many values the station still holds.
    """

    id: int
    values: tuple[StreamValue, ...]
    pending: int = 0


class Streams(Struct, frozen=True, kw_only=True):
    """What a station answers to GetPeriodicEventStream."""

    streams: tuple[StreamOpening, ...] = ()


class Company(Struct, frozen=True, kw_only=True):
    """A company and where it is."""

    name: str
    address1: str
    city: str
    country: str
    address2: str | None = None
    postal_code: str | None = None


class Settlement(Struct, frozen=True, kw_only=True):
    """NotifySettlement: how a payment at the station's own terminal ended (OCPP 2.1 C19 to C23).

    Args:
        psp_ref: the payment provider's, which is the id token of the transaction.
        status: Settled, Canceled, Rejected or Failed.
        amount: in the currency of the station's tariff.
    """

    psp_ref: str
    status: str
    amount: Decimal
    at: datetime | None
    ocpp_transaction_id: str | None = None
    info: str | None = None
    receipt_id: str | None = None
    receipt_url: str | None = None
    company: Company | None = None
    vat_number: str | None = None


class Receipt(Struct, frozen=True, kw_only=True):
    """Where the driver finds the receipt."""

    id: str | None = None
    url: str | None = None


class VatNumberAsk(Struct, frozen=True, kw_only=True):
    """VatNumberValidation: may this VAT number stand on the receipt?"""

    vat_number: str
    evse_id: int | None = None


class VatNumberAnswer(Struct, frozen=True, kw_only=True):
    """Whether it may, and whose it is where that is known."""

    valid: bool
    company: Company | None = None
