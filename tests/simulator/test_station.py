from __future__ import annotations

from decimal import Decimal

import pytest

from chargeplane.simulator.station import VirtualStation
from tests.simulator.csms import running_csms

VERSIONS = ["1.6", "2.0.1", "2.1"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_session_delivers_its_energy_to_the_last_wh(version: str) -> None:
    async with running_csms() as csms:
        station = VirtualStation(csms.url, "CP-1", version, seed=7, evses=2)
        await station.connect()
        await station.boot()
        session = await station.charge(id_token="TAG1", energy_wh=12_345, meter_interval_s=300)
        assert session.energy_wh == Decimal(12_345)
        assert session.acknowledged
        if version == "1.6":
            (start,), (stop,) = csms.of("StartTransaction"), csms.of("StopTransaction")
            assert stop["meterStop"] - start["meterStart"] == 12_345
            assert str(stop["transactionId"]) == session.transaction_id
            assert len(csms.of("MeterValues")) > 3
        else:
            events = csms.of("TransactionEvent")
            assert [e["seqNo"] for e in events] == list(range(len(events)))
            assert events[0]["eventType"] == "Started"
            assert events[-1]["eventType"] == "Ended"
            first, last = (e["meterValue"][0]["sampledValue"][0]["value"] for e in (events[0], events[-1]))
            assert last - first == 12_345
        await station.close()
