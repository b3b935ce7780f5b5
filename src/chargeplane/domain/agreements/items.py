"""What an agreement is made of: its items, each with a type of its own. Money is in the agreement's currency, without tax unless said."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from chargeplane.kernel.money import Money

ItemName = Annotated[str, Meta(min_length=1, max_length=255)]
Ident = Annotated[str, Meta(min_length=1, max_length=255)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Minutes = Annotated[int, Meta(ge=0, le=525_600)]
Days = Annotated[int, Meta(ge=0, le=3650)]


class Every(enum.StrEnum):
    """How often something falls due or begins again."""

    ONCE = "once"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class Per(enum.StrEnum):
    """What a fee is counted by."""

    AGREEMENT = "agreement"
    ID_TOKEN = "id_token"  # noqa: S105
    STATION = "station"
    EVSE = "evse"


class AppliesTo(enum.StrEnum):
    """Which part of a session's price something is taken of."""

    ALL = "all"
    ENERGY = "energy"
    TIME = "time"
    PARKING_TIME = "parking_time"
    FLAT = "flat"
    RESERVATION = "reservation"


class ShareBase(enum.StrEnum):
    """What a share is a share of."""

    REVENUE = "revenue"
    MARGIN = "margin"


class TariffItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="tariff"):
    """Sessions are priced by a tariff.

    Args:
        tariff_id: of the tenant.
        version: that version always; None: the one that holds when the session begins.
        evse_types: for EVSEs of these kinds only; empty: all.
        location_ids: at these locations only; empty: all of the scope.
    """

    tariff_id: Annotated[str, Meta(min_length=1, max_length=36)]
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    evse_types: Annotated[tuple[Annotated[str, Meta(pattern="^(AC|DC)$")], ...], Meta(max_length=2)] = ()
    location_ids: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(max_length=1000)] = ()


class RecurringFee(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="recurring_fee"
):
    """A fee that falls due again and again.

    Args:
        amount: of one unit and one period, without tax.
        prorated: a period that is not whole costs its share of days.
        in_advance: due at the beginning of a period, else after it.
    """

    name: ItemName
    amount: Money
    every: Every = Every.MONTH
    per: Per = Per.AGREEMENT
    prorated: bool = True
    in_advance: bool = True


class Discount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="discount"):
    """Taken off a session's price, before tax.

    Args:
        percent: 0 to 100.
        per_kwh: taken off each kWh, never below nothing.
    """

    name: ItemName
    percent: Decimal | None = None
    per_kwh: Money | None = None
    applies_to: AppliesTo = AppliesTo.ALL


class Allowance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="allowance"):
    """What is included: the first so much of each period costs nothing.

    Args:
        carry_over: what is left of a period is added to the next one.
    """

    name: ItemName
    energy_wh: Decimal | None = None
    minutes: Minutes | None = None
    sessions: Count | None = None
    amount: Money | None = None
    every: Every = Every.MONTH
    carry_over: bool = False


class RevenueShare(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="revenue_share"
):
    """What the consumer of the agreement (a site host) gets of what is earned at its places.

    Args:
        percent: of the base.
        per_kwh: for each kWh delivered.
    """

    name: ItemName
    percent: Decimal | None = None
    per_kwh: Money | None = None
    base: ShareBase = ShareBase.REVENUE


class Minimum(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="minimum"):
    """What a period costs at least; what sessions and fees lack of it is billed."""

    name: ItemName
    amount: Money
    every: Every = Every.MONTH


class RoamingFee(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="roaming_fee"):
    """Added to what a roaming partner, or its driver, pays."""

    name: ItemName
    per_session: Money | None = None
    per_kwh: Money | None = None
    percent: Decimal | None = None


class ReservationTerms(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="reservation_terms"
):
    """How places may be reserved.

    Args:
        fee: of each reservation.
        no_show_fee: where nobody came.
        free_cancel_minutes: before its start; later it costs the fee.
        max_minutes: longest reservation.
        max_ahead_days: how early it may be made.
        max_at_a_time: reservations a driver may hold.
    """

    fee: Money | None = None
    no_show_fee: Money | None = None
    free_cancel_minutes: Minutes = 0
    max_minutes: Minutes | None = None
    max_ahead_days: Days | None = None
    max_at_a_time: Count | None = None


class Sla(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="sla"):
    """What is promised of the places, each month.

    Args:
        uptime_percent: of each EVSE, without declared exclusions.
        response_minutes, repair_minutes: after a fault.
        credit_percent: of the month's fees, where it was missed.
    """

    name: ItemName
    uptime_percent: Decimal | None = None
    response_minutes: Minutes | None = None
    repair_minutes: Minutes | None = None
    credit_percent: Decimal | None = None


class EnergyTerms(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="energy_terms"
):
    """Where the energy comes from, and who pays it.

    Args:
        renewable_percent: at least.
        price_per_kwh: what the operator pays the site host for it.
        passed_through: the energy is billed at cost.
    """

    supplier: ItemName | None = None
    product: ItemName | None = None
    renewable_percent: Decimal | None = None
    price_per_kwh: Money | None = None
    passed_through: bool = False


Item: TypeAlias = (
    TariffItem
    | RecurringFee
    | Discount
    | Allowance
    | RevenueShare
    | Minimum
    | RoamingFee
    | ReservationTerms
    | Sla
    | EnergyTerms
)
"""An item; `type` tells which."""
