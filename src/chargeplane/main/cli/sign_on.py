"""`chargeplane sign-on`: providers of identities by which users sign on, over REST."""

from __future__ import annotations

from typing import Any

import click

from chargeplane.domain.people.roles import Role
from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment


@click.group("sign-on")
def sign_on() -> None:
    """Providers of identities (OpenID Connect) by which users sign on."""


@sign_on.command("list")
@server_options
@json_option
def sign_on_list(rest: RestClient, as_json: bool) -> None:
    """Providers, newest first."""
    rows = list(rest.pages("/v1/sign-on-providers"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "SLUG", "TITLE", "ISSUER", "CLIENT", "ENABLED"],
        [
            (
                one["id"],
                one["slug"],
                one["title"],
                one["issuer"],
                one["client_id"],
                "yes" if one["enabled"] else "no",
            )
            for one in rows
        ],
        empty="There are no providers. Add one with `chargeplane sign-on add`.",
        right=("ID",),
    )


@sign_on.command("add")
@click.argument("slug")
@click.argument("issuer")
@click.option("--client-id", required=True, help="Who we are there.")
@click.option("--public", is_flag=True, help="A public client: there is no secret to ask for.")
@click.option("--title", help="What stands on the button; the slug unless given.")
@click.option("--create-users", is_flag=True, help="Make users of whom the provider vouches for.")
@click.option("--default-role", type=click.Choice([role.value for role in Role]), help="Of users that it makes.")
@server_options
@json_option
def sign_on_add(
    slug: str,
    issuer: str,
    client_id: str,
    public: bool,
    title: str | None,
    create_users: bool,
    default_role: str | None,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Add a provider; its secret is asked for."""
    body: dict[str, Any] = {"slug": slug, "issuer": issuer, "client_id": client_id, "title": title or slug}
    if not public:
        body["client_secret"] = click.prompt("Client secret", hide_input=True)
    if create_users:
        body["create_users"] = True
    if default_role is not None:
        body["default_role"] = default_role
    _told(rest.request("POST", "/v1/sign-on-providers", body), as_json, "was added")


@sign_on.command("enable")
@click.argument("provider_id")
@server_options
@json_option
def sign_on_enable(provider_id: str, rest: RestClient, as_json: bool) -> None:
    """Let users sign on by a provider."""
    path = f"/v1/sign-on-providers/{segment(provider_id)}"
    _told(rest.request("PATCH", path, {"enabled": True}), as_json, "is enabled")


@sign_on.command("disable")
@click.argument("provider_id")
@server_options
@json_option
def sign_on_disable(provider_id: str, rest: RestClient, as_json: bool) -> None:
    """Let nobody sign on by a provider; who came in by it is signed out."""
    path = f"/v1/sign-on-providers/{segment(provider_id)}"
    _told(rest.request("PATCH", path, {"enabled": False}), as_json, "is disabled")


@sign_on.command("remove")
@click.argument("provider_id")
@server_options
def sign_on_remove(provider_id: str, rest: RestClient) -> None:
    """Remove a provider; who came in by it is signed out."""
    rest.request("DELETE", f"/v1/sign-on-providers/{segment(provider_id)}")
    out.print(f"Provider {provider_id} is removed.", markup=False)


def _told(said: dict[str, Any], as_json: bool, what: str) -> None:
    if as_json:
        print_json(said)
        return
    out.print(f"Provider {said['id']} '{said['slug']}' {what}.", markup=False)
