"""One charging station's owner on this node: what each of its messages does.

It takes the station's messages in order, decides by the rules in `domain/`, submits the rows to the group commit, and answers when
they are committed (`turns`). What it does with transactions is in `transacting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.app.house import House
from chargeplane.app.ports import AnswerCallback, Received, StationLink
from chargeplane.app.reports import Place, as_fact
from chargeplane.app.thinking import think
from chargeplane.app.transacting import Transacting
from chargeplane.app.turns import Job
from chargeplane.domain.authorization import KEY_CODE, IdTokenRecord, authorize
from chargeplane.domain.clock import ClockOffset
from chargeplane.domain.connectors import KnownStatus, may_replace, within_bounds
from chargeplane.domain.contracts import CertificateVerdict, ContractVerdict, with_token
from chargeplane.domain.evidence import doubtful
from chargeplane.domain.messages import (
    Acknowledged,
    Answered,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    Boot,
    CertificateAnswer,
    CertificateRequest,
    ConnectorStatus,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenInfo,
    MeterReport,
    Notice,
    Question,
    TransactionReport,
    Unusable,
)
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store import rows
from chargeplane.store.stations import REPEAT_WINDOW, Loaded

_ACKNOWLEDGED = Acknowledged()
_HIDDEN: Final = b'{"hidden":"It held a secret."}'


class Actor(Transacting):
    """One station's owner on this node; outlives sockets."""

    __slots__ = (
        "_attempts",
        "_clock_written",
        "_loaded_at",
        "_notices",
        "booted",
        "booted_at",
        "connected_at",
        "proved",
    )

    def __init__(self, house: House, key: StationKey, tenant_id: TenantId, station_id: StationId) -> None:
        super().__init__(house, key, tenant_id, station_id)
        self.connected_at: datetime | None = None
        self.proved: tuple[object, ...] | None = None
        """Password or certificate name that its socket came in by."""
        self.booted = False
        self.booted_at: datetime | None = None
        self._loaded_at: datetime | None = None
        self._attempts: dict[tuple[str, bytes], AuthorizationStatus] | None = None
        self._notices: set[tuple[str, bytes]] | None = None
        self._clock_written: ClockOffset | None = None

    def _take(self, received: Received, answer: AnswerCallback) -> None:
        _HANDLERS[type(received.message)](self, received, answer)

    def loaded(self, state: Loaded, now: datetime) -> None:
        """The state as committed has arrived; what queued meanwhile is handled. A second answer to an older question is ignored."""
        if self._loaded:
            return
        self._open = tuple(state.open)
        self._connectors = {
            (row.evse_id, row.connector_id): KnownStatus(row.status, row.at, row.received_at)
            for row in state.connectors
        } or None
        self._attempts = {(a.message_id, a.content_hash): a.status for a in state.attempts} or None
        self._notices = set(state.notices) or None
        self._newest_told = None
        self._loaded_at = now
        self._loaded = True
        if self._open:
            # Doubts are not stored: those of the last process arise again.
            self._doubt(self._open, timeless=True)
        self._resume()

    def _heartbeat(self, received: Received, answer: AnswerCallback) -> None:
        answer(HeartbeatAnswer(now=received.received_at))

    def _boot(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Boot)
        self.booted = True
        self.booted_at = received.received_at

        def tell() -> None:
            if self._house.feed.active:
                self._emit(
                    "station.booted",
                    {"vendor": message.vendor, "model": message.model, "firmware_version": message.firmware_version},
                )
            self._house.boot_committed(self.key)

        written = [rows.boot(message, self._station, received.received_at)]
        self._submit_patiently(received, answer, None, written, tell)

    def _status(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, ConnectorStatus)
        if not within_bounds(message.evse_id, message.connector_id):
            self._quarantine(
                received, answer, f"EVSE {message.evse_id}, connector {message.connector_id}: no station has so many."
            )
            return
        self._measure(message.at, received.received_at, may_be_old=True)
        written: list[rows.Write] = []
        after: Job | None = None
        if self._changed(message, received.received_at, written):
            after = self._status_told((message,))

        self._submit(received, answer, _ACKNOWLEDGED, written, after)

    def _changed(self, message: ConnectorStatus, now: datetime, written: list[rows.Write]) -> bool:
        """Takes a status that is not older than the one we hold: memory, doubts, and its row among those written."""
        place = (message.evse_id, message.connector_id)
        known = self._connectors.get(place) if self._connectors is not None else None
        if known is not None and not may_replace(known, message, now):
            return False
        if self._connectors is None:
            self._connectors = {}
        self._connectors[place] = KnownStatus(message.status.value, message.at, now)
        if self._open:
            for state in doubtful(message, self._open, now):
                self._house.doubt(self, state, message, now)
        written.append(rows.connector(message, self._station, now))
        return True

    def _status_told(self, changed: Sequence[ConnectorStatus]) -> Job | None:
        """What is told of statuses that changed, once they are committed; None where nobody listens."""
        heard, watched = self._house.status_committed, self._house.feed.active
        if heard is None and not watched:
            return None

        def tell() -> None:
            if heard is not None:
                heard(self.key)
            if watched:
                for message in changed:
                    self._tell_status(message)

        return tell

    def _tell_status(self, message: ConnectorStatus) -> None:
        self._emit(
            "connector.status",
            {
                "evse_id": message.evse_id,
                "connector_id": message.connector_id,
                "status": message.status.value,
                "reported": message.reported,
                "error_code": message.error_code,
            },
        )

    def _authorize(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Authorize)
        tariffs = self._house.driver_tariffs if message.takes_tariff else None
        if tariffs is not None and not tariffs.may(self.key):
            tariffs = None
        if message.contract is None and tariffs is None:
            self._authorize_by(received, answer, message, None)
            return
        contract = message.contract
        desk = None if contract is None else self._house.desks.get(type(contract))
        unchecked: ContractVerdict | None = None
        if desk is None:
            if contract is not None:
                unchecked = ContractVerdict(status=CertificateVerdict.NO_CERTIFICATE_AVAILABLE)
            if tariffs is None:
                self._authorize_by(received, answer, message, unchecked)
                return
        generation = self._hold(received, answer)
        place = Place(
            tenant_id=self.tenant_id, key=self.key, station_id=self.station_id, received_at=received.received_at
        )

        async def check() -> None:
            verdict = unchecked
            if desk is not None and contract is not None:
                found = await think(desk, place, contract)
                # A chain that could not be checked is one that cannot be verified (C07.FR.17).
                verdict = (
                    found
                    if isinstance(found, ContractVerdict)
                    else ContractVerdict(status=CertificateVerdict.CERT_CHAIN_ERROR)
                )
            tariff: Struct | None = None
            if tariffs is not None:
                tariff = await tariffs.of(
                    self.tenant_id, self.key, self.station_id, message.id_token, message.evse_ids, received.received_at
                )
            self._continue(generation, lambda: self._authorize_by(received, answer, message, verdict, tariff))

        self._house.spawn(check())

    def _authorize_by(
        self,
        received: Received,
        answer: AnswerCallback,
        message: Authorize,
        contract: ContractVerdict | None,
        tariff: Struct | None = None,
    ) -> None:
        """By the token, and by what was found about the contract's certificate where there is one.

        Args:
            tariff: the driver's own, told where the token is accepted (2.1 I08.FR.01).
        """
        token = message.id_token

        def decided(records: tuple[IdTokenRecord, ...]) -> None:
            info = authorize(
                token,
                records,
                now=received.received_at,
                evse_ids=message.evse_ids,
                here=self._house.here(self.key),
                running=bool(self._open),
            )
            certificate: str | None = None
            if contract is not None:
                certificate, status = with_token(contract.status, info.status)
                if status is not info.status:
                    info = IdTokenInfo(status=status)
            repeat = self._attempts is not None and (received.message_id, received.content_hash) in self._attempts
            if token.type == KEY_CODE:
                waits = self._waits(received.received_at)
                if not repeat:
                    self._count_guess(info.status, received.received_at)
                if waits:
                    info = IdTokenInfo(status=AuthorizationStatus.INVALID)
            written: list[rows.Write] = []
            if not repeat:
                evse = message.evse_ids[0] if message.evse_ids else None
                written.append(
                    rows.attempt(
                        token,
                        evse,
                        info.status.value,
                        self._tenant,
                        self._station,
                        received.message_id,
                        received.content_hash,
                        received.received_at,
                    )
                )
            own = tariff if info.status is AuthorizationStatus.ACCEPTED else None
            decision = AuthorizeAnswer(id_token_info=info, certificate_status=certificate, tariff=own)
            self._submit(received, answer, decision, written)

        self._lookup(received, answer, token, decided)

    def _notice(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Notice)
        written = self._kept(received, message)
        if written:
            written += [rows.variable(one, self._station, received.received_at) for one in message.variables]
        changed = [
            one
            for one in message.statuses
            if within_bounds(one.evse_id, one.connector_id) and self._changed(one, received.received_at, written)
        ]
        told = self._house.feed.active
        reported = message.report is not None and bool(written)
        if reported:
            assert message.report is not None
            topic, key, payload = as_fact(self.key, self.station_id, received.received_at, message.report)
            written.append(rows.fact(self._tenant, topic, key, payload))
        after: Job | None = None
        status_told = self._status_told(changed) if changed else None
        if told or reported or status_told is not None:

            def tell() -> None:
                if reported:
                    self._house.report_committed()
                if status_told is not None:
                    status_told()
                if told:
                    self._emit("station.notice", {"action": message.action, "tells": message.tells})

            after = tell

        self._submit(received, answer, _ACKNOWLEDGED, written, after)

    def _kept(self, received: Received, notice: Notice) -> list[rows.Write]:
        """The row that keeps a message; none where it is there already."""
        if self._notices is not None and (received.message_id, received.content_hash) in self._notices:
            return []
        return [
            rows.notice(
                notice,
                self._station,
                received.message_id,
                received.content_hash,
                _HIDDEN if notice.hides else received.payload,
                received.received_at,
            )
        ]

    def _question(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Question)
        written = self._kept(received, Notice(action=message.action, tells=message.tells))
        desk = self._house.desks.get(type(message.asks))
        if desk is None:
            self._submit(received, answer, Answered(), written)
            return
        generation = self._hold(received, answer)
        place = Place(
            tenant_id=self.tenant_id, key=self.key, station_id=self.station_id, received_at=received.received_at
        )

        async def ask() -> None:
            found = await think(desk, place, message.asks)
            self._continue(generation, lambda: self._submit(received, answer, Answered(answer=found), written))

        self._house.spawn(ask())

    def _certificate_request(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, CertificateRequest)
        desk = self._house.certificates
        if desk is None:
            self._keep_request(received, answer, message, None)
            return
        generation = self._hold(received, answer)

        def decided(ident: int | None) -> None:
            self._continue(generation, lambda: self._keep_request(received, answer, message, ident))

        desk.consider(self.tenant_id, self.key, message, decided)

    def _keep_request(
        self, received: Received, answer: AnswerCallback, message: CertificateRequest, ident: int | None
    ) -> None:
        written = self._kept(received, Notice(action=received.action, tells=message.use))
        desk = self._house.certificates
        after: Job | None = None
        if desk is not None and ident is not None:
            number, carry_out = ident, desk.carry_out

            def make() -> None:
                carry_out(number)

            after = make
        self._submit(received, answer, CertificateAnswer(accepted=ident is not None), written, after)

    def _unusable(self, received: Received, answer: AnswerCallback) -> None:
        message = received.message
        assert isinstance(message, Unusable)
        self._quarantine(received, answer, message.reason)

    def connector_status(self, evse_id: int, connector_id: int) -> KnownStatus | None:
        """A connector's last status."""
        return self._connectors.get((evse_id, connector_id)) if self._connectors is not None else None

    @property
    def connectors(self) -> dict[tuple[int, int], KnownStatus]:
        """Last status by (EVSE, connector)."""
        return self._connectors or {}

    def sweep(self, now: datetime) -> list[rows.Write]:
        """What has gathered since the last sweep and is to be written: repair counts. Forgets what need not be kept."""
        written: list[rows.Write] = []
        quirks, self._quirks = self._quirks, None
        if quirks is not None:
            written = [rows.quirk(self._station, rule, hits, now) for rule, hits in quirks.items()]
        if self._attempts is not None or self._notices is not None:
            since = self._loaded_at
            if since is None or now - since > REPEAT_WINDOW:
                self._attempts = None
                self._notices = None
        return written

    def connection_row(
        self, link: StationLink, connected: bool, changed_at: datetime, seen: datetime | None
    ) -> rows.Write:
        """The row that says whether the station is connected."""
        clock = self._clock if self._clock is not self._clock_written else None
        self._clock_written = self._clock
        return rows.connection(
            self._station,
            self._house.node.id,
            connected,
            changed_at,
            link.ocpp_version,
            link.remote_address,
            seen,
            clock,
        )


_HANDLERS: dict[type, Callable[[Actor, Received, AnswerCallback], None]] = {
    Boot: Actor._boot,
    Heartbeat: Actor._heartbeat,
    ConnectorStatus: Actor._status,
    Authorize: Actor._authorize,
    TransactionReport: Actor._transaction,
    MeterReport: Actor._meter,
    Notice: Actor._notice,
    Question: Actor._question,
    CertificateRequest: Actor._certificate_request,
    Unusable: Actor._unusable,
}
