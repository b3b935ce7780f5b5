"""`chargeplane performance`, `work` and `webhook` against the running door."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner, Result

from chargeplane.app.events import EventFeed
from chargeplane.app.work_list import Finder
from chargeplane.main.cli.root import cli
from tests.support.rest import ADMIN_KEY, Rest


async def run(rest: Rest, *arguments: str) -> Result:
    environment = {"CHARGEPLANE_URL": rest.base_url, "CHARGEPLANE_API_KEY": ADMIN_KEY, "COLUMNS": "200"}
    result = await asyncio.to_thread(CliRunner(env=environment).invoke, cli, list(arguments))
    assert result.exit_code == 0, result.output
    return result


async def test_figures_and_work_are_shown_and_acknowledged(rest: Rest) -> None:
    key = await rest.station("CLI-1")
    await rest.execute(
        "INSERT INTO evse_availability (tenant_id, station_key, evse_id, state, started_at)"
        " VALUES (1, $1, 1, 'faulted', now() - interval '1 hour')",
        key,
    )
    await rest.execute(
        "INSERT INTO performance_day (tenant_id, day, station_key, evse_id, observed_s, down_s, excluded_s, occupied_s,"
        " repairs, repair_s, attempts, successes, sessions, energy_wh, revenue)"
        ' VALUES (1, now()::date - 1, $1, 1, 100, 50, 0, 10, 1, 7200, 4, 3, 4, 2800, \'{"EUR": "9.50"}\')',
        key,
    )
    await Finder(rest.database, EventFeed()).look()
    shown = (await run(rest, "performance", "--by", "station", "--station", "CLI-1")).output
    assert "50.0 %" in shown
    assert "9.50 EUR" in shown
    listed = (await run(rest, "work", "list", "--station", "CLI-1")).output
    assert "faulted" in listed
    assert listed.splitlines()[0].split("\t")[:5] == ["ID", "AT RISK A DAY", "KIND", "STATION", "EVSE"]
    (told,) = json.loads((await run(rest, "work", "list", "--station", "CLI-1", "--kind", "faulted", "--json")).output)
    assert (told["station_id"], told["evse_id"], told["kind"]) == ("CLI-1", 1, "faulted")
    answer = (await rest.client.get("/v1/work-items", params={"station_id": "CLI-1", "kind": "faulted"})).json()
    assert answer["items"] == [told]
    ident = str(await rest.execute("SELECT id FROM work_item WHERE station_key = $1 AND kind = 'faulted'", key))
    assert "acknowledged" in (await run(rest, "work", "do", ident, "acknowledge")).output
    assert "May be done: trigger_status, reset, unlock" in (await run(rest, "work", "show", ident)).output


async def test_webhooks_are_listed_retried_and_replayed(rest: Rest) -> None:
    made = await rest.client.post(
        "/v1/webhook-endpoints", json={"url": "http://127.0.0.1:9/cli", "event_types": ["webhook.*"]}
    )
    assert made.status_code == 201, made.text
    endpoint = made.json()["endpoint"]["id"]
    assert (await rest.client.post(f"/v1/webhook-endpoints/{endpoint}/ping", json={})).status_code < 300
    shown = (await run(rest, "webhook", "list")).output
    assert "http://127.0.0.1:9/cli" in shown
    sent = (await run(rest, "webhook", "deliveries", "--endpoint", endpoint)).output
    assert "webhook.ping" in sent
    delivery = await rest.execute("SELECT id FROM webhook_delivery WHERE endpoint_id = $1", int(endpoint))
    event = await rest.execute("SELECT event_id FROM webhook_delivery WHERE id = $1", delivery)
    await rest.execute("UPDATE webhook_delivery SET state = 'failed', finished_at = now() WHERE id = $1", delivery)
    assert "No" not in (await run(rest, "webhook", "deliveries", "--state", "failed", "--endpoint", endpoint)).output
    assert f"Delivery {delivery} is tried again." in (await run(rest, "webhook", "retry", str(delivery))).output
    assert "0 deliveries" in (await run(rest, "webhook", "retry", endpoint, "--all-of-endpoint")).output
    again = (await run(rest, "webhook", "replay", endpoint, "--event", str(event))).output
    assert f"Event {event} is sent again" in again
    span = ("--from", "2020-01-01T00:00:00Z", "--to", "2020-01-02T00:00:00Z")
    assert "0 events are sent again." in (await run(rest, "webhook", "replay", endpoint, *span)).output
