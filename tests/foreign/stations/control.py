"""What a foreign station does when it is told to: restart, send something, unlock, go out of service."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ocpp.routing import after, on

from tests.foreign.stations.sessions import Sessions, Sessions2x, Sessions16
from tests.foreign.stations.variables import Variables2x, Variables16


class Control(Sessions):
    """What the versions share."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.jammed = False
        self.operative = True

    async def _restart_idle(self, reason: str) -> None:
        await self.idle.wait()
        await self.restart(reason)

    async def _available(self) -> None:
        await self.idle.wait()
        await self.show("Available" if self.operative else "Unavailable")


class Control16(Control, Sessions16, Variables16):
    """OCPP 1.6."""

    async def restart(self, reason: str) -> None:
        self.turned_on()
        await super().restart(reason)

    @on("Reset")
    def _reset16(self, type: str) -> Any:
        return self.answer("Reset", status="Accepted")

    @after("Reset")
    def _resets16(self, type: str) -> None:
        self.begin(self.restart("HardReset") if type == "Hard" else self._restart_idle("SoftReset"))

    def _can_send(self, message: str) -> Callable[[], Coroutine[Any, Any, Any]] | None:
        return {
            "BootNotification": lambda: self.boot("Triggered"),
            "Heartbeat": lambda: self.tell("Heartbeat"),
            "StatusNotification": lambda: self.show("Available"),
            "SignChargePointCertificate": self.ask_for_certificate,
        }.get(message)

    @on("TriggerMessage")
    def _trigger16(self, requested_message: str, **_: Any) -> Any:
        return self.answer(
            "TriggerMessage", status="Accepted" if self._can_send(requested_message) else "NotImplemented"
        )

    @after("TriggerMessage")
    def _triggered16(self, requested_message: str, **_: Any) -> None:
        if send := self._can_send(requested_message):
            self.begin(send())

    @on("ExtendedTriggerMessage")
    def _extended_trigger16(self, requested_message: str, **_: Any) -> Any:
        return self.answer(
            "ExtendedTriggerMessage", status="Accepted" if self._can_send(requested_message) else "NotImplemented"
        )

    @after("ExtendedTriggerMessage")
    def _extended_triggered16(self, requested_message: str, **_: Any) -> None:
        if send := self._can_send(requested_message):
            self.begin(send())

    @on("UnlockConnector")
    def _unlock16(self, connector_id: int) -> Any:
        status = "NotSupported" if connector_id != 1 else "UnlockFailed" if self.jammed else "Unlocked"
        return self.answer("UnlockConnector", status=status)

    @on("ChangeAvailability")
    def _availability16(self, connector_id: int, type: str) -> Any:
        self.operative = type == "Operative"
        return self.answer("ChangeAvailability", status="Accepted" if self.idle.is_set() else "Scheduled")

    @after("ChangeAvailability")
    def _availability_changes16(self, **_: Any) -> None:
        self.begin(self._available())

    @on("ClearCache")
    def _clear16(self) -> Any:
        return self.answer("ClearCache", status="Accepted")


class Control2x(Control, Sessions2x, Variables2x):
    """OCPP 2.0.1 and 2.1."""

    async def restart(self, reason: str) -> None:
        self.turned_on()
        await super().restart(reason)

    @on("Reset")
    def _reset2x(self, type: str, **_: Any) -> Any:
        waits = type == "OnIdle" and not self.idle.is_set()
        return self.answer("Reset", status="Scheduled" if waits else "Accepted")

    @after("Reset")
    def _resets2x(self, type: str, **_: Any) -> None:
        self.begin(self.restart("RemoteReset") if type == "Immediate" else self._restart_idle("ScheduledReset"))

    def _can_send(self, message: str) -> Callable[[], Coroutine[Any, Any, Any]] | None:
        return {
            "BootNotification": lambda: self.boot("Triggered"),
            "Heartbeat": lambda: self.tell("Heartbeat"),
            "StatusNotification": lambda: self.show("Available"),
            "SignChargingStationCertificate": self.ask_for_certificate,
        }.get(message)

    @on("TriggerMessage")
    def _trigger2x(self, requested_message: str, **_: Any) -> Any:
        return self.answer(
            "TriggerMessage", status="Accepted" if self._can_send(requested_message) else "NotImplemented"
        )

    @after("TriggerMessage")
    def _triggered2x(self, requested_message: str, **_: Any) -> None:
        if send := self._can_send(requested_message):
            self.begin(send())

    @on("UnlockConnector")
    def _unlock2x(self, evse_id: int, connector_id: int, **_: Any) -> Any:
        known = (evse_id, connector_id) == (1, 1)
        return self.answer(
            "UnlockConnector", status="UnknownConnector" if not known else "UnlockFailed" if self.jammed else "Unlocked"
        )

    @on("ChangeAvailability")
    def _availability2x(self, operational_status: str, **_: Any) -> Any:
        self.operative = operational_status == "Operative"
        return self.answer("ChangeAvailability", status="Accepted" if self.idle.is_set() else "Scheduled")

    @after("ChangeAvailability")
    def _availability_changes2x(self, **_: Any) -> None:
        self.begin(self._available())

    @on("ClearCache")
    def _clear2x(self, **_: Any) -> Any:
        return self.answer("ClearCache", status="Accepted")
