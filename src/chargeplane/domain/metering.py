"""Sampled values brought to base units: Wh, W, varh, var, VAh, VA, A, V, Hz, Celsius, Percent.

Stations write the same unit in many ways (`kWh`, `KWH`, `Celcius`, a multiplier beside the unit, no unit at all) and
numbers as text, floats printed with 17 digits among them. What can be read is converted exactly, in decimal; what is
repaired carries the name of the rule; what cannot be read keeps its raw text. Nothing is guessed without a mark.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from chargeplane.domain.messages import Sample, SignedValue
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.units import MAX_MAGNITUDE, bounded

DEFAULT_MEASURAND: Final = "Energy.Active.Import.Register"
"""What a sample without a measurand is (OCPP 1.6, 7.43; OCPP 2.0.1 SampledValueType)."""

REPAIR_UNIT_UNKNOWN: Final = "unit_unknown"
REPAIR_UNIT_FOREIGN: Final = "unit_foreign"
REPAIR_UNIT_MISSPELT: Final = "unit_misspelt"
REPAIR_DECIMAL_COMMA: Final = "decimal_comma"
REPAIR_NUMBER_UNUSABLE: Final = "number_unusable"
REPAIR_MULTIPLIER: Final = "multiplier_out_of_bounds"

_RAW_LIMIT: Final = 128
_TEXT_LIMIT: Final = 64
"""Longer numbers are no meter values; also keeps the decimal parser from long work."""

_PREFIXES: Final = {"m": -3, "": 0, "k": 3, "M": 6, "G": 9}

# Exact words of OCPP 1.6 (7.45) and 2.x (appendix UnitOfMeasure): base unit and power of ten.
_EXACT: Final[dict[str, tuple[str, int]]] = {
    **{
        p + base: (base, e)
        for base in ("Wh", "W", "VA", "VAh", "var", "varh", "A", "V", "Hz")
        for p, e in _PREFIXES.items()
    },
    "Celsius": ("Celsius", 0),
    # The misspelling is OCPP's own: 1.6 (7.45) has it in the enumeration.
    "Celcius": ("Celsius", 0),
    "Fahrenheit": ("Fahrenheit", 0),
    "K": ("K", 0),
    "Percent": ("Percent", 0),
    "RPM": ("RPM", 0),
    "ASU": ("ASU", 0),
    "B": ("B", 0),
    "dB": ("dB", 0),
    "dBm": ("dBm", 0),
    "Deg": ("Deg", 0),
    "lx": ("lx", 0),
    "m": ("m", 0),
    "ms2": ("ms2", 0),
    "N": ("N", 0),
    "Ohm": ("Ohm", 0),
    "kPa": ("Pa", 3),
    "RH": ("RH", 0),
    "s": ("s", 0),
    "Ah": ("Ah", 0),
}

# Spellings met beside the exact words; looked up in lower case, without spaces. `mwh` in the wrong case could be
# milli or mega, so it is not here and stays unknown.
_LOOSE: Final[dict[str, tuple[str, int]]] = {
    "wh": ("Wh", 0),
    "kwh": ("Wh", 3),
    "whr": ("Wh", 0),
    "kwhr": ("Wh", 3),
    "kw/h": ("Wh", 3),
    "w/h": ("Wh", 0),
    "kw.h": ("Wh", 3),
    "w.h": ("Wh", 0),
    "watthour": ("Wh", 0),
    "watthours": ("Wh", 0),
    "watt-hour": ("Wh", 0),
    "kilowatthour": ("Wh", 3),
    "kilowatthours": ("Wh", 3),
    "w": ("W", 0),
    "kw": ("W", 3),
    "watt": ("W", 0),
    "watts": ("W", 0),
    "kilowatt": ("W", 3),
    "kilowatts": ("W", 3),
    "va": ("VA", 0),
    "kva": ("VA", 3),
    "vah": ("VAh", 0),
    "kvah": ("VAh", 3),
    "var": ("var", 0),
    "vars": ("var", 0),
    "kvar": ("var", 3),
    "kvars": ("var", 3),
    "varh": ("varh", 0),
    "kvarh": ("varh", 3),
    "a": ("A", 0),
    "amp": ("A", 0),
    "amps": ("A", 0),
    "ampere": ("A", 0),
    "amperes": ("A", 0),
    "v": ("V", 0),
    "volt": ("V", 0),
    "volts": ("V", 0),
    "hz": ("Hz", 0),
    "hertz": ("Hz", 0),
    "%": ("Percent", 0),
    "percent": ("Percent", 0),
    "percentage": ("Percent", 0),
    "pct": ("Percent", 0),
    "celsius": ("Celsius", 0),
    "celcius": ("Celsius", 0),
    "degc": ("Celsius", 0),
    "°c": ("Celsius", 0),
    "c": ("Celsius", 0),
    "fahrenheit": ("Fahrenheit", 0),
    "farenheit": ("Fahrenheit", 0),
    "fahrenheid": ("Fahrenheit", 0),
    "°f": ("Fahrenheit", 0),
    "f": ("Fahrenheit", 0),
    "k": ("K", 0),
    "kelvin": ("K", 0),
    "rpm": ("RPM", 0),
    "r/min": ("RPM", 0),
}

_FAMILY_BY_PREFIX: Final = (
    ("Energy.Active", "Wh"),
    ("Energy.Reactive", "varh"),
    ("Energy.Apparent", "VAh"),
    ("EnergyRequest", "Wh"),
    ("Power.Active", "W"),
    ("Power.Reactive", "var"),
    ("Power.Apparent", "VA"),
    ("Power.Offered", "W"),
    ("Power.Import", "W"),
    ("Power.Export", "W"),
    ("Power.Residual", "W"),
    ("Current", "A"),
    ("Voltage", "V"),
    ("Frequency", "Hz"),
    ("Temperature", "Celsius"),
    ("SoC", "Percent"),
    ("RPM", "RPM"),
    # 2.1: what a car has its station show
    ("Display.PresentSOC", "Percent"),
    ("Display.MinimumSOC", "Percent"),
    ("Display.TargetSOC", "Percent"),
    ("Display.MaximumSOC", "Percent"),
    ("Display.RemainingTime", "s"),
    ("Display.BatteryEnergyCapacity", "Wh"),
)

# What a station means that writes the unit of a rate for the amount or of the amount for the rate.
_SAME_QUANTITY: Final = {
    ("Wh", "W"),
    ("W", "Wh"),
    ("varh", "var"),
    ("var", "varh"),
    ("VAh", "VA"),
    ("VA", "VAh"),
    # Reactive and apparent values under the active unit: OCPP 1.6 stations that know only Wh and W.
    ("varh", "Wh"),
    ("var", "W"),
    ("VAh", "Wh"),
    ("VA", "W"),
    ("varh", "W"),
    ("var", "Wh"),
    ("VAh", "W"),
    ("VA", "Wh"),
}

_Rule = tuple[Decimal | None, str | None, str | None, int]
"""factor (None: 1), unit given out, mark, kind of conversion (0 factor, 1 Fahrenheit, 2 Kelvin, 3 unusable,
4 a factor below one, which may leave more decimals than are kept)."""

_rules: dict[tuple[str, str | None, int], _Rule] = {}
_RULES_LIMIT: Final = 4096

_LIMIT: Final = MAX_MAGNITUDE
_NEG_LIMIT: Final = -MAX_MAGNITUDE
_KELVIN: Final = Decimal("273.15")
_THIRTY_TWO: Final = Decimal(32)
_FIVE: Final = Decimal(5)
_NINE: Final = Decimal(9)


def base_unit(measurand: str) -> str | None:
    """The base unit a measurand is kept in, or None where it has none (`Power.Factor`, `Display.InletHot`) or is unknown to us."""
    if measurand == "Power.Factor":
        return None
    for prefix, unit in _FAMILY_BY_PREFIX:
        if measurand.startswith(prefix):
            return unit
    return None


def normalise(
    measurand: str | None, value: str | Decimal | int | float, unit: str | None, multiplier: int = 0
) -> tuple[Decimal | None, str | None, str | None, str | None]:
    """A sampled value in its base unit.

    Args:
        measurand: OCPP word; None is the default, Energy.Active.Import.Register.
        value: the number as the station wrote it; text in 1.6, a JSON number in 2.x (Decimal preferred to float).
        unit: unit word as written; None or empty is the measurand's own unit.
        multiplier: power of ten of OCPP 2.x UnitOfMeasure.multiplier.
    Returns:
        (value, unit, repaired, raw) as `Sample` keeps them. value is None where the text is no number or out of
        bounds; raw is set there and where the number itself was changed by a repair; repaired names the rule.
    Source: OCPP 1.6, 7.43 and 7.45; OCPP 2.0.1 SampledValueType, UnitOfMeasureType. Where a unit is missing the
        measurand's own is taken (2.x says Wh for everything, which no station means for a current).
    """
    key = (measurand or DEFAULT_MEASURAND, unit, multiplier)
    rule = _rules.get(key)
    if rule is None:
        rule = _remember(key)
    factor, base, mark, kind = rule
    try:
        if type(value) is str:
            number = Decimal(value) if len(value) <= _TEXT_LIMIT else None
            long = len(value) > 13 or "e" in value or "E" in value
        else:
            number = value if type(value) is Decimal else Decimal(repr(value))
            written = str(number)
            long = len(written) > 13 or "E" in written
        if number is not None:
            if factor is not None:
                number *= factor
            if kind:
                number = _converted(number, kind)
                long = True
            # NaN and sNaN raise InvalidOperation in a comparison; Infinity is out of bounds.
            if number is not None and _NEG_LIMIT < number < _LIMIT:
                if long or multiplier < -6:
                    number = _tidy(number)
                if number is not None:
                    return number, base, mark, None
    except (InvalidOperation, ValueError, OverflowError):
        return _repaired_number(value, rule)
    return None, base, REPAIR_NUMBER_UNUSABLE, _raw(value)


def sample(
    measurand: str | None,
    value: str | Decimal | int | float,
    unit: str | None = None,
    multiplier: int = 0,
    phase: str | None = None,
    location: str | None = None,
    context: str | None = None,
    signed: SignedValue | None = None,
) -> Sample:
    """A `Sample` with its value in base units; the arguments are those of `normalise` and of `Sample`."""
    number, base, repaired, raw = normalise(measurand, value, unit, multiplier)
    return Sample(measurand or DEFAULT_MEASURAND, number, base, phase, location, context, signed, repaired, raw)


def _remember(key: tuple[str, str | None, int]) -> _Rule:
    """Works out a rule once. The table is bounded: unit words come from outside."""
    if len(_rules) >= _RULES_LIMIT:
        _rules.clear()
    rule = _rules[key] = _rule(*key)
    return rule


def _rule(measurand: str, unit: str | None, multiplier: int) -> _Rule:
    if not -24 <= multiplier <= 24:
        return None, made_storable(unit.strip(), 32) if unit else None, REPAIR_MULTIPLIER, 3
    own = base_unit(measurand)
    word = unit.strip() if unit else ""
    mark: str | None = None
    if not word:
        base, exponent = own, 0
    elif word in _EXACT:
        base, exponent = _EXACT[word]
    else:
        found = _LOOSE.get(word.lower().replace(" ", ""))
        if found is None:
            return _power(multiplier), made_storable(word, 32), REPAIR_UNIT_UNKNOWN, 4 if multiplier < 0 else 0
        base, exponent = found
        mark = REPAIR_UNIT_MISSPELT
    exponent += multiplier
    if base == "Fahrenheit":
        return None, "Celsius", mark, 1 if exponent == 0 else 3
    if base == "K":
        return None, "Celsius", mark, 2 if exponent == 0 else 3
    if own is not None and base != own:
        if (own, base) in _SAME_QUANTITY:
            base, mark = own, REPAIR_UNIT_FOREIGN
        elif base == "Wh" and own not in ("Wh", "W") and exponent == 0:
            # OCPP 2.x makes Wh the default of every unit: a library that fills it in means "not given".
            base, mark = own, REPAIR_UNIT_FOREIGN
        else:
            return _power(exponent), base, REPAIR_UNIT_FOREIGN, 4 if exponent < 0 else 0
    return _power(exponent), base, mark, 4 if exponent < 0 else 0


def _power(exponent: int) -> Decimal | None:
    return None if exponent == 0 else Decimal(10) ** exponent


def _converted(number: Decimal, kind: int) -> Decimal | None:
    if kind == 1:
        return (number - _THIRTY_TWO) * _FIVE / _NINE
    if kind == 2:
        return number - _KELVIN
    return number if kind == 4 else None


def _tidy(number: Decimal) -> Decimal | None:
    """Bounded, and without the zeros that quantizing a float's tail leaves ("300.050000000000")."""
    held = bounded(number)
    if held is None or not held:
        return held
    exponent = held.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -6:
        whole = held.to_integral_value()
        # normalize() would write a whole number as 3E+2.
        return whole if whole == held else held.normalize()
    return held


def _repaired_number(
    value: str | Decimal | int | float, rule: _Rule
) -> tuple[Decimal | None, str | None, str | None, str | None]:
    """A second try for text that is no number as it stands: a decimal comma."""
    factor, base, _, kind = rule
    if isinstance(value, str) and value.count(",") == 1 and "." not in value and len(value) <= _TEXT_LIMIT:
        try:
            number: Decimal | None = Decimal(value.replace(",", "."))
            if number is not None and factor is not None:
                number *= factor
            if number is not None and kind:
                number = _converted(number, kind)
            if number is not None and _NEG_LIMIT < number < _LIMIT:
                return _tidy(number), base, REPAIR_DECIMAL_COMMA, _raw(value)
        except InvalidOperation:
            pass
    return None, base, REPAIR_NUMBER_UNUSABLE, _raw(value)


def _raw(value: object) -> str:
    return made_storable(str(value), _RAW_LIMIT)
