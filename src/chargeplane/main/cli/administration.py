"""`chargeplane tenant | apikey | idtoken | station`: administration over REST."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from chargeplane.main.cli.terminal import (
    config_options,
    json_option,
    out,
    print_json,
    print_table,
    server_options,
)
from chargeplane.main.rest import RestClient, segment


def _when(text: str | None) -> str | None:
    """A REST timestamp for people."""
    if not text:
        return None
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


# -------------------------------------------------------------------- tenants


@click.group()
def tenant() -> None:
    """Tenants: customers of this installation."""


@tenant.command("list")
@server_options
@json_option
def tenant_list(rest: RestClient, as_json: bool) -> None:
    """All tenants."""
    rows = list(rest.pages("/v1/tenants"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["SLUG", "NAME", "CREATED"],
        [(row["slug"], row["name"], _when(row.get("created_at"))) for row in rows],
        empty="There are no tenants.",
    )


@tenant.command("add")
@click.argument("slug")
@click.option("--name", help="Name for people; the slug unless given.")
@server_options
@json_option
def tenant_add(slug: str, name: str | None, rest: RestClient, as_json: bool) -> None:
    """Make a tenant. Its stations connect at /ocpp/SLUG/STATION_ID."""
    made = rest.request("POST", "/v1/tenants", {"slug": slug, "name": name or slug})
    if as_json:
        print_json(made)
        return
    out.print(
        f"Tenant '{made['slug']}' is there. Make it an API key with `chargeplane apikey add --tenant {slug} NAME`."
    )


# -------------------------------------------------------------------- API keys


@click.group()
def apikey() -> None:
    """API keys: who may call the REST doors."""


@apikey.command("list")
@server_options
@json_option
def apikey_list(rest: RestClient, as_json: bool) -> None:
    """Keys that are valid, without their texts."""
    rows = list(rest.pages("/v1/api-keys"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "KEY", "SCOPES", "LAST USED", "EXPIRES"],
        [
            (
                row["id"],
                row["name"],
                row["key_prefix"] + "…",
                " ".join(row["scopes"]),
                _when(row["last_used_at"]) or "never",
                _when(row["expires_at"]) or "never",
            )
            for row in rows
        ],
        empty="There are no API keys.",
        right=("ID",),
    )


@apikey.command("add")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, default=["admin"], show_default=True, help="May be given many times.")
@click.option("--tenant", "tenant_slug", help="For another tenant.")
@click.option("--expires", type=click.DateTime(), help="UTC; never unless given.")
@server_options
@json_option
def apikey_add(
    name: str,
    scopes: tuple[str, ...],
    tenant_slug: str | None,
    expires: datetime | None,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Make a key. Its text is shown once."""
    body: dict[str, Any] = {"name": name, "scopes": list(scopes)}
    if tenant_slug is not None:
        body["tenant"] = tenant_slug
    if expires is not None:
        body["expires_at"] = expires.replace(tzinfo=UTC).isoformat()
    made = rest.request("POST", "/v1/api-keys", body)
    if as_json:
        print_json(made)
        return
    out.print("The key (shown only now):", style="dim")
    click.echo(made["key"])


@apikey.command("revoke")
@click.argument("key_id")
@server_options
def apikey_revoke(key_id: str, rest: RestClient) -> None:
    """Make a key worthless at once."""
    rest.request("DELETE", f"/v1/api-keys/{segment(key_id)}")
    out.print(f"API key {key_id} is revoked.")


@apikey.command("recover")
@config_options
def apikey_recover(config_file: Path | None) -> None:
    """Make a new administrator's key directly in the database, when every key is lost.

    Needs the rights of the server itself: its configuration and its data folder.
    """
    import asyncio

    from chargeplane.main.cli.database import open_database
    from chargeplane.main.recovery import make_admin_key

    with open_database(config_file) as (url, _):
        key = asyncio.run(make_admin_key(url))
    out.print("The key (shown only now):", style="dim")
    click.echo(key)


