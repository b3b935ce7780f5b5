"""Configuration templates, their versions, and how stations stand to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.configuration import Selector, Standing, StandingState, Wish
from chargeplane.domain.variables import VariableSetting
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_number, by_text, by_time, like
from chargeplane.store.queries.payloads import jsonb


class TemplateView(Struct, frozen=True, kw_only=True):
    """A configuration template.

    Args:
        version: the one in force; every change of the variables makes another.
        selector: which stations it is for.
        priority: of two templates that want the same variable the one with the higher has its way, then the newer.
        apply: auto, or manual: only when somebody asks.
        wave_size: how many stations are changed at the same time.
        reset: what follows where a value needs a restart: none, on_idle, immediate.
        stop_after: so many failures in a row pause it.
        paused_because: why it is not applied by itself; null where it is.
        variables: of the version in force; passwords are hidden.
        stations: how many of its stations are in_sync, drifted, unknown, rejected.
        applying: how many are being changed.
        revision: rises with every change; the ETag.
    """

    id: str
    name: str
    description: str | None
    version: int
    selector: Selector
    priority: int
    apply: str
    wave_size: int
    reset: str
    stop_after: int
    paused_because: str | None
    variables: tuple[VariableSetting, ...]
    stations: dict[str, int]
    applying: int
    revision: int
    created_at: datetime
    updated_at: datetime


class TemplateVersionView(Struct, frozen=True, kw_only=True):
    """What a template wanted from some time on."""

    version: int
    variables: tuple[VariableSetting, ...]
    note: str | None
    created_at: datetime
    created_by: str


class DriftView(Struct, frozen=True, kw_only=True):
    """How a station stands to a template.

    Args:
        state: in_sync, drifted, unknown, rejected: the worst of its variables.
        variables: each with what is wanted and what the station has.
        attempts: how often it was changed for this, since it was last in sync.
        next_apply_at: not before; null: as soon as the template comes to it.
        changed_at: when the state last changed.
    """

    template: str
    template_id: str
    template_version: int
    station_id: str
    state: str
    connected: bool
    variables: tuple[Standing, ...]
    attempts: int
    next_apply_at: datetime | None
    checked_at: datetime
    changed_at: datetime


class StoredTemplate(Struct, frozen=True, kw_only=True):
    """A template as it is worked with."""

    id: int
    tenant_id: TenantId
    name: str
    version: int
    selector: Selector
    priority: int
    apply: str
    wave_size: int
    reset: str
    stop_after: int
    failures: int
    paused_because: str | None
    revision: int
    variables: tuple[VariableSetting, ...]
    sealed: bytes | None

    @property
    def wish(self) -> Wish:
        """What it wants."""
        return Wish(template_id=self.id, version=self.version, order=(self.priority, self.id), variables=self.variables)


class KnownDrift(Struct, frozen=True, kw_only=True):
    """What was found the last time."""

    template_id: int
    version: int
    state: str
    variables: tuple[Standing, ...]
    asked_at: datetime | None


_selector: Final = msgspec.json.Decoder(Selector).decode
_settings: Final = msgspec.json.Decoder(tuple[VariableSetting, ...]).decode
_standings: Final = msgspec.json.Decoder(tuple[Standing, ...]).decode


def _text(value: Any) -> str | bytes:
    return value if isinstance(value, str | bytes) else msgspec.json.encode(value)


def _selected(selector: Selector) -> Where:
    """The stations of a selector; `s` is the station, `c` its connection."""
    where = Where()
    where.add("s.deleted_at IS NULL")
    lower = {
        name: [text.lower() for text in getattr(selector, name)]
        for name in ("vendor", "model", "location_id", "station_id")
    }
    for name, column in (
        ("vendor", "s.vendor"),
        ("model", "s.model"),
        ("location_id", "s.location_id"),
        ("station_id", "s.station_id"),
    ):
        if lower[name]:
            where.add(f"lower({column}) = ANY(?::text[])", lower[name])
    if selector.ocpp_version:
        where.add("c.ocpp_version = ANY(?::text[])", list(selector.ocpp_version))
    if selector.firmware:
        exact = [text.lower() for text in selector.firmware if not text.endswith("*")]
        begins = [text.lower()[:-1] for text in selector.firmware if text.endswith("*")]
        where.add(
            "(lower(s.firmware_version) = ANY(?::text[])"
            " OR EXISTS (SELECT FROM unnest(?::text[]) AS b WHERE starts_with(lower(s.firmware_version), b)))",
            exact,
            begins,
        )
    if selector.tag:
        # jsonb's ?| would clash with the numbering of parameters
        where.add("jsonb_exists_any(s.metadata->'tags', ?::text[])", list(selector.tag))
    if not selector.chooses:
        where.add("false")
    return where


_FROM: Final = "FROM charging_station s LEFT JOIN station_connection c ON c.station_key = s.key"


async def stations_of(
    db: Db, tenant_id: TenantId, selector: Selector, *, after: StationKey | None = None, limit: int = 500
) -> list[StationKey]:
    """The stations a selector stands for, by key."""
    where = _selected(selector)
    where.add("s.tenant_id = ?", tenant_id)
    where.add_if("s.key > ?", after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT s.key {_FROM} WHERE {where} ORDER BY s.key LIMIT ${len(where.values)}", *where.values
    )
    return [row["key"] for row in rows]


async def stations_count(db: Db, tenant_id: TenantId, selector: Selector) -> int:
    """How many stations a selector stands for."""
    where = _selected(selector)
    where.add("s.tenant_id = ?", tenant_id)
    number: int = await db.fetchval(f"SELECT count(*) {_FROM} WHERE {where}", *where.values)
    return number


async def selects(db: Db, key: StationKey, selector: Selector) -> bool:
    """Whether a selector stands for a station."""
    where = _selected(selector)
    where.add("s.key = ?", key)
    return bool(await db.fetchval(f"SELECT true {_FROM} WHERE {where}", *where.values))


# -- templates ---------------------------------------------------------------------------------------------------------

_STORED: Final = """
    SELECT t.id, t.tenant_id, t.name, t.version, t.selector, t.priority, t.apply, t.wave_size, t.reset, t.stop_after,
        t.failures, t.paused_because, t.revision, v.variables, v.sealed
    FROM configuration_template t JOIN configuration_template_version v ON v.template_id = t.id AND v.version = t.version
    WHERE t.deleted_at IS NULL"""


def _stored(row: Any) -> StoredTemplate:
    return StoredTemplate(
        **{**row, "selector": _selector(_text(row["selector"])), "variables": _settings(_text(row["variables"]))}
    )


async def insert(db: Db, tenant_id: TenantId, columns: Mapping[str, Any]) -> int:
    """A new template without a version; its id."""
    names = list(columns)
    values = ", ".join(_parameter(name, number) for number, name in enumerate(names, 2))
    ident: int = await db.fetchval(
        f"INSERT INTO configuration_template (tenant_id, {', '.join(names)}) VALUES ($1, {values}) RETURNING id",
        tenant_id,
        *(_value(name, columns[name]) for name in names),
    )
    return ident


async def update(db: Db, ident: int, columns: Mapping[str, Any]) -> None:
    """Changes a template."""
    sets = ", ".join(f"{name} = {_parameter(name, number)}" for number, name in enumerate(columns, 2))
    await db.execute(
        f"UPDATE configuration_template SET {sets}{', ' if sets else ''}revision = revision + 1, updated_at = now()"
        " WHERE id = $1",
        ident,
        *(_value(name, value) for name, value in columns.items()),
    )


def _parameter(name: str, number: int) -> str:
    return f"${number}::text::jsonb" if name == "selector" else f"${number}"


def _value(name: str, value: Any) -> Any:
    return jsonb(value) if name == "selector" else value


async def add_version(
    db: Db,
    ident: int,
    version: int,
    variables: Sequence[VariableSetting],
    sealed: bytes | None,
    note: str | None,
    by: str,
) -> None:
    """A version of a template; secret values hidden."""
    await db.execute(
        "INSERT INTO configuration_template_version (template_id, version, variables, sealed, note, created_by)"
        " VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)",
        ident,
        version,
        jsonb(variables),
        sealed,
        note,
        by,
    )


async def locked(db: Db, tenant_id: TenantId, ident: int) -> StoredTemplate | None:
    """A template that is to be changed."""
    row = await db.fetchrow(f"{_STORED} AND t.tenant_id = $1 AND t.id = $2 FOR UPDATE OF t", tenant_id, ident)
    return None if row is None else _stored(row)


async def of_tenant(db: Db, tenant_id: TenantId) -> list[StoredTemplate]:
    """All templates of a tenant."""
    return [_stored(row) for row in await db.fetch(f"{_STORED} AND t.tenant_id = $1 ORDER BY t.id", tenant_id)]


async def remove(db: Db, ident: int) -> None:
    """Removes a template; what it changed stays changed, its history stays."""
    await db.execute("UPDATE configuration_template SET deleted_at = now() WHERE id = $1", ident)
    await db.execute("DELETE FROM configuration_drift WHERE template_id = $1", ident)


_VIEW: Final = """
    SELECT t.id, t.name, t.description, t.version, t.selector, t.priority, t.apply, t.wave_size, t.reset, t.stop_after,
        t.paused_because, v.variables, t.revision, t.created_at, t.updated_at,
        (SELECT coalesce(jsonb_object_agg(d.state, d.n), '{}') FROM
            (SELECT state, count(*) AS n FROM configuration_drift WHERE template_id = t.id GROUP BY state) d)::text AS stations,
        (SELECT count(*) FROM variable_change c WHERE c.template_id = t.id AND c.finished_at IS NULL) AS applying
    FROM configuration_template t JOIN configuration_template_version v ON v.template_id = t.id AND v.version = t.version
    WHERE t.deleted_at IS NULL AND t.tenant_id = $1"""

_counts: Final = msgspec.json.Decoder(dict[str, int]).decode


def _view(row: Any) -> TemplateView:
    return TemplateView(
        **{
            **row,
            "id": str(row["id"]),
            "selector": _selector(_text(row["selector"])),
            "variables": _settings(_text(row["variables"])),
            "stations": _counts(_text(row["stations"])),
        }
    )


async def one(db: Db, tenant_id: TenantId, ident: int) -> TemplateView | None:
    """The template with our id."""
    row = await db.fetchrow(f"{_VIEW} AND t.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


TEMPLATE_SORTS: Final = Sorts(
    "t.id",
    name=by_text("t.name"),
    priority=by_number("t.priority"),
    created_at=by_time("t.created_at"),
    updated_at=by_time("t.updated_at"),
)


async def page(db: Db, tenant_id: TenantId, q: str | None, limit: int, after: Position | None) -> list[TemplateView]:
    """Templates, newest first."""
    where = Where()
    where.values.append(tenant_id)  # as _VIEW has it
    if q is not None:
        where.add("lower(t.name) LIKE ?", like(q))
    order = TEMPLATE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_VIEW} AND {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


TEMPLATE_VERSION_SORTS: Final = Sorts(
    "version",
    ident_name="version",
    default="-version",
    ident_of=lambda one: (one.version,),
    created_at=by_time("created_at"),
)


async def versions(db: Db, ident: int, limit: int, after: Position | None) -> list[TemplateVersionView]:
    """A template's versions, newest first."""
    where = Where()
    where.add("template_id = ?", ident)
    order = TEMPLATE_VERSION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        "SELECT version, variables, note, created_at, created_by FROM configuration_template_version"
        f" WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [TemplateVersionView(**{**row, "variables": _settings(_text(row["variables"]))}) for row in rows]


