"""Field types that the message types of all versions share."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, TypeAlias

from msgspec import Meta

from chargeplane.kernel.units import MAX_MAGNITUDE

Int: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""An integer as OCPP 2.x has it: 32 bits with sign (OCPP 2.0.1 Part 2, 2.1.4); taken for 1.6 as well, which names no size."""

WattHours: TypeAlias = Annotated[int, Meta(ge=-(10**15), le=10**15)]
"""A register in Wh: OCPP 1.6 names no size for integers, and a register may pass 2^31 Wh."""

Tenths: TypeAlias = Annotated[Decimal, Meta(extra={"multiple_of": "0.1"})]
"""A number that is sent with one decimal (OCPP 1.6, 7.14); more are taken from stations, refused in what we send."""

DateTime: TypeAlias = Annotated[str, Meta(extra={"format": "date-time"})]
"""A point in time as text, kept as received: a garbage timestamp must not cost the message it stands in.

Read it with `chargeplane.ocpp.timestamps.parse_timestamp`; write it with `chargeplane.kernel.time.rfc3339`.
`validate_payload` asks for RFC 3339 with a zone in what we send.
"""

CustomDataType: TypeAlias = dict[str, Any]
"""OCPP 2.x CustomDataType: `vendorId` and whatever the vendor adds, kept as it is (OCPP-J 2.0.1, 9)."""

LOWEST: Final = -MAX_MAGNITUDE
HIGHEST: Final = MAX_MAGNITUDE
ZERO: Final = Decimal(0)


def check_number(name: str, value: Decimal | None, lowest: Decimal = LOWEST, highest: Decimal = HIGHEST) -> None:
    """Refuses what is no usable number; msgspec takes "sNaN", "Infinity" and 1E+999999 as Decimal.

    Args:
        name: wire name of the field, for the sentence.
        lowest, highest: the schema's bounds, else +-10^15.
    Raises:
        ValueError: the value is not finite or out of bounds (msgspec makes it a ValidationError with a path).
    """
    if value is None:
        return
    try:
        if lowest <= value <= highest:
            return
    except InvalidOperation:  # NaN and sNaN do not compare
        pass
    raise ValueError(f"Expected `decimal` between {lowest} and {highest} in `{name}`")
