"""What particular stations are known for, as data: vendor, model, firmware -> corrections and limits.

Rules of the wire that any station may need are in `repairs`. A quirk is for what no schema can see: a register in kWh
that is labelled Wh, a request that makes a firmware restart. The rules are matched once, when a station boots; a
station without one pays nothing, and a station with one has its corrected samples marked with the quirk's name.

To add one: a row below with its source, and a test made from a message of that station (tests/bridge/test_quirks.py).
"""

from __future__ import annotations

import enum
import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.messages import MeterReport, Reading, Sample, StationMessage, TransactionReport
from chargeplane.kernel.units import bounded


class Limit(enum.StrEnum):
    """What must not be asked of a station, or what it does not give."""

    CONFIGURATION_NOT_READ = "configuration_not_read"
    NO_POWER_SAMPLES = "no_power_samples"


class Scale(Struct, frozen=True, kw_only=True):
    """A measurand whose numbers are off by a constant factor.

    Args:
        measurand: OCPP word.
        unit: base unit the sample has when it is wrong.
        factor: what the number must be multiplied by.
        registers: the same fault is in 1.6 meterStart and meterStop (Wh).
    """

    measurand: str
    unit: str
    factor: Decimal
    registers: bool = False


class Quirk(Struct, frozen=True, kw_only=True):
    """One known behaviour.

    Args:
        name: stored with corrected samples and counts; never renamed.
        does: one sentence for the operator.
        vendor, model, firmware: patterns that must match the whole text of the boot, without case; None matches any.
        scales, limits: what follows from it.
        source: where it was seen.
    """

    name: str
    does: str
    source: str
    vendor: str | None = None
    model: str | None = None
    firmware: str | None = None
    scales: tuple[Scale, ...] = ()
    limits: frozenset[Limit] = frozenset()


QUIRKS: Final[tuple[Quirk, ...]] = (
    Quirk(
        name="openevse_kwh_as_wh",
        does="The energy register counts kWh and is labelled Wh; it is multiplied by 1000.",
        source="OpenEVSE/openevse_esp32_firmware issue 703",
        vendor="OpenEVSE",
        firmware=r"v?4\.2\.2",
        scales=(Scale(measurand="Energy.Active.Import.Register", unit="Wh", factor=Decimal(1000), registers=True),),
    ),
    Quirk(
        name="abb_terra_ac_configuration",
        does="Reading the configuration makes this firmware restart; it is not read unless asked for by hand.",
        source="lbbrhzn/ocpp issue 1275, evcc-io/evcc issue 15533",
        vendor="ABB",
        model=r"CDT_TACW.*",
        firmware=r".*::V1\.(?:[0-7]\.\d+|8\.(?:1?\d|2[01]))",
        limits=frozenset({Limit.CONFIGURATION_NOT_READ}),
    ),
    Quirk(
        name="wallbox_pulsar_three_phase_power",
        does="The three-phase model samples current and voltage but never power.",
        source="lbbrhzn/ocpp pull request 1925",
        vendor=r"Wall ?Box Chargers",
        model=r"PLP1-M-.*",
        firmware=r"6\.7\..*",
        limits=frozenset({Limit.NO_POWER_SAMPLES}),
    ),
)
"""Every known quirk, in the order they are applied."""

_COMPILED: Final = tuple(
    (
        quirk,
        tuple(
            None if pattern is None else re.compile(pattern, re.IGNORECASE)
            for pattern in (quirk.vendor, quirk.model, quirk.firmware)
        ),
    )
    for quirk in QUIRKS
)


@lru_cache(maxsize=1024)
def quirks_of(vendor: str | None, model: str | None, firmware: str | None) -> tuple[Quirk, ...]:
    """The quirks of a station, from what it said at boot."""
    told = (vendor or "", model or "", firmware or "")
    return tuple(
        quirk
        for quirk, patterns in _COMPILED
        if all(pattern is None or pattern.fullmatch(text) for pattern, text in zip(patterns, told, strict=True))
    )


def limits_of(quirks: tuple[Quirk, ...]) -> frozenset[Limit]:
    """All limits of a station's quirks."""
    return frozenset[Limit]().union(*(quirk.limits for quirk in quirks))


class Correction:
    """A station's messages as it meant them; made once, called for each message.

    Args:
        quirks: that change values.
    """

    __slots__ = ("_scales", "names")

    def __init__(self, quirks: tuple[Quirk, ...]) -> None:
        self._scales = tuple((quirk.name, scale) for quirk in quirks for scale in quirk.scales)
        self.names = tuple(quirk.name for quirk in quirks)

    def __call__(self, message: StationMessage) -> StationMessage:
        """The corrected message; the same object where nothing was to correct."""
        if isinstance(message, TransactionReport):
            readings = _scaled(message.readings, self._scales)
            start, stop = message.meter_start, message.meter_stop
            for _, scale in self._scales:
                if scale.registers:
                    start = None if start is None else bounded(start * scale.factor)
                    stop = None if stop is None else bounded(stop * scale.factor)
            if readings is message.readings and start == message.meter_start and stop == message.meter_stop:
                return message
            return replace(message, readings=readings, meter_start=start, meter_stop=stop)
        if isinstance(message, MeterReport):
            readings = _scaled(message.readings, self._scales)
            return message if readings is message.readings else replace(message, readings=readings)
        return message


def correction(quirks: tuple[Quirk, ...]) -> Correction | None:
    """What to do to each of a station's messages before the rules see it; None for nearly all stations."""
    changing = tuple(quirk for quirk in quirks if quirk.scales)
    return Correction(changing) if changing else None


def _scaled(readings: tuple[Reading, ...], scales: tuple[tuple[str, Scale], ...]) -> tuple[Reading, ...]:
    changed = False
    scaled = []
    for reading in readings:
        samples = []
        for sample in reading.samples:
            corrected = _corrected(sample, scales)
            changed = changed or corrected is not sample
            samples.append(corrected)
        scaled.append(Reading(reading.at, tuple(samples)))
    return tuple(scaled) if changed else readings


def _corrected(sample: Sample, scales: tuple[tuple[str, Scale], ...]) -> Sample:
    for name, scale in scales:
        if sample.value is not None and sample.measurand == scale.measurand and sample.unit == scale.unit:
            # a number that leaves our bounds becomes None, with the station's own kept beside it
            value = bounded(sample.value * scale.factor)
            sample = replace(sample, value=value, repaired=name, raw=sample.raw or str(sample.value))
    return sample
