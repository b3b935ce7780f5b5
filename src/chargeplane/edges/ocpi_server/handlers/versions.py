"""Versions, their modules, and credentials (OCPI 2.3.0 version_information_endpoint, credentials)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.ports import HandshakeError, HandshakeTrouble
from chargeplane.bridge.ocpi_credentials import read_credentials, write_credentials
from chargeplane.domain.roaming.connection import PartyRole, Peer
from chargeplane.domain.roaming.roles import modules_of
from chargeplane.edges.ocpi_server.call import Call, Handler, Reply
from chargeplane.edges.ocpi_server.routing import url_of
from chargeplane.ocpi.status import Status
from chargeplane.ocpi.table import Module
from chargeplane.ocpi.versions import Version

_NOT_NOW: Final = 405

Offered = Callable[[Version], list[tuple[str, str]]]
"""Modules and interfaces that are answered here, per version."""


def handlers(connections: Connections, offered: Offered) -> dict[int, Handler]:
    """Rows 1 to 6."""

    async def versions(call: Call) -> Reply:
        found = [{"version": version.value, "url": f"{call.base_url}/{version}"} for version in Version]
        return Reply(document=msgspec.json.encode(found), raw=True)

    async def details(call: Call) -> Reply:
        return Reply(document=msgspec.json.encode(_details(call, offered(call.version))), raw=True)

    async def get(call: Call) -> Reply:
        own = await connections.own_credentials(call.peer, call.token_used, call.version.value)
        return Reply(document=write_credentials(own, call.version), raw=True)

    async def take(call: Call) -> Reply:
        method = call.row.method.value
        given = read_credentials(call.wire, call.version)
        try:
            answer = await connections.take_credentials(
                call.peer, method, call.version.value, given, invited=call.invited
            )
        except HandshakeError as error:
            return Reply(status=_STATUS.get(error.trouble, Status.UNUSABLE_API), message=str(error))
        if answer is None:
            already = "You are registered; use PUT." if method == "POST" else "You are not registered; use POST."
            return Reply(status=Status.CLIENT_ERROR, message=already, http_status=_NOT_NOW)
        return Reply(document=write_credentials(answer, call.version), raw=True)

    async def delete(call: Call) -> Reply:
        if call.invited or not await connections.take_goodbye(call.peer):
            return Reply(status=Status.CLIENT_ERROR, message="You are not registered.", http_status=_NOT_NOW)
        return Reply()

    return {1: versions, 2: details, 3: get, 4: take, 5: take, 6: delete}


_STATUS: Final = {
    HandshakeTrouble.UNREACHABLE: Status.UNUSABLE_API,
    HandshakeTrouble.VERSION: Status.UNSUPPORTED_VERSION,
    HandshakeTrouble.MODULES: Status.NO_MATCHING_ENDPOINTS,
    HandshakeTrouble.FORM: Status.INVALID_PARAMETERS,
}


def _details(call: Call, offered: list[tuple[str, str]]) -> dict[str, Any]:
    """Where a version's modules are; only those of our roles that this partner sees."""
    endpoints: list[dict[str, str]] = []
    credentials = f"{call.base_url}/{call.version}/credentials"
    old = call.version is Version.V2_1_1
    endpoints.append(
        {"identifier": Module.CREDENTIALS.value, "url": credentials}
        if old
        else {"identifier": Module.CREDENTIALS.value, "role": "SENDER", "url": credentials}
    )
    here = set(offered)
    for module, side in modules_of(_roles(call.peer, old=old)):
        if (module, side) not in here:
            continue
        # Peers that put a path behind it as it stands need the slash; to those that write one of their own two are as good as one here.
        url = url_of(call.base_url, call.version, module, side) + "/"
        if old:
            endpoints.append({"identifier": module, "url": url})
        else:
            endpoints.append({"identifier": module, "role": side, "url": url})
    return {"version": call.version.value, "endpoints": endpoints}


def _roles(peer: Peer, *, old: bool) -> list[PartyRole]:
    """In which roles we meet a partner. 2.1.1 tells interfaces apart by the role, so there is one."""
    roles = list(dict.fromkeys(role for own in peer.own for role in own.roles))
    if not old:
        return roles
    if peer.own_role is not None and peer.own_role in (PartyRole.CPO, PartyRole.EMSP):
        return [peer.own_role]
    return [next((role for role in (PartyRole.CPO, PartyRole.EMSP) if role in roles), PartyRole.CPO)]
