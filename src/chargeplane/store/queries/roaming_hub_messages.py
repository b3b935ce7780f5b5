"""What a hub took to pass on to all, and each partner is yet to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from chargeplane.store.queries.paging import Db

MOST: Final = 100
"""Messages about one object that a partner is owed at most; of more, the oldest are forgotten."""


class Kept(Struct, frozen=True, kw_only=True):
    """A message.

    Args:
        key: of the object.
        row: of the table of endpoints.
        path_values, query: JSON.
        body: canonical.
        from_party, to_party: keys of parties.
    """

    id: int
    connection_id: int
    key: str
    row: int
    path_values: str
    query: str
    body: bytes | None
    from_party: str
    to_party: str
    ticks: int


class NewMessage(Struct, frozen=True, kw_only=True):
    """A message to be kept; as `Kept`."""

    connection_id: int
    row: int
    path_values: str
    query: str
    body: bytes | None
    from_party: str
    to_party: str


_COLUMNS: Final = "id, connection_id, key, row_number, path_values, query, body, from_party, to_party, ticks"


def _kept(row: Any) -> Kept:
    found = dict(row)
    return Kept(row=found.pop("row_number"), **found)


async def pending(db: Db, connections: Sequence[int], key: str) -> list[Kept]:
    """What partners are owed about an object, oldest first; locked, so that nobody sends it meanwhile as it was."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM roaming_hub_message WHERE connection_id = ANY ($1) AND key = $2 ORDER BY id FOR UPDATE",
        list(connections),
        key,
    )
    return [_kept(row) for row in rows]


async def first(db: Db, connection_id: int, key: str) -> Kept | None:
    """What a partner is to be told next about an object."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM roaming_hub_message WHERE connection_id = $1 AND key = $2 ORDER BY id LIMIT 1",
        connection_id,
        key,
    )
    return None if row is None else _kept(row)


async def add(db: Db, key: str, messages: Sequence[NewMessage]) -> None:
    """Keeps messages behind those that are owed."""
    await db.execute(
        "INSERT INTO roaming_hub_message (connection_id, key, row_number, path_values, query, body, from_party, to_party)"
        " SELECT c, $1, r, p, q, b, f, t"
        " FROM unnest($2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[])"
        " AS x (c, r, p, q, b, f, t)",
        key,
        [one.connection_id for one in messages],
        [one.row for one in messages],
        [one.path_values for one in messages],
        [one.query for one in messages],
        [one.body for one in messages],
        [one.from_party for one in messages],
        [one.to_party for one in messages],
    )


async def lay_over(db: Db, ident: int, body: bytes) -> None:
    """Another body for a message that was not taken yet."""
    await db.execute("UPDATE roaming_hub_message SET body = $2, ticks = ticks + 1 WHERE id = $1", ident, body)


async def forget(db: Db, idents: Sequence[int]) -> None:
    """Removes messages."""
    await db.execute("DELETE FROM roaming_hub_message WHERE id = ANY ($1)", list(idents))


async def forget_all(db: Db, connection_id: int, key: str) -> None:
    """Removes all that a partner is owed about an object."""
    await db.execute("DELETE FROM roaming_hub_message WHERE connection_id = $1 AND key = $2", connection_id, key)


async def taken(db: Db, message: Kept) -> bool:
    """A partner took a message as it was; whether it is owed more about the object."""
    await db.execute("DELETE FROM roaming_hub_message WHERE id = $1 AND ticks = $2", message.id, message.ticks)
    more: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM roaming_hub_message WHERE connection_id = $1 AND key = $2)",
        message.connection_id,
        message.key,
    )
    return more
