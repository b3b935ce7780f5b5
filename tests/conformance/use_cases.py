"""What OCPP 2.1 has beyond 2.0.1 and no official case tries: its use cases, and which requirements on a CSMS a test stands for.

The titles are Part 2's. A use case that nothing tries stands in `UNTRIED` with the reason; that its requirements bind stations alone is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pytest

USE_CASES: Final = {
    "B13": "Reset - With Ongoing Transaction - Resuming Transaction",
    "C17": "Authorization with prepaid card",
    "C18": "Authorization using locally connected payment terminal",
    "C19": "Cancelation prior to transaction",
    "C20": "Cancelation after start of transaction",
    "C21": "Settlement at end of transaction",
    "C22": "Settlement is rejected or fails",
    "C23": "Increasing authorization amount",
    "C24": "Ad hoc payment via stand-alone payment terminal",
    "C25": "Ad hoc payment via a QR code",
    "E16": "Transactions with fixed cost, energy, SoC or time",
    "E17": "Resuming transaction after forced reboot",
    "F07": "Remote start with fixed cost, energy, SoC or time",
    "I07": "Local Cost Calculation - Set Default Tariff",
    "I08": "Local Cost Calculation - Receive Driver Tariff",
    "I09": "Local Cost Calculation - Get Tariffs",
    "I10": "Local Cost Calculation - Clear Tariffs",
    "I11": "Local Cost Calculation - Change transaction tariff",
    "I12": "Local Cost Calculation - Cost Details of Transaction",
    "K18": "ISO 15118-20 Scheduled Control Mode",
    "K19": "ISO 15118-20 Dynamic Control Mode",
    "K20": "ISO 15118-20 Adjusting charging schedule when energy needs change",
    "K21": "Requesting priority charging remotely",
    "K22": "Requesting priority charging locally",
    "K23": "Smart Charging with EMS connected to Charging Stations",
    "K24": "Smart Charging with EMS connected to Local Controller",
    "K25": "Smart Charging with EMS acting as a Local Controller",
    "K26": "Smart Charging with Hybrid Local & Cloud EMS",
    "K27": "Smart Charging with EMS and LocalGeneration",
    "K28": "Dynamic charging profiles from CSMS",
    "K29": "Dynamic charging profiles from external system",
    "M07": "Get Vehicle Certificate Chain Revocation Status",
    "N11": "Set Frequent Periodic Variable Monitoring",
    "N12": "Get Periodic Event Streams",
    "N13": "Close Periodic Event Streams",
    "N14": "Adjust Periodic Event Streams",
    "N15": "Periodic Event Streams",
    "Q01": "V2X Authorization",
    "Q02": "Starting in operationMode ChargingOnly before enabling V2X",
    "Q03": "Central V2X control with charging schedule",
    "Q04": "Central V2X control with dynamic CSMS setpoint",
    "Q05": "External V2X setpoint control with a charging profile from CSMS",
    "Q06": "External V2X control with a charging profile from an External System",
    "Q07": "Central V2X control for frequency support",
    "Q08": "Local V2X control for frequency support",
    "Q09": "Local V2X control for load balancing",
    "Q10": "Idle, minimizing energy consumption",
    "Q11": "Going offline during V2X operation",
    "Q12": "Resuming a V2X operation after an offline period",
    "R01": "Starting a V2X session with DER control in EVSE",
    "R02": "Starting a V2X session with DER control in EV",
    "R03": "Starting a V2X session with hybrid DER control in both EV and EVSE",
    "R04": "Configure DER control settings at Charging Station",
    "R05": "Charging station reporting a DER event",
    "S01": "Battery Swap Local Authorization",
    "S02": "Battery Swap Remote Start",
    "S03": "Battery Swap In/Out",
    "S04": "Battery Swap Charging",
}

UNTRIED: Final = {
    "C20": "FR.03, a cost of 0 in the answer: it is given before the session is rated",
    "C23": "binds the station alone",
    "K24": "binds the local controller and the station alone",
    "K25": "binds the local controller and the station alone",
    "K26": "binds the station alone",
    "K27": "binds the station alone",
    "Q05": "binds the station alone, beyond the profile of Q03",
    "Q06": "binds the station alone",
    "Q08": "binds the station alone, beyond the profile of Q03",
    "Q09": "binds the station alone, beyond the profile of Q03",
    "Q10": "binds the station alone, beyond the profile of Q03",
    "Q11": "binds the station alone",
    "Q12": "binds the station alone",
    "R01": "binds the station alone, beyond Q01 and R04",
    "R02": "binds the station alone, beyond Q01 and R04",
    "R03": "binds the station alone, beyond Q01 and R04",
}
"""Of what is tried only in part, `PARTLY` says what is missing."""

PARTLY: Final = {
    "C21": "FR.03 and FR.05, receipts and settlement by the CSMS: nobody to settle with yet",
    "C24": "FR.01 by a kiosk's word, FR.10: nobody to settle with yet",
    "C25": "FR.07 to FR.40, the driver's web page: not built yet",
    "M07": "FR.04 to FR.07, revocation lists in place of OCSP",
    "N11": "FR.05, a stream that is refused; FR.09, a stream within a monitor",
    "N15": "FR.05, a rate that follows what waits",
    "Q03": "FR.02 forbids limits beside setpoints, which Q 2.2 calls optional: what an operator writes goes out",
    "Q01": "FR.01, transfers allowed in the answer to Authorize: they are told by Q02",
}

_NAME: Final = re.compile(r"test_([A-Z]\d\d)_")
_Test = TypeVar("_Test", bound=Callable[..., Any])


def requires(*requirements: str) -> Callable[[_Test], _Test]:
    """Marks a function `test_K18_...` as the test of requirements of that use case (`FR.07`; empty where Part 2 has only steps)."""

    def mark(test: _Test) -> _Test:
        found = _NAME.match(test.__name__)
        assert found is not None, test.__name__
        assert found[1] in USE_CASES, test.__name__
        assert all(re.fullmatch(r"FR\.\d+", one) for one in requirements), requirements
        marked: _Test = pytest.mark.own_case(found[1], test.__name__, list(requirements))(test)
        return marked

    return mark
