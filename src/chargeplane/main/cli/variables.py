"""`chargeplane station variables | set` and `chargeplane template`: what stations are configured to, over REST."""

from __future__ import annotations

import re
import time
from typing import Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from chargeplane.domain.standard_keys import by_key
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.administration import station
from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_NAME: Final = re.compile(
    r"(?:(?P<component>[^/\[\]#:=]+)(?:\[(?P<component_instance>[^\]]+)\])?(?:#(?P<evse_id>\d+)(?:\.(?P<connector_id>\d+))?)?/)?"
    r"(?P<variable>[^/\[\]#:=]+)(?:\[(?P<variable_instance>[^\]]+)\])?(?::(?P<attribute>Actual|Target|MinSet|MaxSet))?"
)
_POLL_S: Final = 0.5
_HOW: Final = (
    "Write it as Component/Variable=VALUE, Component#1/Variable[Instance]:MaxSet=VALUE or, for a 1.6 key, Key=VALUE"
)


def variable_named(text: str) -> dict[str, Any]:
    """A variable as REST takes it, from how it is written and shown.

    Raises:
        InvalidInputError: it is written otherwise.
    """
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise InvalidInputError(f"'{text}' is no name of a variable. {_HOW}.")
    named: dict[str, Any] = {name: value for name, value in found.groupdict().items() if value is not None}
    for name in ("evse_id", "connector_id"):
        if name in named:
            named[name] = int(named[name])
    return named


def shown_name(one: dict[str, Any]) -> str:
    """A variable of an answer, as `variable_named` reads it."""
    text = one.get("component") or ""
    if one.get("component_instance"):
        text += f"[{one['component_instance']}]"
    if one.get("evse_id"):
        text += f"#{one['evse_id']}" + (f".{one['connector_id']}" if one.get("connector_id") else "")
    text += ("/" if text else "") + one["variable"]
    if one.get("variable_instance"):
        text += f"[{one['variable_instance']}]"
    attribute = one.get("attribute", "Actual")
    return text if attribute == "Actual" else f"{text}:{attribute}"


def _setting(pair: str) -> dict[str, Any]:
    name, equals, value = pair.partition("=")
    if not equals:
        raise InvalidInputError(f"'{pair}' sets nothing. {_HOW}.")
    return {**variable_named(name), "value": value}


