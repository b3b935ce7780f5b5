"""A look at a session that goes on reads what came since the last one, and finds what a look at all of it would find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.app.sessions.keeper import read_session
from chargeplane.app.sessions.looks import Looks
from chargeplane.domain.cdrs.charging import ToldEvent, charge_of_transaction
from chargeplane.domain.messages import Reading, Sample
from chargeplane.domain.rating import Rating, so_far
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.domain.transactions import measured
from chargeplane.kernel.ids import TenantId, TransactionId
from chargeplane.main.wiring import Server
from chargeplane.store.queries.session_transactions import told_events
from tests.sessions.making import ENERGY, site
from tests.sessions.test_once import ended, keeper_on
from tests.support.charging_house import ChargingHouse

BEGIN = datetime(2026, 3, 2, 6, tzinfo=UTC)
ONE = TransactionId(1)
TARIFF = msgspec.convert(
    {
        "id": "T",
        "currency": "EUR",
        "tax_included": "NO",
        "last_updated": "2026-01-01T00:00:00Z",
        "elements": [
            {
                "price_components": [{"type": "ENERGY", "price": "0.5", "step_size": 1}],
                "restrictions": {"max_kwh": "2"},
            },
            {
                "price_components": [
                    {"type": "ENERGY", "price": "0.7", "step_size": 100},
                    {"type": "TIME", "price": "1", "step_size": 60},
                    {"type": "PARKING_TIME", "price": "6", "step_size": 60},
                ]
            },
        ],
    },
    Tariff,
    strict=False,
)


def row(ordinal: int, minute: int, late: int, wh: int | None, state: str | None) -> dict[str, Any]:
    """A message as it is kept; it may come later than it says it is of."""
    at = BEGIN + timedelta(minutes=minute)
    samples = () if wh is None else (Sample(measurand="Energy.Active.Import.Register", value=Decimal(wh), unit="Wh"),)
    info = {"transactionId": "1", **({} if state is None else {"chargingState": state})}
    return {
        "ordinal": ordinal,
        "kind": "Started" if ordinal == 1 else "Updated",
        "content_hash": ordinal.to_bytes(16, "big"),
        "seq_no": ordinal,
        "at": at,
        "received_at": at + timedelta(minutes=late),
        "payload": msgspec.json.encode({"transactionInfo": info}).decode(),
        "readings": msgspec.json.encode([Reading(at=at, samples=samples)]).decode() if samples else None,
    }


MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.integers(0, 30),
        st.one_of(st.none(), st.integers(0, 6_000)),
        st.sampled_from([None, "Charging", "SuspendedEV", "EVConnected"]),
    ),
    min_size=1,
    max_size=25,
)


def cost(told: list[ToldEvent]) -> Rating:
    until = max(one.event.at or BEGIN for one in told)
    along = measured([one.event for one in told])
    energy = along[-1].energy_wh if along else Decimal(0)
    charge = charge_of_transaction(told, started_at=BEGIN, until=until, energy_wh=energy)
    return so_far(charge, TARIFF, ZoneInfo("Europe/Berlin"), until + timedelta(minutes=1))


@given(MESSAGES, st.data())
def test_looks_at_parts_find_what_one_look_at_the_whole_finds(messages: list[Any], data: st.DataObject) -> None:
    rows = [row(number, *one) for number, one in enumerate(messages, 1)]
    looks = Looks(few=data.draw(st.integers(1, 5)), most=data.draw(st.integers(3, 40)))
    seen = 0
    while seen < len(rows):
        seen = data.draw(st.integers(seen + 1, len(rows)))
        known = looks.known(ONE)
        told = told_events(rows[len(known) : seen], known)
        looks.note(ONE, told)
        whole = told_events(rows[:seen])
        assert told == whole
        assert cost(told) == cost(whole)


def test_what_is_kept_is_bounded_and_the_longest_not_looked_at_goes_first() -> None:
    told = told_events([row(number, number, 0, number, None) for number in range(1, 11)])
    looks = Looks(few=3, most=25)
    for number in (1, 2):
        looks.note(TransactionId(number), told)
    looks.note(TransactionId(1), told[:9])
    looks.note(TransactionId(3), told)
    assert [len(looks.known(TransactionId(number))) for number in (1, 2, 3)] == [9, 0, 10]
    assert looks.kept == 19
    looks.note(TransactionId(4), told[:2])  # read again sooner than kept
    assert not looks.known(TransactionId(4))
    looks.note(TransactionId(5), [*told, *told, *told])
    assert not looks.known(TransactionId(5))
    looks.forget(TransactionId(1))
    looks.forget(TransactionId(1))
    assert looks.kept == 10


async def test_a_look_reads_only_what_is_new_and_the_last_one_everything(
    calm_house: ChargingHouse, calm: Server
) -> None:
    made = await site(calm_house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    station = await made.station("2.0.1")
    station.plug_in()
    running = await station.start_transaction(tag)
    await station.deliver(running, 4_000, meter_interval_s=600)
    await station.drain()
    (one,) = await made.tenant.transactions(station)
    ident, database = TransactionId(int(one["id"])), calm.database

    async def tenant_of() -> Any:
        async with database.read() as db:
            return await db.fetchval("SELECT tenant_id FROM transaction WHERE id = $1", ident)

    tenant = TenantId(await tenant_of())
    _, _, rows = await read_session(database, tenant, ident)
    assert len(rows) > 3
    known = told_events(rows[:-2])
    _, _, fresh = await read_session(database, tenant, ident, known)
    assert [row["ordinal"] for row in fresh] == [row["ordinal"] for row in rows[-2:]]
    await station.stop_transaction(running)
    await station.drain()
    _, _, last = await read_session(database, tenant, ident, known)
    assert len(last) > len(rows)


async def test_what_was_kept_of_a_session_goes_with_its_end(calm_house: ChargingHouse, calm: Server) -> None:
    made = await site(calm_house, ENERGY)
    looks = Looks(few=1)
    keeper = keeper_on(calm.database, looks)
    work = await ended(made, calm)
    # Kept by a look before the end, and wrong by now: the last look is not to rest on it.
    looks.note(work.transaction_id, told_events([row(1, 0, 0, 1, None)]))
    await keeper.look(work)
    (cdr,) = await made.cdrs()
    assert cdr["total_incl"]["amount"] == "6.00"
    assert looks.kept == 0
