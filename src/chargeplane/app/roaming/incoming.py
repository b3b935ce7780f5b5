"""Sessions and CDRs of our drivers at partners' stations: told to the driver while they charge, checked, billed, owed to the partner.

A Session or CDR is written with its row in the transaction that keeps its document. A CDR brings a fact; what follows from it is done
by the fact's handler, once: it is rated again (`domain/roaming/checking.py`), the driver's CDR is written by the agreement
(`domain/roaming/billing.py`), from where invoicing takes it as any other, and the ledger has what we owe the partner. A credit CDR
takes all of that back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.agreements.resolving import Resolved, Resolving
from chargeplane.app.alerts import Alerts
from chargeplane.app.cdrs.writing import CREATED, key_of, payload_of, take_back
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.roaming.replicas import ChangedObject
from chargeplane.app.settlements.partner_cdrs import NewPartnerCdr as SettledCdr
from chargeplane.app.settlements.partner_cdrs import keep
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.alerts import Severity
from chargeplane.domain.authorization import canonical, token_key
from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind, cdr_of
from chargeplane.domain.cdrs.holds import Hold
from chargeplane.domain.cdrs.included import SessionTerms, grants_of, left_of, periods_of, terms_of, used_of
from chargeplane.domain.cdrs.session import CdrPlace, CdrToken, Frozen, FrozenAgreement, PricedBy
from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.rating import Charge, Period, rate
from chargeplane.domain.roaming.billing import as_one_fee, tariff_item
from chargeplane.domain.roaming.checking import Tolerance, Verdict, charge_told, checked
from chargeplane.domain.roaming.disputes import DisputeState, DisputeStep, moved
from chargeplane.domain.roaming.records import CdrSaid, cdr_said, place_of, qualified, session_said
from chargeplane.domain.roaming.replicas import Module
from chargeplane.domain.roaming.signed import SignedCheck, signed_check, signed_said
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import ConflictError, RuleError
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.kernel.money import Money
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import asked_bookings, facts, meter_keys
from chargeplane.store.queries import cdrs as cdr_queries
from chargeplane.store.queries import partner_records as queries
from chargeplane.store.queries import replicas as replica_queries
from chargeplane.store.queries.cdrs import NewCdr
from chargeplane.store.queries.meter_keys import CheckedValue
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.partner_records import NewPartnerCdr, NewSession, OurToken, PartnerCdr

log = structlog.get_logger(__name__)

TOPIC: Final = "partner.cdr"
"""Fact: a CDR of a partner came."""

_DIGITS: Final = 18
_AGREEMENT_LOCK: Final = 0x6167_7265  # as settling takes it: what agreements include is used up by one at a time


class CdrCame(Struct, frozen=True, kw_only=True):
    """The fact."""

    object_key: int


_came = msgspec.json.Decoder(CdrCame).decode


class Incoming:
    """Takes partners' Sessions and CDRs.

    Args:
        told: that facts were written.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        resolving: Resolving,
        tariffs: Tariffs,
        tolerance: Tolerance,
        alerts: Alerts,
        *,
        told: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._events = events
        self._resolving = resolving
        self._tariffs = tariffs
        self._tolerance = tolerance
        self._alerts = alerts
        self._told = told
        self._now = now

    # What comes

    async def sessions(self, db: Db, changed: Sequence[ChangedObject]) -> None:
        """Hook of the copies: sessions were written."""
        said = [(one, session_said(one.document)) for one in changed if one.document]
        if not said:
            return
        tokens = await queries.our_tokens(
            db, [(one.tenant_id, session.cdr_token.uid, session.cdr_token.contract_id) for one, session in said]
        )
        rows: list[NewSession] = []
        for one, session in said:
            token = tokens.get((one.tenant_id, session.cdr_token.uid.lower()))
            cost = None if session.total_cost is None else session.total_cost.cost
            rows.append(
                NewSession(
                    object_key=one.key,
                    tenant_id=one.tenant_id,
                    connection_id=one.connection_id,
                    country_code=one.country_code,
                    party_id=one.party_id,
                    id=session.id,
                    status=session.status,
                    location_id=session.location_id,
                    evse_uid=session.evse_uid,
                    connector_id=session.connector_id,
                    token_uid=session.cdr_token.uid,
                    id_token_id=None if token is None else token.id,
                    driver_id=None if token is None else token.driver_id,
                    reference=session.authorization_reference,
                    started_at=as_utc(session.start_date_time),
                    ended_at=None if session.end_date_time is None else as_utc(session.end_date_time),
                    kwh=session.kwh,
                    currency=session.currency,
                    cost_excl=None if cost is None else cost.excl,
                    cost_incl=None if cost is None else cost.incl,
                    last_updated=as_utc(session.last_updated),
                )
            )
        await queries.put_sessions(db, rows)

    def sessions_written(self, changed: Sequence[ChangedObject]) -> None:
        """After the commit: shown to whoever watches."""
        for one in changed:
            if one.document and self._events.active:
                session = session_said(one.document)
                self._events.publish(
                    "received_session.updated",
                    one.tenant_id,
                    None,
                    {
                        "id": str(one.key),
                        "partner": f"{one.country_code}*{one.party_id}",
                        "session_id": session.id,
                        "status": session.status,
                        "kwh": session.kwh,
                        "currency": session.currency,
                        "last_updated": session.last_updated,
                    },
                )

    async def cdrs(self, db: Db, changed: Sequence[ChangedObject]) -> None:
        """Hook of the copies: CDRs came."""
        said = [(one, cdr_said(one.document)) for one in changed]
        tokens = await queries.our_tokens(
            db, [(one.tenant_id, cdr.cdr_token.uid, cdr.cdr_token.contract_id) for one, cdr in said]
        )
        for one, cdr in said:
            token = tokens.get((one.tenant_id, cdr.cdr_token.uid.lower()))
            cost = cdr.total_cost.cost
            await queries.put_cdr(
                db,
                NewPartnerCdr(
                    object_key=one.key,
                    tenant_id=one.tenant_id,
                    connection_id=one.connection_id,
                    country_code=one.country_code,
                    party_id=one.party_id,
                    id=cdr.id,
                    session_id=cdr.session_id,
                    credit=bool(cdr.credit),
                    credits=cdr.credit_reference_id if cdr.credit else None,
                    reference=cdr.authorization_reference,
                    location_id=cdr.cdr_location.id,
                    evse_uid=cdr.cdr_location.evse_uid,
                    token_uid=cdr.cdr_token.uid,
                    id_token_id=None if token is None else token.id,
                    driver_id=None if token is None else token.driver_id,
                    started_at=as_utc(cdr.start_date_time),
                    ended_at=as_utc(cdr.end_date_time),
                    kwh=cdr.total_energy,
                    currency=cdr.currency,
                    total_excl=cost.excl,
                    total_incl=cost.incl if cdr.total_cost.taxes else None,
                    booking_id=cdr.booking_id,
                ),
            )
            key = f"partner:{one.country_code}{one.party_id}"
            await facts.tell(db, one.tenant_id, TOPIC, key, CdrCame(object_key=one.key))

    def cdrs_written(self, _changed: Sequence[ChangedObject]) -> None:
        """After the commit: the fact can be taken."""
        self._told()

    async def document(self, tenant_id: TenantId, connection_id: int, reference: str) -> bytes | None:
        """A CDR as it came, by what stands in the URL that its sender was given; None: there is none, or it is another partner's."""
        if not reference.isascii() or not reference.isdecimal() or len(reference) > _DIGITS:
            return None
        async with self._database.read() as db:
            found = await queries.cdr(db, tenant_id, int(reference))
            if found is None or found.connection_id != connection_id:
                return None
            return await queries.document(db, tenant_id, found.object_key)

    # What follows from a CDR

    async def came(self, fact: Fact) -> None:
        """Handler of the fact: checks a CDR, bills it, books it. A repeat does nothing more."""
        tenant_id, key = TenantId(fact.tenant_id), _came(fact.payload).object_key
        async with self._database.read() as db:
            found = await queries.cdr(db, tenant_id, key)
            document = await queries.document(db, tenant_id, key)
            if found is None or document is None:
                return
            party = (found.country_code, found.party_id)
            named = await queries.time_zone_of(db, tenant_id, party, found.location_id)
            said = cdr_said(document)
            wanted = sorted({one.tariff_id for one in said.charging_periods if one.tariff_id is not None})
            copies = await replica_queries.objects_by_id(db, tenant_id, Module.TARIFFS, party, wanted)
            canceled = await asked_bookings.was_canceled(db, tenant_id, party, said.booking_id)
        zone = _zone(named)
        replicas = {one.id.lower(): one.document for one in copies}
        check, _, tariff = await asyncio.to_thread(checked, said, replicas, zone, self._tolerance, canceled=canceled)
        told = None if found.credit else signed_said(bytes(said.signed_data))
        signed = await asyncio.to_thread(signed_check, told, found.kwh * 1000)
        async with self._database.change() as db:
            row = await queries.cdr(db, tenant_id, key, locked=True)
            if row is None:
                return
            if row.verdict is Verdict.WAITING:
                await queries.put_check(db, key, check, None if signed is None else signed.summary)
            if row.posted_at is None:
                await self._book(db, row, said)
            if row.credit:
                await self._credited(db, row)
            elif row.cdr_id is None and row.id_token_id is not None:
                await self._bill(db, row, said, zone, check.verdict, tariff, signed)
        self._told()
        self._events.publish(
            "received_cdr.checked",
            tenant_id,
            None,
            {"id": str(key), "partner": "*".join(party), "cdr_id": found.id, "verdict": check.verdict.value},
        )

    async def _bill(
        self,
        db: Db,
        row: PartnerCdr,
        said: CdrSaid,
        zone: ZoneInfo,
        verdict: Verdict,
        asked: Tariff | None,
        signed: SignedCheck | None,
    ) -> None:
        known = await queries.our_tokens(db, [(row.tenant_id, row.token_uid, said.cdr_token.contract_id)])
        token = known.get((row.tenant_id, row.token_uid.lower()))
        if token is None:
            return
        place = place_of(said, zone.key)
        agreed = await self._resolving.resolve(
            row.tenant_id,
            ResolveAsk(
                at=row.started_at,
                id_token=token.id_token,
                id_token_type=token.type,
                driver_id=None if row.driver_id is None else str(row.driver_id),
                location_id=place.id,
                country=place.country_alpha2,
            ),
        )
        holds: set[Hold] = set()
        tariff, priced_by = await self._tariff(row, said, agreed, verdict, asked, holds)
        canceled = await asked_bookings.was_canceled(
            db, row.tenant_id, (row.country_code, row.party_id), said.booking_id
        )
        charge = _charge(said, canceled)
        terms = SessionTerms()
        if agreed is not None:
            await db.execute("SELECT pg_advisory_xact_lock($1, hashint8($2))", _AGREEMENT_LOCK, agreed.agreement_id)
            terms = await _terms(db, row.tenant_id, agreed, row.started_at, tariff)
            if terms.other_currency:
                holds.add(Hold.CURRENCY_MISMATCH)
        rating = await asyncio.to_thread(rate, charge, tariff, zone, terms=terms.terms)
        content = cdr_of(
            _frozen(row, place, token, agreed, tariff, priced_by),
            charge,
            started_at=row.started_at,
            ended_at=max(row.ended_at, row.started_at),
            energy_wh=row.kwh * 1000,
            stop_reason=None,
            flags=(),
            tariff=tariff,
            rating=rating,
            priced_by=priced_by,
            signed=None if signed is None else signed.summary,
        )
        session_id = TransactionId(await db.fetchval("SELECT nextval('transaction_id_seq')"))
        made = await _written(db, row, content, session_id, token, holds)
        if signed is not None:
            await meter_keys.keep_values(
                db,
                row.tenant_id,
                session_id,
                [
                    CheckedValue(
                        ordinal=0, data=one.data, verdict=one.verdict, because=one.because, key_id=None, key=signed.key
                    )
                    for one in signed.values
                ],
            )
        if agreed is not None:
            await cdr_queries.note_use(db, made, agreed.agreement_id, row.started_at, used_of(terms, rating, tariff))
        await queries.put_billed(db, row.object_key, made)

    async def _tariff(
        self,
        row: PartnerCdr,
        said: CdrSaid,
        agreed: Resolved | None,
        verdict: Verdict,
        asked: Tariff | None,
        holds: set[Hold],
    ) -> tuple[Tariff, PricedBy]:
        if agreed is not None:
            item = tariff_item(agreed.items, qualified(row.country_code, row.party_id, row.location_id))
            if item is not None:
                found = (
                    await self._tariffs.version_of(row.tenant_id, item.tariff_id, row.started_at)
                    if item.version is None
                    else await self._tariffs.frozen(row.tenant_id, item.tariff_id, item.version)
                )
                if found is not None:
                    return found, PricedBy.AGREEMENT
        if verdict is Verdict.AGREES and asked is not None:
            return asked, PricedBy.PARTNER
        if verdict is Verdict.DIFFERS:
            holds.add(Hold.PARTNER_DIFFERS)
        return as_one_fee(said, row.received_at), PricedBy.PARTNER

    async def _credited(self, db: Db, credit: PartnerCdr) -> None:
        if credit.credits is None:
            return
        party = (credit.country_code, credit.party_id)
        original = await queries.cdr_named(db, credit.tenant_id, party, credit.credits)
        if original is None:
            log.warning("credit_of_unknown_cdr", partner="*".join(party), cdr=credit.id, credits=credit.credits)
            return
        if original.dispute_state in (DisputeState.OPEN, DisputeState.ACCEPTED):
            step = DisputeStep(
                state=DisputeState.CREDITED, at=self._now(), by=f"partner: {'*'.join(party)}", reason=credit.id
            )
            await queries.put_dispute(
                db, original.object_key, step.state, moved(original.dispute_state, original.dispute, step)
            )
        if original.cdr_id is None or credit.cdr_id is not None:
            return
        known = await cdr_queries.one(db, credit.tenant_id, original.cdr_id)
        if known is None or known[0].credited_by is not None:
            return
        ours = known[0]
        number = len(await cdr_queries.of_session(db, credit.tenant_id, ours.session_id)) + 1
        made = await take_back(db, ours, number, f"Credited by the partner: {credit.id}")
        await queries.put_billed(db, credit.object_key, made.id)

    async def _book(self, db: Db, row: PartnerCdr, said: CdrSaid) -> None:
        """What we owe the partner: booked, and settled by the agreement with it."""
        who = f"{row.country_code}*{row.party_id}"
        new = SettledCdr(
            party=who,
            cdr_id=row.id,
            started_at=row.started_at,
            ended_at=row.ended_at,
            energy_wh=row.kwh * 1000,
            total_excl=Money(amount=row.total_excl, currency=row.currency),
            total_incl=Money(amount=said.total_cost.cost.incl, currency=row.currency),
            country=ALPHA2.get(said.cdr_location.country, row.country_code),
            credit=row.credit,
            id_token=row.token_uid,
            object_key=row.object_key,
        )
        try:
            await keep(db, row.tenant_id, new, self._now())
        except ConflictError as error:
            # It was handed in before, with other amounts: a person has to say which are right.
            log.warning("partner_cdr_handed_in_otherwise", partner=who, cdr=row.id, error=str(error))
            await self._alerts.raise_alert(
                db,
                row.tenant_id,
                None,
                kind="partner_cdr",
                severity=Severity.WARNING,
                title=f"CDR '{row.id}' of {who} was handed in with other amounts than it came with.",
                ident=f"received {row.object_key}",
                details={
                    "party": who,
                    "cdr_id": row.id,
                    "received_cdr_id": str(row.object_key),
                    "total_excl": str(new.total_excl.rounded().amount),
                    "total_incl": str(new.total_incl.rounded().amount),
                    "currency": row.currency,
                },
            )
        await queries.put_posted(db, row.object_key)


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _charge(said: CdrSaid, canceled: bool) -> Charge:
    """The CDR's periods; one of the whole where they cannot be used."""
    try:
        return charge_told(said, canceled=canceled)
    except RuleError:
        start = as_utc(said.start_date_time)
        end = max(as_utc(said.end_date_time), start)
        return Charge(periods=(Period(start=start, end=end, energy_wh=max(said.total_energy * 1000, Decimal(0))),))


