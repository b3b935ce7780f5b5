"""CDRs that partners sent of our drivers, over OCPI or handed in: what we owe by them is booked when they come, and settled by the agreement."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.app.ledger import post
from chargeplane.domain.settlements.booking import partner_cdr_entry
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import settlements_of_partners as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.settlements_of_partners import PartnerCdr


class NewPartnerCdr(Struct, frozen=True, kw_only=True):
    """A CDR as a partner sent it.

    Args:
        party: `DE*ABC`.
        credit: it takes another one back; amounts are given as the partner gives them, and count below nothing.
        country: where it was charged, ISO 3166-1 alpha-2.
        object_key: of the document, where it came over OCPI.
    """

    party: str
    cdr_id: str
    started_at: datetime
    ended_at: datetime
    energy_wh: Decimal
    total_excl: Money
    total_incl: Money
    country: str
    credit: bool = False
    id_token: str | None = None
    object_key: int | None = None


async def keep(db: Db, tenant_id: TenantId, new: NewPartnerCdr, now: datetime) -> tuple[PartnerCdr, bool]:
    """Keeps a partner's CDR and books what we owe for it, within the caller's change; whether it is new. A repeat changes nothing.

    It belongs to the roaming agreement with the partner that had begun by then; where there is none, to the one that settles it first.

    Raises:
        ConflictError: another CDR of the partner has the id.
    """
    party = new.party.upper()
    net, gross = _counted(new.total_excl, new.credit), _counted(new.total_incl, new.credit)
    row = PartnerCdr(
        id=0,
        agreement_id=await _agreement(db, tenant_id, party, new.ended_at),
        party=party,
        cdr_id=new.cdr_id,
        credit=new.credit,
        id_token=new.id_token,
        started_at=new.started_at,
        ended_at=new.ended_at,
        energy_wh=-abs(new.energy_wh) if new.credit else new.energy_wh,
        currency=gross.currency,
        total_excl=net.amount,
        total_incl=gross.amount,
        country=new.country.upper(),
        statement_id=None,
        received_at=now,
        object_key=new.object_key,
        dispute=None,
    )
    made = await queries.insert_cdr(db, tenant_id, row)
    if made is not None:
        await post(db, tenant_id, partner_cdr_entry(made, party, new.cdr_id, row.country, net, gross, new.ended_at))
    found = await queries.cdr_by_ref(db, tenant_id, party, new.cdr_id)
    assert found is not None
    if made is None and (found.total_excl, found.total_incl, found.currency, found.credit) != (
        row.total_excl,
        row.total_incl,
        row.currency,
        row.credit,
    ):
        raise ConflictError(f"{party} sent CDR '{new.cdr_id}' before, with other amounts; it has to credit that one.")
    if row.object_key is not None and found.object_key is None:
        await queries.bind_cdr(
            db, found.id, row.object_key
        )  # so that a dispute of what came holds back what was handed in
        found = await queries.cdr_by_ref(db, tenant_id, party, new.cdr_id)
        assert found is not None
    return found, made is not None


def _counted(money: Money, credit: bool) -> Money:
    return Money(amount=-abs(money.amount) if credit else money.amount, currency=money.currency).rounded()


async def _agreement(db: Db, tenant_id: TenantId, party: str, ended_at: datetime) -> int | None:
    for ident in await queries.roaming_agreement(db, tenant_id, party):
        stored = await agreement_queries.one(db, tenant_id, ident)
        began = None if stored is None else stored.agreement.begun_at
        if began is not None and began <= ended_at:
            return ident
    return None