# -- drift -------------------------------------------------------------------------------------------------------------


async def firmware_of(db: Db, key: StationKey) -> str | None:
    """The firmware of a station's last boot."""
    version: str | None = await db.fetchval("SELECT firmware_version FROM charging_station WHERE key = $1", key)
    return version


async def known(db: Db, key: StationKey) -> dict[int, KnownDrift]:
    """What was found the last time, by template; locked, so that two who look do so one after the other."""
    rows = await db.fetch(
        "SELECT template_id, version, state, variables, asked_at FROM configuration_drift WHERE station_key = $1"
        " ORDER BY template_id FOR UPDATE",
        key,
    )
    return {row["template_id"]: KnownDrift(**{**row, "variables": _standings(_text(row["variables"]))}) for row in rows}


async def put(
    db: Db,
    template: StoredTemplate,
    key: StationKey,
    state: StandingState,
    standings: Sequence[Standing],
    *,
    to_apply: bool,
    asked: bool,
) -> None:
    """Writes how a station stands to a template."""
    await db.execute(
        "INSERT INTO configuration_drift AS d (template_id, station_key, version, state, to_apply, variables, asked_at)"
        " VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, CASE WHEN $7 THEN now() END)"
        " ON CONFLICT (template_id, station_key) DO UPDATE SET version = excluded.version, state = excluded.state,"
        " to_apply = excluded.to_apply, variables = excluded.variables, checked_at = now(),"
        " asked_at = CASE WHEN d.version = excluded.version THEN coalesce(excluded.asked_at, d.asked_at)"
        "  ELSE excluded.asked_at END,"
        " changed_at = CASE WHEN d.state = excluded.state THEN d.changed_at ELSE now() END,"
        " attempts = CASE WHEN excluded.state = 'in_sync' OR d.version <> excluded.version THEN 0 ELSE d.attempts END,"
        " next_apply_at = CASE WHEN excluded.state = 'in_sync' OR d.version <> excluded.version THEN NULL"
        "  ELSE d.next_apply_at END,"
        " wanted = d.wanted AND excluded.state <> 'in_sync'",
        template.id,
        key,
        template.version,
        state.value,
        to_apply,
        jsonb(standings),
        asked,
    )


