"""A described behaviour: stations, and what they do one step after the other. Read from TOML; `stage` plays it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from chargeplane.kernel import toml_lines
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.meter import EVSE_MODELS

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
EvseId = Annotated[int, Meta(ge=1, le=64)]
WattHours = Annotated[int, Meta(ge=1, le=10_000_000)]
Token = Annotated[str, Meta(min_length=1, max_length=255)]
Version = Literal["1.6", "2.0.1", "2.1"]


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Something that a station does; `do` names it."""


class Connect(Step, frozen=True, kw_only=True, tag="connect"):
    """Opens the socket; from then on the station comes back by itself whenever it is lost."""


class Boot(Step, frozen=True, kw_only=True, tag="boot"):
    """Waits until its boot is accepted, sends one where none is under way."""

    within_s: Seconds = 60.0


class WaitFor(Step, frozen=True, kw_only=True, tag="wait"):
    """Lets seconds of the wall pass."""

    seconds: Seconds


class PlugIn(Step, frozen=True, kw_only=True, tag="plug"):
    """A car arrives and is plugged in: a van of 110 kWh.

    Args:
        soc: how full its battery is, in percent.
    """

    evse: EvseId = 1
    soc: Annotated[float, Meta(ge=0, le=100)] = 20.0


class Unplug(Step, frozen=True, kw_only=True, tag="unplug"):
    """The car drives off; a charging that goes on ends."""

    evse: EvseId = 1


class Present(Step, frozen=True, kw_only=True, tag="present"):
    """A driver presents a token: charging begins with the car that is plugged in, or ends where one goes on."""

    token: Token
    evse: EvseId = 1


class Deliver(Step, frozen=True, kw_only=True, tag="deliver"):
    """Charges on: so many Wh, or seconds of charging time.

    Args:
        meter_interval_s: charging seconds between meter values; absent: as the station is set.
    """

    wh: WattHours | None = None
    seconds: Seconds | None = None
    meter_interval_s: Seconds | None = None
    evse: EvseId = 1


class Charge(Step, frozen=True, kw_only=True, tag="charge"):
    """A whole visit: plug in, present, charge, stop, drive off."""

    token: Token
    wh: WattHours
    meter_interval_s: Seconds | None = None
    evse: EvseId = 1


class Offline(Step, frozen=True, kw_only=True, tag="offline"):
    """Loses the network for so long; what goes on at the station goes on. `wait = false` goes on with the next step meanwhile."""

    seconds: Seconds
    wait: bool = True


class Drop(Step, frozen=True, kw_only=True, tag="drop"):
    """Loses the socket without a close frame, and comes back."""


class Silent(Step, frozen=True, kw_only=True, tag="silent"):
    """Keeps the socket open for so long and says, reads and pongs nothing."""

    seconds: Seconds


class PowerCut(Step, frozen=True, kw_only=True, tag="power_cut"):
    """The mains fail for so long; then it boots again.

    Args:
        resumes: transactions go on afterwards.
        meter_restarts: registers begin at 0 again.
    """

    seconds: Seconds
    resumes: bool = False
    meter_restarts: bool = False
    wait: bool = True


class Reboot(Step, frozen=True, kw_only=True, tag="reboot"):
    """Restarts."""


class Break(Step, frozen=True, kw_only=True, tag="break"):
    """An EVSE breaks."""

    evse: EvseId = 1


class Mend(Step, frozen=True, kw_only=True, tag="mend"):
    """An EVSE works again."""

    evse: EvseId = 1


class Behave(Step, frozen=True, kw_only=True, tag="behave"):
    """Has these faults from now on, and no others."""

    faults: tuple[Fault, ...] = ()


class Clock(Step, frozen=True, kw_only=True, tag="clock"):
    """Its clock is off by so many seconds (positive: ahead) and takes no correction."""

    off_by_s: Annotated[float, Meta(ge=-1e9, le=1e9)]


class Raw(Step, frozen=True, kw_only=True, tag="raw"):
    """Sends a text as it is."""

    frame: Annotated[str, Meta(max_length=1_000_000)]


class Meter(Step, frozen=True, kw_only=True, tag="meter_values"):
    """Sends meter values of an EVSE, in the transaction if there is one."""

    evse: EvseId = 1


