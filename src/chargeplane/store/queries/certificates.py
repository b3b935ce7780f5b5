"""Certificates: the house's own with their keys, and those that stations asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import CommandId, StationKey, TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_time

_LOCK = 0x63702D706B69  # ours alone: one node at a time makes certificates of the house


class HouseCertificate(Struct, frozen=True):
    """A certificate of the house; the key is encrypted."""

    chain: str
    key: bytes
    not_after: datetime


class CertificateView(Struct, frozen=True, kw_only=True):
    """A certificate that a station asked for.

    Args:
        use: the station's word; null where it gave none, CombinedCertificate where that stands for its socket and Plug & Charge.
        state: requested, refused (the request breaks a rule), failed, issued, or revoked.
        reason: why it was refused, failed or revoked.
        delivery: state of the command that brings it to the station; null before there is one.
        delivery_reason: why the station did not take it.
        chain: PEM: the certificate, then the intermediate ones.
    """

    id: str
    station_id: str
    use: str | None
    state: str
    reason: str | None
    subject: str | None
    serial_number: str | None
    not_before: datetime | None
    not_after: datetime | None
    delivery: str | None
    delivery_reason: str | None
    command_id: str | None
    requested_at: datetime
    issued_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    chain: str | None


class CertificateFilter(Struct, frozen=True, kw_only=True):
    """Which certificates."""

    station_id: str | None = None
    state: str | None = None
    use: str | None = None


class Wanted(Struct, frozen=True, kw_only=True):
    """A request that is to be signed, or a certificate that is to be brought to its station."""

    id: int
    tenant_id: TenantId
    station_key: StationKey
    station_id: str
    certificate_name: str | None
    use: str | None
    request_id: int | None
    state: str
    csr: str
    chain: str | None


async def lock_house(db: Db) -> None:
    """Waits until no other transaction makes certificates of the house."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


class Generation(Struct, frozen=True, kw_only=True):
    """A generation of the house's authority.

    Args:
        state: next (its root goes to the stations), current, old (still trusted), retired.
        crossed: PEM of its root's key, signed by the root before.
    """

    number: int
    state: str
    crossed: str | None = None
    made_at: datetime
    activated_at: datetime | None = None
    retired_at: datetime | None = None


async def generations(db: Db) -> list[Generation]:
    """All generations, the oldest first."""
    rows = await db.fetch(
        "SELECT number, state, crossed, made_at, activated_at, retired_at FROM authority_generation ORDER BY number"
    )
    return [Generation(**row) for row in rows]


async def add_generation(db: Db, number: int, state: str, crossed: str | None) -> None:
    """A new generation."""
    await db.execute(
        "INSERT INTO authority_generation (number, state, crossed, activated_at)"
        " VALUES ($1, $2, $3, CASE WHEN $2 = 'current' THEN now() END)",
        number,
        state,
        crossed,
    )


async def activate_generation(db: Db, number: int) -> None:
    """The generation that was next is current, the current one old."""
    await db.execute("UPDATE authority_generation SET state = 'old' WHERE state = 'current'")
    await db.execute(
        "UPDATE authority_generation SET state = 'current', activated_at = now() WHERE number = $1", number
    )


async def retire_generation(db: Db, number: int) -> None:
    """What an old generation signed is trusted no more."""
    await db.execute("UPDATE authority_generation SET state = 'retired', retired_at = now() WHERE number = $1", number)


