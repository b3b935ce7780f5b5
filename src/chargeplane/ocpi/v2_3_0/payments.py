"""Payment terminals and what was captured at them (OCPI 2.3.0 mod_payments)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.ocpi.fields import (
    CiString2,
    CiString3,
    CiString10,
    CiString20,
    CiString36,
    CiString45,
    CiString255,
    DateTime,
    Url,
)
from chargeplane.ocpi.v2_3_0.enums import CaptureStatusCode, InvoiceCreator
from chargeplane.ocpi.v2_3_0.locations import GeoLocation
from chargeplane.ocpi.v2_3_0.types import Price

__all__ = [
    "FinancialAdviceConfirmation",
    "Terminal",
    "TerminalActivation",
]


class FinancialAdviceConfirmation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a payment terminal captured."""

    id: CiString36
    authorization_reference: CiString36
    total_costs: Price
    currency: CiString3
    eft_data: Annotated[tuple[CiString255, ...], Meta(min_length=1)]
    capture_status_code: CaptureStatusCode
    capture_status_message: CiString255 | None = None
    last_updated: DateTime


class Terminal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payment terminal and where it stands."""

    terminal_id: CiString36
    customer_reference: CiString36 | None = None
    party_id: CiString3 | None = None
    country_code: CiString2 | None = None
    address: CiString45 | None = None
    city: CiString45 | None = None
    postal_code: CiString10 | None = None
    state: CiString20 | None = None
    country: CiString3 | None = None
    coordinates: GeoLocation | None = None
    invoice_base_url: Url | None = None
    invoice_creator: InvoiceCreator | None = None
    reference: CiString36 | None = None
    location_ids: tuple[CiString36, ...] = ()
    evse_uids: tuple[CiString36, ...] = ()
    last_updated: DateTime


class TerminalActivation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks to activate a terminal: the fields of a Terminal, its id left to the PTP (mod_payments, POST activate)."""

    terminal_id: CiString36 | None = None
    customer_reference: CiString36 | None = None
    party_id: CiString3 | None = None
    country_code: CiString2 | None = None
    address: CiString45 | None = None
    city: CiString45 | None = None
    postal_code: CiString10 | None = None
    state: CiString20 | None = None
    country: CiString3 | None = None
    coordinates: GeoLocation | None = None
    invoice_base_url: Url | None = None
    invoice_creator: InvoiceCreator | None = None
    reference: CiString36 | None = None
    location_ids: tuple[CiString36, ...] = ()
    evse_uids: tuple[CiString36, ...] = ()
    last_updated: DateTime
