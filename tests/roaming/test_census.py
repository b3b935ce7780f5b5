"""Every row of the table: whether our door answers it, and whether our client asks it in every version that has it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from chargeplane.app.roaming.ports import Failure
from chargeplane.ocpi.table import TABLE
from chargeplane.ocpi.versions import Version
from tests.roaming.nasty import enveloped, nasty
from tests.roaming.test_faults import calling
from tests.support.roaming import Node

NOT_ANSWERED: dict[int, str] = {}
"""Rows that our door does not answer yet, with what is missing."""


async def test_door_answers_every_row_but_those_that_are_named(operator: Node) -> None:
    answered = set(operator.roaming.door.handlers)
    missing = sorted(set(TABLE) - answered)
    assert missing == sorted(NOT_ANSWERED), f"the list of what is missing is stale: {missing}"


@pytest.mark.parametrize("number", [number for number in TABLE if number > 6])
async def test_client_asks_every_row_where_its_version_has_it(number: int) -> None:
    row = TABLE[number]
    path = dict.fromkeys(row.names, "x") | {"country_code": "DE", "party_id": "NST"}
    async with nasty(lambda _: enveloped(status=2000)) as partner, calling() as caller:
        for version in Version:
            peer = partner.peer(version=version.value)
            modules = tuple(
                type(peer.modules[0])(row.module.value, side, f"{partner.url}/m/{side.lower()}")
                for side in ("SENDER", "RECEIVER")
            )
            peer = replace(peer, modules=modules)
            before = len(partner.asked)
            outcome = await caller.call(peer, number, path)
            if not row.is_in(version):
                assert outcome.failure is Failure.NO_ENDPOINT
                assert len(partner.asked) == before
                continue
            asked = partner.asked[-1]
            assert outcome.status_code == 2000
            assert asked.method == row.method.value
            segments = [path[part[1:-1]] if part.startswith("{") else part for part in row.path.split("/") if part]
            assert asked.path == "/".join(["/m", row.interface.value.lower(), *segments])