def _in_one_name_space(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting as templates show it: a standard 1.6 key by its variable."""
    standard = by_key(setting["variable"]) if "component" not in setting else None
    if standard is None:
        return setting
    named = {"component": standard.component, "variable": standard.variable, "value": setting["value"]}
    return {**named, "variable_instance": standard.instance} if standard.instance else named


@station.command("variables")
@click.argument("station_id")
@click.option("--component", help="Only of this component.")
@click.option("--variable", help="Only this variable, or standard 1.6 key.")
@click.option("--attribute", type=click.Choice(["Actual", "Target", "MinSet", "MaxSet"]), help="Only this attribute.")
@click.option("--evse", type=click.IntRange(0), help="Only of this EVSE; 0: of the whole station.")
@click.option("--read", is_flag=True, help="Ask the station for all of them first.")
@server_options
@json_option
def station_variables(
    station_id: str,
    component: str | None,
    variable: str | None,
    attribute: str | None,
    evse: int | None,
    read: bool,
    rest: RestClient,
    as_json: bool,
) -> None:
    """A station's variables as it told them: device model, in 1.6 configuration keys."""
    path = f"/v1/charging-stations/{segment(station_id)}"
    if read:
        _read_all(rest, path)
    rows = list(
        rest.pages(f"{path}/variables", component=component, variable=variable, attribute=attribute, evse_id=evse)
    )
    if as_json:
        print_json(rows)
        return
    print_table(
        ["VARIABLE", "VALUE", "ACCESS", "TYPE", "1.6 KEY"],
        [
            (
                shown_name(row),
                row["value"],
                row["mutability"],
                (row["characteristics"] or {}).get("data_type"),
                row["key"],
            )
            for row in rows
        ],
        empty="Nothing is known of its variables. Ask the station with --read.",
    )


def _read_all(rest: RestClient, path: str) -> None:
    """Asks a station for everything, and waits for the report."""
    asked = rest.request("POST", f"{path}/commands?wait_s=25", {"type": "get_base_report"})
    if asked["state"] != "accepted":
        raise InvalidInputError(asked["reason"] or f"The station answered {asked['status'] or asked['state']}.")
    if asked["action"] == "GetConfiguration":
        return
    until = time.monotonic() + 60
    while time.monotonic() < until:
        newest = rest.get(f"{path}/requests", kind="variables", limit=1)["items"]
        if newest and newest[0]["finished_at"]:
            return
        time.sleep(_POLL_S)


@station.command("set")
@click.argument("station_id")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option(
    "--reset",
    type=click.Choice(["none", "on_idle", "immediate"]),
    default="none",
    show_default=True,
    help="What follows where a value needs a restart.",
)
@click.option("--patience", type=float, help="Seconds to wait for the station at each step; 300 unless given.")
@server_options
@json_option
def station_set(
    station_id: str, settings: tuple[str, ...], reset: str, patience: float | None, rest: RestClient, as_json: bool
) -> None:
    """Change variables of a station, one at a time, each read back.

    \b
    chargeplane station set CP-1 HeartbeatInterval=60 TxCtrlr/EVConnectionTimeOut=90
    """
    body: dict[str, Any] = {"variables": [_setting(pair) for pair in settings], "reset": reset}
    if patience is not None:
        body["patience_s"] = patience
    change = rest.request("PATCH", f"/v1/charging-stations/{segment(station_id)}/variables", body)
    change = _followed(rest, change, show=not as_json)
    if as_json:
        print_json(change)
    else:
        print_table(
            ["VARIABLE", "WANTED", "HAS", "STATE", "REASON"],
            [
                (shown_name(one), one["value"], one.get("has"), one["state"], one.get("reason"))
                for one in change["variables"]
            ],
            empty="",
        )
        if change["reboot_required"]:
            out.print("Some of it takes effect after a restart.", style="yellow")
        if change["reason"]:
            out.print(change["reason"], style="dim")
    if change["state"] != "succeeded":
        raise click.exceptions.Exit(1)


def _followed(rest: RestClient, change: dict[str, Any], *, show: bool) -> dict[str, Any]:
    """The change when it has ended."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=out,
        transient=True,
        disable=not show,
    ) as progress:
        task = progress.add_task("Changing", total=len(change["variables"]))
        while change["finished_at"] is None:
            time.sleep(_POLL_S)
            change = rest.get(f"/v1/variable-changes/{segment(change['id'])}")
            done = sum(one.get("state", "pending") not in ("pending", "setting") for one in change["variables"])
            progress.update(task, completed=done)
    for one in change["variables"]:
        one.setdefault("state", "pending")
    return change


# -------------------------------------------------------------------- templates


@click.group()
def template() -> None:
    """Configuration templates: what stations of a kind are to have."""


def _found(rest: RestClient, name: str) -> dict[str, Any]:
    """The template of a name, or of an id."""
    for row in rest.pages("/v1/configuration-templates"):
        if name in (row["name"], row["id"]):
            found: dict[str, Any] = row
            return found
    raise InvalidInputError(f"There is no configuration template '{name}'.")


def _stands(row: dict[str, Any], state: str) -> int:
    return int(row["stations"].get(state, 0))


@template.command("list")
@server_options
@json_option
def template_list(rest: RestClient, as_json: bool) -> None:
    """Templates, and how their stations stand."""
    rows = list(rest.pages("/v1/configuration-templates"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "VERSION", "APPLY", "PRIORITY", "IN SYNC", "DRIFTED", "UNKNOWN", "REJECTED", "PAUSED"],
        [
            (
                row["id"],
                row["name"],
                row["version"],
                row["apply"],
                row["priority"],
                *(_stands(row, state) for state in ("in_sync", "drifted", "unknown", "rejected")),
                row["paused_because"],
            )
            for row in rows
        ],
        empty="There are no configuration templates. Add one with `chargeplane template add`.",
        right=("ID", "VERSION", "PRIORITY", "IN SYNC", "DRIFTED", "UNKNOWN", "REJECTED"),
    )


@template.command("add")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--vendor", multiple=True, help="Only stations of this vendor; may be given many times.")
@click.option("--model", multiple=True)
@click.option("--firmware", multiple=True, help="A version, or its beginning and *.")
@click.option("--ocpp", "ocpp_version", multiple=True, type=click.Choice(["1.6", "2.0.1", "2.1"]))
@click.option("--location", "location_id", multiple=True)
@click.option("--tag", multiple=True, help="In the list `tags` of the station's metadata.")
@click.option("--station", "station_id", multiple=True)
@click.option("--every", is_flag=True, help="All stations.")
@click.option("--auto", is_flag=True, help="Apply it by itself.")
@click.option("--priority", type=int, default=0, show_default=True)
@click.option("--wave", "wave_size", type=click.IntRange(1), default=1, show_default=True, help="Stations at a time.")
@click.option("--reset", type=click.Choice(["none", "on_idle", "immediate"]), default="none", show_default=True)
@server_options
@json_option
def template_add(
    name: str,
    settings: tuple[str, ...],
    auto: bool,
    priority: int,
    wave_size: int,
    reset: str,
    rest: RestClient,
    as_json: bool,
    every: bool,
    **selector: tuple[str, ...],
) -> None:
    """Make a template.

    \b
    chargeplane template add depot --location depot-1 --auto HeartbeatInterval=300 MeterValueSampleInterval=60
    """
    chosen: dict[str, Any] = {key: list(values) for key, values in selector.items() if values}
    if every:
        chosen["every"] = True
    made = rest.request(
        "POST",
        "/v1/configuration-templates",
        {
            "name": name,
            "selector": chosen,
            "variables": [_setting(pair) for pair in settings],
            "apply": "auto" if auto else "manual",
            "priority": priority,
            "wave_size": wave_size,
            "reset": reset,
        },
    )
    if as_json:
        print_json(made)
        return
    out.print(f"Template '{made['name']}' is there, version {made['version']}.", soft_wrap=True)


@template.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--note", help="About this version.")
@server_options
def template_set(name: str, settings: tuple[str, ...], note: str | None, rest: RestClient) -> None:
    """Change or add values of a template; that makes another version."""
    found = _found(rest, name)
    wanted = {shown_name(one): one for one in found["variables"]}
    for pair in settings:
        setting = _in_one_name_space(_setting(pair))
        wanted[shown_name(setting)] = setting
    body = {"variables": list(wanted.values()), "note": note}
    made = rest.request("PATCH", f"/v1/configuration-templates/{segment(found['id'])}", body)
    out.print(f"Template '{made['name']}' is at version {made['version']}.", soft_wrap=True)


@template.command("show")
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Stations in sync too.")
@server_options
@json_option
def template_show(name: str, everything: bool, rest: RestClient, as_json: bool) -> None:
    """How the stations of a template stand: what is wanted, what they have."""
    found = _found(rest, name)
    rows = list(rest.pages(f"/v1/configuration-templates/{segment(found['id'])}/stations"))
    if as_json:
        print_json({**found, "stations": rows})
        return
    print_table(
        ["STATION", "STATE", "VARIABLE", "WANTED", "HAS", "REASON"],
        [
            (row["station_id"], one["state"], shown_name(one), one["want"], one.get("has"), one.get("reason"))
            for row in rows
            for one in row["variables"]
            if everything or one["state"] not in ("in_sync", "overridden")
        ],
        empty="All of its stations are in sync." if rows else "It has no stations yet.",
    )


@template.command("apply")
@click.argument("name")
@click.option("--station", "station_ids", multiple=True, help="Only there; may be given many times.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
@server_options
def template_apply(name: str, station_ids: tuple[str, ...], no_wait: bool, rest: RestClient) -> None:
    """Apply a template now, in its waves."""
    found = _found(rest, name)
    path = f"/v1/configuration-templates/{segment(found['id'])}"
    body = {"station_ids": list(station_ids)} if station_ids else {}
    view = rest.request("POST", f"{path}/apply", body)
    if no_wait:
        out.print(f"Template '{view['name']}' is being applied.", soft_wrap=True)
        return
    total = sum(view["stations"].values())
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=out, transient=True
    ) as progress:
        task = progress.add_task("In sync", total=total)
        quiet = 0
        while quiet < 4 and _stands(view, "in_sync") < total:
            time.sleep(_POLL_S)
            view = rest.get(path)
            quiet = quiet + 1 if not view["applying"] else 0
            progress.update(task, completed=_stands(view, "in_sync"))
    left = total - _stands(view, "in_sync")
    out.print(f"{_stands(view, 'in_sync')} of {total} stations are in sync.", soft_wrap=True)
    if view["paused_because"]:
        out.print(f"It is paused: {view['paused_because']}", style="yellow", soft_wrap=True)
    if left:
        out.print(f"`chargeplane template show {name}` tells of the others.", style="dim", soft_wrap=True)
        raise click.exceptions.Exit(1)


@template.command("pause")
@click.argument("name")
@server_options
def template_pause(name: str, rest: RestClient) -> None:
    """Stop a template from being applied by itself."""
    found = _found(rest, name)
    rest.request("PATCH", f"/v1/configuration-templates/{segment(found['id'])}", {"paused": True})
    out.print(f"Template '{found['name']}' is paused.", soft_wrap=True)


@template.command("resume")
@click.argument("name")
@server_options
def template_resume(name: str, rest: RestClient) -> None:
    """Let a paused template go on."""
    found = _found(rest, name)
    rest.request("PATCH", f"/v1/configuration-templates/{segment(found['id'])}", {"paused": False})
    out.print(f"Template '{found['name']}' goes on.", soft_wrap=True)


@template.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@server_options
def template_remove(name: str, yes: bool, rest: RestClient) -> None:
    """Remove a template; what it changed stays."""
    found = _found(rest, name)
    if not yes:
        click.confirm(f"Remove template '{found['name']}'?", abort=True)
    rest.request("DELETE", f"/v1/configuration-templates/{segment(found['id'])}")
    out.print(f"Template '{found['name']}' is removed.", soft_wrap=True)
