"""Bookings of our drivers at partners, and what can be booked there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.roaming.bookings import AskedState, RequestStatus, Span
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where


class NewAsked(Struct, frozen=True, kw_only=True):
    """A booking as it is written down before the partner is asked.

    Args:
        country_code, party_id: the operator's, in capitals.
        reference: authorization_reference.
        request: JSON of the BookingRequest, as sent.
    """

    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    request_id: str
    reference: str
    driver_id: int | None
    id_token_id: int
    booking_location_id: str
    location_id: str
    evse_uid: str | None
    starts_at: datetime
    ends_at: datetime
    request: bytes
    requested_by: str


class AskedBooking(NewAsked, frozen=True, kw_only=True):
    """A booking of a driver of ours at a partner.

    Args:
        asked: how the last request stands; None of what was not answered is PENDING.
        booking_id: the operator's.
        document: the Booking as it was told last.
        due_at: the request is sent again then.
    """

    id: int
    state: AskedState
    asked: RequestStatus
    message: str | None
    booking_id: str | None
    document: bytes | None
    attempts: int
    due_at: datetime | None
    revision: int
    created_at: datetime
    updated_at: datetime


_NEW: Final = NewAsked.__struct_fields__
_COLUMNS: Final = ", ".join(f"a.{name}" for name in AskedBooking.__struct_fields__)


def _asked(row: Any) -> AskedBooking:
    said = dict(row)
    return AskedBooking(
        **{**said, "state": AskedState(said["state"]), "asked": RequestStatus(said["asked"])},
    )


async def insert(db: Db, new: NewAsked, due_at: datetime) -> int:
    """Writes one down; our id."""
    places = ", ".join(f"${n}" for n in range(1, len(_NEW) + 1))
    ident: int = await db.fetchval(
        f"INSERT INTO asked_booking ({', '.join(_NEW)}, state, asked, due_at) VALUES ({places}, 'sent', 'PENDING',"
        f" ${len(_NEW) + 1}) RETURNING id",
        *(getattr(new, name) for name in _NEW),
        due_at,
    )
    return ident


async def one(db: Db, tenant_id: TenantId, ident: int, *, locked: bool = False) -> AskedBooking | None:
    """The booking with our id."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM asked_booking a WHERE a.tenant_id = $1 AND a.id = $2"
        f"{' FOR NO KEY UPDATE' if locked else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _asked(row)


ASKED_BOOKING_SORTS: Final = Sorts("a.id")


async def page(
    db: Db,
    tenant_id: TenantId,
    *,
    driver_id: int | None,
    state: AskedState | None,
    limit: int,
    after: Position | None,
) -> list[AskedBooking]:
    """Bookings, newest first."""
    where = Where()
    where.add("a.tenant_id = ?", tenant_id)
    where.add_if("a.driver_id = ?", driver_id)
    where.add_if("a.state = ?", None if state is None else state.value)
    order = ASKED_BOOKING_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM asked_booking a WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_asked(row) for row in rows]


async def ask(db: Db, ident: int, request: bytes, due_at: datetime) -> None:
    """Another request for the booking is on its way."""
    await db.execute(
        "UPDATE asked_booking SET request = $2, asked = 'PENDING', message = NULL, attempts = 0, due_at = $3,"
        " revision = revision + 1, updated_at = now() WHERE id = $1",
        ident,
        request,
        due_at,
    )


async def answered(db: Db, ident: int, message: str | None) -> None:
    """The partner has the request."""
    await db.execute(
        "UPDATE asked_booking SET due_at = NULL, attempts = 0, message = $2, updated_at = now() WHERE id = $1",
        ident,
        message,
    )


async def failed(db: Db, ident: int, message: str, again_at: datetime | None) -> None:
    """The partner did not take the request.

    Args:
        again_at: None: it is given up.
    """
    await db.execute(
        "UPDATE asked_booking SET attempts = attempts + 1, message = $2, due_at = $3,"
        " asked = CASE WHEN $3::timestamptz IS NULL THEN 'FAILED' ELSE asked END,"
        " state = CASE WHEN $3::timestamptz IS NULL AND state = 'sent' THEN 'failed' ELSE state END,"
        " revision = revision + 1, updated_at = now() WHERE id = $1",
        ident,
        message,
        again_at,
    )


async def due(db: Db, now: datetime, lease_until: datetime, most: int) -> list[AskedBooking]:
    """Requests that are to be sent again, leased."""
    rows = await db.fetch(
        "UPDATE asked_booking a SET due_at = $2 WHERE id IN (SELECT id FROM asked_booking WHERE due_at <= $1"
        f" ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}",
        now,
        lease_until,
        most,
    )
    return [_asked(row) for row in rows]


class Told(Struct, frozen=True, kw_only=True):
    """A Booking as a partner told it."""

    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    request_id: str
    booking_id: str
    state: AskedState
    asked: RequestStatus
    evse_uid: str | None
    starts_at: datetime
    ends_at: datetime
    document: bytes