# -------------------------------------------------------------------- id tokens


@click.group()
def idtoken() -> None:
    """Id tokens: who may charge (RFID cards, app users)."""


@idtoken.command("list")
@click.option("--status", help="Accepted, Blocked, Expired or Invalid.")
@click.option("-q", "--search", help="Part of the token.")
@server_options
@json_option
def idtoken_list(status: str | None, search: str | None, rest: RestClient, as_json: bool) -> None:
    """Id tokens."""
    rows = sorted(rest.pages("/v1/id-tokens", status=status, q=search), key=lambda row: row["id_token"])
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID TOKEN", "TYPE", "STATUS", "VALID UNTIL", "GROUP", "NOTE"],
        [
            (row["id_token"], row["type"], row["status"], _when(row["valid_until"]), row["group_id"], row.get("note"))
            for row in rows
        ],
        empty="There are no id tokens.",
    )


@idtoken.command("add")
@click.argument("id_token")
@click.option("--type", "kind", default="ISO14443", show_default=True, help="ISO14443, Central, eMAID, ...")
@click.option("--status", default="Accepted", show_default=True)
@click.option("--group", help="Tokens of a group may stop each other's transactions.")
@click.option("--note", help="For people.")
@server_options
@json_option
def idtoken_add(
    id_token: str, kind: str, status: str, group: str | None, note: str | None, rest: RestClient, as_json: bool
) -> None:
    """Make an id token known."""
    body = {"id_token": id_token, "type": kind, "status": status, "group_id": group, "note": note}
    made = rest.request("POST", "/v1/id-tokens", {key: value for key, value in body.items() if value is not None})
    if as_json:
        print_json(made)
        return
    out.print(f"Id token '{made['id_token']}' ({made['type']}) is {made['status']}.")


@idtoken.command("remove")
@click.argument("id_token")
@server_options
def idtoken_remove(id_token: str, rest: RestClient) -> None:
    """Forget an id token; its sessions stay."""
    from chargeplane.kernel.errors import NotFoundError

    found = list(rest.pages("/v1/id-tokens", id_token=id_token))
    if not found:
        raise NotFoundError("id token", id_token)
    for row in found:
        rest.request("DELETE", f"/v1/id-tokens/{segment(row['id'])}")
    out.print(f"Id token '{id_token}' is gone.")


# -------------------------------------------------------------------- stations


@click.group()
def station() -> None:
    """Charging stations."""


@station.command("list")
@click.option("--connected/--disconnected", default=None, help="Only these.")
@click.option("-q", "--search", help="Part of id, name, vendor, model or serial number.")
@server_options
@json_option
def station_list(connected: bool | None, search: str | None, rest: RestClient, as_json: bool) -> None:
    """Charging stations."""
    wanted = None if connected is None else str(connected).lower()
    rows = sorted(rest.pages("/v1/charging-stations", connected=wanted, q=search), key=lambda row: row["station_id"])
    if as_json:
        print_json(rows)
        return
    print_table(
        ["STATION", "NAME", "LINK", "STATUS", "OCPP", "VENDOR", "MODEL", "FIRMWARE", "EVSES", "REGISTRATION"],
        [
            (
                row["station_id"],
                row["name"],
                "online" if row["connected"] else "offline",
                row["status"],
                row["ocpp_version"],
                row["vendor"],
                row["model"],
                row["firmware"],
                len(row["evses"]),
                row["registration"],
            )
            for row in rows
        ],
        empty="There are no charging stations. Add one with `chargeplane station add STATION_ID`.",
        right=("EVSES",),
    )


@station.command("show")
@click.argument("station_id")
@server_options
def station_show(station_id: str, rest: RestClient) -> None:
    """Everything known of one station, as JSON."""
    print_json(rest.get(f"/v1/charging-stations/{segment(station_id)}"))


