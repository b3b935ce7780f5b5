"""`chargeplane booking` over a real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner, Result

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.bookings import _instant, drawn
from chargeplane.main.cli.root import cli
from tests.bookings.yard import NOON, Yard, new_yard
from tests.support.rest import ADMIN_KEY, Rest


async def run(yard: Yard, *words: str) -> Result:
    """A command; it blocks, so it runs beside the server's loop."""
    given = ["booking", *words, "--url", yard.rest.base_url, "--api-key", ADMIN_KEY]
    result = await asyncio.to_thread(lambda: CliRunner().invoke(cli, given, standalone_mode=True))
    assert result.exit_code == 0, result.output
    return result


async def test_a_booking_is_searched_made_listed_drawn_and_canceled(rest: Rest) -> None:
    yard = await new_yard(rest)
    start, end = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    span = ["--from", start.isoformat(), "--to", end.isoformat()]
    found = await run(yard, "search", "--location", yard.location_id, *span, "--standard", "IEC_62196_T2_COMBO")
    assert yard.uids[0] in found.output
    made = await run(yard, "create", yard.token, "--location", yard.location_id, *span, "--json")
    booking = msgspec.json.decode(made.output)
    assert booking["state"] == "confirmed"
    assert yard.uids[0] not in (await run(yard, "search", "--location", yard.location_id, *span)).output
    listed = await run(yard, "list", "--id-token", yard.token)
    assert f"{booking['id']}\tconfirmed\t{yard.uids[0]}" in listed.output
    line = (await run(yard, "timeline", yard.location_id, "--from", NOON.isoformat(), "--hours", "12")).output
    assert yard.uids[0] in line
    assert line.count("█") == 7  # an hour and the buffer, of 72 columns for 12 hours
    canceled = await run(yard, "cancel", booking["id"], "--reason", "Rain")
    assert "is canceled" in canceled.output


def test_a_line_of_time_shows_each_booking_and_what_is_cut_off() -> None:
    start, end = NOON, NOON + timedelta(hours=10)

    def taken(first: float, last: float, state: str = "confirmed") -> dict[str, str]:
        begin, until = NOON + timedelta(hours=first), NOON + timedelta(hours=last)
        return {"starts_at": begin.isoformat(), "until": until.isoformat(), "state": state}

    line = drawn([taken(-2, 1, "used"), taken(3, 3.1), taken(9, 20)], start, end, 10)
    assert "".join(cell for cell, _ in line) == "▓··█·····█"


def test_times_are_read_as_people_write_them() -> None:
    assert _instant("2026-01-31T14:30:00+01:00", "--from") == "2026-01-31T13:30:00Z"
    soon = datetime.fromisoformat(_instant("+30m", "--from") or "")
    assert timedelta(minutes=29) < soon - datetime.now(UTC) <= timedelta(minutes=30)
    assert datetime.fromisoformat(_instant("14:30", "--from") or "") > datetime.now(UTC)
    assert _instant(None, "--from") is None
    with pytest.raises(InvalidInputError, match="14:30"):
        _instant("later", "--from")
