"""Rows 33 and 34: our tokens, and whether one of them may charge now (OCPI 2.3.0 mod_tokens, Sender)."""

from __future__ import annotations

import msgspec

from chargeplane.app.roaming.own_tokens import OwnTokens
from chargeplane.domain.roaming.own_tokens import LocationReferences, encoded, references_of
from chargeplane.edges.ocpi_server.call import Call, Handler, Page, Reply, not_found, refused
from chargeplane.kernel.errors import NotFoundError
from chargeplane.ocpi.status import Status

_RFID = "RFID"


def handlers(tokens: OwnTokens) -> dict[int, Handler]:
    """By row of the table."""

    async def page(call: Call) -> Reply:
        ask = call.page
        assert ask is not None
        total, documents = await tokens.page(
            call.peer, date_from=ask.date_from, date_to=ask.date_to, offset=ask.offset, limit=ask.limit
        )
        return Reply(page=Page(documents=documents, total=total))

    async def authorize(call: Call) -> Reply:
        references: LocationReferences | None = None
        if call.body:
            try:
                references = references_of(call.body)
            except msgspec.ValidationError as error:
                return refused(Status.INVALID_PARAMETERS, str(error))
        kind = call.query.get("type") or _RFID
        try:
            info = await tokens.authorize(call.peer, call.path["token_uid"], kind, references, call.route.from_party)
        except NotFoundError:
            return not_found("token", Status.UNKNOWN_TOKEN)
        return Reply(document=encoded(info))

    return {33: page, 34: authorize}
