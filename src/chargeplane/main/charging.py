"""Who may charge, for how much, where it is reserved, and what is asked about transactions: made and wired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chargeplane.app.authorization import Authorization
from chargeplane.app.availability import Availability
from chargeplane.app.inquiries import Inquiries, InquiryTimes
from chargeplane.app.local_lists import ListTimes, LocalLists
from chargeplane.app.opening_hours import OpeningHoursKeeper
from chargeplane.app.reservations import Reservations
from chargeplane.domain.follow_ups import ReservationUsed, TransactionLimited
from chargeplane.domain.reservations import ReservationUpdate
from chargeplane.store.outbox import Topic
from chargeplane.store.queries.authorization import TOKEN_CHANGED

if TYPE_CHECKING:
    from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class Charging:
    """Their use cases."""

    local_lists: LocalLists
    reservations: Reservations
    availability: Availability


async def start_charging(parts: Parts) -> Charging:
    """Makes and starts them."""
    config, database, commands, stations = parts.config, parts.database, parts.commands, parts.stations
    authorization = Authorization(
        database, commands, stations, parts.directory, every_s=config.transactions.limits_every_s
    )
    parts.outbox.register(TOKEN_CHANGED, Topic(handler=authorization.token_changed))
    parts.reports.take(TransactionLimited, authorization.limited)
    times = config.transactions
    inquiries = Inquiries(
        database,
        commands,
        stations,
        parts.directory.asks_for_transactions,
        InquiryTimes(
            quiet_s=times.quiet_s,
            silent_after_s=times.silent_after_s,
            eternal_after_s=times.eternal_after_s,
            look_every_s=times.look_every_s,
        ),
    )
    lists = config.local_lists
    local_lists = LocalLists(
        database,
        commands,
        stations,
        parts.directory,
        parts.events,
        ListTimes(
            settle_s=lists.settle_s, spread_s=lists.spread_s, check_every_s=lists.check_every_s, retry_s=lists.retry_s
        ),
    )
    reservations = Reservations(database, commands, parts.events)
    parts.reports.take(ReservationUpdate, reservations.updated)
    parts.reports.take(ReservationUsed, reservations.used)
    availability = Availability(database, commands, stations, after_boot_s=config.ocpp.availability_after_boot_s)
    hours = OpeningHoursKeeper(database, commands, stations, parts.directory, every_s=config.ocpp.opening_hours_every_s)
    for each in (authorization, inquiries, local_lists, reservations, availability, hours):
        await each.start()
        parts.on_stop.append(each.stop)
    return Charging(local_lists=local_lists, reservations=reservations, availability=availability)