async def drop(db: Db, key: StationKey, templates: Sequence[int]) -> None:
    """Forgets templates that do not concern a station any more."""
    await db.execute(
        "DELETE FROM configuration_drift WHERE station_key = $1 AND template_id = ANY($2::int8[])", key, list(templates)
    )


async def due_for_check(db: Db, every_s: float) -> StoredTemplate | None:
    """A template whose stations were not gone through for so long, marked as gone through now; other nodes get others."""
    ident = await db.fetchval(
        "UPDATE configuration_template SET checked_at = now() WHERE id = (SELECT id FROM configuration_template"
        " WHERE deleted_at IS NULL AND (checked_at IS NULL OR checked_at < now() - make_interval(secs => $1))"
        " ORDER BY checked_at NULLS FIRST LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
        every_s,
    )
    if ident is None:
        return None
    row = await db.fetchrow(f"{_STORED} AND t.id = $1", ident)
    return None if row is None else _stored(row)


async def check_soon(db: Db, ident: int) -> None:
    """Has the stations of a template gone through at once."""
    await db.execute("UPDATE configuration_template SET checked_at = NULL WHERE id = $1", ident)


async def stale(db: Db, ident: int, older_than_s: float, limit: int) -> list[StationKey]:
    """Connected stations of a template that were not asked for its values for so long."""
    rows = await db.fetch(
        "SELECT d.station_key FROM configuration_drift d JOIN station_connection c ON c.station_key = d.station_key"
        " WHERE d.template_id = $1 AND c.connected AND (d.asked_at IS NULL OR d.asked_at < now() - make_interval(secs => $2))"
        " ORDER BY d.asked_at NULLS FIRST LIMIT $3",
        ident,
        older_than_s,
        limit,
    )
    return [row["station_key"] for row in rows]


