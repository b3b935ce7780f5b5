"""A foreign 2.x station's monitors, events, and what it knows of customers."""

from __future__ import annotations

from typing import Any

from ocpp.routing import after, on

from tests.foreign.stations.life import Life, now


class Watching2x(Life):
    """OCPP 2.0.1 and 2.1."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.monitors: dict[int, dict[str, Any]] = {}
        self.monitoring_base = "All"
        self.monitoring_level = 9
        self.customers: dict[str, str] = {}
        self._events = 0

    @on("SetVariableMonitoring")
    def _monitor(self, set_monitoring_data: list[dict[str, Any]], **_: Any) -> Any:
        return self.answer(
            "SetVariableMonitoring", set_monitoring_result=[self._set(one) for one in set_monitoring_data]
        )

    def _set(self, wanted: dict[str, Any]) -> dict[str, Any]:
        said = {key: wanted[key] for key in ("type", "severity", "component", "variable")}
        if wanted["component"]["name"] != "ChargingStation":
            return {**said, "status": "UnknownComponent"}
        ident = wanted.get("id") or len(self.monitors) + 1
        self.monitors[ident] = wanted
        return {**said, "status": "Accepted", "id": ident}

    @on("ClearVariableMonitoring")
    def _unmonitor(self, id: list[int], **_: Any) -> Any:
        return self.answer(
            "ClearVariableMonitoring",
            clear_monitoring_result=[
                {"id": one, "status": "Accepted" if self.monitors.pop(one, None) else "NotFound"} for one in id
            ],
        )

    @on("SetMonitoringBase")
    def _base(self, monitoring_base: str, **_: Any) -> Any:
        self.monitoring_base = monitoring_base
        if monitoring_base != "All":
            self.monitors.clear()
        return self.answer("SetMonitoringBase", status="Accepted")

    @on("SetMonitoringLevel")
    def _level(self, severity: int, **_: Any) -> Any:
        self.monitoring_level = severity
        return self.answer("SetMonitoringLevel", status="Accepted")

    @on("GetMonitoringReport")
    def _monitor_report(self, **_: Any) -> Any:
        return self.answer("GetMonitoringReport", status="Accepted" if self.monitors else "EmptyResultSet")

    @after("GetMonitoringReport")
    def _monitor_reports(self, request_id: int, **_: Any) -> None:
        if self.monitors:
            self.begin(self._tell_monitors(request_id))

    async def _tell_monitors(self, request_id: int) -> None:
        held = list(self.monitors.items())
        for number, (ident, one) in enumerate(held):
            row = {"id": ident, "transaction": False, **{key: one[key] for key in ("value", "type", "severity")}}
            if self.version == "2.1":
                row["event_notification_type"] = "CustomMonitor"
            await self.tell(
                "NotifyMonitoringReport",
                request_id=request_id,
                seq_no=number,
                generated_at=now(),
                tbc=number < len(held) - 1,
                monitor=[{"component": one["component"], "variable": one["variable"], "variable_monitoring": [row]}],
            )

    async def measure(self, monitor: int, value: str, *, cleared: bool = False, cause: int | None = None) -> int:
        """Tells of a threshold that was passed, or is no more; the event's number."""
        one = self.monitors[monitor]
        self._events += 1
        event: dict[str, Any] = {
            "event_id": self._events,
            "timestamp": now(),
            "trigger": "Alerting",
            "actual_value": value,
            "cleared": cleared,
            "variable_monitoring_id": monitor,
            "event_notification_type": "CustomMonitor",
            "component": one["component"],
            "variable": one["variable"],
        }
        if cause is not None:
            event["cause"] = cause
        if self.version == "2.1":
            event["severity"] = one["severity"]
        await self.tell("NotifyEvent", generated_at=now(), seq_no=0, event_data=[event])
        return self._events

    @on("CustomerInformation")
    def _customer(self, report: bool, id_token: dict[str, Any] | None = None, **_: Any) -> Any:
        known = id_token is not None and id_token["id_token"] in self.customers
        return self.answer("CustomerInformation", status="Accepted" if known or not report else "Rejected")

    @after("CustomerInformation")
    def _customers(self, request_id: int, report: bool, clear: bool, id_token: dict[str, Any], **_: Any) -> None:
        text = self.customers.get(id_token["id_token"])
        if clear:
            self.customers.pop(id_token["id_token"], None)
        if report and text is not None:
            self.begin(self._tell_of(text, request_id))

    async def _tell_of(self, text: str, request_id: int) -> None:
        middle = len(text) // 2
        for number, part in enumerate((text[:middle], text[middle:])):
            await self.tell(
                "NotifyCustomerInformation",
                data=part,
                seq_no=number,
                tbc=number == 0,
                generated_at=now(),
                request_id=request_id,
            )
