"""The reusable states of OCPP 2.0.1 Part 6, 3.18: a driver's session as a 2.x station tells of it."""

from __future__ import annotations

import itertools
from typing import Any

from tests.conformance.rest import IdToken
from tests.conformance.station import Station, moment

_numbers = itertools.count(1)


def register_value(
    wh: float, context: str = "Sample.Periodic", *, signed: dict[str, str] | None = None
) -> dict[str, Any]:
    """A MeterValue with the energy register, signed where a signature is given."""
    sample: dict[str, Any] = {
        "value": wh,
        "context": context,
        "measurand": "Energy.Active.Import.Register",
        "unitOfMeasure": {"unit": "Wh"},
    }
    if signed is not None:
        sample["signedMeterValue"] = signed
    return {"timestamp": moment(), "sampledValue": [sample]}


class Session:
    """A driver's session at an EVSE; the first event is Started, the following are Updated.

    Args:
        token: who authorises.
        transaction_id: the station's.
    """

    def __init__(self, station: Station, token: IdToken, evse: int = 1, connector: int = 1) -> None:
        self.station = station
        self.token = token
        self.evse = {"id": evse, "connectorId": connector}
        self.transaction_id = f"{station.id}-{next(_numbers)}"
        self.seq_no = 0
        self.started = False
        self.authorized_before = False
        self.ev_connected = False

    # -- single messages --------------------------------------------------------------------------------------------------

    async def event(
        self,
        trigger: str,
        *,
        kind: str | None = None,
        state: str | None = None,
        stopped: str | None = None,
        token: IdToken | None = None,
        info: dict[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """A TransactionEvent; Started where it is the first, else Updated, unless said otherwise."""
        told: dict[str, Any] = {"transactionId": self.transaction_id, **(info or {})}
        if state is not None:
            told["chargingState"] = state
        if stopped is not None:
            told["stoppedReason"] = stopped
        payload: dict[str, Any] = {
            "eventType": kind or ("Updated" if self.started else "Started"),
            "timestamp": moment(),
            "triggerReason": trigger,
            "seqNo": self.seq_no,
            "transactionInfo": told,
            **more,
        }
        if token is not None:
            payload["idToken"] = token.wire
        self.seq_no += 1
        self.started = True
        return await self.station.send("TransactionEvent", payload)

    async def ended(self, trigger: str, **fields: Any) -> dict[str, Any]:
        """A TransactionEvent Ended."""
        return await self.event(trigger, kind="Ended", **fields)

    async def authorize(self, token: IdToken | None = None) -> dict[str, Any]:
        """An Authorize; the IdTokenInfo of its answer."""
        answer = await self.station.send("Authorize", idToken=(token or self.token).wire)
        info: dict[str, Any] = answer["idTokenInfo"]
        return info

    def where(self) -> dict[str, Any]:
        """The EVSE, which only the first event need name (E01.FR.16)."""
        return {} if self.started else {"evse": self.evse}

    async def connector(self, status: str) -> None:
        """Tells the connector's state."""
        await self.station.notify_status(status, self.evse["id"], self.evse["connectorId"])

    # -- the reusable states ----------------------------------------------------------------------------------------------

    async def ev_connected_pre_session(self) -> None:
        """State EVConnectedPreSession."""
        await self.connector("Occupied")
        await self.event("CablePluggedIn", state="EVConnected", evse=self.evse)
        self.ev_connected = True

    async def authorized(self) -> None:
        """State Authorized."""
        assert (await self.authorize())["status"] == "Accepted"
        answer = await self.event("Authorized", token=self.token, **self.where())
        assert answer["idTokenInfo"]["status"] == "Accepted"
        self.authorized_before = True

    async def energy_transfer_started(self) -> None:
        """State EnergyTransferStarted."""
        if not self.authorized_before:
            await self.authorized()
        if not self.ev_connected:
            await self.connector("Occupied")
            await self.event("CablePluggedIn", state="EVConnected", evse=self.evse)
            self.ev_connected = True
        await self.event("ChargingStateChanged", state="Charging")

    async def energy_transfer_suspended(self) -> None:
        """State EnergyTransferSuspended."""
        await self.energy_transfer_started()
        await self.event("ChargingStateChanged", state="SuspendedEV")

    async def stop_authorized(self, token: IdToken | None = None) -> None:
        """State StopAuthorized, from EnergyTransferStarted."""
        answer = await self.event("StopAuthorized", token=token or self.token)
        assert answer["idTokenInfo"]["status"] == "Accepted"

    async def ev_connected_post_session(self) -> None:
        """State EVConnectedPostSession, from StopAuthorized."""
        await self.event("ChargingStateChanged", state="EVConnected")

    async def ev_disconnected(self) -> None:
        """State EVDisconnected, from EVConnectedPostSession."""
        await self.connector("Available")
        await self.ended("EVCommunicationLost", state="Idle", stopped="EVDisconnected")
        self.ev_connected = False