async def living_of(db: Db, issuer: bytes) -> int:
    """How many stations' certificates of an issuer hold and are not revoked."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM certificate WHERE issuer = $1 AND state = 'issued' AND revoked_at IS NULL AND not_after > now()"
        " AND NOT EXISTS (SELECT FROM certificate n JOIN command d ON d.id = n.command_id AND d.state = 'accepted'"
        " WHERE n.station_key = certificate.station_key AND n.id > certificate.id AND n.state = 'issued'"
        " AND (n.use IS NULL OR n.use IN ('ChargingStationCertificate', 'CombinedCertificate')) AND n.issuer <> $1)",
        issuer,
    )
    return found


async def house(db: Db, role: str, names: str = "", generation: int = 1) -> HouseCertificate | None:
    """The newest certificate of this role and generation."""
    row = await db.fetchrow(
        "SELECT chain, key, not_after FROM house_certificate WHERE role = $1 AND names = $2 AND generation = $3"
        " ORDER BY id DESC LIMIT 1",
        role,
        names,
        generation,
    )
    return None if row is None else HouseCertificate(row["chain"], row["key"], row["not_after"])


async def add_house(db: Db, role: str, certificate: HouseCertificate, names: str = "", generation: int = 1) -> None:
    """A new certificate of this role."""
    await db.execute(
        "INSERT INTO house_certificate (role, names, chain, key, not_after, generation) VALUES ($1, $2, $3, $4, $5, $6)",
        role,
        names,
        certificate.chain,
        certificate.key,
        certificate.not_after,
        generation,
    )


async def house_keys(db: Db) -> list[tuple[int, str, bytes]]:
    """(id, role, encrypted key) of every certificate of the house."""
    rows = await db.fetch("SELECT id, role, key FROM house_certificate ORDER BY id FOR UPDATE")
    return [(row["id"], row["role"], row["key"]) for row in rows]


async def reseal_house(db: Db, ident: int, key: bytes) -> None:
    """Its key, encrypted anew."""
    await db.execute("UPDATE house_certificate SET key = $2 WHERE id = $1", ident, key)


class Rollout(Struct, frozen=True, kw_only=True):
    """How far a generation's root is on its way to the stations that use TLS."""

    installed: int
    refused: int
    waiting: int


_ON_TLS = "s.deleted_at IS NULL AND s.security_profile >= 2 AND s.registration = 'Accepted'"


async def rollout(db: Db, generation: int) -> Rollout:
    """How far it is."""
    row = await db.fetchrow(
        "SELECT count(*) FILTER (WHERE r.state = 'installed') AS installed, count(*) FILTER (WHERE r.state = 'refused') AS"
        " refused, count(*) FILTER (WHERE r.state IS NULL OR r.state = 'asked') AS waiting FROM charging_station s"
        f" LEFT JOIN authority_rollout r ON r.station_key = s.key AND r.generation = $1 WHERE {_ON_TLS}",
        generation,
    )
    assert row is not None
    return Rollout(**row)


async def to_roll_out(db: Db, generation: int, most: int) -> list[tuple[TenantId, StationKey]]:
    """Connected stations that are to be brought a generation's root now; for this node alone for some minutes."""
    rows = await db.fetch(
        f"WITH due AS (SELECT s.key, s.tenant_id FROM charging_station s"
        " JOIN station_connection k ON k.station_key = s.key AND k.connected"
        " LEFT JOIN authority_rollout r ON r.station_key = s.key AND r.generation = $1"
        f" WHERE {_ON_TLS} AND (r.state IS NULL OR r.state = 'asked' AND r.at < now() - interval '5 minutes')"
        " ORDER BY hashint8(s.key) LIMIT $2),"
        " asked AS (INSERT INTO authority_rollout (generation, station_key, state, attempts) SELECT $1, key, 'asked', 1 FROM due"
        " ON CONFLICT (generation, station_key) DO UPDATE SET at = now(), attempts = authority_rollout.attempts + 1"
        " WHERE authority_rollout.state = 'asked' AND authority_rollout.at < now() - interval '5 minutes'"
        " RETURNING station_key) SELECT tenant_id, key FROM due WHERE key IN (SELECT station_key FROM asked)",
        generation,
        most,
    )
    return [(row["tenant_id"], row["key"]) for row in rows]


async def rolled_out(db: Db, generation: int, key: StationKey, state: str, reason: str | None) -> None:
    """What became of it at a station; `asked` has it asked again later."""
    await db.execute(
        "UPDATE authority_rollout SET state = $3, reason = $4, at = now() WHERE generation = $1 AND station_key = $2",
        generation,
        key,
        state,
        reason,
    )


class Due(Struct, frozen=True, kw_only=True):
    """A station's certificate that is to be renewed, or of whose end somebody is to be told."""

    id: int
    tenant_id: TenantId
    station_key: StationKey
    station_id: str
    subject: str | None
    not_after: datetime
    use: str | None = None


_DOOR = "(c.use IS NULL OR c.use IN ('ChargingStationCertificate', 'CombinedCertificate'))"


def _kind(row: str) -> str:
    """Certificates of a kind succeed one another: one for the door, one a part of ISO 15118 (and a name, for a station may have several)."""
    return f"(CASE WHEN {row}.use IN ('V2GCertificate', 'V2G20Certificate') THEN {row}.use ELSE '' END)"


