"""What operators want of the availability of stations, EVSEs and connectors."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from chargeplane.kernel.ids import StationKey
from chargeplane.store.queries.paging import Db


class WantedAvailability(Struct, frozen=True, kw_only=True):
    """What is wanted of a place.

    Args:
        evse_id: 0 for the whole station.
        connector_id: 0 for the whole EVSE.
        sent_again: how often the station had to be told again.
    """

    evse_id: int
    connector_id: int
    operative: bool
    requested_at: datetime
    sent_again: int
    sent_at: datetime | None


async def want(db: Db, key: StationKey, evse_id: int, connector_id: int, operative: bool, *, alone: bool) -> None:
    """Notes what is wanted of a place.

    Args:
        alone: it replaces what was wanted of the places within (1.6, where connector 0 is all of them); else these keep
            their own (OCPP 2.0.1 G03.FR.07, G04.FR.08).
    """
    if alone:
        await db.execute(
            "DELETE FROM wanted_availability WHERE station_key = $1 AND (evse_id, connector_id) <> ($2, $3)"
            " AND ($2 = 0 OR (evse_id = $2 AND $3 = 0))",
            key,
            evse_id,
            connector_id,
        )
    await db.execute(
        "INSERT INTO wanted_availability AS w (station_key, evse_id, connector_id, operative) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (station_key, evse_id, connector_id) DO UPDATE SET operative = excluded.operative,"
        " requested_at = now(), sent_again = 0, sent_at = NULL WHERE w.operative <> excluded.operative",
        key,
        evse_id,
        connector_id,
        operative,
    )


async def of_station(db: Db, key: StationKey) -> list[WantedAvailability]:
    """Everything wanted of a station, the widest place first."""
    rows = await db.fetch(
        "SELECT evse_id, connector_id, operative, requested_at, sent_again, sent_at FROM wanted_availability"
        " WHERE station_key = $1 ORDER BY evse_id, connector_id",
        key,
    )
    return [WantedAvailability(**row) for row in rows]


async def sent_again(db: Db, key: StationKey, evse_id: int, connector_id: int) -> None:
    """Notes that the station was told again."""
    await db.execute(
        "UPDATE wanted_availability SET sent_again = sent_again + 1, sent_at = now()"
        " WHERE station_key = $1 AND evse_id = $2 AND connector_id = $3",
        key,
        evse_id,
        connector_id,
    )


async def last_word_is(db: Db, key: StationKey, by: str, *, repeats: str) -> bool:
    """Whether the last accepted change of the whole station's availability was asked for by this one.

    Args:
        repeats: who only says again what was said, and does not count.
    """
    last = await db.fetchval(
        "SELECT requested_by FROM command WHERE station_key = $1 AND type = 'change_availability' AND state = 'accepted'"
        " AND coalesce((request::jsonb->>'evse_id')::int, 0) = 0 AND requested_by IS DISTINCT FROM $2"
        " ORDER BY id DESC LIMIT 1",
        key,
        repeats,
    )
    return bool(last == by)
