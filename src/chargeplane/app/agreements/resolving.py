"""Which agreement applies to somebody at a place at a moment: candidates by an index, the decision in memory."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.agreements.ports import Drivers, NoDrivers
from chargeplane.app.agreements.views import ResolutionView, ResolvedView, as_texts
from chargeplane.app.house import utc_now
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.items import Item, ReservationTerms, TariffItem
from chargeplane.domain.agreements.model import Agreement, AgreementKind, Billing, Limits, Version
from chargeplane.domain.agreements.resolve import Candidate, resolve
from chargeplane.domain.agreements.scope import ResolveAsk, asked_keys, asked_places
from chargeplane.domain.authorization import canonical, token_key
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import agreements as queries
from chargeplane.store.queries.agreement_places import NamedPlace, completed
from chargeplane.store.queries.paging import Db

_MOST: Final = 200
"""Candidates that are looked at."""


class Resolved(Struct, frozen=True, kw_only=True):
    """The agreement that applies, as a session freezes it.

    Args:
        version: of its terms.
        items: all of them; `tariff` is the one that prices a session here.
        candidates: everything that was looked at, with reasons.
    """

    agreement_id: int
    number: str
    name: str | None
    kind: AgreementKind
    version: int
    currency: str
    time_zone: str
    items: tuple[Item, ...]
    tariff: TariffItem | None
    reservation_terms: ReservationTerms | None
    limits: Limits
    billing: Billing
    candidates: tuple[Candidate, ...]


class Resolving:
    """Finds the agreement that applies."""

    def __init__(self, database: Database, drivers: Drivers | None = None) -> None:
        self._database = database
        self.drivers: Drivers = drivers or NoDrivers()

    async def resolve(self, tenant_id: TenantId, ask: ResolveAsk) -> Resolved | None:
        """The agreement that applies; None where none does.

        Args:
            ask: what is not known of the token and the place is found out.
        """
        _, _, found = await self._all(tenant_id, ask)
        return found

    async def explain(self, tenant_id: TenantId, ask: ResolveAsk) -> ResolutionView:
        """The same with everything that was looked at, also where none applies."""
        ask, candidates, found = await self._all(tenant_id, ask)
        applies = None
        if found is not None:
            applies = ResolvedView(
                agreement_id=str(found.agreement_id),
                number=found.number,
                name=found.name,
                kind=found.kind,
                version=found.version,
                currency=found.currency,
                items=as_texts(found.items),
                limits=as_texts(found.limits),
                billing=found.billing,
            )
        return ResolutionView(
            at=ask.at,
            applies=applies,
            candidates=candidates,
            token_group=ask.token_group,
            driver_id=ask.driver_id,
            location_id=ask.location_id,
            country=ask.country,
        )

    async def frozen(
        self, tenant_id: TenantId, agreement_id: int, version: int, *, location_id: str | None = None
    ) -> Resolved | None:
        """A version that a session froze, whatever became of the agreement since; None where there is none.

        Args:
            location_id: of the session, for `tariff`.
        """
        async with self._database.read() as db:
            stored = await queries.one(db, tenant_id, agreement_id)
        if stored is None or not 1 <= version <= len(stored.agreement.versions):
            return None
        ask = ResolveAsk(at=utc_now(), location_id=location_id)
        return _resolved(stored.agreement, stored.agreement.numbered(version), ask, ())

    async def _all(
        self, tenant_id: TenantId, ask: ResolveAsk
    ) -> tuple[ResolveAsk, tuple[Candidate, ...], Resolved | None]:
        async with self._database.read() as db:
            ask = await self._completed(db, tenant_id, ask)
            stored = await queries.candidates(db, tenant_id, asked_keys(ask), list(asked_places(ask)), _MOST)
        # As of now, or of the moment asked for where that is later: what was written of the past is known.
        moment = max(ask.at, utc_now())
        resolution = resolve([as_of(one.agreement, moment) for one in stored], ask)
        agreement, version = resolution.agreement, resolution.version
        if agreement is None or version is None:
            return ask, resolution.candidates, None
        return ask, resolution.candidates, _resolved(agreement, version, ask, resolution.candidates)

    async def _completed(self, db: Db, tenant_id: TenantId, ask: ResolveAsk) -> ResolveAsk:
        if ask.id_token is not None and (ask.token_group is None or ask.driver_id is None):
            row = await db.fetchrow(
                "SELECT id, group_id FROM id_token WHERE token_key = $2 AND tenant_id = $1"
                " AND ($3::text IS NULL OR type = $3) ORDER BY status = 'Accepted' DESC, id LIMIT 1",
                tenant_id,
                token_key(canonical(ask.id_token, ask.id_token_type)),
                ask.id_token_type,
            )
            if row is not None:
                holder = (await self.drivers.holders(db, tenant_id, [row["id"]])).get(row["id"])
                ask = replace(
                    ask,
                    token_group=ask.token_group or row["group_id"],
                    driver_id=ask.driver_id or (holder and holder.driver_id),
                    user_groups=ask.user_groups or (() if holder is None else holder.user_groups),
                )
        known = NamedPlace(
            evse_uid=ask.evse_uid, station_id=ask.station_id, location_id=ask.location_id, country=ask.country
        )
        place = await completed(db, tenant_id, known, ask.ocpp_evse_id)
        return replace(
            ask,
            evse_uid=place.evse_uid,
            station_id=place.station_id,
            location_id=place.location_id,
            country=place.country,
        )


def _resolved(agreement: Agreement, version: Version, ask: ResolveAsk, candidates: tuple[Candidate, ...]) -> Resolved:
    terms = version.terms
    return Resolved(
        agreement_id=agreement.id,
        number=agreement.number,
        name=agreement.name,
        kind=agreement.kind,
        version=version.version,
        currency=agreement.currency,
        time_zone=agreement.time_zone,
        items=terms.items,
        tariff=_tariff(terms.items, ask),
        reservation_terms=next((one for one in terms.items if isinstance(one, ReservationTerms)), None),
        limits=terms.limits,
        billing=terms.billing,
        candidates=candidates,
    )


def _tariff(items: tuple[Item, ...], ask: ResolveAsk) -> TariffItem | None:
    """The tariff for the place: one that names the location before one that does not, the first of them."""
    tariffs = [one for one in items if isinstance(one, TariffItem)]
    here = (ask.location_id or "").lower()
    named = [one for one in tariffs if here in {location.lower() for location in one.location_ids}]
    return next(iter([*named, *(one for one in tariffs if not one.location_ids)]), None)
