"""A foreign station's charging profiles: each of one limit in watts, of which the lowest holds."""

from __future__ import annotations

from typing import Any

from ocpp.routing import after, on

from tests.foreign.stations.life import Life, now


class Limits16(Life):
    """OCPP 1.6."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.profiles: dict[int, tuple[int, dict[str, Any]]] = {}

    @on("SetChargingProfile")
    def _profile16(self, connector_id: int, cs_charging_profiles: dict[str, Any]) -> Any:
        if cs_charging_profiles["charging_schedule"]["charging_rate_unit"] != "W":
            return self.answer("SetChargingProfile", status="Rejected")
        self.profiles[cs_charging_profiles["charging_profile_id"]] = (connector_id, cs_charging_profiles)
        return self.answer("SetChargingProfile", status="Accepted")

    @on("ClearChargingProfile")
    def _clear_profile16(self, id: int | None = None, **_: Any) -> Any:
        found = [one for one in self.profiles if id in (None, one)]
        for one in found:
            del self.profiles[one]
        return self.answer("ClearChargingProfile", status="Accepted" if found else "Unknown")

    @on("GetCompositeSchedule")
    def _composite16(self, connector_id: int, duration: int, **_: Any) -> Any:
        limits = [one["charging_schedule"]["charging_schedule_period"][0]["limit"] for _, one in self.profiles.values()]
        return self.answer(
            "GetCompositeSchedule",
            status="Accepted",
            connector_id=connector_id,
            schedule_start=now(),
            charging_schedule={
                "duration": duration,
                "charging_rate_unit": "W",
                "charging_schedule_period": [{"start_period": 0, "limit": float(min(limits))}],
            },
        )


class Limits2x(Life):
    """OCPP 2.0.1 and 2.1."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.profiles: dict[int, tuple[int, dict[str, Any]]] = {}

    @on("SetChargingProfile")
    def _profile2x(self, evse_id: int, charging_profile: dict[str, Any], **_: Any) -> Any:
        if charging_profile["charging_schedule"][0]["charging_rate_unit"] != "W":
            return self.answer(
                "SetChargingProfile", status="Rejected", status_info={"reason_code": "UnsupportedRateUnit"}
            )
        self.profiles[charging_profile["id"]] = (evse_id, charging_profile)
        return self.answer("SetChargingProfile", status="Accepted")

    @on("ClearChargingProfile")
    def _clear_profile2x(self, charging_profile_id: int | None = None, **_: Any) -> Any:
        found = [one for one in self.profiles if charging_profile_id in (None, one)]
        for one in found:
            del self.profiles[one]
        return self.answer("ClearChargingProfile", status="Accepted" if found else "Unknown")

    @on("GetChargingProfiles")
    def _get_profiles(self, **_: Any) -> Any:
        return self.answer("GetChargingProfiles", status="Accepted" if self.profiles else "NoProfiles")

    @after("GetChargingProfiles")
    def _gets_profiles(self, request_id: int, **_: Any) -> None:
        if self.profiles:
            self.begin(self._tell_profiles(request_id))

    async def _tell_profiles(self, request_id: int) -> None:
        held = list(self.profiles.values())
        for number, (evse_id, profile) in enumerate(held):
            await self.tell(
                "ReportChargingProfiles",
                request_id=request_id,
                charging_limit_source="CSO",
                evse_id=evse_id,
                charging_profile=[profile],
                tbc=number < len(held) - 1,
            )

    @on("GetCompositeSchedule")
    def _composite2x(self, duration: int, evse_id: int, **_: Any) -> Any:
        limits = [
            one["charging_schedule"][0]["charging_schedule_period"][0]["limit"] for _, one in self.profiles.values()
        ]
        return self.answer(
            "GetCompositeSchedule",
            status="Accepted",
            schedule={
                "evse_id": evse_id,
                "duration": duration,
                "schedule_start": now(),
                "charging_rate_unit": "W",
                "charging_schedule_period": [{"start_period": 0, "limit": float(min(limits))}],
            },
        )
