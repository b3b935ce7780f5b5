"""Service agreements as sessions see them: which one applies, and what is left of what it includes."""

from __future__ import annotations

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.locations import EvsePlace
from chargeplane.app.sessions.ports import Agreed
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.cdrs.included import SessionTerms, grants_of, left_of, periods_of, terms_of
from chargeplane.domain.cdrs.session import FrozenAgreement
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.store.queries import agreements, cdrs
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.session_transactions import SessionTransaction


class AgreementsOfSessions:
    """Implements `SessionAgreements`."""

    def __init__(self, resolving: Resolving) -> None:
        self._resolving = resolving

    async def agreed(self, transaction: SessionTransaction, place: EvsePlace, driver_id: int | None) -> Agreed | None:
        """Which agreement applies, as of the start."""
        found = await self._resolving.resolve(
            transaction.tenant_id,
            ResolveAsk(
                at=transaction.started_at,
                id_token=transaction.id_token,
                id_token_type=transaction.id_token_type,
                driver_id=None if driver_id is None else str(driver_id),
                evse_uid=place.evse_uid,
                station_id=transaction.station_id,
                location_id=place.location_id,
                country=place.country,
            ),
        )
        if found is None:
            return None
        tariff = found.tariff
        return Agreed(
            agreement=FrozenAgreement(
                id=found.agreement_id,
                number=found.number,
                version=found.version,
                currency=found.currency,
                time_zone=found.time_zone,
            ),
            tariff_id=None if tariff is None else tariff.tariff_id,
            tariff_version=None if tariff is None else tariff.version,
        )

    async def terms(
        self, db: Db, transaction: SessionTransaction, agreement: FrozenAgreement, tariff: Tariff
    ) -> SessionTerms:
        """What holds for a session by the version of the terms that it froze."""
        stored = await agreements.one(db, transaction.tenant_id, agreement.id)
        if stored is None:
            return SessionTerms()
        whole = as_of(stored.agreement, transaction.started_at)
        items = whole.numbered(agreement.version).terms.items
        left = {}
        for grant in grants_of(items):
            periods = periods_of(grant, transaction.started_at, agreement.time_zone, whole.begun_at)
            used = [
                await cdrs.used_of(db, agreement.id, grant.key, since, until, transaction.id)
                for since, until in periods
            ]
            left[grant.key] = left_of(grant, used)
        return terms_of(items, agreement.currency, tariff, left)
