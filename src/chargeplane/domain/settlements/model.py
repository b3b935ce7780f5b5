"""Statements: what a site host gets of a period, or how we stand with a roaming partner."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct


class SettlementKind(enum.StrEnum):
    """What is settled."""

    SITE_HOST = "site_host"
    ROAMING = "roaming"


class StatementLineKind(enum.StrEnum):
    """What a line is for."""

    REVENUE_SHARE = "revenue_share"
    """Percent of what was earned, or of the margin."""
    ENERGY_SHARE = "energy_share"
    """An amount for each kWh."""
    ENERGY = "energy"
    """Energy of the site host, at the agreed price."""
    OWED_TO_PARTNER = "owed_to_partner"
    """CDRs that the partner sent of our drivers."""
    OWED_BY_PARTNER = "owed_by_partner"
    """Our CDRs of the partner's drivers; they are on invoices."""
    DISPUTED = "disputed"
    """CDRs of the partner that are disputed: told, and not counted until that is over."""


SIGN: Final = {
    StatementLineKind.REVENUE_SHARE: 1,
    StatementLineKind.ENERGY_SHARE: 1,
    StatementLineKind.ENERGY: 1,
    StatementLineKind.OWED_TO_PARTNER: 1,
    StatementLineKind.OWED_BY_PARTNER: -1,
    StatementLineKind.DISPUTED: 0,
}
"""How a line counts in what we owe."""


class StatementLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One amount and how it comes about, before tax unless said.

    Args:
        name: of the agreement's item; of roaming: the partner.
        version: of the agreement's terms.
        sessions, energy_kwh: of the CDRs it rests on, credits taken off.
        revenue: of them, before tax.
        energy_cost: taken off the revenue, where the share is one of the margin.
        base: what `percent` is taken of.
        per_kwh: price of a kWh.
        amount: in minor units; what is owed to the partner, or by it where the kind says so.
        tax: in the amount, of roaming.
    """

    kind: StatementLineKind
    name: str
    version: int
    sessions: int
    energy_kwh: Decimal
    amount: Decimal
    revenue: Decimal | None = None
    energy_cost: Decimal | None = None
    base: Decimal | None = None
    percent: Decimal | None = None
    per_kwh: Decimal | None = None
    tax: Decimal | None = None


class Statement(Struct, frozen=True, kw_only=True):
    """What a statement says; frozen.

    Args:
        agreement: number of the agreement.
        party: `company:hof-gmbh`, `DE*ABC`: whose account of the ledger.
        period_end: not included.
        payable: what we owe by it; below nothing: what is owed to us.
        late: CDRs among it that ended before the period, written or released later.
    """

    kind: SettlementKind
    agreement: str
    party: str
    name: str
    currency: str
    time_zone: str
    period_start: datetime
    period_end: datetime
    lines: tuple[StatementLine, ...]
    sessions: int
    energy_kwh: Decimal
    payable: Decimal
    late: int = 0
