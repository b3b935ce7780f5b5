"""What sessions ask others: where it is, what it costs, whose it is, who pays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from chargeplane.app.locations import EvsePlace
from chargeplane.domain.cdrs.cdr import ChargingPeriod
from chargeplane.domain.cdrs.included import SessionTerms
from chargeplane.domain.cdrs.session import CdrPlace, FrozenAgreement, RoamingDriver
from chargeplane.domain.rating import Rating
from chargeplane.domain.tariffs.model import Tariff, TariffType
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.session_transactions import SessionTransaction
from chargeplane.store.queries.sessions import Session


class Places(Protocol):
    """Which EVSE of a location a station's EVSE is."""

    async def evse_by(
        self, tenant_id: TenantId, station_key: StationKey, ocpp_evse_id: int, connector_id: int | None = None
    ) -> EvsePlace | None:
        """None where the station stands at no location."""
        ...


class TariffSource(Protocol):
    """Tariffs by place and by id."""

    async def at_connector(
        self, tenant_id: TenantId, tariff_ids: Sequence[str], at: datetime, types: Sequence[TariffType | None] = ()
    ) -> Tariff | None:
        """Which of a connector's tariffs holds."""
        ...

    async def version_of(self, tenant_id: TenantId, tariff_id: str, at: datetime) -> Tariff | None:
        """The version with which a session begins at a time."""
        ...

    async def frozen(self, tenant_id: TenantId, tariff_id: str, version: int) -> Tariff | None:
        """A version, whatever became of the tariff since."""
        ...


class Agreed(Struct, frozen=True, kw_only=True):
    """The agreement that applies to a session.

    Args:
        tariff_id: None: that of the connector.
        tariff_version: None: the one that holds when the session begins.
    """

    agreement: FrozenAgreement
    tariff_id: str | None = None
    tariff_version: int | None = None


class PaidBy(Struct, frozen=True, kw_only=True):
    """The payment of a session.

    Args:
        tariff_id, tariff_version: as the payer was shown them; None: the public one of the connector.
    """

    payment_id: int
    tariff_id: str | None = None
    tariff_version: int | None = None


class SessionAgreements(Protocol):
    """Agreements, as sessions need them."""

    async def agreed(self, transaction: SessionTransaction, place: EvsePlace, driver_id: int | None) -> Agreed | None:
        """Which agreement applies to a session, as of its start."""
        ...

    async def terms(
        self, db: Db, transaction: SessionTransaction, agreement: FrozenAgreement, tariff: Tariff
    ) -> SessionTerms:
        """Discounts, and what is left of what it includes, not counting what this session used."""
        ...


class Drivers(Protocol):
    """Whose id tokens are."""

    async def driver_of_token(self, tenant_id: TenantId, kind: str | None, id_token: str) -> str | None:
        """None where it is nobody's."""
        ...


class SessionPayments(Protocol):
    """Payments that are made for a session."""

    async def paid_by(self, transaction: SessionTransaction) -> PaidBy | None:
        """The payment by which a session is paid; None where there is none."""
        ...


class Reserved(Protocol):
    """Reservations that sessions use, where the session's tariff is to price them."""

    async def reserved_from(self, transaction: SessionTransaction) -> datetime | None:
        """When the reservation began; None where there is none, or it is priced by itself."""
        ...


class RoamingSessions(Protocol):
    """Sessions of partners' drivers."""

    async def driver(self, transaction: SessionTransaction) -> RoamingDriver | None:
        """Whose driver began a transaction; None where no partner's did."""
        ...

    async def moved(self, db: Db, session: Session, periods: Sequence[ChargingPeriod]) -> None:
        """A partner's driver's session began, went on or ended; within the change that says so."""
        ...

    def committed(self) -> None:
        """That change is committed."""
        ...


class AtTerminal(Struct, frozen=True, kw_only=True):
    """A partner's driver pays at the partner's terminal.

    Args:
        ours_to_invoice: the driver's receipt is ours to make; else the partner makes it.
    """

    ours_to_invoice: bool


class TerminalPayers(Protocol):
    """Sessions that are paid at terminals of partners."""

    async def at_terminal(self, driver: RoamingDriver, place: CdrPlace) -> AtTerminal | None:
        """None where it is not paid at one."""
        ...

    async def begun(self, transaction: SessionTransaction, driver: RoamingDriver, tariff: Tariff) -> int:
        """The payment of such a session, the same at a repeat."""
        ...


class Seen(Struct, frozen=True, kw_only=True):
    """How fast an open session may go on.

    Args:
        power_w: the most it was seen to take lately, and a tenth more.
        meter_interval: time between its meter values; None where that is not known.
        look_again: it is rated again after so long.
    """

    power_w: int = 0
    meter_interval: timedelta | None = None
    look_again: timedelta = timedelta(seconds=60)


class SessionWatcher(Protocol):
    """Hears what sessions cost while they go on; limits by money hang on it."""

    async def rated(
        self,
        tenant_id: TenantId,
        ident: TransactionId,
        payment_id: int | None,
        rating: Rating,
        tariff: Tariff,
        seen: Seen,
    ) -> None:
        """A session that is open was rated.

        Args:
            tariff: by which.
            seen: what its meter values say of how fast it may go on.
        """
        ...


class SessionHolds(Protocol):
    """Who sees to it that sessions of account holders are paid."""

    async def hold(self, session: Session, transaction: SessionTransaction) -> datetime | None:
        """Holds for an open session what its agreement says, or stops it. When to look again; None: at the usual time."""
        ...


class NoAgreements:
    """There are none."""

    async def agreed(self, transaction: SessionTransaction, place: EvsePlace, driver_id: int | None) -> Agreed | None:
        """None."""
        return None

    async def terms(
        self, db: Db, transaction: SessionTransaction, agreement: FrozenAgreement, tariff: Tariff
    ) -> SessionTerms:
        """Nothing is changed."""
        return SessionTerms()


class Nobody:
    """No id token is anybody's, nothing is paid, nothing was reserved, nobody listens."""

    async def driver_of_token(self, tenant_id: TenantId, kind: str | None, id_token: str) -> str | None:
        """None."""
        return None

    async def driver(self, transaction: SessionTransaction) -> RoamingDriver | None:
        """None."""
        return None

    async def moved(self, db: Db, session: Session, periods: Sequence[ChargingPeriod]) -> None:
        """Nothing."""

    def committed(self) -> None:
        """Nothing."""

    async def paid_by(self, transaction: SessionTransaction) -> PaidBy | None:
        """None."""
        return None

    async def reserved_from(self, transaction: SessionTransaction) -> datetime | None:
        """None."""
        return None

    async def rated(
        self,
        tenant_id: TenantId,
        ident: TransactionId,
        payment_id: int | None,
        rating: Rating,
        tariff: Tariff,
        seen: Seen,
    ) -> None:
        """Nothing."""
