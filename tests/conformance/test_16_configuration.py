"""OCPP 1.6: the cases of configuration keys."""

from __future__ import annotations

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station


async def shown(csms: Operator, station: Station, key: str) -> str | None:
    """What an operator sees of a key."""
    (found,) = await csms.items(f"/charging-stations/{station.id}/variables", variable=key)
    assert found["key"] == key
    value: str | None = found["value"]
    return value


@case("1.6")
async def test_TC_019_1_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_base_report")
    asked = await station.expect("GetConfiguration", key=None)
    await asked.answer(
        configurationKey=[
            {"key": "SupportedFeatureProfiles", "readonly": True, "value": "Core"},
            {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
        ]
    )
    view = await doing.ends("accepted")
    assert [one["variable"] for one in view["reply"]["results"]] == ["SupportedFeatureProfiles", "HeartbeatInterval"]
    assert await shown(csms, station, "HeartbeatInterval") == "300"


@case("1.6")
async def test_TC_019_2_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "get_variables", variables=[{"variable": "SupportedFeatureProfiles"}])
    asked = await station.expect("GetConfiguration", key=["SupportedFeatureProfiles"])
    await asked.answer(configurationKey=[{"key": "SupportedFeatureProfiles", "readonly": True, "value": "Core"}])
    view = await doing.ends("accepted", "Accepted")
    assert view["reply"]["results"][0]["value"] == "Core"


@case("1.6")
async def test_TC_021_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "set_variables", variables=[{"variable": "MeterValueSampleInterval", "value": "60"}])
    asked = await station.expect("ChangeConfiguration", key="MeterValueSampleInterval", value="60")
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    assert await shown(csms, station, "MeterValueSampleInterval") == "60"


@case("1.6")
async def test_TC_040_1_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "set_variables", variables=[{"variable": "AcmeKey", "value": "1"}])
    asked = await station.expect("ChangeConfiguration", key="AcmeKey")
    await asked.answer(status="NotSupported")
    await doing.ends("rejected", "NotSupported")


@case("1.6")
async def test_TC_040_2_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "set_variables", variables=[{"variable": "MeterValueSampleInterval", "value": "-1"}])
    asked = await station.expect("ChangeConfiguration", key="MeterValueSampleInterval", value="-1")
    await asked.answer(status="Rejected")
    await doing.ends("rejected", "Rejected")
