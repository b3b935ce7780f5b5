"""What stations are to keep for bookings, and to give free."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from chargeplane.domain.reservations import ReservationState
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.queries import reservations
from chargeplane.store.queries.bookings import Booking
from chargeplane.store.queries.paging import Db

_BY: Final = "policy: bookings"


class Hold(Struct, frozen=True, kw_only=True):
    """What a station is to keep, or to give free.

    Args:
        number: the station knows it by.
        wanted: False: to be given free.
        kept_at: the station said so last.
        asked_until: a ReserveNow that was not answered may be on its way until then.
        valid_until: what the station is told.
    """

    reservation_id: int
    booking_id: int
    tenant_id: TenantId
    station_key: StationKey
    evse_id: int
    number: int
    wanted: bool
    kept_at: datetime | None
    asked_until: datetime | None
    refusals: int
    valid_until: datetime
    id_token: str
    id_token_type: str | None
    group_id: str | None
    state: ReservationState
    transaction_id: int | None


_COLUMNS: Final = """h.reservation_id, h.booking_id, h.tenant_id, h.station_key, h.evse_id, h.number, h.wanted, h.kept_at,
    h.asked_until, h.refusals, r.valid_until, r.id_token, r.id_token_type, r.group_id, r.state, r.transaction_id"""


def _hold(row: Any) -> Hold:
    return Hold(**{**row, "state": ReservationState(row["state"])})


async def want(db: Db, booking: Booking, now: datetime) -> None:
    """Has the station of a booking's EVSE keep it from now on; what another was to keep is given free."""
    await give_free(db, booking.id, now)
    if booking.station_key is None or booking.ocpp_evse_id is None:
        return
    number = await reservations.next_number(db, booking.station_key)
    ident = await reservations.insert(
        db,
        booking.tenant_id,
        booking.station_key,
        number=number,
        evse_id=booking.ocpp_evse_id,
        connector_type=None,
        id_token=booking.id_token,
        id_token_type=booking.id_token_type,
        group_id=booking.group_id,
        valid_until=booking.times.no_show_at,
        valid_from=min(now, booking.times.no_show_at),
        requested_by=_BY,
    )
    await db.execute(
        "INSERT INTO booking_hold (reservation_id, booking_id, tenant_id, station_key, evse_id, number, wanted, due_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, true, $7)",
        ident,
        booking.id,
        booking.tenant_id,
        booking.station_key,
        booking.ocpp_evse_id,
        number,
        now,
    )


async def give_free(db: Db, booking_id: int, now: datetime) -> None:
    """Has whatever a station keeps for a booking given free."""
    await db.execute(
        "UPDATE booking_hold SET wanted = false, due_at = $2 WHERE booking_id = $1 AND wanted", booking_id, now
    )


async def retime(db: Db, booking_id: int, until: datetime, now: datetime) -> None:
    """Tells a station another end of what it keeps: the same number again replaces it (OCPP 2.0.1 H01.FR.02, 1.6 5.13)."""
    await db.execute(
        "UPDATE reservation SET valid_until = $2, updated_at = now() WHERE id ="
        " (SELECT reservation_id FROM booking_hold WHERE booking_id = $1 AND wanted) AND valid_from < $2",
        booking_id,
        until,
    )
    await db.execute("UPDATE booking_hold SET due_at = $2 WHERE booking_id = $1 AND wanted", booking_id, now)


async def claim(db: Db, now: datetime, lease_until: datetime, most: int) -> list[Hold]:
    """What is due, ours until the lease ends: whoever dies with it leaves it to another then."""
    rows = await db.fetch(
        f"""WITH due AS (SELECT reservation_id FROM booking_hold WHERE due_at <= $1 ORDER BY due_at LIMIT $3
            FOR NO KEY UPDATE SKIP LOCKED),
        taken AS (UPDATE booking_hold h SET due_at = $2 FROM due WHERE h.reservation_id = due.reservation_id RETURNING h.*)
        SELECT {_COLUMNS} FROM taken h JOIN reservation r ON r.id = h.reservation_id""",
        now,
        lease_until,
        most,
    )
    return [_hold(row) for row in rows]


