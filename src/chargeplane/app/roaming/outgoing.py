"""What partners are to be told: the newest state of objects, sent to each partner in order, until it took it.

Whoever changes an object calls `note` in the transaction of the change, or from a fact that followed from it. That writes one row for
each partner that is to hear of the module: rows of the same object become one, since what is sent is made when it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from chargeplane.app.roaming.ports import Route
from chargeplane.domain.roaming.connection import Peer
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries import roaming_outgoing as queries
from chargeplane.store.queries.paging import Db


class Message(Struct, frozen=True, kw_only=True):
    """A request that tells a partner of an object.

    Args:
        row: of the table of endpoints.
        path: values of the path's variables.
        body: canonical JSON.
        route: None: from the party of ours that owns the module's role to the partner's only party, if it has but one.
        keep_location: the answer's Location is kept (`roaming_sent`): the partner has the object for good, and it is not sent again.
    """

    row: int
    path: Mapping[str, str] = {}
    body: bytes | None = None
    query: Mapping[str, str] = {}
    route: Route | None = None
    keep_location: bool = False


class Renderer(Protocol):
    """Makes what is sent of a module's objects."""

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state of an object; None where there is nothing to tell it.

        Args:
            hint: as it was noted; of several changes the last, None where they differ.
        """
        ...


async def note(
    db: Db,
    tenant_id: TenantId,
    module: str,
    key: str,
    *,
    connections: list[int] | None = None,
    hint: str | None = None,
    correlation_id: str | None = None,
    delay_s: float = 0.0,
) -> None:
    """Has partners told of the newest state of an object.

    Args:
        db: in the transaction of the change.
        module: an OCPI module's identifier.
        key: the object's, whatever its renderer understands; messages of one are in order.
        connections: only these; None: every registered partner that has the module's other side.
        hint: what changed, for the renderer.
        delay_s: not before that: further changes in between go with it.
    """
    await queries.note(db, tenant_id, module, key, connections, hint, correlation_id, delay_s)
