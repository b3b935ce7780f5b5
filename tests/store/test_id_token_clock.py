"""What tells those who keep something made of id tokens that it must be made anew."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest


@pytest.mark.parametrize(
    ("change", "ticks"),
    [
        pytest.param("credit_wh = credit_wh - 5, updated_at = now()", 0, id="a-transaction-took-of-the-account"),
        pytest.param("credit_wh = NULL", 1, id="no-account-any-more"),
        pytest.param("credit = 3", 1, id="an-account-of-money"),
        pytest.param("status = 'Blocked'", 1, id="blocked"),
        pytest.param("group_id = 'fleet'", 1, id="grouped"),
        pytest.param("valid_until = now()", 1, id="ends"),
    ],
)
async def test_what_lists_are_made_of_is_a_change_and_what_is_left_of_an_account_is_none(
    database_url: str, change: str, ticks: int
) -> None:
    db: Any = await asyncpg.connect(database_url)
    try:
        await db.execute(
            "INSERT INTO id_token (tenant_id, type, id_token, token_key, status, credit_wh)"
            " VALUES (1, 'Central', 'PREPAID', 'prepaid', 'Accepted', 1000)"
        )
        before = await db.fetchval("SELECT ticks FROM id_token_clock WHERE tenant_id = 1")
        await db.execute(f"UPDATE id_token SET {change}")
        after = await db.fetchval("SELECT ticks FROM id_token_clock WHERE tenant_id = 1")
    finally:
        await db.close()
    assert after - before == ticks
