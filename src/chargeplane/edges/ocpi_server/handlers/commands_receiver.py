"""Commands and charging profiles that partners send for our stations (Receiver interfaces of operators)."""

from __future__ import annotations

from typing import Final

import msgspec

from chargeplane.app.roaming.commands import PartnerCommands, Said
from chargeplane.app.roaming.profiles import PartnerProfiles
from chargeplane.domain.roaming.commands import Asked
from chargeplane.edges.ocpi_server.call import Call, Handler, Reply
from chargeplane.edges.ocpi_server.handlers.own_lists import partner_of
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.ocpi.status import Status

_COMMANDS: Final = {
    38: Asked.START_SESSION,
    39: Asked.STOP_SESSION,
    40: Asked.RESERVE_NOW,
    41: Asked.UNLOCK_CONNECTOR,
    42: Asked.CANCEL_RESERVATION,
}
_DEFAULT_DURATION_S: Final = 3600


def commands_receiver(commands: PartnerCommands, profiles: PartnerProfiles) -> dict[int, Handler]:
    """Handlers by row."""

    def command(asked: Asked) -> Handler:
        async def handle(call: Call) -> Reply:
            return _reply(await commands.take(partner_of(call), asked, call.body), with_message=True)

        return handle

    async def put(call: Call) -> Reply:
        return _reply(await profiles.put(partner_of(call), call.path["session_id"], call.body))

    async def clear(call: Call) -> Reply:
        return _reply(await profiles.clear(partner_of(call), call.path["session_id"], _url(call)))

    async def get(call: Call) -> Reply:
        text = call.query.get("duration", str(_DEFAULT_DURATION_S))
        duration = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
        return _reply(await profiles.get(partner_of(call), call.path["session_id"], duration, _url(call)))

    found: dict[int, Handler] = {row: command(asked) for row, asked in _COMMANDS.items()}
    return {**found, 44: get, 45: put, 46: clear}


def _url(call: Call) -> str:
    """Where the result goes.

    Raises:
        InvalidInputError: it is not said.
    """
    url = call.query.get("response_url", "")
    if not url:
        raise InvalidInputError("'response_url' is missing.", (("/response_url", "Required"),))
    return url


def _reply(said: Said, *, with_message: bool = False) -> Reply:
    document: dict[str, object] = {"result": said.result.value, "timeout": said.timeout}
    if with_message and said.message is not None:
        document["message"] = [{"language": "en", "text": said.message}]
    return Reply(
        document=msgspec.json.encode(document),
        # OCPI 2.3.0 status_codes, 2003: such as a command for a location that is not known.
        status=Status.UNKNOWN_LOCATION if said.unknown_location else Status.SUCCESS,
        message=said.message if said.unknown_location else None,
    )
