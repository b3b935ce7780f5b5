"""Sessions as the API and the live feed show them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.app.money_text import money_text
from chargeplane.domain.agreements.limits import LimitNote
from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.cdrs.session import CdrPlace, FrozenAgreement, PricedBy, SessionState
from chargeplane.kernel.money import MoneyView
from chargeplane.store.queries.sessions import Session


class SessionView(Struct, frozen=True, kw_only=True):
    """A charging session; its id is that of its transaction.

    Args:
        state: active; ended, waiting for messages that are missing; settled, with a CDR; credited, its CDR taken back.
        location: as it was described when the session began.
        priced_by: where the tariff comes from.
        cost_excl, cost_incl: so far or in all, before and after taxes; null where no tariff holds or nothing was rated yet.
        shown_cost: what the station was last told to show.
        signed: what signed meter values prove; null where there are none or the tenant ignores them.
        settle_at: of an ended one: until when it waits.
        rated_at: when the cost was last calculated.
        limits: of its agreement, that lowered its power or ended it: power, session_cost, credit.
    """

    id: str
    state: SessionState
    station_id: str
    ocpp_evse_id: int
    ocpp_connector_id: int | None
    ocpp_transaction_id: str | None
    location: CdrPlace
    id_token: str | None
    id_token_type: str | None
    driver_id: str | None
    agreement: FrozenAgreement | None
    payment_id: str | None
    priced_by: PricedBy
    tariff_id: str | None
    tariff_version: int | None
    started_at: datetime
    stopped_at: datetime | None
    energy_wh: Decimal
    cost_excl: MoneyView | None
    cost_incl: MoneyView | None
    shown_cost: MoneyView | None
    flags: tuple[str, ...]
    signed: SignedSummary | None
    settle_at: datetime | None
    rated_at: datetime | None
    limits: tuple[LimitNote, ...]
    created_at: datetime
    updated_at: datetime


def session_view(session: Session) -> SessionView:
    """A session as it is shown."""
    frozen, override = session.frozen, session.override
    token = frozen.token
    by_hand = override is not None and override.tariff_id is not None
    return SessionView(
        id=str(session.id),
        state=session.state,
        station_id=frozen.station_id,
        ocpp_evse_id=frozen.ocpp_evse_id,
        ocpp_connector_id=frozen.ocpp_connector_id,
        ocpp_transaction_id=frozen.ocpp_transaction_id,
        location=frozen.place,
        id_token=None if token is None else token.uid,
        id_token_type=None if token is None else token.type,
        driver_id=None if frozen.driver_id is None else str(frozen.driver_id),
        agreement=frozen.agreement,
        payment_id=None if session.payment_id is None else str(session.payment_id),
        priced_by=PricedBy.OPERATOR if by_hand else frozen.priced_by,
        tariff_id=override.tariff_id if by_hand and override is not None else frozen.tariff_id,
        tariff_version=override.tariff_version if by_hand and override is not None else frozen.tariff_version,
        started_at=session.started_at,
        stopped_at=session.stopped_at,
        energy_wh=session.energy_wh,
        cost_excl=money_text(session.cost_excl, session.currency),
        cost_incl=money_text(session.cost_incl, session.currency),
        shown_cost=money_text(session.shown_cost, session.currency),
        flags=tuple(flag.value for flag in session.flags),
        signed=session.signed,
        settle_at=session.settle_at if session.state is SessionState.ENDED else None,
        rated_at=session.rated_at,
        limits=session.limits,
        created_at=session.created_at,
        updated_at=session.updated_at,
    )