async def told(db: Db, said: Told) -> AskedBooking | None:
    """Writes what a partner told; None where no driver of ours has booked that."""
    row = await db.fetchrow(
        "UPDATE asked_booking a SET booking_id = $6, state = $7, asked = $8, evse_uid = coalesce($9, evse_uid), starts_at = $10,"
        " ends_at = $11, document = $12, due_at = CASE WHEN $8 = 'PENDING' THEN due_at END, revision = revision + 1,"
        " updated_at = now() WHERE tenant_id = $1 AND connection_id = $2 AND country_code = $3 AND party_id = $4"
        f" AND lower(request_id) = lower($5) RETURNING {_COLUMNS}",
        said.tenant_id,
        said.connection_id,
        said.country_code,
        said.party_id,
        said.request_id,
        said.booking_id,
        said.state.value,
        said.asked.value,
        said.evse_uid,
        said.starts_at,
        said.ends_at,
        said.document,
    )
    return None if row is None else _asked(row)


async def was_canceled(db: Db, tenant_id: TenantId, party: tuple[str, str], booking_id: str | None) -> bool:
    """Whether a booking of a driver of ours was canceled."""
    return booking_id is not None and bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM asked_booking WHERE tenant_id = $1 AND country_code = $2 AND party_id = $3"
            " AND lower(booking_id) = lower($4) AND state = 'canceled')",
            tenant_id,
            *party,
            booking_id,
        )
    )


class Costs(Struct, frozen=True, kw_only=True):
    """What followed from a booking: our keys of the partner's session and CDRs."""

    session_key: int | None
    cdr_keys: tuple[int, ...]


async def costs(db: Db, asked: AskedBooking) -> Costs:
    """What followed from a booking."""
    session = await db.fetchval(
        "SELECT max(object_key) FROM received_session WHERE tenant_id = $1 AND reference = $2",
        asked.tenant_id,
        asked.reference,
    )
    rows = await db.fetch(
        "SELECT object_key FROM checked_cdr WHERE tenant_id = $1 AND country_code = $2 AND party_id = $3"
        " AND lower(booking_id) = lower($4) ORDER BY object_key LIMIT 20",
        asked.tenant_id,
        asked.country_code,
        asked.party_id,
        asked.booking_id or "",
    )
    return Costs(session_key=session, cdr_keys=tuple(row["object_key"] for row in rows))


# What can be booked


class Bookable(Struct, frozen=True, kw_only=True):
    """A BookingLocation of a partner."""

    object_key: int
    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    id: str
    location_key: str
    evse_key: str | None
    document: bytes


async def put_bookable(db: Db, place: Bookable, free: Sequence[Span]) -> None:
    """Keeps when a place can be booked."""
    spans = "{" + ",".join(f"[{one.start.isoformat()},{one.end.isoformat()})" for one in free) + "}"
    await db.execute(
        "INSERT INTO partner_bookable (object_key, tenant_id, connection_id, country_code, party_id, id, location_key, evse_key,"
        " document, free) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::tstzmultirange)"
        " ON CONFLICT (object_key) DO UPDATE SET connection_id = excluded.connection_id, id = excluded.id,"
        " location_key = excluded.location_key, evse_key = excluded.evse_key, document = excluded.document, free = excluded.free",
        *(getattr(place, name) for name in Bookable.__struct_fields__),
        spans,
    )


async def drop_bookable(db: Db, object_key: int) -> None:
    """Nothing can be booked there any more."""
    await db.execute("DELETE FROM partner_bookable WHERE object_key = $1", object_key)


_BOOKABLE: Final = ", ".join(f"b.{name}" for name in Bookable.__struct_fields__)
_THERE: Final = "EXISTS (SELECT FROM partner_object o WHERE o.key = b.object_key AND o.gone_at IS NULL)"


async def bookable(db: Db, tenant_id: TenantId, party: tuple[str, str], ident: str) -> Bookable | None:
    """A party's BookingLocation by its id."""
    row = await db.fetchrow(
        f"SELECT {_BOOKABLE} FROM partner_bookable b WHERE b.tenant_id = $1 AND b.country_code = $2 AND b.party_id = $3"
        f" AND lower(b.id) = lower($4) AND {_THERE}",
        tenant_id,
        *party,
        ident,
    )
    return None if row is None else Bookable(**row)


async def free_at(
    db: Db, tenant_id: TenantId, places: Sequence[tuple[str, str, str]], span: Span
) -> list[tuple[Bookable, Span]]:
    """What is free at Locations for an interval, each with the time around it that is free.

    Args:
        places: country code, party id and id in lower case of Locations.
    """
    rows = await db.fetch(
        f"SELECT {_BOOKABLE}, lower(f.r) AS free_from, upper(f.r) AS free_to FROM unnest($2::text[], $3::text[], $4::text[])"
        " AS w(country_code, party_id, location_key) JOIN partner_bookable b ON b.tenant_id = $1 AND b.country_code = w.country_code"
        " AND b.party_id = w.party_id AND b.location_key = w.location_key CROSS JOIN LATERAL unnest(b.free) AS f(r)"
        f" WHERE f.r @> tstzrange($5, $6) AND {_THERE} ORDER BY b.object_key LIMIT 5000",
        tenant_id,
        [one[0] for one in places],
        [one[1] for one in places],
        [one[2] for one in places],
        span.start,
        span.end,
    )
    found = []
    for row in rows:
        said = dict(row)
        around = Span(said.pop("free_from"), said.pop("free_to"))
        found.append((Bookable(**said), around))
    return found
