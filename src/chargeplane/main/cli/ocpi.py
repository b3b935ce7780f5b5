"""`chargeplane ocpi`: partners, and the conformance check of any platform."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import click
from rich.text import Text

from chargeplane.domain.roaming.connection import PartyRole
from chargeplane.main.cli.terminal import (
    EXIT_REFUSED,
    json_option,
    out,
    print_json,
    print_table,
    server_options,
)
from chargeplane.main.rest import RestClient, segment

_STYLES = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("-", "dim")}


def _pattern(pattern: str, words: str) -> Callable[[click.Context, click.Parameter, str], str]:
    def check(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise click.BadParameter(f"'{value}' is not {words}.")
        return value

    return check


@click.group()
def ocpi() -> None:
    """Roaming partners by OCPI."""


@ocpi.command("list")
@click.option("--state", type=click.Choice(["invited", "registering", "registered", "suspended", "ended"]))
@server_options
@json_option
def list_partners(state: str | None, rest: RestClient, as_json: bool) -> None:
    """Partners and how they do."""
    found = list(rest.pages("/v1/roaming/partners", state=state))
    if as_json:
        print_json(found)
        return
    print_table(
        ["ID", "NAME", "STATE", "VERSION", "PARTIES", "HEARD", "ANSWERED", "WAITING", "PARKED", "TROUBLE"],
        [
            (
                one["id"],
                one["name"],
                one["state"],
                one["version"] or "",
                " ".join(f"{party['country_code']}*{party['party_id']} {party['role']}" for party in one["parties"]),
                _short(one["heard_at"]),
                _short(one["answered_at"]),
                one["waiting"],
                one["parked"],
                one["last_error"] or (f"{one['failures']} failures" if one["failures"] else ""),
            )
            for one in found
        ],
        empty="There are no partners yet; `chargeplane ocpi invite NAME` lets one register.",
    )


def _short(text: str | None) -> str:
    return "" if text is None else text[:19].replace("T", " ")


@ocpi.command("party")
@click.argument("country_code", callback=_pattern(r"[A-Za-z]{2}", "two letters, such as NL"))
@click.argument("party_id", callback=_pattern(r"[A-Za-z0-9]{3}", "three letters or digits, such as ABC"))
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    default=["CPO"],
    show_default=True,
    type=click.Choice([role.value for role in PartyRole]),
    help="What it is; may be repeated.",
)
@server_options
def put_party(country_code: str, party_id: str, name: str, roles: tuple[str, ...], rest: RestClient) -> None:
    """Add a party of ours, or say anew what it is."""
    body = {"roles": list(roles), "business_details": {"name": name}}
    country_code, party_id = country_code.upper(), party_id.upper()
    rest.request("PUT", f"/v1/roaming/parties/{country_code}/{party_id}", body)
    click.echo(f"{country_code}*{party_id} is {' and '.join(roles)}.")


@ocpi.command("invite")
@click.argument("name")
@click.option(
    "--role", "own_role", type=click.Choice(["CPO", "EMSP"]), help="In which role we meet it, where it speaks 2.1.1."
)
@server_options
@json_option
def invite(name: str, own_role: str | None, rest: RestClient, as_json: bool) -> None:
    """Let a partner register; prints what to give it."""
    made = rest.request("POST", "/v1/roaming/partners", {"name": name, "own_role": own_role})
    if as_json:
        print_json(made)
        return
    click.echo(f"Partner {made['partner']['id']}. Give it (the token is shown only now):")
    click.echo(f"  versions URL  {made['versions_url']}")
    click.echo(f"  token         {made['token']}")
    click.echo("It registers by itself; another Chargeplane by `chargeplane ocpi register NAME URL --token TOKEN`.")


@ocpi.command("register")
@click.argument("name")
@click.argument("versions_url")
@click.option("--token", required=True, help="As the partner gave it.")
@click.option("--version", type=click.Choice(["2.1.1", "2.2.1", "2.3.0"]), help="The newest of both unless given.")
@click.option(
    "--role", "own_role", type=click.Choice(["CPO", "EMSP"]), help="In which role we meet it, where it speaks 2.1.1."
)
@server_options
@json_option
def register(
    name: str,
    versions_url: str,
    token: str,
    version: str | None,
    own_role: str | None,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Register with a partner by the URL and token it gave."""
    body = {"name": name, "versions_url": versions_url, "token": token, "version": version, "own_role": own_role}
    made = rest.request("POST", "/v1/roaming/partners/register", body)
    if as_json:
        print_json(made)
        return
    parties = ", ".join(f"{one['country_code']}*{one['party_id']} ({one['role']})" for one in made["parties"])
    click.echo(f"Registered with {name} as partner {made['id']}, in OCPI {made['version']}: {parties}.")


