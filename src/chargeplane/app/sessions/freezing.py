"""What a session is begun with: place, driver, agreement, tariff, payment; found once, as of its start."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from chargeplane.app.locations import EvsePlace
from chargeplane.app.sessions.ports import (
    Agreed,
    Drivers,
    Nobody,
    PaidBy,
    Places,
    Reserved,
    RoamingSessions,
    SessionAgreements,
    SessionPayments,
    TariffSource,
    TerminalPayers,
)
from chargeplane.app.tariffs.tariffs import CONTRACT, PUBLIC
from chargeplane.domain.authorization import NO_AUTHORIZATION
from chargeplane.domain.cdrs.session import CdrPlace, CdrToken, Frozen, PricedBy, RoamingDriver
from chargeplane.domain.locations.model import LocationContent
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.store.database import Database
from chargeplane.store.queries.session_transactions import SessionTransaction

_content = msgspec.json.Decoder(LocationContent).decode
_AD_HOC: Final = frozenset({NO_AUTHORIZATION, "DirectPayment"})
"""Types of tokens behind which no contract stands (OCPP 2.1 C18: DirectPayment is a card at the station's terminal)."""


class Freezing:
    """Finds what a session is begun with."""

    def __init__(
        self,
        database: Database,
        places: Places,
        tariffs: TariffSource,
        agreements: SessionAgreements,
        drivers: Drivers,
        payments: SessionPayments,
        reserved: Reserved,
        roaming: RoamingSessions | None = None,
    ) -> None:
        self._database = database
        self._places = places
        self._tariffs = tariffs
        self._agreements = agreements
        self._drivers = drivers
        self._payments = payments
        self._reserved = reserved
        self._roaming: RoamingSessions = roaming or Nobody()
        self.terminals: TerminalPayers | None = None
        """Knows who pays at a partner's terminal; None: nobody does."""

    async def paid_by(self, transaction: SessionTransaction) -> PaidBy | None:
        """The payment of a session."""
        return await self._payments.paid_by(transaction)

    async def freeze(self, transaction: SessionTransaction) -> Frozen | None:
        """What it is begun with; None where its EVSE is at no location."""
        place = await self._place(transaction)
        if place is None:
            return None
        tenant, token, kind = transaction.tenant_id, transaction.id_token, transaction.id_token_type
        owner = None if not token else await self._drivers.driver_of_token(tenant, kind, token)
        driver = None if owner is None else int(owner)
        paid = await self._payments.paid_by(transaction)
        agreed = None
        if token and paid is None and kind not in _AD_HOC:
            agreed = await self._agreements.agreed(transaction, place, driver)
        roaming = None
        if token and driver is None and agreed is None and paid is None and kind not in _AD_HOC:
            roaming = await self._roaming.driver(transaction)
        snapshot = await cdr_place(self._database, place)
        terminal = None
        if roaming is not None and self.terminals is not None:
            terminal = await self.terminals.at_terminal(roaming, snapshot)
        tariff, by = await self._tariff(transaction, place, agreed, paid, anybody=terminal is not None)
        payment_id = None if paid is None else paid.payment_id
        if terminal is not None and roaming is not None and self.terminals is not None and tariff is not None:
            made = await self.terminals.begun(transaction, roaming, tariff)
            if terminal.ours_to_invoice:
                payment_id = made
                roaming = replace(roaming, invoice_reference_id=roaming.authorization_reference)
        return Frozen(
            place=snapshot,
            station_id=transaction.station_id,
            ocpp_evse_id=place.ocpp_evse_id or transaction.evse_id or 0,
            ocpp_connector_id=transaction.connector_id,
            ocpp_transaction_id=transaction.ocpp_transaction_id,
            token=None if not token else CdrToken(uid=token, type=kind, contract_id=_contract(agreed, roaming)),
            driver_id=driver,
            agreement=None if agreed is None else agreed.agreement,
            payment_id=payment_id,
            priced_by=by,
            tariff_id=None if tariff is None else tariff.id,
            tariff_version=None if tariff is None else tariff.version,
            reserved_from=await self._reserved.reserved_from(transaction),
            roaming=roaming,
        )

    async def _place(self, transaction: SessionTransaction) -> EvsePlace | None:
        evse = transaction.evse_id
        if not evse:
            # A station that does not say where (OCPP 2.x: the EVSE may come later) has it at its only one, if it has one.
            async with self._database.read() as db:
                rows = await db.fetch(
                    "SELECT ocpp_evse_id FROM evse WHERE station_key = $1 AND removed_at IS NULL LIMIT 2",
                    transaction.station_key,
                )
            if len(rows) != 1:
                return None
            evse = rows[0]["ocpp_evse_id"]
        return await self._places.evse_by(
            transaction.tenant_id, transaction.station_key, evse, transaction.connector_id
        )

    async def _tariff(
        self,
        transaction: SessionTransaction,
        place: EvsePlace,
        agreed: Agreed | None,
        paid: PaidBy | None,
        *,
        anybody: bool,
    ) -> tuple[Tariff | None, PricedBy]:
        tenant, at = transaction.tenant_id, transaction.started_at
        if agreed is not None and agreed.tariff_id is not None:
            found = (
                await self._tariffs.version_of(tenant, agreed.tariff_id, at)
                if agreed.tariff_version is None
                else await self._tariffs.frozen(tenant, agreed.tariff_id, agreed.tariff_version)
            )
            if found is not None:
                return found, PricedBy.AGREEMENT
        if paid is not None and paid.tariff_id is not None and paid.tariff_version is not None:
            found = await self._tariffs.frozen(tenant, paid.tariff_id, paid.tariff_version)
            if found is not None:
                return found, PricedBy.PUBLIC
        public = anybody or paid is not None or not transaction.id_token or transaction.id_token_type in _AD_HOC
        found = await self._tariffs.at_connector(tenant, place.tariff_ids, at, PUBLIC if public else CONTRACT)
        if found is None:
            return None, PricedBy.NOTHING
        return found, PricedBy.PUBLIC if public else PricedBy.CONNECTOR


async def cdr_place(database: Database, place: EvsePlace) -> CdrPlace:
    """A place as it is called now; where its location was deleted, as it was called last."""
    async with database.read() as db:
        body = await db.fetchval(
            "SELECT body FROM location WHERE tenant_id = $1 AND lower(id) = lower($2) AND deleted_at IS NULL",
            place.tenant_id,
            place.location_id,
        )
        if body is None:
            body = await db.fetchval(
                "SELECT l.body FROM evse e JOIN location l ON l.key = e.location_key"
                " WHERE e.tenant_id = $1 AND lower(e.uid) = lower($2)",
                place.tenant_id,
                place.evse_uid,
            )
    said = None if body is None else _content(body)
    connector = place.connector
    return CdrPlace(
        id=place.location_id,
        name=place.location_name,
        address="" if said is None else said.address,
        city="" if said is None else said.city,
        postal_code=None if said is None else said.postal_code,
        state=None if said is None else said.state,
        country=place.country_alpha3,
        country_alpha2=place.country,
        latitude="" if said is None else said.coordinates.latitude,
        longitude="" if said is None else said.coordinates.longitude,
        time_zone=place.time_zone.key,
        evse_uid=place.evse_uid,
        evse_id=place.evse_id,
        connector_id=place.connector_id,
        connector_standard=None if connector is None else connector.standard,
        connector_format=None if connector is None else connector.format.value,
        connector_power_type=None if connector is None else connector.power_type.value,
    )


def _contract(agreed: Agreed | None, roaming: RoamingDriver | None) -> str | None:
    if agreed is not None:
        return agreed.agreement.number
    return None if roaming is None else roaming.contract_id
