"""Rows 26 and 27: CDRs of partners, taken once each and shown again by the URL that the answer names (OCPI 2.3.0 mod_cdrs, Receiver)."""

from __future__ import annotations

from chargeplane.app.roaming.incoming import Incoming
from chargeplane.app.roaming.replicas import Replicas
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.records import cdr_said
from chargeplane.domain.roaming.replicas import Module, Outcome
from chargeplane.edges.ocpi_server.call import Call, Handler, Reply, not_found, refused
from chargeplane.edges.ocpi_server.handlers.replicas import owner_of
from chargeplane.edges.ocpi_server.routing import url_of
from chargeplane.ocpi.status import Status


def handlers(replicas: Replicas, incoming: Incoming) -> dict[int, Handler]:
    """By row of the table."""

    async def post(call: Call) -> Reply:
        said = cdr_said(call.body)
        owner = owner_of(call, PartyId(said.country_code, said.party_id))
        if owner is None:
            return refused(
                Status.INVALID_PARAMETERS,
                f"There is no party '{said.country_code}*{said.party_id}' behind this connection.",
            )
        written = await replicas.keep(owner, Module.CDRS, said.id, call.body)
        location = f"{url_of(call.base_url, call.version, 'cdrs', 'RECEIVER')}/{written.key}"
        if written.outcome is Outcome.LATE:
            return Reply(
                status=Status.INVALID_PARAMETERS,
                message=f"CDR '{said.id}' is known with other contents: credit it, and send another one.",
                location=location,
            )
        return Reply(created=True, location=location)

    async def get(call: Call) -> Reply:
        document = await incoming.document(call.peer.tenant_id, call.peer.id, call.path["cdr_ref"])
        return not_found(f"CDR '{call.path['cdr_ref']}'") if document is None else Reply(document=document)

    return {26: post, 27: get}
