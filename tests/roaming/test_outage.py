"""A partner was away, or we were: its lists are read from where they were left, over HTTP, and its health says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.roaming.errors import PulledError
from chargeplane.app.roaming.pulling import Pulling, PullSettings
from tests.roaming.nasty import Asked, NastyPartner, enveloped, nasty
from tests.roaming.test_outgoing import partner_of
from tests.support.roaming import Node, until


def tariff(ident: str, stamp: str) -> dict[str, Any]:
    """Of 2.2.1, of the partner's own."""
    element = {"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]}
    return {
        "country_code": "DE", "party_id": "NST", "id": ident, "currency": "EUR", "elements": [element], "last_updated": stamp,
    }  # fmt: skip


class Operator:
    """A partner that has tariffs; `answer` in place of them while it is not well."""

    def __init__(self) -> None:
        self.tariffs: list[dict[str, Any]] = []
        self.bad: tuple[int, dict[str, str], bytes] | None = None
        self.asked: list[dict[str, str]] = []

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if not asked.path.endswith("/sender/tariffs"):
            return enveloped([])
        self.asked.append(asked.query)
        if self.bad is not None:
            return self.bad
        since = asked.query.get("date_from", "")
        return enveloped([one for one in self.tariffs if one["last_updated"] >= since])


@pytest_asyncio.fixture(loop_scope="session")
async def lists() -> AsyncIterator[tuple[Operator, NastyPartner]]:
    answers = Operator()
    async with nasty(answers) as partner:
        yield answers, partner


async def as_operator(node: Node, ident: int) -> None:
    """The partner is one, of whom nothing is read by itself now."""
    for module in ("tariffs", "locations", "sessions", "cdrs"):
        await node.execute(
            "INSERT INTO partner_pull (connection_id, module, tenant_id, begun_at, ended_at, full_at)"
            " VALUES ($1, $2, 1, now(), now(), now())",
            ident,
            module,
        )
    party = {
        "id": {"country_code": "DE", "party_id": "NST"}, "role": "CPO", "business_details": {"name": "Nasty"},
    }  # fmt: skip
    await node.execute("UPDATE roaming_connection SET parties = $2 WHERE id = $1", ident, json.dumps([party]))


async def module_of(node: Node, ident: int) -> Any:
    health = (await node.rest.get(f"/v1/roaming/partners/{ident}/health")).json()
    return next((one for one in health["modules"] if one["module"] == "tariffs"), None)


async def test_after_an_outage_what_changed_meanwhile_is_asked_for_by_date_from(
    operator: Node, lists: tuple[Operator, NastyPartner]
) -> None:
    answers, partner = lists
    answers.tariffs = [tariff("T1", "2026-01-01T10:00:00Z")]
    async with partner_of(operator, partner, "lists") as ident:
        await as_operator(operator, ident)
        path = f"/v1/roaming/partners/{ident}/pull"
        first = await operator.rest.post(path, json={"module": "tariffs", "full": True})
        assert first.status_code < 300, first.text
        known = await module_of(operator, ident)
        assert known["pulled_at"] is not None
        assert known["pulled_lag_s"] >= 0
        assert known["pulled_until"].startswith("2026-01-01T10:00:00")
        assert (known["pulled_count"], known["pushed_at"], known["error"]) == (1, None, None)

        answers.bad = (503, {}, b"")
        away = await operator.rest.post(path, json={"module": "tariffs"})
        assert away.status_code >= 400

        async def told() -> Any:
            found = await module_of(operator, ident)
            return found if found["error"] else None

        failed = await until(told)
        # The last good one is still told, and how long ago it was.
        assert failed["pulled_at"] == known["pulled_at"]
        assert failed["pulled_lag_s"] > known["pulled_lag_s"]

        answers.bad = None
        answers.tariffs += [tariff("T2", "2026-01-03T10:00:00Z"), tariff("T3", "2026-01-04T10:00:00Z")]
        answers.asked.clear()
        back = await operator.rest.post(path, json={"module": "tariffs"})
        assert back.status_code < 300, back.text
        # From before the outage, whenever that was, a little earlier for what was committed late.
        assert [asked["date_from"][:16] for asked in answers.asked] == ["2026-01-01T09:55"]
        again = await module_of(operator, ident)
        assert again["pulled_until"].startswith("2026-01-04T10:00:00")
        assert (again["pulled_count"], again["error"]) == (3, None)
        stored = await operator.execute(
            "SELECT count(*) FROM partner_object WHERE connection_id = $1 AND module = 'tariffs'", ident
        )
        assert stored == 3


@pytest.mark.parametrize(
    "bad",
    [
        (200, {}, b"<html>"),
        (302, {"Location": "https://elsewhere.example/"}, b""),
        (200, {}, b'{"status_code": 3000, "timestamp": "2026-01-01T00:00:00Z"}'),
        (200, {}, b'{"status_code": 1000, "timestamp": "2026-01-01T00:00:00Z", "data": {"id": 1}}'),
    ],
    ids=["html", "redirect", "3000", "no list"],
)
async def test_list_that_is_no_list_is_told_and_takes_nothing_away(
    operator: Node, lists: tuple[Operator, NastyPartner], bad: tuple[int, dict[str, str], bytes]
) -> None:
    answers, partner = lists
    answers.tariffs = [tariff("T1", "2026-01-01T10:00:00Z")]
    async with partner_of(operator, partner, "no lists") as ident:
        await as_operator(operator, ident)
        pulling = operator.roaming.provider.rest.pulling
        peer = await operator.peer(ident)
        assert (await pulling.pull(peer, "tariffs", full=True)).objects == 1
        answers.bad = bad
        with pytest.raises(PulledError):
            await pulling.pull(peer, "tariffs", full=True)
        gone = await operator.execute(
            "SELECT count(*) FROM partner_object WHERE connection_id = $1 AND gone_at IS NOT NULL", ident
        )
        assert gone == 0


async def test_documents_of_wrong_types_and_ids_are_left_out_and_the_others_are_kept(
    operator: Node, lists: tuple[Operator, NastyPartner]
) -> None:
    answers, partner = lists
    answers.tariffs = [
        tariff("W1", "2026-01-01T10:00:00Z"),
        {**tariff("W2", "2026-01-02T10:00:00Z"), "elements": "none"},
        {**tariff("W3", "2026-01-03T10:00:00Z"), "party_id": "XXX"},
        {**tariff("W4", "2026-01-04T10:00:00Z"), "id": {"a": 1}},
    ]
    async with partner_of(operator, partner, "half wrong") as ident:
        await as_operator(operator, ident)
        done = await operator.roaming.provider.rest.pulling.pull(await operator.peer(ident), "tariffs", full=True)
        assert (done.changed, done.refused) == (1, 3)
        assert len(done.reasons) == 3


async def test_pull_of_a_process_that_died_is_taken_up_soon_and_not_while_it_lives(
    operator: Node, lists: tuple[Operator, NastyPartner]
) -> None:
    answers, partner = lists
    answers.tariffs = [tariff("T1", "2026-01-01T10:00:00Z")]
    async with partner_of(operator, partner, "died") as ident:
        await as_operator(operator, ident)
        made = operator.roaming.provider.rest.pulling
        pulling = Pulling(
            operator.server.database,
            operator.roaming.caller,
            operator.roaming.connections,
            made._replicas,
            PullSettings(look_every_s=0.05, lease_s=1.0),
        )
        # As a process left it that was killed in the middle of it a moment ago.
        await operator.execute(
            "UPDATE partner_pull SET begun_at = now(), ended_at = NULL WHERE connection_id = $1 AND module = 'tariffs'",
            ident,
        )
        await pulling.start()

        async def read() -> Any:
            return await operator.execute(
                "SELECT ended_at - begun_at FROM partner_pull WHERE connection_id = $1 AND module = 'tariffs'"
                " AND ended_at IS NOT NULL AND error IS NULL",
                ident,
            )

        await until(read)
        await pulling.stop()
        assert len(answers.asked) == 1
