"""A station's device model as far as it was reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.configuration import Told
from chargeplane.domain.splitting import MessageLimits
from chargeplane.domain.standard_keys import by_key, by_variable
from chargeplane.domain.variables import Place, ReportedVariable, folded
from chargeplane.kernel.ids import StationKey
from chargeplane.store.commit.tables import VARIABLES_MOST
from chargeplane.store.queries.paging import Db, Mark, Position, Where
from chargeplane.store.queries.payloads import json_object


class VariableView(Struct, frozen=True, kw_only=True):
    """One attribute of a variable (OCPP 2.0.1 B06, B07), or an OCPP 1.6 configuration key: a standard one is named as its variable, any
    other has no component.

    Args:
        key: the standard 1.6 key that means this variable.
        attribute: Actual, Target, MinSet, MaxSet.
        value: null where the station told none, and for what is never shown.
        mutability: ReadOnly, WriteOnly, ReadWrite, if it was reported.
        characteristics: data_type, unit, min_limit, max_limit, values_list, supports_monitoring, as far as they were reported.
        reported_at: when the station last told.
    """

    component: str | None
    component_instance: str | None
    evse_id: int | None
    connector_id: int | None
    variable: str
    variable_instance: str | None
    attribute: str
    key: str | None
    value: str | None
    mutability: str | None
    characteristics: dict[str, Any] | None
    reported_at: datetime


class VariableFilter(Struct, frozen=True, kw_only=True):
    """Which variables, without case.

    Args:
        variable: its name, or a standard 1.6 key.
        evse_id: 0: of the whole station.
    """

    component: str | None = None
    variable: str | None = None
    attribute: str | None = None
    evse_id: int | None = None
    mutability: str | None = None


_KEY: Final = "component, component_instance, evse_id, connector_id, variable, variable_instance, attribute"
POSITION = (str, str, int, int, str, str, str)
"""Kinds of the values of a position in this list."""


async def page(
    db: Db, key: StationKey, wanted: VariableFilter, limit: int, after: Position | None
) -> list[VariableView]:
    """Variables in the order of their names."""
    where = Where()
    where.add("station_key = ?", key)
    where.add_if("lower(component) = lower(?)", wanted.component)
    standard = by_key(wanted.variable) if wanted.variable is not None else None
    if standard is not None:
        where.add(
            "(lower(variable) = lower(?) OR (lower(component) = lower(?) AND lower(variable) = lower(?)"
            " AND lower(variable_instance) = lower(?)))",
            wanted.variable,
            standard.component,
            standard.variable,
            standard.instance,
        )
    else:
        where.add_if("lower(variable) = lower(?)", wanted.variable)
    where.add_if("lower(attribute) = lower(?)", wanted.attribute)
    where.add_if("evse_id = ?", wanted.evse_id)
    where.add_if("lower(mutability) = lower(?)", wanted.mutability)
    if after:
        where.add(f"({_KEY}) > (?, ?, ?, ?, ?, ?, ?)", *after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_KEY}, value, mutability, characteristics, reported_at FROM station_variable"
        f" WHERE {where} ORDER BY {_KEY} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [
        VariableView(
            component=row["component"] or None,
            component_instance=row["component_instance"] or None,
            evse_id=row["evse_id"] or None,
            connector_id=row["connector_id"] or None,
            variable=row["variable"],
            variable_instance=row["variable_instance"] or None,
            attribute=row["attribute"],
            key=_key_of(row),
            value=row["value"],
            mutability=row["mutability"],
            characteristics=None if row["characteristics"] is None else json_object(row["characteristics"]),
            reported_at=row["reported_at"],
        )
        for row in rows
    ]


def position(view: VariableView) -> Mark:
    """Where the view stands in the list."""
    return (
        view.component or "",
        view.component_instance or "",
        view.evse_id or 0,
        view.connector_id or 0,
        view.variable,
        view.variable_instance or "",
        view.attribute,
    )


def _key_of(row: Any) -> str | None:
    if row["component_instance"] or row["evse_id"] or row["attribute"] != "Actual":
        return None
    standard = by_variable(row["component"], row["variable"], row["variable_instance"])
    return None if standard is None else standard.key


async def store(db: Db, key: StationKey, reported: Iterable[ReportedVariable]) -> None:
    """Keeps what a station told in answers; a mutability and characteristics that were known stay.

    What is known in another spelling keeps that: names have no case.
    """
    newest = {folded(variable.place): variable for variable in reported}
    if not newest:
        return
    known = await _spelled(db, key, {place[4] for place in newest})
    rows = [(known.get(place, one.place), one.value, one.mutability) for place, one in newest.items()]
    columns = [list(column) for column in zip(*(row[0] for row in rows), strict=True)]
    await db.execute(
        f"INSERT INTO station_variable AS v (station_key, {_KEY}, value, mutability, reported_at)"
        " SELECT $1, x.*, now() FROM unnest($2::text[], $3::text[], $4::int4[], $5::int4[], $6::text[], $7::text[],"
        " $8::text[], $9::text[], $10::text[]) AS x"
        f" WHERE (SELECT count(*) FROM station_variable WHERE station_key = $1) < {VARIABLES_MOST}"
        f" ON CONFLICT (station_key, {_KEY}) DO UPDATE SET value = excluded.value,"
        " mutability = coalesce(excluded.mutability, v.mutability), reported_at = excluded.reported_at",
        key,
        *columns,
        [row[1] for row in rows],
        [row[2] for row in rows],
    )


async def _spelled(db: Db, key: StationKey, names: Iterable[str]) -> dict[Place, Place]:
    """Places that are known, by their folded form."""
    rows = await db.fetch(
        f"SELECT {_KEY} FROM station_variable WHERE station_key = $1 AND lower(variable) = ANY($2::text[])",
        key,
        [name.lower() for name in names],
    )
    return {folded(place): place for place in (_place(row) for row in rows)}


def _place(row: Any) -> Place:
    return (
        row["component"],
        row["component_instance"],
        row["evse_id"],
        row["connector_id"],
        row["variable"],
        row["variable_instance"],
        row["attribute"],
    )


async def forget(db: Db, key: StationKey, places: Iterable[Place]) -> None:
    """Removes what the station says it does not have."""
    gone = {folded(place) for place in places}
    known = await _spelled(db, key, {place[4] for place in gone})
    await _delete(db, key, [spelled for place, spelled in known.items() if place in gone])


async def keep_only(db: Db, key: StationKey, places: Iterable[Place], before: datetime) -> int:
    """Removes what a complete report does not name and was told before it; how many.

    Args:
        before: our time of the report's first part; what was told since then stays.
    """
    named = {folded(place) for place in places}
    rows = await db.fetch(
        f"SELECT {_KEY} FROM station_variable WHERE station_key = $1 AND reported_at < $2", key, before
    )
    gone = [place for place in (_place(row) for row in rows) if folded(place) not in named]
    await _delete(db, key, gone)
    return len(gone)


async def _delete(db: Db, key: StationKey, places: Sequence[Place]) -> None:
    if not places:
        return
    columns = [list(column) for column in zip(*places, strict=True)]
    await db.execute(
        f"DELETE FROM station_variable WHERE station_key = $1 AND ({_KEY}) IN (SELECT * FROM unnest($2::text[], $3::text[],"
        " $4::int4[], $5::int4[], $6::text[], $7::text[], $8::text[]))",
        key,
        *columns,
    )


async def told(db: Db, key: StationKey, names: Iterable[str]) -> dict[Place, Told]:
    """What is known of all attributes of variables with these names, by folded place."""
    rows = await db.fetch(
        f"SELECT {_KEY}, value, mutability, characteristics->>'data_type' AS data_type FROM station_variable"
        " WHERE station_key = $1 AND lower(variable) = ANY($2::text[])",
        key,
        [name.lower() for name in names],
    )
    return {
        folded(_place(row)): Told(value=row["value"], data_type=row["data_type"], mutability=row["mutability"])
        for row in rows
    }


async def count(db: Db, key: StationKey) -> int:
    """How many attributes are known."""
    number: int = await db.fetchval("SELECT count(*) FROM station_variable WHERE station_key = $1", key)
    return number


async def limits(db: Db, key: StationKey, instance: str) -> MessageLimits:
    """What the station told of the size of messages.

    Args:
        instance: GetVariables, SetVariables, GetReport: of ItemsPerMessage and BytesPerMessage (OCPP 2.x DeviceDataCtrlr).
    """
    known = await told(db, key, ("ItemsPerMessage", "BytesPerMessage"))

    def number(variable: str) -> int | None:
        one = known.get(folded(("DeviceDataCtrlr", "", 0, 0, variable, instance, "Actual")))
        text = "" if one is None else (one.value or "").strip()
        return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0 else None

    return MessageLimits(items=number("ItemsPerMessage"), bytes=number("BytesPerMessage"))
