"""Whom a foreign station lets charge: its local list, and the reservation of its only place."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from ocpp.routing import after, on

from tests.foreign.stations.life import Life


class Places(Life):
    """What the versions share."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.local_list: dict[str, str] = {}
        self.list_version = 0
        self.reservation: int | None = None
        self.reserved_for = ""

    def take_list(self, version: int, kind: str, entries: list[tuple[str, str | None]]) -> str:
        if kind == "Full":
            self.local_list = {}
        elif version <= self.list_version:
            return "VersionMismatch"
        for tag, status in entries:
            if status is None:
                self.local_list.pop(tag, None)
            else:
                self.local_list[tag] = status
        self.list_version = version
        return "Accepted"

    def reserve(self, ident: int, tag: str) -> str:
        if self.reservation not in (None, ident):
            return "Occupied"
        self.reservation, self.reserved_for = ident, tag
        return "Accepted"

    def cancel(self, ident: int) -> str:
        if self.reservation != ident:
            return "Rejected"
        self.reservation = None
        return "Accepted"


class Places16(Places):
    """OCPP 1.6."""

    @on("GetLocalListVersion")
    def _list_version16(self) -> Any:
        return self.answer("GetLocalListVersion", list_version=self.list_version)

    @on("SendLocalList")
    def _list16(
        self, list_version: int, update_type: str, local_authorization_list: list[dict[str, Any]] | None = None
    ) -> Any:
        entries = [(one["id_tag"], one.get("id_tag_info", {}).get("status")) for one in local_authorization_list or ()]
        return self.answer("SendLocalList", status=self.take_list(list_version, update_type, entries))

    @on("ReserveNow")
    def _reserve16(self, reservation_id: int, id_tag: str, connector_id: int, **_: Any) -> Any:
        return self.answer("ReserveNow", status=self.reserve(reservation_id, id_tag) if connector_id else "Rejected")

    @on("CancelReservation")
    def _cancel16(self, reservation_id: int) -> Any:
        return self.answer("CancelReservation", status=self.cancel(reservation_id))


class Places2x(Places):
    """OCPP 2.0.1 and 2.1: it tells when a reservation has ended by itself."""

    @on("GetLocalListVersion")
    def _list_version2x(self, **_: Any) -> Any:
        return self.answer("GetLocalListVersion", version_number=self.list_version)

    @on("SendLocalList")
    def _list2x(
        self,
        version_number: int,
        update_type: str,
        local_authorization_list: list[dict[str, Any]] | None = None,
        **_: Any,
    ) -> Any:
        entries = [
            (one["id_token"]["id_token"], one.get("id_token_info", {}).get("status"))
            for one in local_authorization_list or ()
        ]
        return self.answer("SendLocalList", status=self.take_list(version_number, update_type, entries))

    @on("ReserveNow")
    def _reserve2x(self, id: int, id_token: dict[str, Any], **_: Any) -> Any:
        return self.answer("ReserveNow", status=self.reserve(id, id_token["id_token"]))

    @after("ReserveNow")
    def _reserves2x(self, id: int, expiry_date_time: str, **_: Any) -> None:
        left = (datetime.fromisoformat(expiry_date_time) - datetime.now(UTC)).total_seconds()
        if left < 5 and self.reservation == id:
            self.begin(self._expires(id, left))

    async def _expires(self, ident: int, left_s: float) -> None:
        await asyncio.sleep(left_s)
        self.cancel(ident)
        await self.tell("ReservationStatusUpdate", reservation_id=ident, reservation_update_status="Expired")

    @on("CancelReservation")
    def _cancel2x(self, reservation_id: int, **_: Any) -> Any:
        return self.answer("CancelReservation", status=self.cancel(reservation_id))
