"""Why a CDR is not billed before a person looked at it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from chargeplane.domain.transaction_state import Flag


class Hold(enum.StrEnum):
    """A reason to hold a CDR."""

    NO_TARIFF = "no_tariff"
    REFUSED_TOKEN = "refused_token"  # noqa: S105
    ENERGY_DOUBTFUL = "energy_doubtful"
    TIME_DOUBTFUL = "time_doubtful"
    VALUES_MISSING = "values_missing"
    TOO_LONG = "too_long"
    SIGNATURE = "signature"
    CURRENCY_MISMATCH = "currency_mismatch"
    PARTNER_DIFFERS = "partner_differs"


_SENTENCES: Final = {
    Hold.NO_TARIFF: "No tariff held at the connector, so nothing says what it costs.",
    Hold.REFUSED_TOKEN: "It began with an id token that was refused.",
    Hold.ENERGY_DOUBTFUL: "The energy cannot be relied on: the transaction was not told as a whole, or closed without its last value.",
    Hold.TIME_DOUBTFUL: "The station's time of the start or the stop could not be believed.",
    Hold.VALUES_MISSING: "Messages of the transaction are missing.",
    Hold.TOO_LONG: "It has more messages than are rated.",
    Hold.SIGNATURE: "The energy is not proven by signed meter values, as the tenant's policy requires.",
    Hold.CURRENCY_MISMATCH: "The agreement and the tariff have different currencies.",
    Hold.PARTNER_DIFFERS: "The roaming partner asks for something else than its own tariff says.",
}

_BY_FLAG: Final = {
    Flag.REFUSED_TOKEN: Hold.REFUSED_TOKEN,
    Flag.OPENED_BY_STOP: Hold.ENERGY_DOUBTFUL,
    Flag.METER_JUMP: Hold.ENERGY_DOUBTFUL,
    Flag.CLOSED_BY_POLICY: Hold.ENERGY_DOUBTFUL,
    Flag.CLOSED_BY_EVIDENCE: Hold.ENERGY_DOUBTFUL,
    Flag.CLOSED_BY_OPERATOR: Hold.ENERGY_DOUBTFUL,
    Flag.TIME_UNTRUSTED: Hold.TIME_DOUBTFUL,
}
"""Flags that are missing only tell how the record came about: what was repaired, came late or was told twice is counted right."""


def sentence(hold: Hold) -> str:
    """The reason for a person."""
    return _SENTENCES[hold]


def holds_by(flags: Iterable[Flag]) -> set[Hold]:
    """What flags of a transaction hold its CDR for."""
    return {_BY_FLAG[flag] for flag in flags if flag in _BY_FLAG}
