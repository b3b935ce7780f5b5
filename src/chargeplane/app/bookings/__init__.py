"""Bookings: an EVSE for a driver and an interval, over the reservations that stations know.

bookings.py   search, hold, change, cancel
offers.py     what is looked for, and what a session would cost there
keeper.py     what is due: stations asked and let go, drivers who come, do not come, find their EVSE taken
letting_in.py partners' drivers, whose provider vouched for them
telling.py    facts and live events
views.py      as the API and the facts show them
ports.py      what others know: agreements, who listens
"""

from chargeplane.app.bookings.bookings import Bookings, Change, PartnersWish, Wish, Within
from chargeplane.app.bookings.keeper import Keeper
from chargeplane.app.bookings.offers import Offer, Search
from chargeplane.app.bookings.ports import Agreed, Agreements, AskAgreement, NoAgreements

__all__ = [
    "Agreed",
    "Agreements",
    "AskAgreement",
    "Bookings",
    "Change",
    "Keeper",
    "NoAgreements",
    "Offer",
    "PartnersWish",
    "Search",
    "Wish",
    "Within",
]
