"""`chargeplane webhook`: where events are sent, what became of them, and sending them again."""

from __future__ import annotations

from typing import Any

import click

from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment


@click.group()
def webhook() -> None:
    """Webhooks: endpoints, deliveries, retry and replay."""


@webhook.command("list")
@server_options
@json_option
def webhook_list(rest: RestClient, as_json: bool) -> None:
    """Endpoints and how they do."""
    rows = list(rest.pages("/v1/webhook-endpoints"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "URL", "EVENTS", "STATE", "WAITING", "GIVEN UP"],
        [
            (one["id"], one["url"], " ".join(one["event_types"]), _state(one), str(one["pending"]), str(one["failed"]))
            for one in rows
        ],
        empty="There are no endpoints.",
        right=["WAITING", "GIVEN UP"],
    )


def _state(endpoint: dict[str, Any]) -> str:
    if not endpoint["enabled"]:
        return "off" if endpoint["disabled_because"] is None else f"off: {endpoint['disabled_because']}"
    return "well" if endpoint["failing_since"] is None else f"failing since {endpoint['failing_since']}"


@webhook.command()
@click.option("--endpoint", "endpoint_id", help="To one endpoint.")
@click.option("--state", type=click.Choice(["pending", "delivered", "failed"]))
@click.option("--type", "event_type", help="Of one type, as cdr.created.")
@click.option("--since", help="Made since then, RFC 3339.")
@server_options
@json_option
def deliveries(
    endpoint_id: str | None,
    state: str | None,
    event_type: str | None,
    since: str | None,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Events on their way, newest first."""
    query = {"endpoint_id": endpoint_id, "state": state, "event_type": event_type, "since": since}
    rows = list(rest.pages("/v1/webhook-deliveries", **{name: value for name, value in query.items() if value}))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "ENDPOINT", "TYPE", "ABOUT", "STATE", "TRIES", "LAST"],
        [
            (
                one["id"],
                one["endpoint_id"],
                one["type"],
                one["key"],
                one["state"],
                str(one["attempts"]),
                one["error"] or str(one["status"] or ""),
            )
            for one in rows
        ],
        empty="There are no deliveries.",
        right=["TRIES"],
    )


@webhook.command()
@click.argument("ident", metavar="DELIVERY")
@click.option(
    "--all-of-endpoint", "endpoint", is_flag=True, help="DELIVERY names an endpoint: all that it was given up for."
)
@click.option("--since", help="With --all-of-endpoint: only those made since then, RFC 3339.")
@server_options
@json_option
def retry(ident: str, endpoint: bool, since: str | None, rest: RestClient, as_json: bool) -> None:
    """Tries a delivery again, or all that were given up for an endpoint."""
    if since is not None and not endpoint:
        raise click.UsageError("--since goes with --all-of-endpoint.")
    if endpoint:
        told = rest.request("POST", f"/v1/webhook-endpoints/{segment(ident)}/retry", {"since": since})
        text = f"{told['count']} deliveries are tried again."
    else:
        told = rest.request("POST", f"/v1/webhook-deliveries/{segment(ident)}/retry", {})
        text = f"Delivery {told['id']} is tried again."
    if as_json:
        print_json(told)
        return
    out.print(text, soft_wrap=True, markup=False)


@webhook.command()
@click.argument("endpoint", metavar="ENDPOINT")
@click.option("--event", "event_id", help="This event alone.")
@click.option("--from", "since", help="Events since then, RFC 3339.")
@click.option("--to", "until", help="Events before then, RFC 3339.")
@click.option("--type", "types", multiple=True, help="Only of this type; several times for several.")
@server_options
@json_option
def replay(
    endpoint: str,
    event_id: str | None,
    since: str | None,
    until: str | None,
    types: tuple[str, ...],
    rest: RestClient,
    as_json: bool,
) -> None:
    """Sends events to an endpoint once more, under the ids they had."""
    if event_id is not None:
        if since or until or types:
            raise click.UsageError("Either --event, or a time range.")
        told = rest.request("POST", f"/v1/webhook-events/{segment(event_id)}/replay", {"endpoint_id": endpoint})
        text = f"Event {event_id} is sent again as delivery {told['id']}."
    else:
        if since is None or until is None:
            raise click.UsageError("A replay needs --from and --to, or --event.")
        count, after = 0, None
        while True:
            body = {"from": since, "to": until, "event_types": list(types) or None, "after": after}
            told = rest.request("POST", f"/v1/webhook-endpoints/{segment(endpoint)}/replay", body)
            count += told["count"]
            after = told.get("continue_after")
            if after is None:
                break
        text = f"{count} events are sent again."
    if as_json:
        print_json(told)
        return
    out.print(text, soft_wrap=True, markup=False)
