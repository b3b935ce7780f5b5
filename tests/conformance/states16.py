"""What the 1.6 cases have in common: a driver's session as a charge point tells of it."""

from __future__ import annotations

from typing import Any

from tests.conformance.rest import IdToken, Operator
from tests.conformance.station import Station, moment

VERSION = "1.6"


class Session16:
    """A driver's session at a connector.

    Args:
        tag: who authorises.
    """

    def __init__(self, station: Station, tag: str, connector: int = 1) -> None:
        self.station = station
        self.tag = tag
        self.connector = connector
        self.transaction_id = 0

    async def status(self, status: str, error: str = "NoError") -> None:
        """Tells the connector's state."""
        told = {"connectorId": self.connector, "errorCode": error, "status": status, "timestamp": moment()}
        assert await self.station.send("StatusNotification", told) == {}

    async def authorize(self) -> str:
        """An Authorize; the status it is answered with."""
        answer = await self.station.send("Authorize", idTag=self.tag)
        status: str = answer["idTagInfo"]["status"]
        return status

    async def start(self, wh: int = 1000, *, at: str | None = None, **more: Any) -> str:
        """A StartTransaction; the status it is answered with."""
        answer = await self.station.send(
            "StartTransaction",
            connectorId=self.connector,
            idTag=self.tag,
            meterStart=wh,
            timestamp=at or moment(),
            **more,
        )
        self.transaction_id = answer["transactionId"]
        assert self.transaction_id > 0
        status: str = answer["idTagInfo"]["status"]
        return status

    async def stop(self, reason: str | None = None, wh: int = 1500, *, at: str | None = None, tag: bool = False) -> Any:
        """A StopTransaction; its answer."""
        more: dict[str, Any] = {"reason": reason} if reason else {}
        if tag:
            more["idTag"] = self.tag
        answer = await self.station.send(
            "StopTransaction", transactionId=self.transaction_id, meterStop=wh, timestamp=at or moment(), **more
        )
        if "idTagInfo" in answer:
            assert answer["idTagInfo"]["status"] == "Accepted"
        return answer

    async def charging(self) -> None:
        """A session that begins as usual: plugged in, authorised, started, charging."""
        await self.status("Preparing")
        assert await self.authorize() == "Accepted"
        assert await self.start() == "Accepted"
        await self.status("Charging")


async def session(csms: Operator) -> Session16:
    """A booted charge point and a driver with a valid id tag."""
    token: IdToken = await csms.id_token()
    return Session16(await csms.booted(VERSION), token.value)


async def has_ended(csms: Operator, driver: Session16, reason: str | None, wh: float = 500) -> Any:
    """The operator sees the session as it was told."""
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["ocpp_transaction_id"]) == ("closed", str(driver.transaction_id))
    assert (seen["stop_reason"], seen["energy_wh"], seen["id_token"]) == (reason, wh, driver.tag)
    return seen
