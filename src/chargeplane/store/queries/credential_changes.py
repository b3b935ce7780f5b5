"""Changes of passwords and security profiles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.credential_changes import ChangeKind, ChangeState
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, by_time

_LEASE_S: Final = 120.0


class Step(Struct, frozen=True, kw_only=True):
    """Something that was done, and when."""

    at: datetime
    what: str


class Plan(Struct, kw_only=True, omit_defaults=True):
    """What a change of profile needs, and what of it is done; a crash goes on from here.

    Args:
        told: False: the station is not told by OCPP, which must not be used for it; a person sets it there.
        url: of this server for the new profile.
        interface: OCPPInterfaceEnum word.
        slot: of the new connection profile (2.x).
        slots: the order that was there before.
        root: PEM that the station is to trust; None where it trusts it already.
        root_done, password_done, slot_done: what the station took.
        certificate_asked: when it was asked to ask for a certificate.
        restarting: it was told to restart.
        rolled: the reason of a roll-back under way.
        warned: somebody was told that it takes long.
    """

    told: bool = True
    url: str | None = None
    interface: str = "Wired0"
    slot: int | None = None
    slots: tuple[int, ...] = ()
    root: str | None = None
    root_done: bool = False
    password_done: bool = False
    slot_done: bool = False
    certificate_asked: datetime | None = None
    restarting: bool = False
    rolled: str | None = None
    warned: bool = False


class Change(Struct, kw_only=True):
    """A change as it is carried out."""

    id: int
    tenant_id: TenantId
    station_key: StationKey
    station_id: StationId
    kind: ChangeKind
    state: ChangeState
    is_taken: bool
    has_password: bool
    sealed: bytes | None
    from_profile: int
    security_profile: int | None
    plan: Plan
    returns: int
    attempts: int
    requested_by: str
    agreed_at: datetime | None
    expires_at: datetime


class CredentialChangeView(Struct, frozen=True, kw_only=True):
    """A change of a station's password or security profile.

    Args:
        state: waiting, sent, agreed, rolling_back; done, refused, rolled_back, expired, cancelled, superseded.
        reason: one sentence where it did not succeed.
        from_profile, security_profile: security_profile is null where only the password changes.
        both_accepted: whether the station may come in by the old way and the new one.
        steps: what was done, with its time.
        expires_at: until when it waits to be begun.
    """

    id: str
    station_id: str
    kind: str
    state: str
    reason: str | None
    from_profile: int
    security_profile: int | None
    both_accepted: bool
    steps: Any
    requested_by: str
    created_at: datetime
    agreed_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime


_CHANGE: Final = """c.id, c.tenant_id, c.station_key, s.station_id, c.kind, c.state, c.is_taken,
    c.password_hash IS NOT NULL AS has_password, c.sealed, c.from_profile, c.security_profile, c.plan, c.returns, c.attempts,
    c.requested_by, c.agreed_at, c.expires_at"""

_VIEW: Final = """
    SELECT c.id, s.station_id, c.kind, c.state, c.reason, c.from_profile, c.security_profile, c.is_taken AS both_accepted,
        c.steps, c.requested_by, c.created_at, c.agreed_at, c.finished_at, c.expires_at
    FROM credential_change c JOIN charging_station s ON s.key = c.station_key"""

_plan = msgspec.json.Decoder(Plan).decode


def _change(row: Any) -> Change:
    values = dict(row)
    return Change(
        **{
            **values,
            "plan": _plan(values["plan"]),
            "kind": ChangeKind(values["kind"]),
            "state": ChangeState(values["state"]),
        }
    )


async def insert(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    *,
    kind: ChangeKind,
    from_profile: int,
    security_profile: int | None,
    password: tuple[bytes, bytes, str] | None,
    sealed: bytes | None,
    plan: Plan,
    requested_by: str,
    expires_at: datetime,
) -> int:
    """A new change; what it gives the station next is good from the commit on. What an older one left good is no more.

    Args:
        password: salt, hash and key id.
    Raises:
        asyncpg.UniqueViolationError: another one is under way.
    """
    await db.execute(
        "UPDATE credential_change SET is_taken = false, sealed = NULL WHERE station_key = $1 AND is_taken"
        " AND finished_at IS NOT NULL",
        key,
    )
    salt, hashed, key_id = password if password is not None else (None, None, None)
    ident: int = await db.fetchval(
        "INSERT INTO credential_change (tenant_id, station_key, kind, state, is_taken, password_salt, password_hash,"
        " password_key_id, sealed, from_profile, security_profile, plan, requested_by, expires_at)"
        " VALUES ($1, $2, $3, 'waiting', true, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
        tenant_id,
        key,
        kind.value,
        salt,
        hashed,
        key_id,
        sealed,
        from_profile,
        security_profile,
        msgspec.json.encode(plan).decode(),
        requested_by,
        expires_at,
    )
    await _touch(db, ident)
    return ident


async def _touch(db: Db, ident: int) -> None:
    """What is good at the station's door changed: nodes that follow the database look at the station again."""
    await db.execute(
        "UPDATE charging_station SET revision = revision + 1, updated_at = now()"
        " WHERE key = (SELECT station_key FROM credential_change WHERE id = $1)",
        ident,
    )


