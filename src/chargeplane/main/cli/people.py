"""`chargeplane user | driver`: people, over REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chargeplane.domain.people.roles import Role
from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_ROLES = click.Choice([role.value for role in Role])


@click.group()
def user() -> None:
    """Users: people who work with the tenant."""


@user.command("create")
@click.argument("email")
@click.option("--name", help="Name for people; the address unless given.")
@click.option("--role", type=_ROLES, default=Role.OWNER.value, show_default=True)
@click.option("--language", help="Of mails: en, de, sv.")
@click.option("--invite", is_flag=True, help="Mail an invitation, in place of asking for a password here.")
@server_options
@json_option
def user_create(
    email: str, name: str | None, role: str, language: str | None, invite: bool, rest: RestClient, as_json: bool
) -> None:
    """Make a user; the first owner is made so, with the API key of the first start."""
    body: dict[str, Any] = {"email": email, "name": name or email, "role": role}
    if language is not None:
        body["language"] = language
    if not invite:
        body["password"] = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    made = rest.request("POST", "/v1/users", body)
    if as_json:
        print_json(made)
        return
    told = "An invitation is on its way." if invite else "Sign in at /v1/login."
    out.print(f"User {made['id']} '{made['email']}' is {made['role']}. {told}")


@user.command("list")
@server_options
@json_option
def user_list(rest: RestClient, as_json: bool) -> None:
    """Users of the tenant."""
    rows = list(rest.pages("/v1/users"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "E-MAIL", "NAME", "ROLE", "SECOND FACTOR"],
        [(row["id"], row["email"], row["name"], row["role"], "yes" if row["second_factor"] else "no") for row in rows],
        empty="There are no users. Make one with `chargeplane user create`.",
        right=("ID",),
    )


@user.command("role")
@click.argument("user_id")
@click.argument("role", type=_ROLES)
@server_options
def user_role(user_id: str, role: str, rest: RestClient) -> None:
    """Give a user another role."""
    rest.request("PATCH", f"/v1/users/{segment(user_id)}", {"role": role})
    out.print(f"User {user_id} is {role}.")


@user.command("remove")
@click.argument("user_id")
@server_options
def user_remove(user_id: str, rest: RestClient) -> None:
    """Take a user out of the tenant, at once."""
    rest.request("DELETE", f"/v1/users/{segment(user_id)}")
    out.print(f"User {user_id} is out.")


@user.command("reset-second-factor")
@click.argument("user_id")
@server_options
def user_reset(user_id: str, rest: RestClient) -> None:
    """For a user who lost the authenticator app and the recovery codes."""
    rest.request("POST", f"/v1/users/{segment(user_id)}/reset-second-factor")
    out.print(f"User {user_id} signs in by password alone, until a new second factor is set up.")


@click.group()
def driver() -> None:
    """Drivers: whom the stations charge."""


@driver.command("list")
@click.option("-q", "query", help="Looked for in names, e-mail, company, tax id.")
@server_options
@json_option
def driver_list(query: str | None, rest: RestClient, as_json: bool) -> None:
    """Drivers, newest first."""
    rows = list(rest.pages("/v1/drivers", q=query))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "E-MAIL", "STATUS"],
        [(row["id"], _name(row), row["email"] or "", row["status"]) for row in rows],
        empty="There are no drivers.",
        right=("ID",),
    )


@driver.command("show")
@click.argument("driver_id")
@server_options
@json_option
def driver_show(driver_id: str, rest: RestClient, as_json: bool) -> None:
    """A driver with the id tokens."""
    found = rest.get(f"/v1/drivers/{segment(driver_id)}")
    tokens = rest.get(f"/v1/drivers/{segment(driver_id)}/id-tokens")["items"]
    if as_json:
        print_json({**found, "id_tokens": tokens})
        return
    print_table(
        ["", ""],
        [(name, str(value)) for name, value in found.items() if value not in (None, [], "")],
        empty="",
    )
    print_table(
        ["ID TOKEN", "TYPE", "STATUS", "FROM", "LABEL"],
        [(one["id_token"], one["type"], one["status"], one["origin"], one["label"] or "") for one in tokens],
        empty="The driver has no id tokens.",
    )


@driver.command("create")
@click.option("--email")
@click.option("--first-name")
@click.option("--last-name")
@click.option("--language")
@click.option("--id-token", "id_tokens", multiple=True, help="Assigned to the driver; may be given many times.")
@server_options
@json_option
def driver_create(
    email: str | None,
    first_name: str | None,
    last_name: str | None,
    language: str | None,
    id_tokens: tuple[str, ...],
    rest: RestClient,
    as_json: bool,
) -> None:
    """Make a driver."""
    given = {"email": email, "first_name": first_name, "last_name": last_name, "language": language}
    made = rest.request("POST", "/v1/drivers", {name: value for name, value in given.items() if value is not None})
    for text in id_tokens:
        rest.request("POST", f"/v1/drivers/{made['id']}/id-tokens", {"id_token": text})
    if as_json:
        print_json(made)
        return
    out.print(f"Driver {made['id']} is there.")


@driver.command("block")
@click.argument("driver_id")
@click.option("--reason")
@server_options
def driver_block(driver_id: str, reason: str | None, rest: RestClient) -> None:
    """Block a driver and all id tokens of the driver."""
    rest.request("POST", f"/v1/drivers/{segment(driver_id)}/block", {} if reason is None else {"reason": reason})
    out.print(f"Driver {driver_id} is blocked.")


@driver.command("unblock")
@click.argument("driver_id")
@server_options
def driver_unblock(driver_id: str, rest: RestClient) -> None:
    """Take a block back."""
    rest.request("POST", f"/v1/drivers/{segment(driver_id)}/unblock")
    out.print(f"Driver {driver_id} may charge again.")


@driver.command("export")
@click.argument("driver_id")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@server_options
def driver_export(driver_id: str, file: Path, rest: RestClient) -> None:
    """Write all that is known of a driver to a file."""
    rest.download(f"/v1/drivers/{segment(driver_id)}/data", file)
    out.print(f"{file} holds what is known of driver {driver_id}.")


@driver.command("erase")
@click.argument("driver_id")
@click.confirmation_option(prompt="This cannot be taken back. Erase the driver?")
@server_options
def driver_erase(driver_id: str, rest: RestClient) -> None:
    """Erase a driver, but for what tax law wants kept."""
    made = rest.request("POST", f"/v1/drivers/{segment(driver_id)}/erase")
    out.print(f"Driver {driver_id} is erased; records that the law wants kept stay {made['retention_years']} years.")


def _name(row: dict[str, Any]) -> str:
    return " ".join(part for part in (row["first_name"], row["last_name"]) if part) or row["company"] or ""
