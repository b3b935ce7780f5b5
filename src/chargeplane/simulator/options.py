"""How a virtual station is made and how it behaves."""

from __future__ import annotations

import ssl
from typing import Final

from msgspec import Struct

from chargeplane.simulator.evse import Plan
from chargeplane.simulator.faults import Fault

INFINITE: Final = float("inf")


class StationModel(Struct, frozen=True, kw_only=True):
    """What the station says of itself in its boot."""

    vendor: str = "Chargeplane"
    model: str = "Virtual"
    firmware: str = "1.0.0"


class Options(Struct, frozen=True, kw_only=True):
    """Behaviour of a station; the defaults suit a live simulation, `FAST` suits tests.

    Args:
        speed: charging seconds per second of the wall; infinite: as fast as the CSMS answers.
        auto_boot: a boot is sent by itself after power up.
        reconnect: the station comes back by itself after the socket was lost.
        reconnect_min_s, reconnect_max_s: wait before the first and the longest wait before a later attempt.
        reboot_s: how long a reboot takes.
        answer_timeout_s: a CALL without answer is given up, or sent again where it must not be lost.
        error_retry_s: wait before a transaction message that got a CALLERROR is sent again, times the attempt; None
            takes the station's setting (10 s).
        boot_retry_s: wait after a boot that was not answered, or Pending and Rejected with interval 0.
        step_s: delay between the steps of what a station does by itself (firmware and log uploads).
        late_answer_s: how late the answers of a station with the fault `late_answers` come; by default later than CSMSs wait.
        remote_plan: what a driver wants whose transaction is started remotely.
        deflate: offers permessage-deflate.
        password_is_hex: sends the bytes that the password stands for as hex (OCPP 1.6 AuthorizationKey).
        quantities: measurands of meter values as OCPP names, comma separated; None takes the station's setting.
        signs: its meter signs the values at the beginning and the end of a transaction (OCMF).
        ssl: for wss.
        record_calls: keeps every CALL of the CSMS in `station.calls`.
        unsupported: actions of the CSMS that this station does not know.
    """

    speed: float = 1.0
    auto_boot: bool = True
    reconnect: bool = True
    reconnect_min_s: float = 1.0
    reconnect_max_s: float = 60.0
    reboot_s: float = 3.0
    answer_timeout_s: float = 30.0
    error_retry_s: float | None = None
    boot_retry_s: float = 10.0
    step_s: float = 1.0
    late_answer_s: float = 35.0
    handshake_timeout_s: float = 30.0
    remote_plan: Plan = Plan(hold=True)
    deflate: bool = False
    password_is_hex: bool = False
    quantities: str | None = None
    signs: bool = False
    faults: frozenset[Fault] = frozenset()
    model: StationModel = StationModel()
    ssl: ssl.SSLContext | None = None
    record_calls: bool = False
    unsupported: frozenset[str] = frozenset()


FAST: Final = Options(
    speed=INFINITE,
    reconnect_min_s=0.02,
    reconnect_max_s=0.5,
    reboot_s=0.02,
    error_retry_s=0.02,
    boot_retry_s=0.1,
    step_s=0.005,
    remote_plan=Plan(energy_wh=1_000, meter_interval_s=60, hold=True),
    record_calls=True,
)
"""For tests: a session takes milliseconds, a reboot a few."""
