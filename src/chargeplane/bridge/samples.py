"""Meter values of all versions as readings in base units. The hottest code of this ring: loops over plain attributes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from chargeplane.domain.messages import Reading, Sample, SignedValue
from chargeplane.domain.metering import DEFAULT_MEASURAND, sample
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.timestamps import parse_timestamp

MAX_SIGNED: Final = 32_768
"""Characters kept of a signed value (OCPP 2.1 SignedMeterValueType.signedMeterData)."""

_SIGNED: Final = v16.ValueFormat.SIGNED_DATA
_decode: Final = msgspec.json.Decoder().decode


def moment(text: str | None) -> datetime | None:
    """The instant a station's timestamp names, aware UTC; None where it is absent or garbage."""
    return None if text is None else parse_timestamp(text)


def readings16(values: tuple[v16.MeterValue, ...]) -> tuple[Reading, ...]:
    """MeterValues of OCPP 1.6 (7.33) as readings, in the order sent.

    Args:
        values: numbers are text in 1.6; a signed value (format SignedData) is kept as it is, without a number.
    """
    readings = []
    for value in values:
        samples = []
        for one in value.sampled_value:
            if one.format is _SIGNED:
                signed = signed16(one.value)
                samples.append(
                    Sample(one.measurand or DEFAULT_MEASURAND, None, None, one.phase, one.location, one.context, signed)
                )
            else:
                samples.append(sample(one.measurand, one.value, one.unit, 0, one.phase, one.location, one.context))
        readings.append(Reading(moment(value.timestamp), tuple(samples)))
    return tuple(readings)


def readings2x(values: tuple[v201.MeterValueType | v21.MeterValueType, ...]) -> tuple[Reading, ...]:
    """MeterValues of OCPP 2.x as readings, in the order sent, with multiplier and signed value."""
    readings = []
    for value in values:
        samples = []
        for one in value.sampled_value:
            unit = one.unit_of_measure
            given = one.signed_meter_value
            signed = None if given is None else _signed2x(given)
            if one.value is None:  # only after a repair
                samples.append(
                    Sample(one.measurand or DEFAULT_MEASURAND, None, None, one.phase, one.location, one.context, signed)
                )
            elif unit is None:
                samples.append(sample(one.measurand, one.value, None, 0, one.phase, one.location, one.context, signed))
            else:
                samples.append(
                    sample(
                        one.measurand,
                        one.value,
                        unit.unit,
                        unit.multiplier or 0,
                        one.phase,
                        one.location,
                        one.context,
                        signed,
                    )
                )
        readings.append(Reading(moment(value.timestamp), tuple(samples)))
    return tuple(readings)


def signed16(value: str) -> SignedValue:
    """A signed value as 1.6 stations send it: the data itself, or 2.x's SignedMeterValueType written as JSON text.

    Source: OCA application note "Signed Meter Values in OCPP": 1.6 carries the 2.x object as text. OCMF comes bare too.
    """
    if value.startswith("{"):
        try:
            wrapped = _decode(value)
        except (ValueError, RecursionError):
            wrapped = None
        if type(wrapped) is dict and isinstance(wrapped.get("signedMeterData"), str):
            return SignedValue(
                made_storable(wrapped["signedMeterData"], MAX_SIGNED),
                _word(wrapped.get("signingMethod")),
                _word(wrapped.get("encodingMethod")),
                _word(wrapped.get("publicKey"), 2500),
            )
    return SignedValue(made_storable(value, MAX_SIGNED), None, "OCMF" if value.startswith("OCMF|") else None, None)


def _word(value: Any, limit: int = 50) -> str | None:
    return made_storable(value, limit) if isinstance(value, str) and value else None


def _signed2x(given: v201.SignedMeterValueType | v21.SignedMeterValueType) -> SignedValue:
    return SignedValue(
        made_storable(given.signed_meter_data, MAX_SIGNED),
        _word(given.signing_method),
        _word(given.encoding_method),
        _word(given.public_key, 2500),
    )
