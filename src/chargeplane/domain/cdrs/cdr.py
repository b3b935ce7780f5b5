"""The CDR: OCPI 2.3.0's fields as far as they apply, and the rating that explains them.

Written once. What was wrong is taken back by a credit, which has the same content with its costs negated (OCPI 2.3.0 mod_cdrs, credit CDRs),
and told again by a correction.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.cdrs.session import CdrPlace, CdrToken, Frozen, FrozenAgreement, PricedBy, RoamingDriver
from chargeplane.domain.rating import Charge, CostGroup, PeriodState, Rating
from chargeplane.domain.rating.result import Cost, TaxAmount
from chargeplane.domain.tariffs.model import Tariff

_NOTHING: Final = Decimal(0)
_MICROSECOND: Final = timedelta(microseconds=1)
_HOUR: Final = Decimal(3600)
MOST_PERIODS: Final = 2000
"""Charging periods of one CDR; beyond that neighbours of one state are put together whatever prices them."""


class CdrKind(enum.StrEnum):
    """What a CDR is to its session."""

    ORIGINAL = "original"
    CREDIT = "credit"
    CORRECTION = "correction"


class DimensionType(enum.StrEnum):
    """What a charging period counts (OCPI CdrDimensionType): kWh and hours."""

    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"
    RESERVATION_TIME = "RESERVATION_TIME"


class Dimension(Struct, frozen=True, kw_only=True):
    """How much of it."""

    type: DimensionType
    volume: Decimal


class ChargingPeriod(Struct, frozen=True, kw_only=True):
    """A part of a session in which the same prices hold (OCPI ChargingPeriod); lasts until the next one, or the end."""

    start_date_time: datetime
    dimensions: tuple[Dimension, ...]


class Totals(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OCPI's totals.

    Args:
        cost: what is to be paid, in minor units; the parts are unrounded. None where no tariff held.
        energy_kwh: kWh. time_h, parking_time_h: hours, the parking belongs to the whole time.
    """

    energy_kwh: Decimal
    time_h: Decimal
    parking_time_h: Decimal
    reservation_time_h: Decimal
    cost: Cost | None = None
    fixed_cost: Cost | None = None
    energy_cost: Cost | None = None
    time_cost: Cost | None = None
    parking_cost: Cost | None = None
    reservation_cost: Cost | None = None
    adjustment: Cost | None = None


class SignedSummary(Struct, frozen=True, kw_only=True):
    """What the signed meter values prove.

    Args:
        values: how many there are; `valid` of them have the signature of the registered key.
        proven: the signed values cover the session and show no flaw.
        energy_wh: between the first and the last signed value; None where it cannot be said.
        agrees: whether that is what was billed; None where it cannot be compared.
        flaws: why not proven; `because` in sentences.
    """

    values: int
    valid: int
    proven: bool
    energy_wh: Decimal | None = None
    agrees: bool | None = None
    register: str | None = None
    begin_wh: Decimal | None = None
    end_wh: Decimal | None = None
    flaws: tuple[str, ...] = ()
    because: tuple[str, ...] = ()


class CdrContent(Struct, frozen=True, kw_only=True):
    """What a CDR says.

    Args:
        tariff: the version it was rated by; None where none held.
        rating: its lines; None where no tariff held.
        flags: of the transaction.
        signed: None where the station signs nothing, or the tenant does not care.
        reason: of a credit or a correction.
        credit: costs are negated.
        roaming: whose driver charged, where that is a partner.
        without_session: of a booking that nobody used.
    """

    station_id: str
    ocpp_transaction_id: str | None
    place: CdrPlace
    token: CdrToken | None
    agreement: FrozenAgreement | None
    priced_by: PricedBy
    started_at: datetime
    ended_at: datetime
    stop_reason: str | None
    tariff: Tariff | None
    charging_periods: tuple[ChargingPeriod, ...]
    totals: Totals
    rating: Rating | None
    flags: tuple[str, ...] = ()
    signed: SignedSummary | None = None
    reason: str | None = None
    credit: bool = False
    roaming: RoamingDriver | None = None
    without_session: bool = False


_content = msgspec.json.Decoder(CdrContent).decode
_encode: Final = msgspec.json.Encoder().encode


def content_text(content: CdrContent) -> str:
    """As stored."""
    return _encode(content).decode()


def content_of(text: str) -> CdrContent:
    """From the store."""
    return _content(text)