async def to_work_on(db: Db) -> list[int]:
    """Templates that have stations a change would be of use for."""
    rows = await db.fetch(
        "SELECT t.id FROM configuration_template t WHERE t.deleted_at IS NULL AND EXISTS (SELECT FROM configuration_drift d"
        " WHERE d.template_id = t.id AND (d.to_apply OR d.wanted) AND (d.next_apply_at IS NULL OR d.next_apply_at < now())"
        " AND ((t.apply = 'auto' AND t.paused_because IS NULL) OR d.wanted))"
    )
    return [row["id"] for row in rows]


async def taken(db: Db, ident: int) -> StoredTemplate | None:
    """A template whose next stations are to be chosen, locked; None where another node does that now."""
    row = await db.fetchrow(f"{_STORED} AND t.id = $1 FOR UPDATE OF t SKIP LOCKED", ident)
    return None if row is None else _stored(row)


async def applying(db: Db, ident: int) -> int:
    """How many stations a template is changing."""
    number: int = await db.fetchval(
        "SELECT count(*) FROM variable_change WHERE template_id = $1 AND finished_at IS NULL", ident
    )
    return number


class Candidate(Struct, frozen=True, kw_only=True):
    """A station that a template may change next."""

    station_key: StationKey
    variables: tuple[Standing, ...]
    wanted: bool
    asked: bool


async def candidates(db: Db, template: StoredTemplate, limit: int) -> list[Candidate]:
    """The next stations of a template: connected, drifted, and nobody changes them."""
    rows = await db.fetch(
        "SELECT d.station_key, d.variables, d.wanted, d.asked_at IS NOT NULL AS asked FROM configuration_drift d"
        " JOIN charging_station s ON s.key = d.station_key AND s.deleted_at IS NULL AND s.registration <> 'Rejected'"
        " JOIN station_connection c ON c.station_key = d.station_key AND c.connected"
        " WHERE d.template_id = $1 AND d.version = $2 AND (d.to_apply OR d.wanted)"
        " AND (d.next_apply_at IS NULL OR d.next_apply_at < now()) AND ($3 OR d.wanted)"
        " AND NOT EXISTS (SELECT FROM variable_change v WHERE v.station_key = d.station_key AND v.finished_at IS NULL)"
        " ORDER BY d.wanted DESC, d.attempts, d.station_key LIMIT $4",
        template.id,
        template.version,
        template.apply == "auto" and template.paused_because is None,
        limit,
    )
    return [Candidate(**{**row, "variables": _standings(_text(row["variables"]))}) for row in rows]


