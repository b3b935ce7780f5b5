"""Plug-ins for vendors' data: installed packages are found by their entry point."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chargeplane.app.data_transfer import DataTransfer
from chargeplane.app.house import Desk
from chargeplane.app.reports import Place
from chargeplane.domain.station_exchanges import DataTransferAnswer, DataTransferAsk, DataTransferStatus
from chargeplane.kernel.ids import StationId, StationKey, TenantId

MODULE = """
from chargeplane.domain.station_exchanges import DataTransferAnswer, DataTransferStatus

async def answer(place, ask):
    return DataTransferAnswer(status=DataTransferStatus.ACCEPTED, data=place.station_id)
"""
ENTRY_POINTS = """[chargeplane.data_transfer]
com.example.made = made_plug_in:answer
com.example.broken = made_plug_in:no_such_function
"""


async def test_installed_plug_ins_are_loaded_and_a_broken_one_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_plug_in.py").write_text(MODULE)
    installed = tmp_path / "made_plug_in-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: made-plug-in\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    transfer = DataTransfer()
    transfer.load()
    sys.modules.pop("made_plug_in", None)
    assert "com.example.made" in transfer.vendors
    assert "com.example.broken" not in transfer.vendors
    desks: dict[type, Desk] = {}
    transfer.register(desks)
    place = Place(tenant_id=TenantId(1), key=StationKey(2), station_id=StationId("CS1"), received_at=datetime.now(UTC))
    answer = await desks[DataTransferAsk](place, DataTransferAsk(vendor_id="COM.example.made"))
    assert answer == DataTransferAnswer(status=DataTransferStatus.ACCEPTED, data="CS1")
    assert await desks[DataTransferAsk](place, DataTransferAsk(vendor_id="org.stranger")) is None