def cdr_of(
    frozen: Frozen,
    charge: Charge,
    *,
    started_at: datetime,
    ended_at: datetime,
    energy_wh: Decimal,
    stop_reason: str | None,
    flags: Sequence[str],
    tariff: Tariff | None,
    rating: Rating | None,
    priced_by: PricedBy,
    signed: SignedSummary | None = None,
    reason: str | None = None,
) -> CdrContent:
    """The CDR of a session that is over.

    Args:
        energy_wh: of the whole session.
    """
    return CdrContent(
        station_id=frozen.station_id,
        ocpp_transaction_id=frozen.ocpp_transaction_id,
        place=frozen.place,
        token=frozen.token,
        agreement=frozen.agreement,
        priced_by=priced_by,
        started_at=started_at,
        ended_at=ended_at,
        stop_reason=stop_reason,
        tariff=tariff,
        charging_periods=charging_periods(charge, [] if rating is None else [line.start for line in rating.lines]),
        totals=_totals(charge, energy_wh, rating),
        rating=rating,
        flags=tuple(flags),
        signed=signed,
        reason=reason,
        roaming=frozen.roaming,
    )


def credit_of(content: CdrContent, reason: str) -> CdrContent:
    """What takes a CDR back: the same with its costs negated."""
    totals = content.totals
    costs = {
        name: None if cost is None else _negated(cost)
        for name, cost in ((name, getattr(totals, name)) for name in _COSTS)
    }
    return replace(content, totals=replace(totals, **costs), reason=reason, credit=True)


_COSTS: Final = (
    "cost",
    "fixed_cost",
    "energy_cost",
    "time_cost",
    "parking_cost",
    "reservation_cost",
    "adjustment",
)


def _negated(cost: Cost) -> Cost:
    return Cost(
        excl=-cost.excl,
        incl=-cost.incl,
        taxes=tuple(
            TaxAmount(
                name=tax.name,
                percentage=tax.percentage,
                base=-tax.base,
                amount=-tax.amount,
                account_number=tax.account_number,
            )
            for tax in cost.taxes
        ),
    )


def _totals(charge: Charge, energy_wh: Decimal, rating: Rating | None) -> Totals:
    seconds = dict.fromkeys(PeriodState, _NOTHING)
    for period in charge.periods:
        seconds[period.state] += _seconds(period.end - period.start)
    groups = {} if rating is None else rating.groups
    return Totals(
        energy_kwh=energy_wh / 1000,
        time_h=_hours(seconds[PeriodState.CHARGING] + seconds[PeriodState.PARKING]),
        parking_time_h=_hours(seconds[PeriodState.PARKING]),
        reservation_time_h=_hours(seconds[PeriodState.RESERVED]),
        cost=None if rating is None else rating.due,
        fixed_cost=groups.get(CostGroup.FIXED),
        energy_cost=groups.get(CostGroup.ENERGY),
        time_cost=groups.get(CostGroup.TIME),
        parking_cost=groups.get(CostGroup.PARKING),
        reservation_cost=groups.get(CostGroup.RESERVATION),
        adjustment=groups.get(CostGroup.ADJUSTMENT),
    )


class _Piece(Struct):
    start: datetime
    end: datetime
    state: PeriodState
    energy_wh: Decimal


def charging_periods(charge: Charge, cuts: Sequence[datetime]) -> tuple[ChargingPeriod, ...]:
    """The periods of a charge as a CDR tells them: one wherever the state or a price changes, none for each meter value.

    Args:
        cuts: when prices begin to hold.
    """
    pieces = _joined(charge, sorted(set(cuts)))
    if len(pieces) > MOST_PERIODS:
        pieces = _joined(charge, [])
    return tuple(
        ChargingPeriod(start_date_time=piece.start, dimensions=_dimensions(piece)) for piece in pieces[:MOST_PERIODS]
    )


def _joined(charge: Charge, cuts: Sequence[datetime]) -> list[_Piece]:
    pieces: list[_Piece] = []
    wanted = set(cuts)
    for period in charge.periods:
        inside = [cut for cut in cuts if period.start < cut < period.end] if cuts else []
        whole = (period.end - period.start) // _MICROSECOND
        start, given = period.start, _NOTHING
        for end in (*inside, period.end):
            upto = period.energy_wh
            if end < period.end:
                upto = period.energy_wh * ((end - period.start) // _MICROSECOND) / whole
            last = pieces[-1] if pieces else None
            if last is not None and last.state is period.state and last.end == start and start not in wanted:
                last.end = end
                last.energy_wh += upto - given
            else:
                pieces.append(_Piece(start, end, period.state, upto - given))
            start, given = end, upto
    return pieces


def _dimensions(piece: _Piece) -> tuple[Dimension, ...]:
    hours = _hours(_seconds(piece.end - piece.start))
    if piece.state is PeriodState.RESERVED:
        return (Dimension(type=DimensionType.RESERVATION_TIME, volume=hours),)
    kind = DimensionType.TIME if piece.state is PeriodState.CHARGING else DimensionType.PARKING_TIME
    found = [Dimension(type=kind, volume=hours)]
    if piece.energy_wh:
        found.insert(0, Dimension(type=DimensionType.ENERGY, volume=piece.energy_wh / 1000))
    return tuple(found)


def _seconds(lasted: timedelta) -> Decimal:
    return Decimal(lasted // _MICROSECOND) / 1_000_000


def _hours(seconds: Decimal) -> Decimal:
    return (seconds / _HOUR).quantize(Decimal("0.000001"))
