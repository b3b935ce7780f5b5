"""Virtual charging stations: real clients, over the wire.

    async with a running loop:
        station = VirtualStation("ws://127.0.0.1:9000/ocpp", "CP-1", "2.0.1", password="...", seed=7)
        await station.connect()
        await station.boot()
        session = await station.charge(id_token="04A1B2C3", energy_wh=12_345, meter_interval_s=60)
        assert session.energy_wh == 12_345

`Fleet` runs thousands of them with drivers that come and go; `Fault` and the station's methods make them misbehave;
`Ledger` keeps what was sent and what was acknowledged.
"""

from chargeplane.simulator.car import Car, CarModel
from chargeplane.simulator.counters import Counters
from chargeplane.simulator.evse import EvseStatus, Plan, Session, StopReason
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.fleet import Fleet, FleetState, StationPlan, Traffic, plans
from chargeplane.simulator.ledger import Entry, Ledger, Line
from chargeplane.simulator.meter import EVSE_MODELS, EvseModel, Quantity
from chargeplane.simulator.options import FAST, INFINITE, Options, StationModel
from chargeplane.simulator.station import HandshakeError, VirtualStation

__all__ = [
    "EVSE_MODELS",
    "FAST",
    "INFINITE",
    "Car",
    "CarModel",
    "Counters",
    "Entry",
    "EvseModel",
    "EvseStatus",
    "Fault",
    "Fleet",
    "FleetState",
    "HandshakeError",
    "Ledger",
    "Line",
    "Options",
    "Plan",
    "Quantity",
    "Session",
    "StationModel",
    "StationPlan",
    "StopReason",
    "Traffic",
    "VirtualStation",
    "plans",
]