@station.command("add")
@click.argument("station_id")
@click.option("--name", help="For people.")
@click.option("--security-profile", type=click.IntRange(0, 3), default=1, show_default=True, help="0: no password.")
@click.option("--password", help="16 to 40 characters; made here unless given.")
@server_options
@json_option
def station_add(
    station_id: str, name: str | None, security_profile: int, password: str | None, rest: RestClient, as_json: bool
) -> None:
    """Register a charging station. A password made here is shown once."""
    body: dict[str, Any] = {"station_id": station_id, "security_profile": security_profile}
    if name is not None:
        body["name"] = name
    if password is not None:
        body["password"] = password
    made = rest.request("POST", "/v1/charging-stations", body)
    if as_json:
        print_json(made)
        return
    out.print(f"Station '{made['station_id']}' may connect.", soft_wrap=True)
    if made.get("password") and password is None:
        out.print("Its password (shown only now):", style="dim")
        click.echo(made["password"])


@station.command("password")
@click.argument("station_id")
@click.option("--password", help="16 to 40 characters; made here unless given.")
@server_options
def station_password(station_id: str, password: str | None, rest: RestClient) -> None:
    """Give a station a new password; a socket opened with the old one is closed."""
    made = rest.request("PATCH", f"/v1/charging-stations/{segment(station_id)}", {"password": password})
    if made.get("password"):
        out.print("Its password (shown only now):", style="dim")
        click.echo(made["password"])
    else:
        out.print(f"Station '{station_id}' has the new password.", soft_wrap=True)


@station.command("remove")
@click.argument("station_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@server_options
def station_remove(station_id: str, yes: bool, rest: RestClient) -> None:
    """Remove a station: it may not connect any more; its history stays."""
    if not yes:
        click.confirm(f"Remove station '{station_id}'?", abort=True)
    rest.request("DELETE", f"/v1/charging-stations/{segment(station_id)}")
    out.print(f"Station '{station_id}' is removed.", soft_wrap=True)


@station.command("locallist")
@click.argument("station_id")
@click.option("--send", is_flag=True, help="Send the whole list again.")
@server_options
@json_option
def station_locallist(station_id: str, send: bool, rest: RestClient, as_json: bool) -> None:
    """Show what a station holds of its local list, and whether that is what belongs there."""
    path = f"/v1/charging-stations/{segment(station_id)}/local-list"
    seen = rest.request("POST", f"{path}/send") if send else rest.get(path)
    if as_json:
        print_json(seen)
        return
    print_table(
        ["STATE", "TOKENS", "VERSION", "ENTRIES", "WANTED", "LEFT OUT", "CHECKED", "SENT", "REASON"],
        [
            (
                seen["state"],
                seen["tokens"],
                seen["version"],
                seen["entries"],
                seen["wanted"],
                seen["left_out"],
                _when(seen["checked_at"]),
                _when(seen["sent_at"]),
                seen["reason"],
            )
        ],
        empty="",
    )


@station.command("call")
@click.argument("station_id")
@click.argument("action")
@click.argument("payload", default="{}")
@click.option("--timeout", type=float, help="Seconds to wait for the answer.")
@server_options
def station_call(station_id: str, action: str, payload: str, timeout: float | None, rest: RestClient) -> None:
    """Send any call of the station's OCPP version and print its answer.

    \b
    chargeplane station call CP-1 Reset '{"type": "Soft"}'
    """
    import msgspec

    from chargeplane.kernel.errors import InvalidInputError

    try:
        decoded = msgspec.json.decode(payload)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"The payload is not valid JSON: {error}.") from error
    body: dict[str, Any] = {"action": action, "payload": decoded}
    if timeout is not None:
        body["timeout_s"] = timeout
    answer = rest.request("POST", f"/v1/charging-stations/{segment(station_id)}/calls", body)
    print_json(answer)
    if answer.get("outcome") != "callresult":
        raise click.exceptions.Exit(1)
