"""Nothing that a station says is answered with an empty result and forgotten: every message has somebody who acts on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from chargeplane.app.reports import Reports
from chargeplane.bridge import INCOMING
from chargeplane.domain.messages import Notice, Question
from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from chargeplane.ocpp import CATALOGUE
from chargeplane.ocpp.catalogue import decode_request
from tests.conformance.instances import fewest, fullest
from tests.conformance.schemas import name_of

KEPT_ONLY: dict[str, str] = {}
"""Actions whose message is kept and shown, and from which nothing more follows, with the reason."""


async def test_every_report_of_a_station_has_somebody_who_takes_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ocpp.md: "answered with an empty result" is not handled."""
    taken: set[type] = set()
    take = Reports.take

    def noted(self: Reports, kind: Any, handler: Any, **more: Any) -> None:
        taken.add(kind)
        take(self, kind, handler, **more)

    monkeypatch.setattr(Reports, "take", noted)
    server = Server(
        Config(
            bind="127.0.0.1",
            http_port=0,
            ocpp_port=0,
            data_dir=str(tmp_path),
            database_url=database_url,
            admin_key="k" * 16,
        )
    )
    await server.start()
    desks = set(server.stations.house.desks)
    await server.stop()
    lacking: set[str] = set()
    for version, table in CATALOGUE.items():
        for action, spec in table.items():
            if not spec.from_station:
                continue
            name = name_of(version.value, action, response=False)
            for payload in (fewest(version.value, name), fullest(version.value, name)):
                message = INCOMING[version][action](decode_request(version, action, json.encode(payload)))
                if isinstance(message, Notice):
                    acted = bool(message.variables or message.statuses) or type(message.report) in taken
                elif isinstance(message, Question):
                    acted = type(message.asks) in desks
                else:  # charging itself: the actor's own
                    acted = True
                if acted:
                    break
            else:
                lacking.add(f"{version.value} {action}")
    assert lacking == {
        f"{version.value} {action}" for version in CATALOGUE for action in KEPT_ONLY if action in CATALOGUE[version]
    }
