"""A foreign station's charging sessions, at its only connector."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from ocpp.routing import after, on

from tests.foreign.stations.life import Life, now

BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def moment(minutes: float = 0) -> str:
    """A time of the sessions, which are told faster than they went."""
    return (BEGIN + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def energy(at: str, value: float, context: str = "Sample.Periodic", **unit: Any) -> dict[str, Any]:
    """The register's value as 2.x tells it."""
    sample: dict[str, Any] = {"value": value, "measurand": "Energy.Active.Import.Register", "context": context}
    if unit:
        sample["unit_of_measure"] = unit
    return {"timestamp": at, "sampled_value": [sample]}


class Sessions(Life):
    """Whether a transaction goes on; what waits for its end."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.idle = asyncio.Event()
        self.idle.set()
        self.stopped = asyncio.Event()

    async def show(self, status: str) -> None:
        """A StatusNotification of the connector, in the words of 1.6 and 2.x alike."""
        raise NotImplementedError


class Sessions16(Sessions):
    """OCPP 1.6."""

    number = 0
    model = "M16"

    async def boot(self, reason: str) -> None:
        self.boot_reasons.append(reason)
        booted = await self.tell(
            "BootNotification",
            charge_point_model=self.model,
            charge_point_vendor="Foreign",
            firmware_version=self.firmware,
            meter_type="E",
        )
        assert (booted.status, booted.interval > 0) == ("Accepted", True)
        await self.show("Available")

    async def show(self, status: str) -> None:
        await self.tell("StatusNotification", connector_id=1, error_code="NoError", status=status, timestamp=now())

    async def start_transaction(self, tag: str, meter_wh: int, at: str, **more: Any) -> Any:
        answer = await self.tell(
            "StartTransaction", connector_id=1, id_tag=tag, meter_start=meter_wh, timestamp=at, **more
        )
        self.number = answer.transaction_id
        self.idle.clear()
        return answer

    async def stop_transaction(self, meter_wh: int, at: str, **more: Any) -> Any:
        answer = await self.tell(
            "StopTransaction", transaction_id=self.number, meter_stop=meter_wh, timestamp=at, **more
        )
        self.idle.set()
        return answer

    @on("RemoteStartTransaction")
    def _remote_start16(self, **_: Any) -> Any:
        return self.answer("RemoteStartTransaction", status="Accepted")

    @after("RemoteStartTransaction")
    def _remotely_started16(self, id_tag: str, **_: Any) -> None:
        self.begin(self.start_transaction(id_tag, 2_000_000, moment(10)))

    @on("RemoteStopTransaction")
    def _remote_stop16(self, transaction_id: int) -> Any:
        return self.answer("RemoteStopTransaction", status="Accepted" if transaction_id == self.number else "Rejected")

    @after("RemoteStopTransaction")
    def _remotely_stopped16(self, transaction_id: int) -> None:
        self.begin(self._stop_remotely16())

    async def _stop_remotely16(self) -> None:
        await self.stop_transaction(2_000_321, moment(12), reason="Remote")
        self.stopped.set()


class Sessions2x(Sessions):
    """OCPP 2.0.1 and 2.1."""

    transaction_id = ""
    seq_no = 0
    model = "M2"

    async def boot(self, reason: str) -> None:
        self.boot_reasons.append(reason)
        named = {
            "vendor_name": "Foreign",
            "model": self.model,
            "serial_number": "S-1",
            "firmware_version": self.firmware,
        }
        booted = await self.tell("BootNotification", charging_station=named, reason=reason)
        assert (booted.status, booted.interval > 0) == ("Accepted", True)
        await self.show("Available")

    async def show(self, status: str) -> None:
        await self.tell("StatusNotification", timestamp=now(), connector_status=status, evse_id=1, connector_id=1)

    async def report(self, kind: str, trigger: str, at: str, **more: Any) -> Any:
        """A TransactionEvent of the transaction."""
        info = {"transaction_id": self.transaction_id, **more.pop("info", {})}
        answer = await self.tell(
            "TransactionEvent",
            event_type=kind,
            timestamp=at,
            trigger_reason=trigger,
            seq_no=self.seq_no,
            transaction_info=info,
            **more,
        )
        self.seq_no += 1
        if kind == "Ended":
            self.idle.set()
        else:
            self.idle.clear()
        return answer

    async def start_transaction(self, tag: str, transaction_id: str, **more: Any) -> Any:
        """By a card at the station."""
        self.transaction_id, self.seq_no = transaction_id, 0
        return await self.report(
            "Started",
            "Authorized",
            moment(),
            evse={"id": 1, "connector_id": 1},
            id_token={"id_token": tag, "type": "ISO14443"},
            meter_value=[energy(moment(), 1_000_000, "Transaction.Begin")],
            **more,
        )

    async def stop_transaction(self) -> Any:
        """By unplugging."""
        return await self.report(
            "Ended",
            "EVDeparted",
            moment(4),
            info={"stopped_reason": "EVDisconnected"},
            evse={"id": 1, "connector_id": 1},
            meter_value=[energy(moment(4), 1_002_000, "Transaction.End")],
        )

    @on("RequestStartTransaction")
    def _remote_start2x(self, **_: Any) -> Any:
        return self.answer("RequestStartTransaction", status="Accepted")

    @after("RequestStartTransaction")
    def _remotely_started2x(self, id_token: dict[str, Any], remote_start_id: int, **_: Any) -> None:
        self.transaction_id, self.seq_no = f"{self.id}-remote", 0  # type: ignore[attr-defined]
        self.begin(
            self.report(
                "Started",
                "RemoteStart",
                moment(10),
                info={"remote_start_id": remote_start_id},
                evse={"id": 1, "connector_id": 1},
                id_token=id_token,
                meter_value=[energy(moment(10), 2_000_000, "Transaction.Begin")],
            )
        )

    @on("RequestStopTransaction")
    def _remote_stop2x(self, transaction_id: str, **_: Any) -> Any:
        return self.answer(
            "RequestStopTransaction", status="Accepted" if transaction_id == self.transaction_id else "Rejected"
        )

    @after("RequestStopTransaction")
    def _remotely_stopped2x(self, **_: Any) -> None:
        self.begin(self._stop_remotely2x())

    async def _stop_remotely2x(self) -> None:
        await self.report(
            "Ended",
            "RemoteStop",
            moment(12),
            info={"stopped_reason": "Remote"},
            evse={"id": 1, "connector_id": 1},
            meter_value=[energy(moment(12), 2_000_321, "Transaction.End")],
        )
        self.stopped.set()
