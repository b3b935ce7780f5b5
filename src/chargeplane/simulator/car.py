"""A battery electric car as the station sees it: how much it takes, and when it stops taking.

Energy is counted in whole watt milliseconds, so that the sum over any steps is exact; a Wh is 3,600,000 of them.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

WATT_MS_PER_WH: Final = 3_600_000
"""Watt milliseconds in one watt hour."""

MAINS_V: Final = 230
"""Nominal phase to neutral voltage in volts."""

_MIN_AC_A: Final = 6  # IEC 61851-1: a car pauses below 6 A offered

_DC_CURVE: Final = ((0, 800), (80, 1000), (500, 1000), (700, 620), (800, 420), (900, 220), (970, 100), (1000, 40))
_AC_CURVE: Final = ((0, 1000), (960, 1000), (990, 450), (1000, 180))


def _taper(curve: tuple[tuple[int, int], ...], soc_permille: int) -> int:
    """Share of the full power in permille at a state of charge, linear between the points of the curve."""
    previous_soc, previous_share = curve[0]
    for soc, share in curve[1:]:
        if soc_permille <= soc:
            return previous_share + (share - previous_share) * (soc_permille - previous_soc) // (soc - previous_soc)
        previous_soc, previous_share = soc, share
    return curve[-1][1]


class CarModel(Struct, frozen=True, kw_only=True):
    """What a type of car can do.

    Args:
        battery_wh: usable capacity in Wh.
        ac_phases: phases of the on-board charger, 1 to 3.
        ac_max_a: its greatest current per phase in A.
        dc_max_w: greatest DC power in W; 0 for a car without DC inlet.
        discharge_max_w: greatest power it gives back, AC or DC, in W; 0 for a car that cannot.
    """

    name: str
    battery_wh: int
    ac_phases: int = 3
    ac_max_a: int = 16
    dc_max_w: int = 0
    discharge_max_w: int = 0


CAR_MODELS: Final = (
    CarModel(name="city car", battery_wh=36_000, ac_phases=1, ac_max_a=32, dc_max_w=45_000),
    CarModel(name="compact", battery_wh=58_000, ac_phases=3, ac_max_a=16, dc_max_w=135_000),
    CarModel(name="saloon", battery_wh=77_000, ac_phases=3, ac_max_a=16, dc_max_w=235_000),
    CarModel(name="estate", battery_wh=94_000, ac_phases=3, ac_max_a=32, dc_max_w=270_000),
    CarModel(name="plug-in hybrid", battery_wh=12_000, ac_phases=2, ac_max_a=16),
    CarModel(name="van", battery_wh=110_000, ac_phases=3, ac_max_a=32, dc_max_w=150_000),
)
"""Cars of the street, from the single-phase city car to the van."""

BIDIRECTIONAL: Final = CarModel(
    name="bidirectional saloon", battery_wh=77_000, ac_phases=3, ac_max_a=16, dc_max_w=150_000, discharge_max_w=11_000
)
"""A car that gives energy back to the grid."""

_RESERVE_PERMILLE: Final = 200  # below this state of charge no driver lets his car be discharged


class Car:
    """One car with its battery.

    Args:
        model: what the car can do.
        soc_percent: state of charge when it arrives, 0 to 100.
        target_percent: the driver's limit; the car stops taking energy there.
    """

    __slots__ = ("_content", "_target", "model")

    def __init__(self, model: CarModel, *, soc_percent: float = 20.0, target_percent: float = 100.0) -> None:
        self.model = model
        capacity = model.battery_wh * WATT_MS_PER_WH
        self._content = int(capacity * min(max(soc_percent, 0.0), 100.0) / 100.0)
        self._target = int(capacity * min(max(target_percent, 0.0), 100.0) / 100.0)

    @property
    def soc_percent(self) -> float:
        """State of charge in percent."""
        return 100.0 * self._content / (self.model.battery_wh * WATT_MS_PER_WH)

    @property
    def missing(self) -> int:
        """Watt milliseconds until the driver's limit."""
        return max(0, self._target - self._content)

    def wants_w(self, *, dc: bool, phases: int, offered_w: int) -> int:
        """The power the car takes now, in W.

        Args:
            dc: charging by the DC inlet.
            phases: phases the station connects (AC).
            offered_w: what the station offers at this moment, all phases together.
        Returns:
            0 where the car is full, has no such inlet, or is offered less than it can work with.
        """
        if self._content >= self._target:
            return 0
        permille = 1000 * self._content // (self.model.battery_wh * WATT_MS_PER_WH)
        if dc:
            return min(offered_w, self.model.dc_max_w * _taper(_DC_CURVE, permille) // 1000)
        used = min(phases, self.model.ac_phases)
        if offered_w < _MIN_AC_A * MAINS_V * used:
            return 0
        full = used * self.model.ac_max_a * MAINS_V
        return min(offered_w * used // phases, full * _taper(_AC_CURVE, permille) // 1000)

    @property
    def spare(self) -> int:
        """Watt milliseconds that it would give back."""
        floor = self.model.battery_wh * WATT_MS_PER_WH * _RESERVE_PERMILLE // 1000
        return max(0, self._content - floor) if self.model.discharge_max_w else 0

    def gives_w(self, asked_w: int) -> int:
        """The power it gives back now, in W, of what is asked for."""
        return min(asked_w, self.model.discharge_max_w) if self.spare > 0 else 0

    def give(self, watt_ms: int) -> None:
        """Takes energy out of the battery."""
        self._content -= watt_ms

    def take(self, watt_ms: int) -> None:
        """Puts energy into the battery (what the station's meter counted; losses are left out)."""
        self._content += watt_ms
