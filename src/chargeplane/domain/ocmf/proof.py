"""What the signed records of a session prove together: the energy between its first and its last reading.

A record proves nothing about a session by itself: the records must be of one meter, leave out none, begin and end the session,
and show no error in between (OCMF 1.4, Signing and Verification Process).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.ocmf.record import MeterReading, MeterStatus, OcmfRecord, ReadingReason
from chargeplane.domain.ocmf.verification import Verdict, Verification


class Flaw(enum.StrEnum):
    """Why the records prove less than a session's energy."""

    NOT_VERIFIED = "not_verified"
    NO_BEGIN = "no_begin"
    NO_END = "no_end"
    OTHER_METER = "other_meter"
    PAGE_MISSING = "page_missing"
    METER_ERROR = "meter_error"
    ENERGY_UNUSABLE = "energy_unusable"
    NO_ENERGY = "no_energy"
    FALLING = "falling"
    OTHER_USER = "other_user"


_WORDS: Final = {
    Flaw.NOT_VERIFIED: "A signature was not verified.",
    Flaw.NO_BEGIN: "The reading at the beginning is missing.",
    Flaw.NO_END: "The reading at the end is missing.",
    Flaw.OTHER_METER: "The records are of different meters.",
    Flaw.PAGE_MISSING: "A record between the first and the last is missing.",
    Flaw.METER_ERROR: "The meter reported an error.",
    Flaw.ENERGY_UNUSABLE: "The meter says that its energy is not to be billed.",
    Flaw.NO_ENERGY: "No register of energy is in both the first and the last reading.",
    Flaw.FALLING: "The register fell.",
    Flaw.OTHER_USER: "The records name different drivers.",
}

# Billed first what reached the car (table 25 of OCMF: B1 and B3), then what the meter counted, then the common register.
_REGISTERS: Final = (
    re.compile(r".*B1\.0?8\..*", re.IGNORECASE),
    re.compile(r".*B3\.0?8\..*", re.IGNORECASE),
    re.compile(r".*B0\.0?8\..*", re.IGNORECASE),
    re.compile(r".*B2\.0?8\..*", re.IGNORECASE),
    re.compile(r".*:0?1\.0?8\.0?0?.*", re.IGNORECASE),
)


class SignedRecord(Struct, frozen=True, kw_only=True):
    """A record and what its verification gave."""

    record: OcmfRecord
    verification: Verification


class SessionProof(Struct, frozen=True, kw_only=True):
    """What the records prove.

    Args:
        energy_wh: between begin and end; None where it cannot be said.
        register: OBIS code of the register it is taken from.
        begin, end: by the meter's clock.
        flaws: empty: proven.
        because: a sentence for each flaw.
    """

    energy_wh: Decimal | None
    register: str | None
    begin: datetime | None
    end: datetime | None
    begin_wh: Decimal | None
    end_wh: Decimal | None
    flaws: tuple[Flaw, ...]

    @property
    def is_proven(self) -> bool:
        """Whether the energy may be billed by calibration law."""
        return not self.flaws

    @property
    def because(self) -> tuple[str, ...]:
        """The flaws in words."""
        return tuple(_WORDS[flaw] for flaw in self.flaws)


def prove(signed: Sequence[SignedRecord]) -> SessionProof:
    """What the signed records of one session prove; in any order, repeats allowed."""
    unique = {one.record.text: one for one in signed}
    ordered = sorted(unique.values(), key=lambda one: _order(one.record))
    records = [one.record for one in ordered]
    flaws: set[Flaw] = set()
    if any(one.verification.verdict is not Verdict.VALID for one in ordered):
        flaws.add(Flaw.NOT_VERIFIED)
    if len({(one.gateway_serial, one.meter_serial) for one in records}) > 1:
        flaws.add(Flaw.OTHER_METER)
    if len({one.id_token for one in records if one.is_identified and one.id_token}) > 1:
        flaws.add(Flaw.OTHER_USER)
    if _pages_missing(records):
        flaws.add(Flaw.PAGE_MISSING)
    readings = [reading for one in records for reading in one.readings]
    if any(one.status is not MeterStatus.GOOD or one.reason is ReadingReason.EXCEPTION for one in readings):
        flaws.add(Flaw.METER_ERROR)
    if any(one.energy_unusable for one in readings):
        flaws.add(Flaw.ENERGY_UNUSABLE)
    begins = [one for one in readings if one.reason is ReadingReason.BEGIN]
    ends = [one for one in readings if one.reason is not None and one.reason.ends]
    if not begins:
        flaws.add(Flaw.NO_BEGIN)
    if not ends:
        flaws.add(Flaw.NO_END)
    first, last = _pair(begins, ends)
    energy = None
    if first is not None and last is not None and first.energy_wh is not None and last.energy_wh is not None:
        energy = last.energy_wh - first.energy_wh
        if energy < 0:
            flaws.add(Flaw.FALLING)
            energy = None
    elif begins and ends:
        flaws.add(Flaw.NO_ENERGY)
    return SessionProof(
        energy_wh=energy,
        register=None if first is None else first.register,
        begin=begins[0].at if begins else None,
        end=ends[-1].at if ends else None,
        begin_wh=None if first is None else first.energy_wh,
        end_wh=None if last is None else last.energy_wh,
        flaws=tuple(flaw for flaw in Flaw if flaw in flaws),
    )


def _order(record: OcmfRecord) -> tuple[int, float]:
    at = record.readings[0].at
    return (-1 if record.page is None else record.page, 0.0 if at is None else at.timestamp())


def _pages_missing(records: Sequence[OcmfRecord]) -> bool:
    """Whether a number is left out: every use of the counter raises it by one, in each context by itself."""
    for context in {one.page_context for one in records}:
        pages = sorted({one.page for one in records if one.page_context == context and one.page is not None})
        if pages and pages[-1] - pages[0] + 1 != len(pages):
            return True
    return False


def _pair(
    begins: Sequence[MeterReading], ends: Sequence[MeterReading]
) -> tuple[MeterReading | None, MeterReading | None]:
    """The first and the last reading of the register that is billed."""
    for pattern in _REGISTERS:
        first = next((one for one in begins if _fits(one, pattern)), None)
        last = next((one for one in reversed(ends) if _fits(one, pattern)), None)
        if first is not None and last is not None:
            return first, last
    # Registers nobody listed: the same one at both ends.
    for first in begins:
        for last in reversed(ends):
            if first.register == last.register and first.energy_wh is not None and last.energy_wh is not None:
                return first, last
    return None, None


def _fits(reading: MeterReading, pattern: re.Pattern[str]) -> bool:
    return (
        reading.energy_wh is not None
        and reading.register is not None
        and pattern.fullmatch(reading.register) is not None
    )