async def locked(db: Db, reservation_id: int) -> Hold | None:
    """A hold, locked until the transaction ends."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM booking_hold h JOIN reservation r ON r.id = h.reservation_id"
        " WHERE h.reservation_id = $1 FOR NO KEY UPDATE OF h, r",
        reservation_id,
    )
    return None if row is None else _hold(row)


async def asking(db: Db, reservation_id: int, asked_until: datetime) -> bool:
    """Writes down that the station is about to be asked; False: it is not wanted any more."""
    return (
        await db.fetchval(
            "UPDATE booking_hold SET asked_until = greatest(asked_until, $2) WHERE reservation_id = $1 AND wanted"
            " RETURNING true",
            reservation_id,
            asked_until,
        )
        is True
    )


async def settle(
    db: Db,
    reservation_id: int,
    *,
    kept_at: datetime | None,
    answered: bool,
    refused: bool,
    due_at: datetime | None,
) -> None:
    """What came of asking.

    Args:
        answered: nothing is on its way any more.
        due_at: None: until something happens.
    """
    await db.execute(
        "UPDATE booking_hold SET kept_at = coalesce($2, kept_at), asked_until = CASE WHEN $3 THEN NULL ELSE asked_until END,"
        " refusals = refusals + CASE WHEN $4 THEN 1 ELSE 0 END, due_at = $5 WHERE reservation_id = $1",
        reservation_id,
        kept_at,
        answered,
        refused,
        due_at,
    )


async def again(db: Db, reservation_id: int, due_at: datetime) -> None:
    """To be looked at later."""
    await db.execute("UPDATE booking_hold SET due_at = $2 WHERE reservation_id = $1", reservation_id, due_at)


async def over(db: Db, reservation_id: int, at: datetime) -> None:
    """The station has nothing of it any more."""
    await db.execute(
        "UPDATE booking_hold SET wanted = false, due_at = NULL, over_at = $2 WHERE reservation_id = $1",
        reservation_id,
        at,
    )


async def ended(db: Db) -> list[Hold]:
    """Those that stations kept and keep no more: used, expired, given up, canceled by hand."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM booking_hold h JOIN reservation r ON r.id = h.reservation_id WHERE h.wanted"
        " AND r.state IN ('used', 'expired', 'removed', 'no_transaction', 'cancelled') LIMIT 1000"
    )
    return [_hold(row) for row in rows]


async def remind(db: Db, now: datetime) -> int:
    """Has those asked for again whose stations connected or booted since they were: stations forget."""
    status: str = await db.execute(
        """UPDATE booking_hold h SET due_at = $1 FROM charging_station s LEFT JOIN station_connection c ON c.station_key = s.key
        WHERE s.key = h.station_key AND h.wanted AND h.due_at IS NULL AND h.kept_at IS NOT NULL
        AND ((c.connected AND c.changed_at > h.kept_at) OR s.booted_at > h.kept_at)""",
        now,
    )
    return int(status.split()[-1])


async def wanted_of(db: Db, booking_id: int) -> list[Hold]:
    """What is wanted for a booking: one, or none."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM booking_hold h JOIN reservation r ON r.id = h.reservation_id"
        " WHERE h.booking_id = $1 AND h.wanted",
        booking_id,
    )
    return [_hold(row) for row in rows]


async def hurry(db: Db, booking_id: int, now: datetime) -> None:
    """Has the station asked soon: whoever was in the way goes."""
    await db.execute(
        "UPDATE booking_hold SET due_at = least(due_at, $2) WHERE booking_id = $1 AND wanted AND due_at IS NOT NULL",
        booking_id,
        now,
    )


async def shown_in(db: Db, booking_id: int) -> tuple[str, str | None]:
    """(country of a booking's place, ISO 3166-1 alpha-3; OCPP version that its station spoke last)."""
    row = await db.fetchrow(
        "SELECT l.body::jsonb ->> 'country' AS country, n.ocpp_version FROM booking b JOIN evse e ON e.key = b.evse_key"
        " JOIN location l ON l.key = e.location_key LEFT JOIN station_connection n ON n.station_key = e.station_key WHERE b.id = $1",
        booking_id,
    )
    return ("", None) if row is None else (row["country"] or "", row["ocpp_version"])


async def language_of(db: Db, transaction_id: int) -> str | None:
    """The language of whoever charges: of the id token, its driver, or the guest; None where it is not known."""
    found: str | None = await db.fetchval(
        "SELECT coalesce(i.language, d.body::jsonb ->> 'language',"
        " (SELECT g.language FROM payment p JOIN guest_visit g ON g.payment_id = p.id WHERE p.session_id = t.id LIMIT 1))"
        " FROM transaction t LEFT JOIN id_token i ON i.tenant_id = t.tenant_id AND i.token_key = t.token_key"
        " LEFT JOIN driver_id_token o ON o.id_token_id = i.id AND o.confirmed_at IS NOT NULL"
        " LEFT JOIN driver d ON d.id = o.driver_id WHERE t.id = $1"
        " ORDER BY o.driver_id IS NULL, i.status = 'Accepted' DESC, i.id LIMIT 1",
        transaction_id,
    )
    return found


async def has_display(db: Db, station_key: StationKey) -> bool:
    """Whether a station has told that it has a display that works (OCPP 2.x DisplayMessageCtrlr)."""
    return (
        await db.fetchval(
            "SELECT true FROM station_variable WHERE station_key = $1 AND component = 'DisplayMessageCtrlr'"
            " AND variable IN ('Available', 'Enabled') AND attribute = 'Actual' AND lower(value) = 'true' LIMIT 1",
            station_key,
        )
        is True
    )
