"""`chargeplane firmware | campaign | log`: firmware files, their campaigns, and stations' logs, over REST."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chargeplane.kernel.errors import RuleError
from chargeplane.main.cli.terminal import err, json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_OVER: Final = ("succeeded", "failed", "skipped", "canceled")
_GOING: Final = ("asking", "updating", "installed")
_LOOK_S: Final = 1.0


@click.group()
def firmware() -> None:
    """Firmware files for charging stations."""


@firmware.command("list")
@server_options
@json_option
def firmware_list(rest: RestClient, as_json: bool) -> None:
    """All firmware files, newest first."""
    rows = list(rest.pages("/v1/firmware"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "VERSION", "VENDOR", "MODEL", "BYTES", "SIGNED BY"],
        [
            (one["id"], one["name"], one["version"], one["vendor"], one["model"], one["size_bytes"], one["signed_by"])
            for one in rows
        ],
        empty="There is no firmware.",
        right=["BYTES"],
    )


@firmware.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--version", required=True, help="What a station's boot says when it runs.")
@click.option("--vendor", help="The stations it is for.")
@click.option("--model", help="The stations it is for.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The maker's (PEM).")
@click.option("--signature", help="The maker's, Base64.")
@click.option("--sign", is_flag=True, help="Have the house sign it.")
@server_options
@json_option
def firmware_add(
    file: Path,
    version: str,
    vendor: str | None,
    model: str | None,
    certificate: Path | None,
    signature: str | None,
    sign: bool,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Give the server a firmware file."""
    fields = {
        "version": version,
        "vendor": vendor,
        "model": model,
        "signing_certificate": None if certificate is None else certificate.read_text(),
        "signature": signature,
        "sign": "true" if sign else None,
    }
    made = rest.upload("/v1/firmware", file, {name: text for name, text in fields.items() if text})
    if as_json:
        print_json(made)
        return
    out.print(f"Firmware {made['id']}: {made['name']}, version {made['version']}, SHA-256 {made['sha256']}")


@firmware.command("delete")
@click.argument("ident", metavar="ID")
@server_options
def firmware_delete(ident: str, rest: RestClient) -> None:
    """Delete a firmware file."""
    rest.request("DELETE", f"/v1/firmware/{segment(ident)}")


@click.group()
def campaign() -> None:
    """Firmware campaigns over many stations."""


@campaign.command("list")
@server_options
@json_option
def campaign_list(rest: RestClient, as_json: bool) -> None:
    """All campaigns, newest first."""
    rows = list(rest.pages("/v1/firmware-campaigns"))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "NAME", "VERSION", "STATE", "WAVE", "STATIONS", "SUCCEEDED", "FAILED"],
        [
            (
                one["id"],
                one["name"],
                one["version"],
                one["state"],
                f"{one['wave']}/{one['waves']}",
                one["total"],
                one["progress"].get("succeeded", 0),
                one["progress"].get("failed", 0),
            )
            for one in rows
        ],
        empty="There are no campaigns.",
        right=["STATIONS", "SUCCEEDED", "FAILED"],
    )