async def take_due(db: Db, most: int) -> list[Change]:
    """Changes that something is to be done about, for us alone for a while."""
    rows = await db.fetch(
        "WITH due AS (SELECT id FROM credential_change WHERE finished_at IS NULL AND next_at <= now()"
        " AND (lease_until IS NULL OR lease_until < now()) ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
        " UPDATE credential_change c SET lease_until = now() + make_interval(secs => $2) FROM charging_station s"
        f" WHERE c.id IN (SELECT id FROM due) AND s.key = c.station_key RETURNING {_CHANGE}",
        most,
        _LEASE_S,
    )
    return [_change(row) for row in rows]


async def soonest(db: Db) -> float | None:
    """Seconds until something is to be done; None where nothing is."""
    found: float | None = await db.fetchval(
        "SELECT extract(epoch FROM min(greatest(next_at, coalesce(lease_until, next_at))) - now())::float8"
        " FROM credential_change WHERE finished_at IS NULL"
    )
    return found


async def locked(db: Db, ident: int) -> Change | None:
    """The change, locked until the transaction ends."""
    row = await db.fetchrow(
        f"SELECT {_CHANGE} FROM credential_change c JOIN charging_station s ON s.key = c.station_key WHERE c.id = $1"
        " FOR UPDATE OF c",
        ident,
    )
    return None if row is None else _change(row)


async def taken(db: Db, key: StationKey) -> Change | None:
    """The station's change whose next credentials are good at the door, locked until the transaction ends."""
    row = await db.fetchrow(
        f"SELECT {_CHANGE} FROM credential_change c JOIN charging_station s ON s.key = c.station_key"
        " WHERE c.station_key = $1 AND c.is_taken AND s.deleted_at IS NULL FOR UPDATE OF c",
        key,
    )
    return None if row is None else _change(row)


async def go_on(
    db: Db,
    ident: int,
    *,
    state: ChangeState,
    what: str | None,
    plan: Plan | None = None,
    wait_s: float = 0.0,
    attempts: int | None = None,
    returns: int | None = None,
    agreed: bool = False,
    hold: bool = False,
) -> None:
    """The change goes on.

    Args:
        what: for the list of steps.
        wait_s: until something is to be done again.
        agreed: the station said that it takes it.
        hold: it stays ours.
    """
    await db.execute(
        "UPDATE credential_change SET state = $2, plan = coalesce($3, plan),"
        " next_at = now() + make_interval(secs => $4), attempts = coalesce($5, attempts), returns = coalesce($6, returns),"
        " agreed_at = CASE WHEN $7 THEN now() ELSE agreed_at END,"
        " lease_until = CASE WHEN $8 THEN lease_until END WHERE id = $1",
        ident,
        state.value,
        None if plan is None else msgspec.json.encode(plan).decode(),
        wait_s,
        attempts,
        returns,
        agreed,
        hold,
    )
    if what is not None:
        await add_step(db, ident, what)
    if agreed:
        await _touch(db, ident)


async def add_step(db: Db, ident: int, what: str) -> None:
    """One more of the things that were done; at most two hundred are kept."""
    await db.execute(
        "UPDATE credential_change SET steps = (steps::jsonb || jsonb_build_array(jsonb_build_object('at',"
        " to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'what', $2::text)))::text"
        " WHERE id = $1 AND jsonb_array_length(steps::jsonb) < 200",
        ident,
        what,
    )


async def end(db: Db, ident: int, state: ChangeState, reason: str | None, *, stays_good: bool) -> None:
    """The change is over.

    Args:
        stays_good: what it was to give the station stays good at the door, until there is another change.
    """
    await db.execute(
        "UPDATE credential_change SET state = $2, reason = $3, finished_at = coalesce(finished_at, now()), is_taken = $4,"
        " sealed = NULL, lease_until = NULL WHERE id = $1",
        ident,
        state.value,
        reason,
        stays_good,
    )
    await add_step(db, ident, reason or state.value)
    await _touch(db, ident)


