"""Connectors' states that 2.x stations tell by NotifyEvent in place of StatusNotification (OCPP 2.0.1 G01.FR.03 to FR.07)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chargeplane.domain.messages import ConnectorState, Notice
from chargeplane.ocpp.versions import OcppVersion
from tests.bridge.wire import V21, V201, take

AT = "2026-01-31T12:00:00Z"


def event(
    value: str, component: str, evse: dict[str, int] | None, variable: str = "AvailabilityState"
) -> dict[str, Any]:
    place = {"name": component} if evse is None else {"name": component, "evse": evse}
    return {
        "eventId": 1,
        "timestamp": AT,
        "trigger": "Delta",
        "actualValue": value,
        "eventNotificationType": "HardWiredNotification",
        "component": place,
        "variable": {"name": variable},
    }


def statuses(version: OcppVersion, *events: dict[str, Any]) -> list[tuple[int, int, ConnectorState]]:
    payload = {"generatedAt": AT, "seqNo": 0, "eventData": list(events)}
    message = take(version, "NotifyEvent", msgspec.json.encode(payload))
    assert isinstance(message, Notice)
    return [(one.evse_id, one.connector_id, one.status) for one in message.statuses]


@pytest.mark.parametrize("version", [V201, V21])
def test_the_state_of_each_connector_is_told(version: OcppVersion) -> None:
    told = statuses(
        version,
        event("Occupied", "Connector", {"id": 1, "connectorId": 2}),
        event("unavailable", "connector", {"id": 2, "connectorId": 1}, "availabilityState"),
    )
    assert told == [(1, 2, ConnectorState.OCCUPIED), (2, 1, ConnectorState.UNAVAILABLE)]


@pytest.mark.parametrize(
    "other",
    [
        event("Available", "EVSE", {"id": 1}),
        event("Available", "ChargingStation", None),
        event("Available", "Connector", None),
        event("Available", "Connector", {"id": 1}),
        event("Napping", "Connector", {"id": 1, "connectorId": 1}),
        event("true", "Connector", {"id": 1, "connectorId": 1}, "Problem"),
    ],
)
def test_other_events_tell_no_connectors_state(other: dict[str, Any]) -> None:
    assert statuses(V201, other) == []
