"""Client info of hubs: rows 49 to 51 (OCPI 2.3.0 mod_hub_client_info)."""

from __future__ import annotations

from chargeplane.app.roaming.client_info import ClientInfos
from chargeplane.edges.ocpi_server.call import Call, Handler, Page, Reply, not_found
from chargeplane.ocpi.documents import encode_tree, tree_of
from chargeplane.ocpi.fields import written
from chargeplane.store.queries.roaming_client_info import ClientInfo


def handlers(infos: ClientInfos) -> dict[int, Handler]:
    """Rows 49 to 51."""

    async def listed(call: Call) -> Reply:
        ask = call.page
        assert ask is not None
        found, total = await infos.page(call.peer, ask.date_from, ask.date_to, ask.offset, ask.limit)
        return Reply(page=Page(documents=[document_of(info) for info in found], total=total))

    async def get(call: Call) -> Reply:
        assert call.owner is not None
        found = await infos.of_hub(call.peer, call.owner)
        return not_found(f"client info of {call.owner}") if found is None else Reply(document=document_of(found))

    async def put(call: Call) -> Reply:
        assert call.document is not None
        value = call.document.value
        new = await infos.take(
            call.peer,
            ClientInfo(
                country_code=value.country_code,
                party_id=value.party_id,
                role=str(value.role),
                status=str(value.status),
                last_updated=value.last_updated,
            ),
        )
        return Reply(created=new)

    return {49: listed, 50: get, 51: put}


def document_of(info: ClientInfo) -> bytes:
    """The canonical document."""
    tree = tree_of(info)
    tree["last_updated"] = written(info.last_updated)
    return encode_tree(tree)
