"""What was charged under an agreement: read from the transactions of its id tokens at its places."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from chargeplane.app.agreements.covering import covered_by
from chargeplane.app.agreements.ports import Charges, Drivers, NoDrivers
from chargeplane.app.agreements.views import UsageView, as_texts
from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.domain.agreements.clock import as_of, month_of
from chargeplane.domain.agreements.scope import ResolveAsk, asked_places, places_of
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import agreement_holds as holds
from chargeplane.store.queries import agreements as queries
from chargeplane.store.queries.agreement_places import NamedPlace, completed


class Usage:
    """Use cases about what was charged.

    Args:
        charges: what sessions cost; None as long as nothing is rated.
    """

    def __init__(
        self,
        database: Database,
        drivers: Drivers | None = None,
        charges: Charges | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self.drivers: Drivers = drivers or NoDrivers()
        self.charges = charges
        self._now = now

    async def of(self, caller: Caller, ident: int, since: datetime | None, until: datetime | None) -> UsageView:
        """What was charged in an interval.

        Args:
            since: included; the present month's start, by the agreement's time zone, unless given.
            until: not included; now unless given.
        Raises:
            NotFoundError: the tenant has no such agreement.
            InvalidInputError: the interval is empty.
        """
        now = self._now()
        async with self._database.read() as db:
            stored = await queries.one(db, caller.tenant_id, ident)
            if stored is None:
                raise NotFoundError("service agreement", str(ident))
            agreement = as_of(stored.agreement, now)
            month, _ = month_of(now, agreement.time_zone)
            since, until = since or month, until or now
            if until < since:
                sentence = "Must be after 'from'"
                raise InvalidInputError(f"'to' is wrong: {sentence}.", (("?to", sentence),))
            begun, end = agreement.begun_at, agreement.ends_at
            first, last = max(since, begun or since), until if end is None else min(until, end)
            covered = await covered_by(db, caller.tenant_id, agreement, self.drivers)
            terms = agreement.numbered(agreement.version).terms
            places = places_of(terms)
            sessions = open_sessions = 0
            energy = Decimal(0)
            if begun is not None and first < last:
                for one in await holds.used_by_place(
                    db,
                    caller.tenant_id,
                    token_keys=covered.token_keys,
                    groups=covered.groups,
                    ids=covered.ids,
                    since=first,
                    until=last,
                ):
                    known = NamedPlace(station_id=one.station_id)
                    place = await completed(db, caller.tenant_id, known, one.evse_id)
                    here = asked_places(
                        ResolveAsk(
                            at=now,
                            evse_uid=place.evse_uid,
                            station_id=place.station_id,
                            location_id=place.location_id,
                            country=place.country,
                        )
                    )
                    if not places.keys().isdisjoint(here):
                        sessions += one.sessions
                        open_sessions += one.open_sessions
                        energy += one.energy_wh
            month_used = await holds.used(
                db,
                caller.tenant_id,
                token_keys=covered.token_keys,
                groups=covered.groups,
                ids=covered.ids,
                since=max(month, begun or month),
            )
            charged = (
                []
                if self.charges is None
                else await self.charges.charged(db, caller.tenant_id, agreement.id, first, last)
            )
        return UsageView(
            agreement_id=str(agreement.id),
            since=first,
            until=max(first, last),
            sessions=sessions,
            open_sessions=open_sessions,
            energy_wh=energy,
            charged=charged,
            month_energy_wh=month_used.energy_wh,
            open_at_a_time=month_used.open_count,
            limits=as_texts(terms.limits),
        )
