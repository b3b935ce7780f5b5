"""What every actor of a node shares: the writer, the readers, ids, settings, and who listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct, field

from chargeplane.app.final_costs import FinalCosts
from chargeplane.app.ports import CertificateDesk
from chargeplane.app.reports import Place
from chargeplane.domain.authorization import IdTokenRecord
from chargeplane.domain.messages import ConnectorStatus, IdToken, LimitKind, Registration, TransactionLimits
from chargeplane.domain.token_rules import ANYWHERE, Here
from chargeplane.domain.transactions import TransactionState
from chargeplane.kernel.ids import StationId, StationKey, TenantId, TransactionId
from chargeplane.store.commit import GroupCommitter, Node
from chargeplane.store.ids import IdBlocks
from chargeplane.store.tokens import TokenReader


class StationSettings(Struct, frozen=True, kw_only=True):
    """How the server treats stations; a station's own `settings` override it.

    Args:
        heartbeat_interval_s: given in the answer to an accepted boot.
        retry_interval_s: given in the answer to a boot that is pending or rejected.
        trigger_boot_after_s: after a connection without a BootNotification, one is asked for; None never.
        ask_by_evidence_after_s: a station whose EVSE has been Available for so long, with its transaction open, is asked
            about it (2.x); so is one that has told an end without all that came before it.
        close_by_evidence_after_s: so long after the EVSE turned Available the transaction is closed where the station
            cannot be asked or does not say.
        seen_flush_s: how often `last_seen_at` and repair counts are written.
    """

    heartbeat_interval_s: int = 300
    retry_interval_s: int = 60
    trigger_boot_after_s: float | None = 20.0
    ask_by_evidence_after_s: float = 30.0
    close_by_evidence_after_s: float = 600.0
    seen_flush_s: float = 30.0


class LiveFeed(Protocol):
    """Where committed changes are shown live. Lossy: who must not miss one reads the outbox."""

    @property
    def active(self) -> bool:
        """Whether anybody listens; False spares the making of events."""
        ...

    def emit(self, kind: str, tenant_id: TenantId, station_id: StationId, data: dict[str, object]) -> None:
        """Shows an event to whoever listens."""


class RoamingDesk(Protocol):
    """Knows partners' id tokens."""

    async def records(
        self,
        tenant_id: TenantId,
        key: StationKey,
        token: IdToken,
        *,
        evse_ids: Sequence[int] = (),
        starts: bool,
        begins: bool,
    ) -> tuple[IdTokenRecord, ...]:
        """What to decide by about a token that is not ours; empty where no partner knows it.

        Args:
            starts: it may begin something; else what it began goes on or ends.
            begins: a transaction begins.
        """
        ...


class DriverTariffDesk(Protocol):
    """Knows the tariffs of drivers, for stations that calculate by themselves (OCPP 2.1 I08)."""

    def may(self, key: StationKey) -> bool:
        """Whether a station may take one; at once."""
        ...

    async def of(
        self,
        tenant_id: TenantId,
        key: StationKey,
        station_id: StationId,
        token: IdToken,
        evse_ids: Sequence[int],
        at: datetime,
    ) -> Struct | None:
        """A driver's own tariff, within seconds; None where there is none to tell. Raises nothing."""
        ...


Desk = Callable[[Place, Any], Awaitable[Struct | None]]
"""Answers a question of a station (`messages.Question.asks`) with a struct of the domain; None where it cannot."""


def _nothing() -> None:
    pass


def _nobody(_: StationKey) -> None:
    pass


async def _none_kept(_: StationKey) -> list[LimitKind]:
    return []


async def _none_told(_: TransactionId) -> TransactionLimits | None:
    return None


class Silence:
    """A feed nobody listens to."""

    active = False

    def emit(self, kind: str, tenant_id: TenantId, station_id: StationId, data: dict[str, object]) -> None:
        """Does nothing."""


class House(Struct, kw_only=True):
    """The node's shared parts. One object, so that an actor costs one reference for all of them.

    Args:
        doubt, gap: told of an open transaction that a status speaks against, and of a closed one that lacks, or lacks no more,
            events of its sequence.
        desks: who answers which question.
        report_committed: told that a report waits for its subject.
        limits_kept: reads which limits of transactions a station keeps by itself.
        limits_told: reads the limits that a transaction began with.
        key_codes_guessed: told of each wrong key code that makes a station wait.
        boot_committed: told of every boot that was written, whatever its answer.
        final_costs: of transactions that have a price.
        driver_tariffs: asked for the tariffs of drivers.
        roaming: asked about id tokens that are not ours.
        status_committed: told of each connector's status that changed.
    """

    node: Node
    committer: GroupCommitter
    tokens: TokenReader
    transaction_ids: IdBlocks
    ocpp16_ids: IdBlocks
    settings: StationSettings
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    request_load: Callable[[Any], None]
    history: Callable[[TransactionState], Coroutine[Any, Any, list[Any]]]
    earlier: Callable[[StationKey, str | None], Coroutine[Any, Any, list[TransactionState]]]
    registration: Callable[[StationKey], Registration]
    heartbeat_interval: Callable[[StationKey], int]
    doubt: Callable[[Any, TransactionState, ConnectorStatus, datetime], None]
    gap: Callable[[Any, TransactionState, datetime], None]
    here: Callable[[StationKey], Here] = lambda _: ANYWHERE
    feed: LiveFeed = Silence()
    certificates: CertificateDesk | None = None
    desks: dict[type, Desk] = {}
    report_committed: Callable[[], None] = _nothing
    boot_committed: Callable[[StationKey], None] = _nobody
    key_codes_guessed: Callable[[StationKey], None] = _nobody
    limits_kept: Callable[[StationKey], Coroutine[Any, Any, list[LimitKind]]] = _none_kept
    limits_told: Callable[[TransactionId], Coroutine[Any, Any, TransactionLimits | None]] = _none_told
    final_costs: FinalCosts = field(default_factory=FinalCosts)
    roaming: RoamingDesk | None = None
    driver_tariffs: DriverTariffDesk | None = None
    status_committed: Callable[[StationKey], None] | None = None


def utc_now() -> datetime:
    """The server's time."""
    return datetime.now(UTC)
