"""Numbers for commands that stations answer at length: what they tell later names the number, so a request is opened before they are
asked, and closed where they refuse."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from chargeplane.domain.commands.diagnostics import CustomerInformation, GetDiagnostics, GetLog
from chargeplane.domain.commands.firmware import PublishFirmware, UpdateFirmware
from chargeplane.domain.commands.monitoring import GetMonitoringReport
from chargeplane.domain.commands.outcomes import CommandOutcome, CommandState
from chargeplane.domain.commands.smart_charging import GetChargingProfiles, GetDerControl
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import station_requests

KINDS: Final[dict[type[Struct], str]] = {
    UpdateFirmware: "firmware",
    PublishFirmware: "publish_firmware",
    GetLog: "log",
    GetDiagnostics: "log",
    CustomerInformation: "customer_information",
    GetMonitoringReport: "monitoring_report",
    GetChargingProfiles: "charging_profiles",
    GetDerControl: "der_controls",
}
"""Commands with a `request_id` that is given here where the caller gives none, and the kind of the request that is opened."""

_PRIVATE: Final = frozenset({"location", "id_token", "certificate", "identifier", "signature", "signing_certificate"})
"""Fields that are no part of what a request shows: one-time addresses, and who a customer is."""

C = TypeVar("C", bound=Struct)


async def numbered(database: Database, tenant_id: TenantId, key: StationKey, command: C, by: str) -> C:
    """The command with a number, and its request opened; as it is where it has one or needs none."""
    kind = KINDS.get(type(command))
    if kind is None or getattr(command, "request_id", None) is not None:
        return command
    async with database.change() as db:
        number = await station_requests.next_number(db)
        await station_requests.insert(db, tenant_id, key, kind, number, by, _detail(command))
    return msgspec.structs.replace(command, request_id=number)


async def ended(database: Database, key: StationKey, command: Struct, outcome: CommandOutcome) -> None:
    """Closes the request of a command that the station did not take."""
    kind = KINDS.get(type(command))
    number = getattr(command, "request_id", None)
    if kind is None or number is None or outcome.state is CommandState.ACCEPTED:
        return
    async with database.change() as db:
        found = await station_requests.newest(db, key, kind, number)
        if found is not None and found.state in ("waiting", "receiving"):
            await station_requests.update(db, found.id, "failed", outcome.status or outcome.state.value)


def _detail(command: Struct) -> dict[str, Any]:
    whole: dict[str, Any] = msgspec.to_builtins(command)
    return {name: value for name, value in whole.items() if name not in _PRIVATE and value is not None}