def _refused(row: str) -> str:
    return f"EXISTS (SELECT FROM command d WHERE d.id = {row}.command_id AND d.state IN ('rejected', 'expired'))"


_NEWEST_HELD = f"""
    FROM certificate c JOIN charging_station s ON s.key = c.station_key AND s.deleted_at IS NULL
    WHERE c.state = 'issued' AND c.revoked_at IS NULL AND c.not_after > now() AND NOT {_refused("c")}
    AND NOT EXISTS (SELECT FROM certificate n WHERE n.station_key = c.station_key AND n.id > c.id AND n.revoked_at IS NULL
        AND {_kind("n")} = {_kind("c")} AND (n.state = 'requested' OR n.state = 'issued' AND n.not_after > c.not_after
        AND ({_kind("c")} = '' OR n.subject = c.subject) AND NOT {_refused("n")}))"""


async def to_renew(db: Db, most: int) -> list[Due]:
    """Certificates past two thirds of their time, of connected stations; spread over the next twentieth of it. Each is asked for
    once a day."""
    rows = await db.fetch(
        "UPDATE certificate SET renewal_asked_at = now() FROM (SELECT c.id, s.station_id"
        f" {_NEWEST_HELD} AND now() > c.not_before + (c.not_after - c.not_before) * (2.0 / 3"
        " + (abs(hashint8(c.station_key)) % 1000) / 20000.0)"
        " AND (c.renewal_asked_at IS NULL OR c.renewal_asked_at < now() - interval '1 day')"
        " AND EXISTS (SELECT FROM station_connection k WHERE k.station_key = c.station_key AND k.connected)"
        " ORDER BY c.not_after LIMIT $1) due WHERE certificate.id = due.id AND (renewal_asked_at IS NULL"
        " OR renewal_asked_at < now() - interval '1 day')"
        " RETURNING certificate.id, tenant_id, station_key, station_id, subject, not_after, use",
        most,
    )
    return [Due(**row) for row in rows]


async def about_to_expire(db: Db, days: int, most: int) -> list[Due]:
    """Certificates that end soon and nobody was told of; locked until the transaction ends."""
    rows = await db.fetch(
        f"SELECT c.id, c.tenant_id, c.station_key, s.station_id, c.subject, c.not_after, c.use {_NEWEST_HELD}"
        " AND c.not_after < now() + make_interval(days => $1) AND c.warned_at IS NULL ORDER BY c.not_after LIMIT $2"
        " FOR UPDATE OF c SKIP LOCKED",
        days,
        most,
    )
    return [Due(**row) for row in rows]


async def evse_of_secc(db: Db, key: StationKey, names: list[str]) -> int | None:
    """The first EVSE whose ISO 15118 controller has one of these names; None where the station has one controller for all, or never told."""
    found: int | None = await db.fetchval(
        "SELECT min(evse_id) FROM station_variable WHERE station_key = $1 AND evse_id > 0 AND lower(component) = 'iso15118ctrlr'"
        " AND lower(variable) = 'seccid' AND attribute = 'Actual' AND value = ANY($2::text[])",
        key,
        names,
    )
    return found


async def not_taken(db: Db, most: int) -> list[tuple[Due, str | None]]:
    """Certificates of the last month that their stations did not take and nobody was told of, with the reason; locked until the
    transaction ends."""
    rows = await db.fetch(
        "SELECT c.id, c.tenant_id, c.station_key, s.station_id, c.subject, c.not_after, c.use, d.reason FROM certificate c"
        " JOIN charging_station s ON s.key = c.station_key AND s.deleted_at IS NULL JOIN command d ON d.id = c.command_id"
        " WHERE c.state = 'issued' AND c.revoked_at IS NULL AND c.warned_at IS NULL AND d.state IN ('rejected', 'expired')"
        " AND c.issued_at > now() - interval '30 days' ORDER BY c.id LIMIT $1 FOR UPDATE OF c SKIP LOCKED",
        most,
    )
    return [(Due(**{name: row[name] for name in Due.__struct_fields__}), row["reason"]) for row in rows]


