"""Billing runs as data."""

from __future__ import annotations

import enum

from msgspec import Struct

from chargeplane.domain.agreements.model import BillingCycle


class RunState(enum.StrEnum):
    """Where a run is."""

    RUNNING = "running"
    FINISHED = "finished"
    INCOMPLETE = "incomplete"
    """Over, but for items that failed; they can be had again."""


class ItemState(enum.StrEnum):
    """What became of a subject."""

    WAITING = "waiting"
    BILLED = "billed"
    NOTHING = "nothing"
    """There was nothing to bill, or all of it is held."""
    FAILED = "failed"


class RunOrder(Struct, frozen=True, kw_only=True):
    """What a run bills.

    Args:
        cycles: of the agreements; empty: all.
        agreement_ids: these alone; empty: all.
        guests: payments and drivers without an agreement too.
        issue: False leaves drafts.
    """

    cycles: tuple[BillingCycle, ...] = ()
    agreement_ids: tuple[int, ...] = ()
    guests: bool = True
    issue: bool = True