@campaign.command("create")
@click.argument("firmware_id", metavar="FIRMWARE_ID")
@click.option("--name", required=True, help="For people.")
@click.option(
    "--station", "stations", multiple=True, help="A station's id; give it again for more. Without: all that fit."
)
@click.option("--model", help="Stations of this model.")
@click.option("--vendor", help="Stations of this vendor.")
@click.option(
    "--wave", "waves", multiple=True, help="A number of stations, or a part of all such as 10%; again for more."
)
@click.option("--parallel", type=int, help="Stations that update at one time.")
@click.option("--stop-at", type=click.IntRange(1, 100), help="Percent of failures that stop the campaign.")
@click.option("--retries", type=int, help="Further attempts at one station.")
@click.option("--paused", is_flag=True, help="Make it without beginning.")
@click.option("--watch", is_flag=True, help="Watch it until it is over.")
@server_options
@json_option
def campaign_create(
    firmware_id: str,
    name: str,
    stations: tuple[str, ...],
    model: str | None,
    vendor: str | None,
    waves: tuple[str, ...],
    parallel: int | None,
    stop_at: int | None,
    retries: int | None,
    paused: bool,
    watch: bool,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Bring a firmware to many stations."""
    plan = {
        "waves": [_wave(text) for text in waves] or None,
        "max_parallel": parallel,
        "stop_at_failed_percent": stop_at,
        "retries": retries,
    }
    choice = {"station_ids": list(stations) or None, "model": model, "vendor": vendor}
    chosen = {key: value for key, value in choice.items() if value is not None}
    made = rest.request(
        "POST",
        "/v1/firmware-campaigns",
        {
            "name": name,
            "firmware_id": firmware_id,
            "stations": chosen or None,
            "plan": {key: value for key, value in plan.items() if value is not None},
            "paused": paused,
        },
    )
    if as_json:
        print_json(made)
    elif not watch:
        out.print(f"Campaign {made['id']}: {made['total']} stations in {made['waves']} wave(s), {made['state']}")
    if watch:
        _watch(rest, str(made["id"]))


def _wave(text: str) -> dict[str, int]:
    number = text.removesuffix("%")
    if not number.isdecimal():
        raise click.BadParameter(f"'{text}' is neither a number nor a percentage.", param_hint="--wave")
    return {"percent" if text.endswith("%") else "count": int(number)}


@campaign.command("show")
@click.argument("ident", metavar="ID")
@click.option("--state", help="Only stations in this state: waiting, updating, failed, ...")
@server_options
@json_option
def campaign_show(ident: str, state: str | None, rest: RestClient, as_json: bool) -> None:
    """A campaign's stations, and what became of each."""
    rows = list(rest.pages(f"/v1/firmware-campaigns/{segment(ident)}/stations", state=state))
    if as_json:
        print_json({**rest.get(f"/v1/firmware-campaigns/{segment(ident)}"), "stations": rows})
        return
    print_table(
        ["STATION", "WAVE", "STATE", "STATUS", "FROM", "TO", "ATTEMPTS", "REASON"],
        [
            (
                one["station_id"],
                one["wave"],
                one["state"],
                one["status"],
                one["from_version"],
                one["to_version"],
                one["attempts"],
                one["reason"],
            )
            for one in rows
        ],
        empty="The campaign has no such stations.",
        right=["WAVE", "ATTEMPTS"],
    )


@campaign.command("watch")
@click.argument("ident", metavar="ID")
@server_options
def campaign_watch(ident: str, rest: RestClient) -> None:
    """Watch a campaign until it is over, or has stopped."""
    _watch(rest, ident)


def _watch(rest: RestClient, ident: str) -> None:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=err)
    bars = {word: progress.add_task(word, total=None) for word in ("over", "going", "succeeded", "failed")}
    view: dict[str, Any] = {}
    with Live(progress, console=err, refresh_per_second=4, transient=not err.is_terminal):
        while True:
            view = rest.get(f"/v1/firmware-campaigns/{segment(ident)}")
            counts = view["progress"]
            progress.update(bars["over"], total=view["total"], completed=sum(counts.get(one, 0) for one in _OVER))
            progress.update(bars["going"], total=view["total"], completed=sum(counts.get(one, 0) for one in _GOING))
            for word in ("succeeded", "failed"):
                progress.update(bars[word], total=view["total"], completed=counts.get(word, 0))
            if view["finished_at"] is not None or view["state"] in ("stopped", "paused"):
                break
            time.sleep(_LOOK_S)
    told = ", ".join(f"{count} {word}" for word, count in sorted(view["progress"].items()))
    out.print(f"Campaign {view['id']} is {view['state']}: {told}{'. ' + view['reason'] if view['reason'] else ''}")
    if view["state"] == "stopped" or view["progress"].get("failed"):
        sys.exit(1)


@campaign.command("pause")
@click.argument("ident", metavar="ID")
@server_options
def campaign_pause(ident: str, rest: RestClient) -> None:
    """Ask no more stations; those that are at it finish."""
    rest.request("POST", f"/v1/firmware-campaigns/{segment(ident)}/pause")


@campaign.command("resume")
@click.argument("ident", metavar="ID")
@click.option("--retry-failed", is_flag=True, help="With those that failed, too.")
@server_options
def campaign_resume(ident: str, retry_failed: bool, rest: RestClient) -> None:
    """Go on with a campaign that is paused or has stopped."""
    rest.request("POST", f"/v1/firmware-campaigns/{segment(ident)}/resume", {"retry_failed": retry_failed})


@campaign.command("cancel")
@click.argument("ident", metavar="ID")
@server_options
def campaign_cancel(ident: str, rest: RestClient) -> None:
    """End a campaign; stations that are at it finish."""
    rest.request("POST", f"/v1/firmware-campaigns/{segment(ident)}/cancel")


@click.command("log")
@click.argument("station_id")
@click.option("--kind", type=click.Choice(["diagnostics", "security", "data_collector"]), default="diagnostics")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where it is written; else its own name.")
@click.option("--wait", "wait_s", type=float, default=300.0, show_default=True, help="Seconds to wait for the file.")
@server_options
def log(station_id: str, kind: str, target: Path | None, wait_s: float, rest: RestClient) -> None:
    """Fetch a station's log: it is asked to upload it, and what comes is written to a file."""
    path = f"/v1/charging-stations/{segment(station_id)}/logs?wait_s=30"
    upload = rest.request("POST", path, {"kind": kind})
    ends = time.monotonic() + wait_s
    with err.status(f"Waiting for the log of {station_id}"):
        while upload["state"] in ("open", "receiving") and time.monotonic() < ends:
            time.sleep(_LOOK_S)
            upload = rest.get(f"/v1/uploads/{upload['id']}")
    if upload["state"] != "received":
        raise RuleError(f"No log came: the upload is {upload['state']}. {upload['last_error'] or ''}".strip())
    # the station names the file: only its last part is taken, and never a hidden one
    name = Path(upload["name"] or "").name.lstrip(".") or f"{upload['id']}.log"
    written = target or Path(name)
    rest.download(f"/v1/uploads/{upload['id']}/file", written)
    out.print(f"{written}: {upload['size_bytes']} bytes")
