"""Drivers of partners are let in where they have booked: their provider vouched for their tokens when it booked."""

from __future__ import annotations

from chargeplane.domain.roaming.authorization import alias_of, presentable
from chargeplane.store.queries import booking_holds
from chargeplane.store.queries import bookings as queries
from chargeplane.store.queries import roaming_authorizations as grants
from chargeplane.store.queries.bookings import Booking
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_authorizations import Grant


async def let_out(db: Db, booking: Booking) -> None:
    """Takes back what a booking of a partner's driver let in until now: it is canceled, is elsewhere or at another time, or has other
    tokens."""
    driver = booking.roaming
    if driver is not None and driver.booking_id is not None:
        tokens = (booking.id_token, *booking.other_keys)
        await grants.withdraw(db, booking.tenant_id, tokens, driver.booking_id)


async def let_in(db: Db, booking: Booking) -> Booking:
    """Writes down that a partner's driver may begin at the booking's station until it ends, in the transaction that has the station
    asked; the booking as it is then. What was written down for it before holds no more. Of drivers of one's own, nothing is to be done.

    A token that OCPP 1.6 cannot carry is told to the station by another name.
    """
    await let_out(db, booking)
    driver, station = booking.roaming, booking.station_key
    if driver is None or station is None:
        return booking

    def grant(presented: str) -> Grant:
        return Grant(
            tenant_id=booking.tenant_id,
            presented=presented,
            station_key=station,
            until=booking.times.ends_at,
            driver=driver,
        )

    idents = await grants.insert(db, [grant(one) for one in (booking.id_token, *booking.other_keys)])
    _, version = await booking_holds.shown_in(db, booking.id)
    if presentable(booking.id_token, version):
        return booking
    name = alias_of(idents[0])
    await grants.rename(db, idents[0], name)
    others = (*booking.other_keys, booking.id_token.casefold())
    await queries.set_tokens(db, booking.id, name, booking.id_token_type, others, driver)
    known = await queries.locked(db, booking.id)
    assert known is not None
    return known
