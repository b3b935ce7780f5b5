"""A station's device model as far as it was reported."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from chargeplane.domain.variables import ReportedVariable
from chargeplane.kernel.ids import StationKey
from chargeplane.store.queries.paging import Db, Position, Where
from chargeplane.store.queries.payloads import json_object


class VariableView(Struct, frozen=True, kw_only=True):
    """One attribute of a variable (OCPP 2.0.1 B06, B07); an OCPP 1.6 configuration key has no component.

    Args:
        attribute: Actual, Target, MinSet, MaxSet.
        mutability: ReadOnly, WriteOnly, ReadWrite, if it was reported.
        reported_at: when the station last told.
    """

    component: str | None
    component_instance: str | None
    evse_id: int | None
    connector_id: int | None
    variable: str
    variable_instance: str | None
    attribute: str
    value: str | None
    mutability: str | None
    characteristics: dict[str, Any] | None
    reported_at: datetime


class VariableFilter(Struct, frozen=True, kw_only=True):
    """Which variables, without case."""

    component: str | None = None
    variable: str | None = None


_KEY = "component, component_instance, evse_id, connector_id, variable, variable_instance, attribute"
POSITION = (str, str, int, int, str, str, str)
"""Kinds of the values of a position in this list."""


async def page(
    db: Db, key: StationKey, wanted: VariableFilter, limit: int, after: Position | None
) -> list[VariableView]:
    """Variables in the order of their names."""
    where = Where()
    where.add("station_key = ?", key)
    where.add_if("lower(component) = lower(?)", wanted.component)
    where.add_if("lower(variable) = lower(?)", wanted.variable)
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
            value=row["value"],
            mutability=row["mutability"],
            characteristics=None if row["characteristics"] is None else json_object(row["characteristics"]),
            reported_at=row["reported_at"],
        )
        for row in rows
    ]


def position(view: VariableView) -> Position:
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


async def store(db: Db, key: StationKey, reported: Iterable[ReportedVariable]) -> None:
    """Keeps what a station reported; a mutability that was known stays where the report has none."""
    newest = {variable.place: variable for variable in reported}
    columns = [list(column) for column in zip(*newest, strict=True)]
    if not columns:
        return
    await db.execute(
        f"INSERT INTO station_variable AS v (station_key, {_KEY}, value, mutability, reported_at)"
        " SELECT $1, x.*, now() FROM unnest($2::text[], $3::text[], $4::int4[], $5::int4[], $6::text[], $7::text[],"
        " $8::text[], $9::text[], $10::text[]) AS x"
        f" ON CONFLICT (station_key, {_KEY}) DO UPDATE SET value = excluded.value,"
        " mutability = coalesce(excluded.mutability, v.mutability), reported_at = excluded.reported_at",
        key,
        *columns,
        [variable.value for variable in newest.values()],
        [variable.mutability for variable in newest.values()],
    )
