"""Service agreements over REST, with the real server and database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from chargeplane.app.agreements.following import Following
from chargeplane.app.agreements.ports import Holder
from chargeplane.app.agreements.resolving import Resolving
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.model import AgreementState
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.kernel.ids import TenantId
from chargeplane.main.cli.agreement import agreement
from chargeplane.store.queries import agreements as queries
from chargeplane.store.queries.agreements import AgreementFilter
from chargeplane.store.queries.paging import Db
from tests.support.rest import ADMIN_KEY, Rest, assert_problem

PATH = "/v1/service-agreements"
HOUSE = {"role": "provider", "kind": "house"}


_COMPANY = {"role": "consumer", "kind": "company", "id": "acme"}


def body(token: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "driver_plan",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [HOUSE, {"role": "consumer", "kind": "company", "id": f"c-{token}"}],
        "scope": [{"kind": "id_token", "value": token}],
        **more,
    }


async def made(rest: Rest, token: str, **more: Any) -> dict[str, Any]:
    response = await rest.client.post(PATH, json=body(token, **more))
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def do(rest: Rest, ident: str, action: str, status: int = 200, **more: Any) -> dict[str, Any]:
    response = await rest.client.post(f"{PATH}/{ident}/{action}", json=more)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


async def active(rest: Rest, token: str, **more: Any) -> dict[str, Any]:
    ident = (await made(rest, token, **{"starts_at": "2026-01-01T00:00:00Z", **more}))["id"]
    await do(rest, ident, "propose")
    return await do(rest, ident, "accept")


async def test_every_amount_of_money_in_an_answer_is_a_text_whatever_it_was_given_as(rest: Rest) -> None:
    fee = {"type": "recurring_fee", "name": "Fee", "amount": {"amount": 4.9, "currency": "EUR"}}
    off = {"type": "discount", "name": "Off", "per_kwh": {"amount": "0.015", "currency": "EUR"}}
    limits = {"credit": {"amount": "250", "currency": "EUR"}, "kw": 11}
    one = await active(rest, "MONEY-1", items=[fee, off], limits=limits)
    versions = (await rest.client.get(f"{PATH}/{one['id']}/versions")).json()["items"]
    usage = (await rest.client.get(f"{PATH}/{one['id']}/usage")).json()
    told = (await rest.client.get(f"{PATH}/resolve", params={"id_token": "MONEY-1"})).json()["applies"]
    listed = (await rest.client.get(PATH, params={"q": one["number"]})).json()["items"]
    for shown in (one, versions[0], told, listed[0]):
        assert shown["items"][0]["amount"] == {"amount": "4.90", "currency": "EUR"}
        assert shown["items"][1]["per_kwh"] == {"amount": "0.015", "currency": "EUR"}
        assert shown["limits"] == {"credit": {"amount": "250.00", "currency": "EUR"}, "kw": 11}
    assert usage["limits"] == one["limits"]


async def until(check: Any, seconds: float = 30) -> Any:
    """What the check gives, when it gives something."""
    end = time.monotonic() + seconds
    while True:
        found = await check()
        if found or time.monotonic() > end:
            assert found
            return found
        await asyncio.sleep(0.02)


async def test_a_draft_is_made_changed_and_removed(rest: Rest) -> None:
    response = await rest.client.post(PATH, json=body("draft", name="Plan", external_ids={"crm": "7"}))
    view = response.json()
    assert (response.status_code, view["status"], view["version"], view["revision"]) == (201, "draft", 1, 1)
    assert view["allowed_actions"] == ["propose", "cancel"]
    assert response.headers["location"] == f"{PATH}/{view['id']}"
    changed = await rest.client.patch(
        f"{PATH}/{view['id']}",
        json={"priority": 3, "ends_at": "2030-01-01T00:00:00+01:00"},
        headers={"If-Match": '"1"'},
    )
    assert (changed.json()["priority"], changed.json()["ends_at"]) == (3, "2029-12-31T23:00:00Z")
    assert changed.headers["etag"] == '"2"'
    assert_problem(await rest.client.patch(f"{PATH}/{view['id']}", json={}, headers={"If-Match": '"1"'}), 412)
    assert (await rest.client.delete(f"{PATH}/{view['id']}")).status_code == 204
    assert_problem(await rest.client.get(f"{PATH}/{view['id']}"), 404)


async def test_what_was_proposed_neither_changes_nor_goes_away(rest: Rest) -> None:
    ident = (await made(rest, "firm"))["id"]
    await do(rest, ident, "propose")
    problem = assert_problem(await rest.client.delete(f"{PATH}/{ident}"), 409)
    assert "Allowed: accept, reject, withdraw, cancel." in problem["detail"]
    problem = assert_problem(await rest.client.patch(f"{PATH}/{ident}", json={"priority": 3}), 409)
    assert "amendment" in problem["detail"]
    renamed = await rest.client.patch(f"{PATH}/{ident}", json={"name": "New", "metadata": {"a": 1}})
    assert (renamed.json()["name"], renamed.json()["metadata"]) == ("New", {"a": 1})
    with pytest.raises(Exception, match="cannot change"):
        await rest.execute(
            "UPDATE service_agreement_version SET terms = '{\"priority\": 9}' WHERE agreement_id = $1", int(ident)
        )


async def test_wrong_fields_are_named(rest: Rest) -> None:
    for more, pointer in (
        ({"kind": "plan"}, "#/kind"),
        ({"currency": "eur"}, "#/currency"),
        ({"time_zone": "Mars"}, "#/time_zone"),
        ({"items": [{"type": "gift"}]}, "#/items/0/type"),
        ({"items": [{"type": "discount", "name": "x", "percent": 120}]}, "#/items/0/percent"),
        (
            {"items": [{"type": "minimum", "name": "x", "amount": {"amount": "5", "currency": "SEK"}}]},
            "#/items/0/amount/currency",
        ),
        ({"scope": [{"kind": "location"}]}, "#/scope/0/value"),
        ({"supersedes": "999999"}, "#/supersedes"),
        ({"limits": {"concurrent_sessions": 0}}, "#/limits/concurrent_sessions"),
        ({"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}, "#/ends_at"),
        ({"unknown": 1}, "#/unknown"),
        ({"parties": [HOUSE, {**_COMPANY, "vat_id": "DE12345"}]}, "#/parties/1/vat_id"),
        ({"parties": [HOUSE, {**_COMPANY, "vat_id": "US123456789"}]}, "#/parties/1/vat_id"),
    ):
        problem = (await rest.client.post(PATH, json=body("wrong", **more))).json()
        assert pointer in {one["pointer"] for one in problem["errors"]}, problem
    ident = (await made(rest, "empty", scope=[], parties=[]))["id"]
    problem = await do(rest, ident, "propose", 422)
    assert {one["pointer"] for one in problem["errors"]} == {"#/parties", "#/scope"}
    assert_problem(await rest.client.post(f"{PATH}/{ident}/explode", json={}), 404)
    await made(rest, "n1", number="N-1")
    assert_problem(await rest.client.post(PATH, json=body("n2", number="n-1")), 409)


async def test_amendments_make_versions(rest: Rest) -> None:
    ident = (await active(rest, "amended", documents=[{"name": "Terms", "text": "Be kind."}]))["id"]
    proposed = await rest.client.post(
        f"{PATH}/{ident}/amendments",
        json={"items": [{"type": "discount", "name": "d", "percent": "10"}], "reason": "loyal", "role": "consumer"},
    )
    assert (proposed.status_code, proposed.json()["version"], proposed.json()["state"]) == (201, 2, "proposed")
    assert (await rest.client.get(f"{PATH}/{ident}")).json()["open_amendment"] == 2
    accepted = await rest.client.post(f"{PATH}/{ident}/amendments/2/accept", json={"signed_by": "Ada"})
    assert accepted.json()["in_force"] is True, accepted.text
    view = (await rest.client.get(f"{PATH}/{ident}")).json()
    assert (view["version"], view["items"][0]["percent"], view["documents"][0]["kept"]) == (2, 10, True)
    versions = (await rest.client.get(f"{PATH}/{ident}/versions")).json()["items"]
    assert [one["version"] for one in versions] == [2, 1]
    assert versions[1]["documents"][0]["text"] == "Be kind."
    assert {one["hash"] for one in versions[0]["acceptances"]} == {versions[0]["hash"]}
    assert_problem(await rest.client.post(f"{PATH}/{ident}/amendments/2/accept", json={}), 409)


async def test_a_partys_vat_number_of_the_form_of_its_country_is_kept(rest: Rest) -> None:
    parties = [HOUSE, {**_COMPANY, "vat_id": "NL 123456789B01"}]
    one = await active(rest, "vat-1", parties=parties)
    assert one["parties"] == parties
    wrong = {"parties": [HOUSE, {**_COMPANY, "vat_id": "NL1"}]}
    draft = await made(rest, "vat-2")
    refused = await rest.client.patch(f"{PATH}/{draft['id']}", json=wrong)
    assert_problem(refused, 422, pointer="#/parties/1/vat_id")


async def test_resolve_tells_the_version_of_the_moment_that_is_asked_for(rest: Rest) -> None:
    def off(percent: str) -> list[dict[str, str]]:
        return [{"type": "discount", "name": "d", "percent": percent}]

    one = await active(rest, "moment", items=off("10"))
    path = f"{PATH}/{one['id']}/amendments"
    proposed = await rest.client.post(path, json={"items": off("25"), "effective_at": "2100-06-15T10:00:00Z"})
    assert proposed.status_code == 201, proposed.text

    async def at(moment: str) -> tuple[int, str]:
        asked = {"id_token": "moment", "at": moment}
        told = (await rest.client.get(f"{PATH}/resolve", params=asked)).json()["applies"]
        return told["version"], str(told["items"][0]["percent"])

    assert await at("2100-06-15T10:00:00Z") == (1, "10")  # nobody accepted it yet
    assert (await rest.client.post(f"{path}/2/accept", json={})).status_code == 200
    assert await at("2100-06-15T09:59:59.999999Z") == (1, "10")
    assert await at("2100-06-15T10:00:00Z") == (2, "25")
    view = (await rest.client.get(f"{PATH}/{one['id']}")).json()
    assert (view["version"], str(view["items"][0]["percent"])) == (1, "10")


async def test_ties_are_refused_also_for_two_at_once(rest: Rest) -> None:
    first, second = [(await made(rest, "tie", starts_at=None))["id"] for _ in range(2)]
    for ident in (first, second):
        await do(rest, ident, "propose")
        await do(rest, ident, "accept")
    answers = await asyncio.gather(
        *(rest.client.post(f"{PATH}/{ident}/activate", json={}) for ident in (first, second) * 4)
    )
    states = [(await rest.client.get(f"{PATH}/{ident}")).json()["status"] for ident in (first, second)]
    assert sorted(states) == ["accepted", "active"]
    assert [answer.status_code for answer in answers].count(200) == 1
    refused = next(answer for answer in answers if "tie with" in answer.text)
    assert_problem(refused, 409)


async def test_one_that_supersedes_another_takes_its_place(rest: Rest) -> None:
    old = (await active(rest, "heir"))["id"]
    new = await active(rest, "heir", supersedes=old)
    assert new["status"] == "active"
    gone = (await rest.client.get(f"{PATH}/{old}")).json()
    assert (gone["status"], gone["status_reason"]) == ("ended", "superseded")


async def test_lists_filter_sort_and_page_as_of_now(rest: Rest) -> None:
    soon = datetime.now(UTC) + timedelta(days=3)
    for number in range(5):
        await active(
            rest,
            f"list{number}",
            number=f"L-{number}",
            ends_at=(soon + timedelta(days=-number)).isoformat() if number < 3 else None,
        )
    names = {"q": "l-", "limit": "2"}

    async def walk(**more: str) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await rest.client.get(PATH, params={**names, **more, **cursor})).json()
            found += [one["number"] for one in page["items"]]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    assert await walk() == ["L-4", "L-3", "L-2", "L-1", "L-0"]
    assert await walk(sort="ends_at") == ["L-2", "L-1", "L-0", "L-3", "L-4"]
    assert await walk(sort="number") == ["L-0", "L-1", "L-2", "L-3", "L-4"]
    assert await walk(status="active") == ["L-4", "L-3", "L-2", "L-1", "L-0"]
    assert await walk(status="ended") == []
    assert await walk(party="C-LIST3") == ["L-3"]
    assert await walk(id_token="LIST2") == ["L-2"]
    assert_problem(await rest.client.get(PATH, params={"status": "dead"}), 400, parameter="status")


async def test_the_state_in_a_list_is_that_of_the_clock(rest: Rest) -> None:
    """Nobody wrote what the clock did; the filter of SQL and the clock agree at every moment."""
    base = datetime.now(UTC) + timedelta(days=400)
    ids = []
    for number, more in enumerate(
        (
            {},
            {"ends_at": (base + timedelta(days=2)).isoformat()},
            {"ends_at": (base + timedelta(days=2)).isoformat(), "renewal": {"mode": "automatic", "months": 1}},
            {"starts_at": None, "ends_at": (base + timedelta(days=2)).isoformat()},
        )
    ):
        for action in ("", "suspend", "end"):
            starts = {"starts_at": (base if action == "" else datetime.now(UTC) - timedelta(days=1)).isoformat()}
            view = await active(rest, f"clock{number}{action}", **{**starts, "notice_days": 401, **more})
            ids.append(int(view["id"]))
            if action and view["status"] == "active":
                await do(rest, view["id"], action)
    async with rest.database.read() as db:
        stored = await queries.many(db, TenantId(1), ids)
        for days in (-1, 0, 1, 2, 3, 40):
            now = base + timedelta(days=days, seconds=1)
            for state in AgreementState:
                wanted = AgreementFilter(now=now, state=state, q="c-clock")
                listed = await queries.page(db, TenantId(1), wanted, 1000, None)
                found = {one.agreement.id for one in listed} & set(ids)
                assert found == {one.agreement.id for one in stored if as_of(one.agreement, now).state is state}, (
                    days,
                    state,
                )


async def test_the_clock_is_written_and_told_once(rest: Rest) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    view = await active(rest, "ticking", starts_at=soon.isoformat(), ends_at=(soon + timedelta(days=1)).isoformat())
    for at in (soon, soon + timedelta(days=2)):
        following = Following(rest.database, rest.events, now=lambda at=at: at)
        await asyncio.gather(following.beat(), following.beat())
    state = await rest.execute("SELECT state FROM service_agreement WHERE id = $1", int(view["id"]))
    assert state == "ended"
    facts = await rest.execute(
        "SELECT string_agg(topic, ' ' ORDER BY id) FROM outbox WHERE key = $1", f"agreement:{view['id']}"
    )
    assert facts is None or facts.count("agreement.ended") <= 1


async def test_a_token_is_held_and_let_go_with_its_agreement(rest: Rest) -> None:
    token = (await rest.client.post("/v1/id-tokens", json={"id_token": "HELD", "status": "Accepted"})).json()["id"]
    ident = (await active(rest, "held"))["id"]

    async def hold() -> Any:
        return (await rest.client.get(f"/v1/id-tokens/{token}")).json()["held"]

    await do(rest, ident, "suspend", reason="unpaid")
    held = await until(hold)
    assert (held["status"], held["agreement_id"]) == ("Blocked", ident)
    assert held["reason"].endswith("is suspended: unpaid.")

    async def free() -> bool:
        return await hold() is None

    await do(rest, ident, "resume")
    await until(free)
    await do(rest, ident, "end")
    held = await until(hold)
    assert held["status"] == "Expired"
    assert (await rest.client.get(f"/v1/id-tokens/{token}")).json()["status"] == "Accepted"


async def test_a_token_that_comes_later_is_held_at_once(rest: Rest) -> None:
    ident = (await active(rest, "group", scope=[{"kind": "token_group", "value": "Vans"}]))["id"]
    await do(rest, ident, "suspend")
    token = (await rest.client.post("/v1/id-tokens", json={"id_token": "VAN-1", "group_id": "VANS"})).json()
    assert token["held"]["status"] == "Blocked"
    moved = await rest.client.patch(f"/v1/id-tokens/{token['id']}", json={"group_id": "cars"})
    assert moved.json()["held"] is None
    await rest.execute("UPDATE id_token SET group_id = 'Vans' WHERE id = $1", int(token["id"]))
    await rest.business.agreement_following.settle_tokens(TenantId(1), [int(token["id"])])
    assert (await rest.client.get(f"/v1/id-tokens/{token['id']}")).json()["held"]["status"] == "Blocked"


class OneDriver:
    """Driver 7, of the group of users `club`, has one id token."""

    def __init__(self, ident: int) -> None:
        self.ident = ident

    async def holders(self, db: Db, tenant_id: TenantId, id_token_ids: Sequence[int]) -> dict[int, Holder]:
        return {self.ident: Holder(driver_id="7", user_groups=("club",))} if self.ident in id_token_ids else {}

    async def id_tokens(
        self, db: Db, tenant_id: TenantId, driver_ids: Sequence[str], user_groups: Sequence[str]
    ) -> list[int]:
        return [self.ident] if "7" in driver_ids or "club" in user_groups else []


async def test_a_drivers_token_is_held_and_resolved_by_the_drivers_agreement(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await rest.client.post("/v1/id-tokens", json={"id_token": "DRV"})).json()["id"]
    drivers = OneDriver(int(token))
    monkeypatch.setattr(rest.business.agreement_following, "drivers", drivers)
    parties = [HOUSE, {"role": "consumer", "kind": "driver", "id": "7"}]
    plan = await active(rest, "drv", parties=parties, scope=[])
    ask = ResolveAsk(at=datetime.now(UTC) + timedelta(seconds=1), id_token="DRV")
    found = await Resolving(rest.database, drivers).resolve(TenantId(1), ask)
    assert found is not None
    assert (found.number, found.candidates[0].who) == (plan["number"], "driver")

    async def hold() -> Any:
        return (await rest.client.get(f"/v1/id-tokens/{token}")).json()["held"]

    async def free() -> bool:
        return await hold() is None

    await do(rest, plan["id"], "suspend")
    assert (await until(hold))["status"] == "Blocked"
    # An agreement of the group of users is in force: one is enough.
    await active(rest, "drv", scope=[{"kind": "user_group", "value": "CLUB"}])
    await until(free)


async def test_limits_follow_what_is_used(rest: Rest) -> None:
    ids = [
        (await rest.client.post("/v1/id-tokens", json={"id_token": f"LIM{n}", "group_id": "lim"})).json()["id"]
        for n in range(2)
    ]
    ident = (
        await active(
            rest,
            "lim",
            scope=[{"kind": "token_group", "value": "lim"}],
            limits={"concurrent_sessions": 2, "kwh_per_month": "10"},
        )
    )["id"]
    key = await rest.station("LIMCP")
    for number in (1, 2):
        await rest.execute(
            "INSERT INTO transaction (id, tenant_id, station_key, id_token, token_key, opened_at, started_at, energy_wh, is_open,"
            " offline, flags, ordinal, state, updated_at) VALUES ($1, 1, $2, 'LIM0', 'lim0', now(), now(), $3, $4, false, '{}', 1,"
            " '', now())",
            -number,
            key,
            4000 if number == 1 else 0,
            number == 2,
        )
    await rest.execute(
        "INSERT INTO open_transaction (transaction_id, tenant_id, station_key, opened_on, token_key, ordinal, state)"
        " VALUES (-2, 1, $1, current_date, 'lim0', 1, '')",
        key,
    )
    following = Following(rest.database, rest.events)
    await following.settle(TenantId(1), int(ident))
    held = [(await rest.client.get(f"/v1/id-tokens/{one}")).json()["held"] for one in ids]
    assert [(one["status"], one["concurrent_limit"], one["left_wh"]) for one in held] == [
        (None, 2, 6000),
        (None, 1, 6000),
    ]
    usage = (await rest.client.get(f"{PATH}/{ident}/usage")).json()
    assert (usage["sessions"], usage["open_sessions"], usage["energy_wh"], usage["open_at_a_time"]) == (2, 1, 4000, 1)
    assert usage["charged"] == []
    await rest.execute("UPDATE transaction SET energy_wh = 11000 WHERE id = -1")
    await following.settle(TenantId(1), int(ident))
    held = [(await rest.client.get(f"/v1/id-tokens/{one}")).json()["held"] for one in ids]
    assert {one["left_wh"] for one in held} == {0}
    assert "used up" in held[0]["reason"]


async def test_resolve_tells_which_and_why(rest: Rest) -> None:
    await rest.client.post("/v1/id-tokens", json={"id_token": "RES", "group_id": "res"})
    await rest.station("RESCP", location_id="RES-HQ")
    wide = await active(rest, "res", scope=[{"kind": "token_group", "value": "res"}])
    near = await active(
        rest,
        "res",
        scope=[{"kind": "token_group", "value": "res"}, {"kind": "location", "value": "res-hq"}],
        items=[{"type": "tariff", "tariff_id": "T1"}],
    )
    found = (await rest.client.get(f"{PATH}/resolve", params={"id_token": "res", "station_id": "rescp"})).json()
    assert found["applies"]["agreement_id"] == near["id"]
    assert [one["verdict"] for one in found["candidates"]] == ["applies", "lost"]
    assert (found["token_group"], found["location_id"]) == ("res", "RES-HQ")
    resolving = rest.business.agreement_resolving
    frozen = await resolving.frozen(TenantId(1), int(near["id"]), 1, location_id="RES-HQ")
    assert frozen is not None
    assert frozen.tariff is not None
    assert (frozen.number, frozen.version, frozen.tariff.tariff_id) == (near["number"], 1, "T1")
    assert await resolving.frozen(TenantId(1), int(near["id"]), 2) is None
    found = (await rest.client.get(f"{PATH}/resolve", params={"id_token": "res"})).json()
    assert found["applies"]["agreement_id"] == wide["id"]
    found = (await rest.client.get(f"{PATH}/resolve", params={"id_token": "nobody"})).json()
    assert (found["applies"], found["candidates"]) == (None, [])
    assert_problem(await rest.client.get(f"{PATH}/resolve", params={"at": "then"}), 400, parameter="at")


async def test_what_happens_is_shown_live_in_order(rest: Rest) -> None:
    watcher = rest.events.watch(TenantId(1), kinds=frozenset({"agreement"}))
    try:
        ident = (await active(rest, "live"))["id"]
        seen: list[str] = []
        while "agreement.activated" not in seen:
            event = await watcher.next(30)
            assert event is not None, seen
            if f'"agreement_id":"{ident}"'.encode() in event.data:
                seen.append(event.kind)
        order = ["agreement.created", "agreement.proposed", "agreement.accepted", "agreement.activated"]
        assert list(dict.fromkeys(seen)) == order
    finally:
        watcher.close()


async def test_the_command_line_shows_and_explains(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    ident = (await active(rest, "CLI-1", number="CLI", limits={"concurrent_sessions": 2}))["id"]
    monkeypatch.setenv("CHARGEPLANE_URL", rest.base_url)
    monkeypatch.setenv("CHARGEPLANE_API_KEY", ADMIN_KEY)
    runner = CliRunner()

    async def run(*arguments: str) -> str:
        result = await asyncio.to_thread(runner.invoke, agreement, arguments)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    assert "CLI" in await run("list", "--party", "c-cli-1")
    assert '"number": "CLI"' in await run("show", ident, "--json")
    explained = await run("resolve", "--id-token", "cli-1", "--json")
    assert "Applies: it covers the id token everywhere" in explained


async def test_resolve_reads_a_handful_of_rows_among_tens_of_thousands(rest: Rest) -> None:
    """The index finds the candidates: no table is read through, however many agreements a tenant has."""
    many = 20_000
    await rest.execute(
        "INSERT INTO service_agreement (id, tenant_id, number, kind, currency, time_zone, state, starts_at, begun_at, accepted_at,"
        " created_by, updated_by) OVERRIDING SYSTEM VALUE SELECT 1000000 + n, 1, 'M-' || n, 'driver_plan', 'EUR', 'UTC', 'active', now(), now(), now(),"
        " 'test', 'test' FROM generate_series(1, $1::int) n",
        many,
    )
    await rest.execute(
        "INSERT INTO service_agreement_version (agreement_id, version, state, terms)"
        " SELECT 1000000 + n, 1, 'accepted', jsonb_build_object('scope', jsonb_build_array(jsonb_build_object("
        "'kind', 'id_token', 'value', 'M' || n))) FROM generate_series(1, $1::int) n",
        many,
    )
    await rest.execute(
        "INSERT INTO service_agreement_key (tenant_id, key, agreement_id, version, places)"
        " SELECT 1, '5:m' || n, 1000000 + n, 1, '{0:}' FROM generate_series(1, $1::int) n",
        many,
    )
    await rest.execute("ANALYZE service_agreement, service_agreement_version, service_agreement_key")
    resolving = rest.business.agreement_resolving
    ask = ResolveAsk(
        at=datetime.now(UTC) + timedelta(seconds=5), id_token="M777", station_id="RESCP", location_id="RES-HQ"
    )
    found = await resolving.resolve(TenantId(1), ask)
    assert found is not None
    assert found.number == "M-777"
    async with rest.database.read() as db, db.transaction():
        counted = (
            "SELECT sum(seq_tup_read) AS read_through, sum(idx_tup_fetch) AS fetched FROM pg_stat_xact_user_tables"
            " WHERE relname LIKE 'service_agreement%'"
        )
        before = await db.fetchrow(counted)
        await queries.candidates(db, TenantId(1), ["5:m777", "*0:"], ["0:"], 200)
        after = await db.fetchrow(counted)
    assert before is not None
    assert after is not None
    assert after["read_through"] - before["read_through"] == 0
    assert after["fetched"] - before["fetched"] < 50
