"""What the counted repairs mean: one sentence each for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chargeplane.bridge.repairs.rules import SENTENCES
from chargeplane.domain import metering
from chargeplane.domain.transaction_state import Flag

_METERING: Final[Mapping[str, str]] = {
    metering.REPAIR_UNIT_UNKNOWN: "A meter value had a unit that OCPP does not know; number and unit were kept as sent.",
    metering.REPAIR_UNIT_FOREIGN: "A meter value had a unit of another quantity; it was read in the measurand's own.",
    metering.REPAIR_UNIT_MISSPELT: "A meter value's unit was misspelt; it was read as the unit it resembles.",
    metering.REPAIR_DECIMAL_COMMA: "A meter value was written with a decimal comma; it was read as a decimal point.",
    metering.REPAIR_NUMBER_UNUSABLE: "A meter value was no usable number; its text was kept without a number.",
    metering.REPAIR_MULTIPLIER: "A meter value's multiplier was out of all bounds; its text was kept without a number.",
    Flag.UNIT_REPAIRED.value: "A transaction's register was declared in another unit than its numbers were in; the energy was "
    "taken in the right one.",
}

_ALL: Final[Mapping[str, str]] = {
    **{rule.value: sentence for rule, sentence in SENTENCES.items()},
    **_METERING,
}


def describe(rule: str) -> str | None:
    """What a repair did, one sentence; None for any other name.

    Args:
        rule: name of a wire repair or a metering repair (`Sample.repaired`).
    """
    return _ALL.get(rule)
