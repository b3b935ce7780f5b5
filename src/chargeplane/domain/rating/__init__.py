"""What charging costs: one pure engine for the price before, while and after, and for partners' CDRs.

`rate` is the engine, `so_far` the cost of a session that goes on, `estimate` the price before it starts. docs/rating.md tells the
rules and what was decided where OCPI's text is silent.
"""

from chargeplane.domain.rating.charge import Charge, Period, PeriodState, Reading, StateChange, charge_of
from chargeplane.domain.rating.engine import rate, so_far
from chargeplane.domain.rating.estimate import Expected, PricesNow, Step, estimate, prices_now
from chargeplane.domain.rating.result import Cost, CostGroup, Line, LineKind, Rating, Tax, TaxAmount
from chargeplane.domain.rating.terms import Allowance, Discount, DiscountKind, Surcharge, SurchargeKind, Terms
from chargeplane.domain.rating.words import words

__all__ = [
    "Allowance",
    "Charge",
    "Cost",
    "CostGroup",
    "Discount",
    "DiscountKind",
    "Expected",
    "Line",
    "LineKind",
    "Period",
    "PeriodState",
    "PricesNow",
    "Rating",
    "Reading",
    "StateChange",
    "Step",
    "Surcharge",
    "SurchargeKind",
    "Tax",
    "TaxAmount",
    "Terms",
    "charge_of",
    "estimate",
    "prices_now",
    "rate",
    "so_far",
    "words",
]