class Drain(Step, frozen=True, kw_only=True, tag="drain"):
    """Waits until every message about a transaction is answered."""

    within_s: Seconds = 60.0


class ExpectToken(Step, frozen=True, kw_only=True, tag="expect_token"):
    """The CSMS says this of a token (`Accepted`, `Invalid`, ...)."""

    token: Token
    status: Annotated[str, Meta(min_length=1)]


class ExpectCall(Step, frozen=True, kw_only=True, tag="expect_call"):
    """A call of the CSMS comes: one that came since the last that was expected, or comes in time.

    Args:
        has: fields of its payload, as they must be.
    """

    action: Annotated[str, Meta(min_length=1)]
    within_s: Seconds = 30.0
    has: dict[str, str | int | float | bool] = {}


class ExpectEnergy(Step, frozen=True, kw_only=True, tag="expect_energy"):
    """The station's ended sessions delivered so many Wh in all, and the CSMS acknowledged each."""

    wh: Annotated[int, Meta(ge=0)]
    within_s: Seconds = 60.0


AnyStep = (
    Connect
    | Boot
    | WaitFor
    | PlugIn
    | Unplug
    | Present
    | Deliver
    | Charge
    | Offline
    | Drop
    | Silent
    | PowerCut
    | Reboot
    | Break
    | Mend
    | Behave
    | Clock
    | Raw
    | Meter
    | Drain
    | ExpectToken
    | ExpectCall
    | ExpectEnergy
)


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stations that do the same.

    Args:
        stations: how many.
        versions: they take turns.
        evses: types, as `ac11`, `ac22`, `dc50`, `dc150`.
        faults: they have from the beginning.
        after_s: wall seconds until the first begins.
        stagger_s: wall seconds between the beginnings of two stations.
        repeat: how often the steps are played.
    """

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
    step: Annotated[tuple[AnyStep, ...], Meta(min_length=1, max_length=1000)]
    stations: Annotated[int, Meta(ge=1, le=20_000)] = 1
    versions: Annotated[tuple[Version, ...], Meta(min_length=1)] = ("2.0.1",)
    evses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)] = ("ac22",)
    faults: tuple[Fault, ...] = ()
    after_s: Seconds = 0.0
    stagger_s: Seconds = 0.0
    repeat: Annotated[int, Meta(ge=1, le=100_000)] = 1


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A described behaviour.

    Args:
        speed: charging seconds per second of the wall.
    """

    group: Annotated[tuple[Group, ...], Meta(min_length=1, max_length=200)]
    name: str = ""
    speed: Annotated[float, Meta(gt=0, le=1e6)] = 1.0


_EVSE_FIELD: Final = "evse"


def parse(text: str, name: str) -> Scenario:
    """The scenario of a file; `{station}` and `{n}` in tokens and frames become the station's id and number when it is played.

    Raises:
        InvalidInputError: the sentence names the file and the line.
    """
    scenario = toml_lines.decode(text, Scenario, name)
    names: set[str] = set()
    for number, group in enumerate(scenario.group):
        here = ("group", number)
        if group.name in names:
            line = toml_lines.line_of(text, (*here, "name"))
            raise toml_lines.complaint(name, line, f"another group is named '{group.name}'")
        names.add(group.name)
        for model in group.evses:
            if model not in EVSE_MODELS:
                line = toml_lines.line_of(text, (*here, "evses"))
                raise toml_lines.complaint(
                    name, line, f"there is no EVSE type '{model}'; choose of {', '.join(EVSE_MODELS)}"
                )
        for place, step in enumerate(group.step):
            evse = getattr(step, _EVSE_FIELD, 1)
            if evse > len(group.evses):
                line = toml_lines.line_of(text, (*here, "step", place, _EVSE_FIELD))
                raise toml_lines.complaint(
                    name, line, f"the stations of '{group.name}' have {len(group.evses)} EVSE(s)"
                )
            if isinstance(step, Deliver) and step.wh is None and step.seconds is None:
                line = toml_lines.line_of(text, (*here, "step", place))
                raise toml_lines.complaint(name, line, "deliver needs wh or seconds")
    return scenario