async def wants_combined(db: Db, key: StationKey) -> bool:
    """Whether a request of the station that names no use is for both its socket and Plug & Charge: it was last asked for that, or
    the newest certificate that it has for its socket is one."""
    row = await db.fetchrow(
        "SELECT (SELECT request LIKE '%\"SignCombinedCertificate\"%' FROM command WHERE station_key = $1 AND type = 'trigger'"
        " AND (request LIKE '%\"SignCombinedCertificate\"%' OR request LIKE '%\"SignChargingStationCertificate\"%')"
        " AND state NOT IN ('rejected', 'failed', 'expired') ORDER BY id DESC LIMIT 1) AS asked,"
        f" (SELECT c.use = 'CombinedCertificate' FROM certificate c WHERE c.station_key = $1 AND {_DOOR} AND c.state = 'issued'"
        " AND c.revoked_at IS NULL ORDER BY c.id DESC LIMIT 1) AS held",
        key,
    )
    assert row is not None
    return bool(row["held"] if row["asked"] is None else row["asked"])


async def warned(db: Db, ident: int) -> None:
    """Somebody was told of its end."""
    await db.execute("UPDATE certificate SET warned_at = now() WHERE id = $1", ident)


async def request(
    db: Db,
    tenant_id: TenantId,
    key: StationKey,
    *,
    use: str | None,
    request_id: int | None,
    csr: str,
    csr_hash: bytes,
    refused: str | None,
) -> int:
    """A station's request. The same request again, while its certificate holds, is the one that is there."""
    known = await db.fetchval(
        "SELECT id FROM certificate WHERE station_key = $1 AND csr_hash = $2 AND use IS NOT DISTINCT FROM $3"
        " AND revoked_at IS NULL AND (state = 'requested' OR state = 'issued' AND not_after > now())"
        " ORDER BY id DESC LIMIT 1",
        key,
        csr_hash,
        use,
    )
    if known is not None:
        await db.execute(
            "UPDATE certificate SET request_id = $2, command_id = NULL WHERE id = $1 AND (command_id IS NULL OR"
            " command_id IN (SELECT id FROM command WHERE state NOT IN ('pending', 'sent')))",
            known,
            request_id,
        )
        return int(known)
    ident: int = await db.fetchval(
        "INSERT INTO certificate (tenant_id, station_key, use, request_id, state, reason, csr, csr_hash)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        tenant_id,
        key,
        use,
        request_id,
        "requested" if refused is None else "refused",
        refused,
        csr,
        csr_hash,
    )
    return ident


async def common_name(db: Db, key: StationKey) -> str | None:
    """The common name that the station's certificate is to have; None where there is no such station."""
    name: str | None = await db.fetchval(
        "SELECT coalesce(settings->>'certificate_name', station_id) FROM charging_station"
        " WHERE key = $1 AND deleted_at IS NULL",
        key,
    )
    return name


async def unfinished(db: Db, older_than_s: float) -> list[int]:
    """Requests without a certificate and certificates that are not on their way."""
    rows = await db.fetch(
        "SELECT id FROM certificate WHERE (state = 'requested' OR (state = 'issued' AND command_id IS NULL))"
        " AND revoked_at IS NULL AND requested_at < now() - make_interval(secs => $1) ORDER BY id",
        older_than_s,
    )
    return [row["id"] for row in rows]


async def wanted(db: Db, ident: int) -> Wanted | None:
    """What is to be done; None where nothing is."""
    row = await db.fetchrow(
        "SELECT c.id, c.tenant_id, c.station_key, s.station_id, s.settings->>'certificate_name' AS certificate_name,"
        " c.use, c.request_id, c.state, c.csr, c.chain"
        " FROM certificate c JOIN charging_station s ON s.key = c.station_key"
        " WHERE c.id = $1 AND c.command_id IS NULL AND c.revoked_at IS NULL AND c.state IN ('requested', 'issued')"
        " AND s.deleted_at IS NULL",
        ident,
    )
    return None if row is None else Wanted(**row)


async def issued(
    db: Db,
    ident: int,
    *,
    subject: str,
    serial_number: str,
    issuer: bytes,
    not_before: datetime,
    not_after: datetime,
    chain: str,
) -> bool:
    """The certificate was made; False where there is one already."""
    status: str = await db.execute(
        "UPDATE certificate SET state = 'issued', issued_at = now(), subject = $2, serial_number = $3, issuer = $4,"
        " not_before = $5, not_after = $6, chain = $7 WHERE id = $1 AND state = 'requested'",
        ident,
        subject,
        serial_number,
        issuer,
        not_before,
        not_after,
        chain,
    )
    return status.endswith(" 1")


