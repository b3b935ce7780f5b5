"""Row 43: results of the commands that we gave, at the URLs that we gave with them (OCPI 2.3.0 mod_commands, Sender)."""

from __future__ import annotations

from chargeplane.app.roaming.asking import Asking
from chargeplane.edges.ocpi_server.call import OK, Call, Handler, Reply, not_found


def handlers(asking: Asking) -> dict[int, Handler]:
    """By row of the table."""

    async def result(call: Call) -> Reply:
        known = await asking.result(call.peer, call.path["command"], call.path["reference"], call.body)
        return OK if known else not_found("command")

    return {43: result}