async def supersede(db: Db, key: StationKey, because: str) -> None:
    """Ends whatever is under way for a station, or is still good at the door."""
    rows = await db.fetch(
        "SELECT id, finished_at IS NULL AS open FROM credential_change WHERE station_key = $1"
        " AND (is_taken OR finished_at IS NULL) FOR UPDATE",
        key,
    )
    for row in rows:
        if row["open"]:
            await end(db, row["id"], ChangeState.SUPERSEDED, because, stays_good=False)
        else:
            await db.execute("UPDATE credential_change SET is_taken = false WHERE id = $1", row["id"])


async def promote(db: Db, change: Change) -> None:
    """What was next is what is registered from now on."""
    profile = change.from_profile if change.security_profile is None else change.security_profile
    await db.execute(
        "UPDATE charging_station s SET security_profile = $2::int::smallint, revision = revision + 1, updated_at = now(),"
        " password_salt = CASE WHEN $3::bool THEN c.password_salt WHEN $2::int = ANY ('{0,3}'::int[]) THEN NULL ELSE s.password_salt END,"
        " password_hash = CASE WHEN $3::bool THEN c.password_hash WHEN $2::int = ANY ('{0,3}'::int[]) THEN NULL ELSE s.password_hash END,"
        " password_key_id = CASE WHEN $3::bool THEN c.password_key_id WHEN $2::int = ANY ('{0,3}'::int[]) THEN NULL"
        " ELSE s.password_key_id END,"
        " password_set_at = CASE WHEN $3::bool THEN now() ELSE password_set_at END"
        " FROM credential_change c WHERE s.key = c.station_key AND c.id = $1",
        change.id,
        profile,
        change.has_password,
    )


async def due_for_rotation(db: Db, days: int, most: int) -> list[tuple[TenantId, StationKey, str]]:
    """Connected stations whose password is older than that, less up to a tenth so that not all come at once; oldest first.

    Left out are those with a change under way, or one that did not succeed within a day.
    """
    rows = await db.fetch(
        "SELECT s.tenant_id, s.key, s.station_id FROM charging_station s"
        " JOIN station_connection k ON k.station_key = s.key AND k.connected"
        " WHERE s.deleted_at IS NULL AND s.security_profile IN (1, 2) AND s.password_hash IS NOT NULL"
        " AND s.registration = 'Accepted' AND coalesce(s.password_set_at, s.created_at) < now() - make_interval(days => $1)"
        " + make_interval(secs => (abs(hashint8(s.key)) % 1000) / 1000.0 * $1 * 8640)"
        " AND NOT EXISTS (SELECT FROM credential_change c WHERE c.station_key = s.key"
        " AND (c.finished_at IS NULL OR c.finished_at > now() - interval '1 day'))"
        " ORDER BY coalesce(s.password_set_at, s.created_at) LIMIT $2",
        days,
        most,
    )
    return [(row["tenant_id"], row["key"], row["station_id"]) for row in rows]


CREDENTIAL_CHANGE_SORTS: Final = Sorts("c.id", created_at=by_time("c.created_at"), state=by_text("c.state"))


async def page(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    kind: ChangeKind,
    state: str | None,
    limit: int,
    after: Position | None,
) -> list[CredentialChangeView]:
    """A station's changes of a kind, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add("c.station_key = ?", key)
    where.add("c.kind = ?", kind.value)
    where.add_if("c.state = ?", state)
    order = CREDENTIAL_CHANGE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_VIEW} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return _views(rows)


async def one(db: Db, tenant_id: TenantId, ident: int) -> CredentialChangeView | None:
    """The change with our id."""
    found = _views(await db.fetch(f"{_VIEW} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident))
    return found[0] if found else None


def _views(rows: Sequence[Any]) -> list[CredentialChangeView]:
    return [
        CredentialChangeView(**{**row, "id": str(row["id"]), "steps": msgspec.Raw(row["steps"].encode())})
        for row in rows
    ]


async def sealed_with_old_keys(db: Db) -> list[tuple[int, bytes]]:
    """Passwords that wait, as they are encrypted."""
    rows = await db.fetch("SELECT id, sealed FROM credential_change WHERE sealed IS NOT NULL")
    return [(row["id"], row["sealed"]) for row in rows]


async def reseal(db: Db, ident: int, before: bytes, after: bytes) -> None:
    """Encrypted anew, unless it changed meanwhile."""
    await db.execute("UPDATE credential_change SET sealed = $3 WHERE id = $1 AND sealed = $2", ident, before, after)
