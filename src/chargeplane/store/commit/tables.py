"""What a batch can write: one `Target` a table and way of writing, its columns, and how a clash is resolved.

A new kind of row is a new Target here and a row builder in `rows.py`; the statement is composed from these.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Column(Struct, frozen=True):
    """A column of a target.

    Args:
        name: column name.
        type: PostgreSQL type of one array element: one that `fields` can make (numeric travels as text).
        expr: SQL that makes the column from the element, which is called `u.<name>`; None for the element itself.
    """

    name: str
    type: str
    expr: str | None = None


class Target(Struct, frozen=True):
    """A table and a way of writing to it.

    Args:
        index: position in TARGETS, what a Work's rows name it by.
        cte: unique name within the statement.
        columns: in the order of the row tuples.
        sql: the statement after WITH ... AS, with `{cols}`, `{select}` and `{unnest}` to fill in.
        key: positions of the row's identity where a batch may hold several images of a row and the last one counts;
            None where every row is written.
        kept: positions of columns that a row without a value leaves as they are.
    """

    index: int
    cte: str
    columns: tuple[Column, ...]
    sql: str
    key: tuple[int, ...] | None = None
    kept: tuple[int, ...] = ()


_INSERT: Final = "INSERT INTO {table} ({cols}) SELECT {select} FROM {unnest} u WHERE (SELECT ok FROM fence)"


def _columns(text: str) -> tuple[Column, ...]:
    """`name type` pairs separated by commas."""
    made = []
    for part in text.split(","):
        name, type_, *expr = part.split(maxsplit=2)
        made.append(Column(name, type_, expr[0] if expr else None))
    return tuple(made)


_made: list[Target] = []


def _target(
    table: str,
    columns: str,
    *,
    conflict: str = "",
    key: tuple[int, ...] | None = None,
    cte: str = "",
    kept: tuple[str, ...] = (),
) -> Target:
    made = _columns(columns)
    names = [column.name for column in made]
    conflict += "".join([f", {name} = coalesce(excluded.{name}, {table}.{name})" for name in kept])
    sql = _INSERT.replace("{table}", table) + conflict
    target = Target(len(_made), cte or table, made, sql, key, tuple([names.index(name) for name in kept]))
    _made.append(target)
    return target


def _replace(*names: str) -> str:
    return " DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in names)


TRANSACTION: Final = _target(
    "transaction",
    "id int8, tenant_id int4, station_key int8, ocpp_transaction_id text, evse_id int4, connector_id int4, id_token text, "
    "token_key text, id_token_type text, authorization_status text, opened_at timestamptz, started_at timestamptz, stopped_at timestamptz, "
    "stop_reason text, charging_state text, meter_start_wh text u.meter_start_wh::numeric, meter_stop_wh text u.meter_stop_wh::numeric, energy_wh text u.energy_wh::numeric, is_open bool, "
    "offline bool, flags text string_to_array(u.flags;' '), start_message_id text, reservation_id int4, remote_start_id int4, "
    "ordinal int4, state text, updated_at timestamptz",
    conflict=" ON CONFLICT (id)"
    + _replace(
        "ocpp_transaction_id",
        "evse_id",
        "connector_id",
        "id_token",
        "token_key",
        "id_token_type",
        "started_at",
        "stopped_at",
        "stop_reason",
        "charging_state",
        "meter_start_wh",
        "meter_stop_wh",
        "energy_wh",
        "is_open",
        "offline",
        "flags",
        "ordinal",
        "state",
        "updated_at",
    ),
    key=(0,),
    kept=("authorization_status", "reservation_id", "remote_start_id"),
)
OPEN_TRANSACTION: Final = _target(
    "open_transaction",
    "transaction_id int8, tenant_id int4, station_key int8, opened_on date, token_key text, ordinal int4, state text",
    conflict=" ON CONFLICT (transaction_id)" + _replace("token_key", "ordinal", "state"),
    key=(0,),
)
CLOSED_TRANSACTION: Final = Target(
    len(_made),
    "closed_transaction",
    _columns("transaction_id int8"),
    "DELETE FROM open_transaction o USING (SELECT {select} FROM {unnest} u) d "
    "WHERE o.transaction_id = d.transaction_id AND (SELECT ok FROM fence)",
)
_made.append(CLOSED_TRANSACTION)
TRANSACTION_EVENT: Final = _target(
    "transaction_event",
    "opened_on date, transaction_id int8, ordinal int4, station_key int8, kind text, action text, message_id text, "
    "content_hash bytea, seq_no int4, at timestamptz, received_at timestamptz, energy_wh text u.energy_wh::numeric, payload text, readings text",
    conflict=" ON CONFLICT DO NOTHING",
)
STATION_METER_VALUE: Final = _target(
    "station_meter_value",
    "received_on date, station_key int8, evse_id int4, connector_id int4, message_id text, content_hash bytea, "
    "received_at timestamptz, payload text, readings text",
    conflict=" ON CONFLICT DO NOTHING",
)
AUTHORIZATION_ATTEMPT: Final = _target(
    "authorization_attempt",
    "received_on date, received_at timestamptz, tenant_id int4, station_key int8, evse_id int4, id_token text, "
    "id_token_type text, status text, message_id text, content_hash bytea",
)
CONNECTOR: Final = _target(
    "connector",
    "station_key int8, evse_id int4, connector_id int4, status text, reported text, error_code text, info text, "
    "vendor_id text, vendor_error_code text, at timestamptz, received_at timestamptz",
    conflict=" ON CONFLICT (station_key, evse_id, connector_id)"
    + _replace("status", "reported", "error_code", "info", "vendor_id", "vendor_error_code", "at", "received_at"),
    key=(0, 1, 2),
)
STATION_NOTICE: Final = _target(
    "station_notice",
    "received_on date, received_at timestamptz, station_key int8, action text, tells text, message_id text, "
    "content_hash bytea, payload text",
)
STATION_CONNECTION: Final = _target(
    "station_connection",
    "station_key int8, node_id int4, connected bool, changed_at timestamptz, ocpp_version text, remote_address text, "
    "last_seen_at timestamptz, clock_offset_s text u.clock_offset_s::float8, clock_measured_at timestamptz",
    conflict=" ON CONFLICT (station_key) DO UPDATE SET connected = excluded.connected, changed_at = excluded.changed_at, "
    "ocpp_version = excluded.ocpp_version, remote_address = excluded.remote_address, last_seen_at = excluded.last_seen_at, "
    "clock_offset_s = coalesce(excluded.clock_offset_s, station_connection.clock_offset_s), "
    "clock_measured_at = coalesce(excluded.clock_measured_at, station_connection.clock_measured_at) "
    "WHERE station_connection.node_id = excluded.node_id",
    key=(0,),
)
STATION_BOOT: Final = Target(
    len(_made),
    "station_boot",
    _columns(
        "key int8, vendor text, model text, serial_number text, firmware_version text, iccid text, imsi text, meter_type text, "
        "meter_serial_number text, boot_reason text, booted_at timestamptz"
    ),
    "UPDATE charging_station s SET vendor = b.vendor, model = b.model, serial_number = b.serial_number, "
    "firmware_version = b.firmware_version, iccid = b.iccid, imsi = b.imsi, meter_type = b.meter_type, "
    "meter_serial_number = b.meter_serial_number, boot_reason = b.boot_reason, booted_at = b.booted_at "
    "FROM (SELECT {select} FROM {unnest} u) b WHERE s.key = b.key AND (SELECT ok FROM fence)",
    (0,),
)
_made.append(STATION_BOOT)
QUARANTINE: Final = _target(
    "quarantine",
    "tenant_id int4, station_key int8, action text, message_id text, content_hash bytea, payload bytea, reason text, "
    "received_at timestamptz",
    conflict=" ON CONFLICT (station_key, content_hash) DO UPDATE SET hits = quarantine.hits + 1",
    key=(1, 4),
)
STATION_QUIRK: Final = _target(
    "station_quirk",
    "station_key int8, rule text, hits int8, last_at timestamptz",
    conflict=" ON CONFLICT (station_key, rule) DO UPDATE SET hits = station_quirk.hits + excluded.hits, "
    "last_at = excluded.last_at",
    key=(0, 1),
)
VARIABLES_MOST: Final = 20_000
"""Variables of one station at which its reports add and change nothing more; the largest known have some thousands."""
STATION_VARIABLE: Final = Target(
    len(_made),
    "station_variable",
    _columns(
        "station_key int8, component text, component_instance text, evse_id int4, connector_id int4, variable text, "
        "variable_instance text, attribute text, value text, mutability text, "
        "characteristics text u.characteristics::jsonb, reported_at timestamptz"
    ),
    (
        "INSERT INTO station_variable AS v ({cols}) SELECT {select} FROM {unnest} u JOIN "
        "(SELECT station_key FROM {unnest} d GROUP BY station_key HAVING (SELECT count(*) FROM station_variable s "
        "WHERE s.station_key = d.station_key) < {most}) r ON r.station_key = u.station_key "
        "WHERE (SELECT ok FROM fence) "
        "ON CONFLICT (station_key, component, component_instance, evse_id, connector_id, variable, variable_instance, attribute) "
        "DO UPDATE SET value = excluded.value, mutability = coalesce(excluded.mutability, v.mutability), "
        "characteristics = coalesce(excluded.characteristics, v.characteristics), reported_at = excluded.reported_at"
    ).replace("{most}", str(VARIABLES_MOST)),
    (0, 1, 2, 3, 4, 5, 6, 7),
)
_made.append(STATION_VARIABLE)
OUTBOX: Final = _target("outbox", "tenant_id int4, topic text, key text, payload text")

TARGETS: Final[tuple[Target, ...]] = tuple(_made)


PREMISES: Final = 1 << len(TARGETS)
"""Bit of a statement that proves premises before it writes anything."""

PREMISE_COLUMNS: Final = _columns("tenant_id int4, token_key text, version int8")

ID_TOKEN_VERSION: Final = "hashint8extended(t.id, t.xmin::text::int8)"  # noqa: S105 - of an id token, no secret
"""What is another for every change of a row `t` of id_token: a hash of its id and of the transaction that wrote it. That of a
token is the exclusive or of its rows', which needs no order (and so no index but the one that finds them)."""