async def failed(db: Db, ident: int, reason: str) -> None:
    """No certificate could be made."""
    await db.execute("UPDATE certificate SET state = 'failed', reason = $2 WHERE id = $1", ident, reason)


async def on_its_way(db: Db, ident: int, command_id: CommandId) -> None:
    """A command brings it to the station."""
    await db.execute("UPDATE certificate SET command_id = $2 WHERE id = $1", ident, command_id)


async def revoke(db: Db, tenant_id: TenantId, ident: int, by: str, reason: str) -> StationKey | None:
    """Revokes an issued certificate; its station, or None where there is none that is issued and not revoked."""
    key: StationKey | None = await db.fetchval(
        "UPDATE certificate SET revoked_at = now(), revoked_by = $3, revocation_reason = $4"
        " WHERE tenant_id = $1 AND id = $2 AND state = 'issued' AND revoked_at IS NULL RETURNING station_key",
        tenant_id,
        ident,
        by,
        reason,
    )
    return key


async def revoked(db: Db) -> list[tuple[bytes, str, datetime]]:
    """(issuer, serial number, when) of all revoked certificates that have not expired."""
    rows = await db.fetch(
        "SELECT issuer, serial_number, revoked_at FROM certificate WHERE revoked_at IS NOT NULL AND not_after > now()"
    )
    return [(row["issuer"], row["serial_number"], row["revoked_at"]) for row in rows]


async def state_of(db: Db, issuer: bytes, serial_number: str) -> tuple[bool, datetime | None]:
    """Whether a certificate of a station is of that issuer and number, and when it was revoked."""
    row = await db.fetchrow(
        "SELECT revoked_at FROM certificate WHERE issuer = $1 AND serial_number = $2 AND state = 'issued'",
        issuer,
        serial_number,
    )
    return (False, None) if row is None else (True, row["revoked_at"])


class Newest(Struct, frozen=True, kw_only=True):
    """Where the newest certificate stands that a station asked for."""

    state: str
    reason: str | None
    not_after: datetime | None
    delivery: str | None
    delivery_reason: str | None
    requested_at: datetime


async def newest_of(db: Db, key: StationKey) -> Newest | None:
    """The newest certificate for its door that a station asked for; revoked ones are not counted."""
    row = await db.fetchrow(
        "SELECT c.state, c.reason, c.not_after, d.state AS delivery, d.reason AS delivery_reason, c.requested_at"
        " FROM certificate c LEFT JOIN command d ON d.id = c.command_id"
        " WHERE c.station_key = $1 AND c.revoked_at IS NULL AND " + _DOOR + " ORDER BY c.id DESC LIMIT 1",
        key,
    )
    return None if row is None else Newest(**row)


_STATE = "CASE WHEN c.revoked_at IS NOT NULL THEN 'revoked' ELSE c.state END"
_SELECT = f"""
    SELECT c.id, s.station_id, c.use, {_STATE} AS state, coalesce(c.revocation_reason, c.reason) AS reason, c.subject,
        c.serial_number, c.not_before, c.not_after, d.state AS delivery, d.reason AS delivery_reason, c.command_id,
        c.requested_at, c.issued_at, c.revoked_at, c.revoked_by, c.chain
    FROM certificate c JOIN charging_station s ON s.key = c.station_key LEFT JOIN command d ON d.id = c.command_id"""


CERTIFICATE_SORTS: Final = Sorts(
    "c.id", requested_at=by_time("c.requested_at"), not_after=by_time("c.not_after", missing=True)
)


async def page(
    db: Db, tenant_id: TenantId, wanted: CertificateFilter, limit: int, after: Position | None
) -> list[CertificateView]:
    """Certificates and requests, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("lower(s.station_id) = lower(?)", wanted.station_id)
    where.add_if(f"{_STATE} = ?", wanted.state)
    where.add_if("c.use = ?", wanted.use)
    order = CERTIFICATE_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}", *where.values)
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int) -> CertificateView | None:
    """The certificate with our id."""
    row = await db.fetchrow(f"{_SELECT} WHERE c.tenant_id = $1 AND c.id = $2", tenant_id, ident)
    return None if row is None else _view(row)


def _view(row: Any) -> CertificateView:
    command = row["command_id"]
    return CertificateView(**{**row, "id": str(row["id"]), "command_id": None if command is None else str(command)})
