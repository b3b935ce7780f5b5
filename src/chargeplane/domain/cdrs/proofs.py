"""What the verified signed values of a session say in sum."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.ocmf import SignedRecord, Verdict, prove

_SLACK_WH: Final = Decimal(10)
"""Stations round the register that they tell; so much it may be off what the meter signed."""


def summary_of(
    verdicts: Sequence[Verdict], records: Sequence[SignedRecord], unreadable: int, energy_wh: Decimal
) -> SignedSummary:
    """What they prove.

    Args:
        verdicts: of all signed values. records: those that could be read; `unreadable`: how many could not.
        energy_wh: as it is billed.
    """
    proof = prove(records)
    agrees = None if proof.energy_wh is None else abs(proof.energy_wh - energy_wh) <= _SLACK_WH
    because = list(proof.because)
    if unreadable:
        because.append(f"{unreadable} of {len(verdicts)} signed values cannot be read.")
    if agrees is False:
        because.append(f"The meter signed {proof.energy_wh} Wh, the session has {energy_wh} Wh.")
    return SignedSummary(
        values=len(verdicts),
        valid=sum(1 for one in verdicts if one is Verdict.VALID),
        proven=proof.is_proven and not unreadable,
        energy_wh=proof.energy_wh,
        agrees=agrees,
        register=proof.register,
        begin_wh=proof.begin_wh,
        end_wh=proof.end_wh,
        flaws=tuple(flaw.value for flaw in proof.flaws),
        because=tuple(because),
    )
