"""The electrical side of an EVSE: power flowing into a car, a register that counts it to the last Wh, and readings.

The register counts whole watt milliseconds, so nothing is lost between steps; what it shows is whole Wh, as on the
display of a certified meter. A test may therefore compare what was booked with what flowed, exactly.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.simulator.car import MAINS_V, WATT_MS_PER_WH, Car
from chargeplane.simulator.noise import Noise

_STEP_MS: Final = 30_000  # the charging curve is followed in steps of half a minute


class EvseModel(Struct, frozen=True, kw_only=True):
    """What an EVSE can deliver.

    Args:
        dc: DC fast charger; else AC.
        phases: phases connected (AC), 1 to 3.
        max_a: greatest current per phase in A (AC).
        max_w: greatest power in W (DC); AC follows from phases and current.
        connector: OCPP 2.x ConnectorEnum word.
    """

    dc: bool = False
    phases: int = 3
    max_a: int = 32
    max_w: int = 0
    connector: str = "sType2"

    @property
    def power_w(self) -> int:
        """Greatest power in W."""
        return self.max_w if self.dc else self.phases * self.max_a * MAINS_V


AC_22 = EvseModel()
AC_11 = EvseModel(max_a=16)
AC_7 = EvseModel(phases=1)
DC_50 = EvseModel(dc=True, max_w=50_000, connector="cCCS2")
DC_150 = EvseModel(dc=True, max_w=150_000, connector="cCCS2")
DC_300 = EvseModel(dc=True, max_w=300_000, connector="cCCS2")

EVSE_MODELS: Final = {"ac7": AC_7, "ac11": AC_11, "ac22": AC_22, "dc50": DC_50, "dc150": DC_150, "dc300": DC_300}
"""The EVSE types by the names the command line uses."""


class Quantity(enum.Enum):
    """What a meter measures, as OCPP names it (same words in all versions)."""

    ENERGY = "Energy.Active.Import.Register"
    EXPORTED = "Energy.Active.Export.Register"
    POWER = "Power.Active.Import"
    EXPORTED_POWER = "Power.Active.Export"
    OFFERED_POWER = "Power.Offered"
    CURRENT = "Current.Import"
    OFFERED_CURRENT = "Current.Offered"
    VOLTAGE = "Voltage"
    SOC = "SoC"
    FREQUENCY = "Frequency"
    TEMPERATURE = "Temperature"


class Measured(Struct, frozen=True):
    """One measured value in its base unit (Wh, W, A, V, Percent, Hz, Celsius).

    Args:
        phase: OCPP PhaseEnum word, None for the total.
    """

    quantity: Quantity
    value: Decimal
    unit: str
    phase: str | None = None


DEFAULT_QUANTITIES: Final = (Quantity.ENERGY, Quantity.POWER, Quantity.CURRENT, Quantity.VOLTAGE, Quantity.SOC)
"""What a reading holds unless the configuration says otherwise."""

_LINES: Final = ("L1", "L2", "L3")
_PHASES: Final = ("L1-N", "L2-N", "L3-N")


def _tenths(value: int) -> Decimal:
    return Decimal(value).scaleb(-1)


class Meter:
    """The energy meter of one EVSE with the power flowing through it.

    Args:
        model: what the EVSE can deliver.
        noise: for the small unrest of voltage and current.
        register_wh: what the register shows at the beginning.

    Attributes:
        power_w: what flows; below 0 the car gives back.
    """

    __slots__ = ("_exported", "_noise", "_register", "delivered", "model", "power_w")

    def __init__(self, model: EvseModel, noise: Noise, register_wh: int = 0) -> None:
        self.model = model
        self._noise = noise
        self._register = register_wh * WATT_MS_PER_WH
        self._exported = 0
        self.delivered = 0
        self.power_w = 0

    @property
    def exported_wh(self) -> int:
        """The export register in whole Wh: what cars gave back."""
        return self._exported // WATT_MS_PER_WH

    @property
    def register_wh(self) -> int:
        """The import register in whole Wh."""
        return self._register // WATT_MS_PER_WH

    @property
    def delivered_wh(self) -> int:
        """Everything that ever flowed, in whole Wh, whatever the register shows."""
        return self.delivered // WATT_MS_PER_WH

    def restart(self, register_wh: int = 0) -> None:
        """Sets the register, as some meters do on a power loss. What was delivered stays delivered."""
        self._register = register_wh * WATT_MS_PER_WH

    def flow(self, car: Car, duration_ms: int, limit_w: int, most: int | None = None) -> int:
        """Lets energy flow into a car for a while.

        Args:
            duration_ms: time that passes, in ms.
            limit_w: limit by charging profiles in W.
            most: watt milliseconds after which the flow ends, None for no limit.
        Returns:
            The time in ms in which energy flowed; less than `duration_ms` where the car is full, takes nothing or `most`
            is reached. `power_w` is the power at the end.
        """
        left = duration_ms
        while left > 0:
            self.power_w = power = car.wants_w(
                dc=self.model.dc, phases=self.model.phases, offered_w=min(limit_w, self.model.power_w)
            )
            if power <= 0:
                break
            step = min(left, _STEP_MS)
            energy = power * step
            room = car.missing if most is None else min(car.missing, most)
            if energy >= room:
                energy = room
                step = min(step, -(-energy // power))
            self._register += energy
            self.delivered += energy
            car.take(energy)
            left -= step
            if most is not None:
                most -= energy
                if most <= 0:
                    break
        return duration_ms - left

    def flow_back(self, car: Car, duration_ms: int, asked_w: int) -> int:
        """Lets a car give energy back for a while.

        Args:
            asked_w: how much is asked of it, in W above 0.
        Returns:
            The time in ms in which energy flowed.
        """
        power = car.gives_w(min(asked_w, self.model.power_w))
        self.power_w = -power
        if power <= 0:
            return 0
        energy = min(power * duration_ms, car.spare)
        self._exported += energy
        car.give(energy)
        return -(-energy // power)

    def stop(self) -> None:
        """The contactor opens."""
        self.power_w = 0

    def read(self, quantities: tuple[Quantity, ...], car: Car | None, limit_w: int) -> list[Measured]:
        """A reading.

        Args:
            quantities: what is wanted; the ones the meter lacks are left out.
            car: for the state of charge (DC only tells it, or AC with ISO 15118; here both do).
            limit_w: limit by charging profiles in W, for what is offered.
        """
        noise = self._noise
        power = max(0, self.power_w)
        phases = 1 if self.model.dc else self.model.phases
        used = min(phases, car.model.ac_phases) if car is not None and not self.model.dc else phases
        volts: list[int] = []  # tenths of a volt
        if self.model.dc:
            soc = car.soc_percent if car is not None else 50.0
            volts.append(int(3600 + 5.0 * soc) + noise.between(-6, 6))
        else:
            volts.extend(10 * MAINS_V + noise.between(-25, 25) for _ in range(phases))
        out: list[Measured] = []
        for quantity in quantities:
            if quantity is Quantity.ENERGY:
                out.append(Measured(quantity, Decimal(self.register_wh), "Wh"))
            elif quantity is Quantity.EXPORTED:
                out.append(Measured(quantity, Decimal(self.exported_wh), "Wh"))
            elif quantity is Quantity.EXPORTED_POWER:
                out.append(Measured(quantity, Decimal(max(0, -self.power_w)), "W"))
            elif quantity is Quantity.POWER:
                out.append(Measured(quantity, Decimal(power), "W"))
            elif quantity is Quantity.OFFERED_POWER:
                out.append(Measured(quantity, Decimal(min(limit_w, self.model.power_w)), "W"))
            elif quantity is Quantity.OFFERED_CURRENT:
                offered = min(limit_w, self.model.power_w) * 10 // (phases * MAINS_V)
                out.append(Measured(quantity, _tenths(offered), "A"))
            elif quantity is Quantity.CURRENT:
                if self.model.dc:
                    out.append(Measured(quantity, _tenths(power * 100 // volts[0]), "A"))
                else:
                    for index in range(phases):
                        current = power * 100 // (used * volts[index]) if index < used else 0
                        out.append(Measured(quantity, _tenths(current), "A", _LINES[index]))
            elif quantity is Quantity.VOLTAGE:
                if self.model.dc:
                    out.append(Measured(quantity, _tenths(volts[0]), "V"))
                else:
                    out.extend(Measured(quantity, _tenths(volts[i]), "V", _PHASES[i]) for i in range(phases))
            elif quantity is Quantity.SOC:
                if car is not None:
                    out.append(Measured(quantity, Decimal(int(car.soc_percent)), "Percent"))
            elif quantity is Quantity.TEMPERATURE:
                out.append(Measured(quantity, Decimal(20 + power // 10_000 + noise.between(0, 2)), "Celsius"))
            elif not self.model.dc:
                out.append(Measured(quantity, Decimal(4998 + noise.between(0, 4)).scaleb(-2), "Hz"))
        return out