def _frozen(
    row: PartnerCdr,
    place: CdrPlace,
    token: OurToken,
    agreed: Resolved | None,
    tariff: Tariff,
    priced_by: PricedBy,
) -> Frozen:
    agreement = None
    if agreed is not None:
        agreement = FrozenAgreement(
            id=agreed.agreement_id,
            number=agreed.number,
            version=agreed.version,
            currency=agreed.currency,
            time_zone=agreed.time_zone,
        )
    return Frozen(
        place=place,
        station_id=qualified(row.country_code, row.party_id, row.evse_uid),
        ocpp_evse_id=0,
        ocpp_connector_id=None,
        ocpp_transaction_id=row.session_id,
        token=CdrToken(
            uid=token.id_token, type=token.type, contract_id=None if agreement is None else agreement.number
        ),
        driver_id=row.driver_id,
        agreement=agreement,
        priced_by=priced_by,
        tariff_id=tariff.id,
        tariff_version=tariff.version,
    )


async def _terms(db: Db, tenant_id: TenantId, agreed: Resolved, at: datetime, tariff: Tariff) -> SessionTerms:
    stored = await agreement_queries.one(db, tenant_id, agreed.agreement_id)
    if stored is None:
        return SessionTerms()
    whole = as_of(stored.agreement, at)
    left = {}
    for grant in grants_of(agreed.items):
        periods = periods_of(grant, at, agreed.time_zone, whole.begun_at)
        used = [
            await cdr_queries.used_of(db, agreed.agreement_id, grant.key, since, until, TransactionId(0))
            for since, until in periods
        ]
        left[grant.key] = left_of(grant, used)
    return terms_of(agreed.items, agreed.currency, tariff, left)


async def _written(
    db: Db, row: PartnerCdr, content: CdrContent, session_id: TransactionId, token: OurToken, holds: set[Hold]
) -> int:
    cost = content.totals.cost
    made = await cdr_queries.insert(
        db,
        NewCdr(
            tenant_id=row.tenant_id,
            session_id=session_id,
            kind=CdrKind.ORIGINAL,
            number=1,
            credits=None,
            location_id=content.place.id,
            evse_uid=content.place.evse_uid,
            token_key=token_key(canonical(token.id_token, token.type)),
            driver_id=row.driver_id,
            agreement_id=None if content.agreement is None else content.agreement.id,
            payment_id=None,
            tariff_id=None if content.tariff is None else content.tariff.id,
            energy_wh=row.kwh * 1000,
            currency=None if content.tariff is None else content.tariff.currency,
            total_excl=None if cost is None else cost.excl,
            total_incl=None if cost is None else cost.incl,
            holds=tuple(sorted(holds)),
        ),
        content,
    )
    await facts.tell(db, row.tenant_id, CREATED, key_of(session_id), payload_of(made))
    return made.id
