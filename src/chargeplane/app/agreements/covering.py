"""Which id tokens an agreement covers by name: by themselves, by a group, or by whose they are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from chargeplane.app.agreements.ports import Drivers
from chargeplane.domain.agreements.model import Agreement
from chargeplane.domain.agreements.scope import Who, people_of, who_key
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.agreement_holds import CoveredToken
from chargeplane.store.queries.paging import Db


class Covered(Struct, frozen=True, kw_only=True):
    """What id tokens are found by.

    Args:
        token_keys: as they are compared.
        groups: in lower case.
        ids: ours.
    """

    token_keys: tuple[str, ...]
    groups: tuple[str, ...]
    ids: tuple[int, ...]


async def covered_by(db: Db, tenant_id: TenantId, agreement: Agreement, drivers: Drivers) -> Covered:
    """Whom the terms that hold cover."""
    people = people_of(agreement.numbered(agreement.version).terms, agreement.parties)

    def named(who: Who) -> list[str]:
        return [key.partition(":")[2] for key, one in people.items() if one is who]

    driver_ids, user_groups = named(Who.DRIVER), named(Who.USER_GROUP)
    ids: list[int] = []
    if driver_ids or user_groups:
        ids = await drivers.id_tokens(db, tenant_id, driver_ids, user_groups)
    return Covered(token_keys=tuple(named(Who.ID_TOKEN)), groups=tuple(named(Who.TOKEN_GROUP)), ids=tuple(ids))


async def people_by_token(
    db: Db, tenant_id: TenantId, tokens: Sequence[CoveredToken], drivers: Drivers
) -> dict[int, dict[str, Who]]:
    """The keys by which each id token may be named."""
    holders = await drivers.holders(db, tenant_id, [token.id for token in tokens])
    found: dict[int, dict[str, Who]] = {}
    for token in tokens:
        people = {who_key(Who.ID_TOKEN, token.token_key): Who.ID_TOKEN}
        if token.group_id is not None:
            people[who_key(Who.TOKEN_GROUP, token.group_id)] = Who.TOKEN_GROUP
        holder = holders.get(token.id)
        if holder is not None:
            people[who_key(Who.DRIVER, holder.driver_id)] = Who.DRIVER
            for group in holder.user_groups:
                people[who_key(Who.USER_GROUP, group)] = Who.USER_GROUP
        found[token.id] = people
    return found
