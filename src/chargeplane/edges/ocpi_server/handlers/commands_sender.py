"""Rows 43, 47 and 48: results of what we asked partners to do, at the URLs that we gave with it, and profiles that they tell by themselves.

Source: OCPI 2.3.0 mod_commands and mod_charging_profiles, Sender.
"""

from __future__ import annotations

from chargeplane.app.roaming.asking import Asking
from chargeplane.domain.roaming.asking import RESULTS
from chargeplane.edges.ocpi_server.call import OK, Call, Handler, Reply, not_found

_PROFILES = {word: kind for kind, word in RESULTS.items()}


def handlers(asking: Asking) -> dict[int, Handler]:
    """By row of the table."""

    async def result(call: Call) -> Reply:
        known = await asking.result(call.peer, call.path["command"], call.path["reference"], call.body)
        return OK if known else not_found("command")

    async def profile_result(call: Call) -> Reply:
        kind = _PROFILES.get(call.path["result"])
        if kind is None or not await asking.result(call.peer, kind.value, call.path["reference"], call.body):
            return not_found("request")
        return OK

    async def profile(call: Call) -> Reply:
        known = await asking.profile_told(call.peer, call.path["session_id"], call.body)
        return OK if known else not_found(f"Session '{call.path['session_id']}'")

    return {43: result, 47: profile_result, 48: profile}