async def attempted(db: Db, template_id: int, key: StationKey, retry_s: float) -> None:
    """A change was begun; another one comes not before so long, doubled with every attempt."""
    await db.execute(
        "UPDATE configuration_drift SET attempts = attempts + 1, wanted = false,"
        " next_apply_at = now() + make_interval(secs => least($3 * power(2, least(attempts, 12)), 86400))"
        " WHERE template_id = $1 AND station_key = $2",
        template_id,
        key,
        retry_s,
    )


async def want(db: Db, template_id: int, station_ids: Sequence[str] | None) -> int:
    """An operator wants a template applied now, at all of its stations or some; how many that concerns."""
    written: str = await db.execute(
        "UPDATE configuration_drift d SET wanted = true, next_apply_at = NULL FROM charging_station s"
        " WHERE d.template_id = $1 AND d.state <> 'in_sync' AND s.key = d.station_key"
        " AND ($2::text[] IS NULL OR lower(s.station_id) = ANY($2))",
        template_id,
        None if station_ids is None else [one.lower() for one in station_ids],
    )
    return int(written.rpartition(" ")[2])


async def count_failure(db: Db, template_id: int, failed: bool) -> tuple[int, int, bool] | None:
    """Counts failures in a row; (how many, how many are allowed, whether it is paused already)."""
    row = await db.fetchrow(
        "UPDATE configuration_template SET failures = CASE WHEN $2 THEN failures + 1 ELSE 0 END WHERE id = $1"
        " AND deleted_at IS NULL RETURNING failures, stop_after, paused_because IS NOT NULL AS paused",
        template_id,
        failed,
    )
    return None if row is None else (row["failures"], row["stop_after"], row["paused"])


async def pause(db: Db, template_id: int, because: str) -> None:
    """Pauses a template."""
    await db.execute(
        "UPDATE configuration_template SET paused_because = $2, revision = revision + 1, updated_at = now() WHERE id = $1",
        template_id,
        because,
    )


_DRIFT: Final = """
    SELECT t.name AS template, t.id AS template_id, d.version AS template_version, s.station_id, d.state,
        coalesce(c.connected, false) AS connected, d.variables, d.attempts, d.next_apply_at, d.checked_at, d.changed_at,
        d.station_key
    FROM configuration_drift d JOIN configuration_template t ON t.id = d.template_id AND t.deleted_at IS NULL
    JOIN charging_station s ON s.key = d.station_key AND s.deleted_at IS NULL
    LEFT JOIN station_connection c ON c.station_key = d.station_key"""


DRIFT_SORTS: Final = Sorts(
    "d.station_key",
    ident_name=None,
    default="station_id",
    ident_of=lambda pair: (pair[0],),
    item=lambda pair: pair[1],
    station_id=by_text("s.station_id"),
    checked_at=by_time("d.checked_at"),
    changed_at=by_time("d.changed_at"),
    attempts=by_number("d.attempts"),
)


async def drift_of_template(
    db: Db, ident: int, state: str | None, limit: int, after: Position | None
) -> list[tuple[StationKey, DriftView]]:
    """How a template's stations stand, by key."""
    where = Where()
    where.add("d.template_id = ?", ident)
    where.add_if("d.state = ?", state)
    order = DRIFT_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_DRIFT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [(row["station_key"], _drift(row)) for row in rows]


async def drift_of_station(db: Db, key: StationKey) -> list[DriftView]:
    """How a station stands to its templates, those that have their way first."""
    rows = await db.fetch(f"{_DRIFT} WHERE d.station_key = $1 ORDER BY t.priority DESC, t.id DESC", key)
    return [_drift(row) for row in rows]


def _drift(row: Any) -> DriftView:
    shown = {name: row[name] for name in DriftView.__struct_fields__}
    return DriftView(
        **{**shown, "template_id": str(row["template_id"]), "variables": _standings(_text(row["variables"]))}
    )