@ocpi.command("show")
@click.argument("partner_id")
@server_options
@json_option
def show(partner_id: str, rest: RestClient, as_json: bool) -> None:
    """One partner: its modules, what went well and wrong last, and what waits."""
    found = rest.get(f"/v1/roaming/partners/{segment(partner_id)}/health")
    pushes = rest.get(f"/v1/roaming/partners/{segment(partner_id)}/pushes")
    if as_json:
        print_json({**found, "pushes": pushes})
        return
    one = found["partner"]
    version = f", OCPI {one['version']}" if one["version"] else ""
    out.print(Text.assemble((f"{one['name']} ", "bold"), f"(partner {one['id']}) is {one['state']}{version}"))
    if one["last_error"]:
        out.print(Text(one["last_error"], style="red"))
    print_table(
        ["MODULE", "PULLED", "OBJECTS", "PUSHED", "TROUBLE"],
        [
            (each["module"], _short(each["pulled_at"]), each["pulled_count"], _short(each["pushed_at"]), each["error"])
            for each in found["modules"]
        ],
        empty="Nothing was exchanged with it yet.",
    )
    for each in pushes:
        click.echo(f"Sent whole: {each['module']}, {each['objects']} objects, {each['waiting']} waiting.")
    click.echo(f"Waiting to be sent: {one['waiting']}; given up: {one['parked']}.")


@ocpi.command("push")
@click.argument("partner_id")
@click.option(
    "--module", "modules", multiple=True, help="locations, tariffs, sessions, cdrs or tokens; all unless given."
)
@server_options
@json_option
def push(partner_id: str, modules: tuple[str, ...], rest: RestClient, as_json: bool) -> None:
    """Send a partner all that it may see, whether it changed or not."""
    body = {"modules": list(modules) or None}
    noted = rest.request("POST", f"/v1/roaming/partners/{segment(partner_id)}/push", body)
    if as_json:
        print_json(noted)
        return
    told = ", ".join(f"{one['objects']} {one['module']}" for one in noted if not modules or one["module"] in modules)
    click.echo(f"To be sent: {told}. `chargeplane ocpi show {partner_id}` says how far it is.")


@ocpi.command("remove")
@click.argument("partner_id")
@click.option("--no-tell", is_flag=True, help="Do not tell the partner.")
@server_options
def remove(partner_id: str, no_tell: bool, rest: RestClient) -> None:
    """End the connection with a partner; one that has ended is removed with its log."""
    tell = "false" if no_tell else "true"
    gone = rest.request("DELETE", f"/v1/roaming/partners/{segment(partner_id)}?tell={tell}")
    untold = "" if gone["untold"] is None else f"; the partner could not be told: {gone['untold'].rstrip('.')}"
    there = any(one["id"] == partner_id for one in rest.pages("/v1/roaming/partners", state="ended"))
    click.echo(
        f"Ended{untold}. The same once more removes partner {partner_id} with its log."
        if there
        else f"Removed partner {partner_id} with its log."
    )


@ocpi.command("check")
@click.argument("versions_url")
@click.option("--token", required=True, help="A token that the platform gave; one of a registered partner opens more.")
@click.option("--version", type=click.Choice(["2.1.1", "2.2.1", "2.3.0"]), help="Only this one.")
@click.option(
    "--raw-token", is_flag=True, help="Send the token as it is, not in Base64; found out by trial unless given."
)
@click.option("--timeout-s", default=15.0, show_default=True, type=click.FloatRange(min=0.1, max=120))
@json_option
def check(versions_url: str, token: str, version: str | None, raw_token: bool, timeout_s: float, as_json: bool) -> None:
    """Check how well any platform keeps to OCPI; changes nothing there. Exit code 1 where a check failed."""
    findings = asyncio.run(_check(versions_url, token, version, raw_token, timeout_s, show=not as_json))
    if as_json:
        print_json([{name: getattr(one, name) for name in one.__struct_fields__} for one in findings])
    counts = {verdict: sum(one.verdict.value == verdict for one in findings) for verdict in _STYLES}
    if not as_json:
        out.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if counts["failed"]:
        raise click.exceptions.Exit(EXIT_REFUSED)


async def _check(
    versions_url: str, token: str, version: str | None, raw: bool, timeout_s: float, *, show: bool
) -> list[Any]:
    from chargeplane.edges.ocpi_client.check import Checker, Finding
    from chargeplane.edges.ocpi_client.http import PartnerHttp
    from chargeplane.ocpi.headers import TokenForm
    from chargeplane.ocpi.versions import Version

    heading: list[str | None] = ["?"]

    def tell(finding: Finding) -> None:
        if finding.version != heading[0]:
            heading[0] = finding.version
            out.print(Text(f"OCPI {finding.version}" if finding.version else "Platform", style="bold"))
        sign, style = _STYLES[finding.verdict.value]
        line = Text.assemble((f"  {sign} ", style), finding.name)
        if finding.sentence:
            line.append(f": {finding.sentence}", style=style)
            line.append(f" ({finding.source})", style="dim")
        out.print(line)

    # The operator names the address himself: his own networks are his to ask.
    http = PartnerHttp(private_networks=True, timeout_s=timeout_s)
    try:
        checker = Checker(
            http,
            versions_url,
            token,
            form=TokenForm.RAW if raw else None,
            version=None if version is None else Version(version),
            on_finding=tell if show else lambda _: None,
        )
        return await checker.run()
    finally:
        await http.close()