ID_TOKEN_MATCH: Final = "t.token_key = {q}.token_key AND (t.tenant_id = {q}.tenant_id) IS TRUE"  # noqa: S105 - no secret
"""Finds the rows `t` of id_token of a tenant and a token key in `{q}`: by the one index that begins with the key, also where the
planner knows nothing of the table yet. (A comparison IS TRUE is for no index; those that begin with the tenant would read all of
its tokens.)"""

_OVERTAKEN: Final = (
    "overtaken AS MATERIALIZED (SELECT p.place FROM unnest({arrays}) WITH ORDINALITY AS p(tenant_id, token_key, version, place) "  # noqa: S608 - constants
    f"WHERE p.version IS DISTINCT FROM (SELECT bit_xor({ID_TOKEN_VERSION}) FROM id_token t "
    f"WHERE {ID_TOKEN_MATCH.replace('{q}', 'p')}))"
)


def statement(mask: int) -> str:
    """The batch statement for the targets whose bits are set, and for premises where PREMISES is. Parameters: batch, node,
    instance, fence, then one array a column, target by target, the premises' last. It returns one row: 1 where the fence held,
    else 0; and the places of the premises that hold no more, from 1, separated by commas, or NULL where all do. Only where
    the fence held, and they do, is anything written."""
    links = []
    number = 4
    for target in TARGETS:
        if not mask >> target.index & 1:
            continue
        arrays = []
        for column in target.columns:
            number += 1
            arrays.append(f"${number}::{column.type}[]")
        names = ", ".join(column.name for column in target.columns)
        select = ", ".join(
            (column.expr or f"u.{column.name}").replace(";", ",") + f" AS {column.name}" for column in target.columns
        )
        unnest = f"(SELECT * FROM unnest({', '.join(arrays)}) AS x({names}))"  # noqa: S608 - constants of this file
        body = target.sql.replace("{cols}", names).replace("{select}", select).replace("{unnest}", unnest)
        links.append(f"{target.cte} AS ({body})")
    fence = (
        "fence AS (UPDATE node SET last_batch = $1::int8 "
        "WHERE id = $2::int4 AND instance = $3::uuid AND fence = $4::int8{proved} RETURNING true AS ok)"
    )
    if mask & PREMISES:
        arrays = [f"${number + place}::{column.type}[]" for place, column in enumerate(PREMISE_COLUMNS, 1)]
        links.insert(0, _OVERTAKEN.replace("{arrays}", ", ".join(arrays)))
        links.insert(1, fence.replace("{proved}", " AND (SELECT count(*) FROM overtaken) = 0"))
        changed = "(SELECT string_agg(place::text, ',') FROM overtaken)"
    else:
        links.insert(0, fence.replace("{proved}", ""))
        changed = "NULL::text"
    return f"WITH {', '.join(links)} SELECT (SELECT count(*) FROM fence), {changed}"  # noqa: S608 - constants of this file
