"""`chargeplane certificates | security-events`, and what `chargeplane station` has of security."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from chargeplane.kernel.errors import RuleError
from chargeplane.main.cli.administration import station
from chargeplane.main.cli.terminal import json_option, out, print_json, print_table, server_options
from chargeplane.main.rest import RestClient, segment

_ENDED = ("done", "refused", "rolled_back", "expired", "cancelled", "superseded")


def _when(text: str | None) -> str | None:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if text else None


def _follow(rest: RestClient, noun: str, change: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """The change when it has ended, or after so long; what is done is printed as it comes."""
    shown = 0
    until = time.monotonic() + wait_s
    while True:
        for step in change["steps"][shown:]:
            out.print(f"{_when(step['at'])}  {step['what']}", soft_wrap=True)
        shown = len(change["steps"])
        if change["state"] in _ENDED or time.monotonic() >= until:
            return change
        time.sleep(0.25)
        change = rest.get(f"/v1/{noun}/{change['id']}")


def _tell(change: dict[str, Any], what: str) -> None:
    if change["state"] == "done":
        out.print(f"Station '{change['station_id']}' came in by the new {what}.", soft_wrap=True)
        return
    if change["state"] not in _ENDED:
        out.print(f"It is {change['state']} and goes on; both ways are open to the station.", soft_wrap=True)
        return
    raise RuleError(f"The {what} was not changed ({change['state']}): {change['reason']}")


@station.command("rotate-password")
@click.argument("station_id")
@click.option("--password", help="16 to 40 characters; a random one that is shown to nobody unless given.")
@click.option("--wait", "wait_s", type=float, default=60.0, show_default=True, help="Seconds to follow it.")
@server_options
@json_option
def rotate_password(station_id: str, password: str | None, wait_s: float, rest: RestClient, as_json: bool) -> None:
    """Give a connected station another password, so that it cannot be locked out."""
    body = {} if password is None else {"password": password}
    change = rest.request("POST", f"/v1/charging-stations/{segment(station_id)}/password-rotations", body)
    if as_json:
        print_json(change)
        return
    _tell(_follow(rest, "password-rotations", change, wait_s), "password")


@station.command("profile")
@click.argument("station_id")
@click.argument("profile", type=click.IntRange(0, 3))
@click.option("--address", help="Where the station reaches this server by it: wss://HOST:PORT/ocpp (OCPP 2.x).")
@click.option("--root", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM that it is to trust.")
@click.option("--password", help="Where the profile has one and the station none yet.")
@click.option("--slot", type=int, help="Of the new connection profile (OCPP 2.x).")
@click.option("--force", is_flag=True, help="To a less secure one, which somebody sets at the station.")
@click.option("--wait", "wait_s", type=float, default=120.0, show_default=True, help="Seconds to follow it.")
@server_options
@json_option
def change_profile(
    station_id: str,
    profile: int,
    address: str | None,
    root: Path | None,
    password: str | None,
    slot: int | None,
    force: bool,
    wait_s: float,
    rest: RestClient,
    as_json: bool,
) -> None:
    """Bring a station to another security profile (1: password, 2: TLS with password, 3: TLS with certificates)."""
    body: dict[str, Any] = {"security_profile": profile, "force": force}
    given = {"url": address, "password": password, "slot": slot, "root": None if root is None else root.read_text()}
    body |= {name: value for name, value in given.items() if value is not None}
    change = rest.request("POST", f"/v1/charging-stations/{segment(station_id)}/security-profile-changes", body)
    if as_json:
        print_json(change)
        return
    _tell(_follow(rest, "security-profile-changes", change, 0.0 if force else wait_s), "security profile")


# -------------------------------------------------------------------- certificates


@click.group()
def certificates() -> None:
    """Certificates of stations and on stations, and the authority of the house."""


@certificates.command("list")
@click.option("--station", "station_id", help="Of this station only.")
@click.option("--state", type=click.Choice(["requested", "refused", "failed", "issued", "revoked"]))
@server_options
@json_option
def certificates_list(station_id: str | None, state: str | None, rest: RestClient, as_json: bool) -> None:
    """Certificates that stations asked for."""
    rows = list(rest.pages("/v1/certificates", station_id=station_id, state=state))
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ID", "STATION", "STATE", "DELIVERY", "SERIAL NUMBER", "UNTIL", "REASON"],
        [
            (
                row["id"],
                row["station_id"],
                row["state"],
                row["delivery"],
                row["serial_number"],
                _when(row["not_after"]),
                row["reason"] or row["delivery_reason"],
            )
            for row in rows
        ],
        empty="No station has asked for a certificate.",
        right=("ID",),
    )


@certificates.command("revoke")
@click.argument("certificate_id")
@click.option("--reason", required=True, help="For the record.")
@server_options
def certificates_revoke(certificate_id: str, reason: str, rest: RestClient) -> None:
    """Take a certificate back: its station gets in with it no more."""
    rest.request("POST", f"/v1/certificates/{segment(certificate_id)}/revoke", {"reason": reason})
    out.print(f"Certificate {certificate_id} is revoked.")


@certificates.command("installed")
@click.argument("station_id")
@click.option("--refresh", is_flag=True, help="Ask the station now.")
@server_options
@json_option
def certificates_installed(station_id: str, refresh: bool, rest: RestClient, as_json: bool) -> None:
    """The certificates that a station says it has."""
    found = rest.get(
        f"/v1/charging-stations/{segment(station_id)}/installed-certificates", refresh=str(refresh).lower()
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["USE", "SERIAL NUMBER", "SUBJECT", "UNTIL", "IN USE"],
        [
            (
                row["use"],
                row["serial_number"],
                row["subject"],
                _when(row["not_after"]),
                "yes" if row["in_use"] else None,
            )
            for row in found["items"]
        ],
        empty="The station has told of none." if found["listed_at"] else "The station was never asked; use --refresh.",
    )


@certificates.command("install")
@click.argument("station_id")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--use", default="CSMSRootCertificate", show_default=True, help="As OCPP 2.1 names it.")
@server_options
def certificates_install(station_id: str, file: Path | None, use: str, rest: RestClient) -> None:
    """Have a station trust a root: the PEM of FILE, or the root of the house."""
    body: dict[str, Any] = {"use": use}
    if file is not None:
        body["certificate"] = file.read_text()
    _outcome(
        rest.request("POST", f"/v1/charging-stations/{segment(station_id)}/installed-certificates?wait_s=20", body)
    )


@certificates.command("delete")
@click.argument("station_id")
@click.argument("serial_number")
@click.option("--force", is_flag=True, help="Also the root by which it trusts this server, or the last one.")
@server_options
def certificates_delete(station_id: str, serial_number: str, force: bool, rest: RestClient) -> None:
    """Have a station delete a certificate that it listed."""
    path = f"/v1/charging-stations/{segment(station_id)}/installed-certificates/{segment(serial_number)}"
    _outcome(rest.request("DELETE", f"{path}?wait_s=20&force={str(force).lower()}"))


def _outcome(command: dict[str, Any]) -> None:
    if command["state"] == "accepted":
        out.print("Done.")
    elif command["state"] in ("pending", "sent"):
        out.print(f"It waits for the station: command {command['id']}.")
    else:
        raise RuleError(command["reason"] or f"It is {command['state']}.")


@certificates.command("authority")
@server_options
@json_option
def certificates_authority(rest: RestClient, as_json: bool) -> None:
    """The authority of the house, generation by generation."""
    found = rest.get("/v1/certificate-authority")
    if as_json:
        print_json(found)
        return
    print_table(
        ["GENERATION", "STATE", "MADE", "ROOT ON STATIONS", "REFUSED", "WAITING"],
        [
            (row["number"], row["state"], _when(row["made_at"]), row["installed"], row["refused"], row["waiting"])
            for row in found["generations"]
        ],
        empty="There is none.",
    )


@certificates.command("rotate-authority")
@server_options
def certificates_rotate(rest: RestClient) -> None:
    """Make the next generation of the authority; its root goes to the stations."""
    rest.request("POST", "/v1/certificate-authority/rotations", {})
    out.print(
        "The next root is on its way to the stations: look at `chargeplane certificates authority`.", soft_wrap=True
    )


@certificates.command("activate-authority")
@click.option("--force", is_flag=True, help="Also where stations have not got the root.")
@server_options
def certificates_activate(force: bool, rest: RestClient) -> None:
    """Make the next generation the current one."""
    rest.request("POST", "/v1/certificate-authority/activate", {"force": force})
    out.print("The server shows a certificate of the new generation.")


# -------------------------------------------------------------------- security events


@click.command("security-events")
@click.option("--station", "station_id", help="Of this station only.")
@click.option("--type", "kind", help="As TamperDetectionActivated.")
@click.option("--severity", type=click.Choice(["info", "notice", "critical"]))
@click.option("-n", "--lines", type=click.IntRange(1, 200), default=50, show_default=True)
@server_options
@json_option
def security_events(
    station_id: str | None, kind: str | None, severity: str | None, lines: int, rest: RestClient, as_json: bool
) -> None:
    """What stations reported and what the doors saw, newest first."""
    page = rest.get("/v1/security-events", station_id=station_id, type=kind, severity=severity, limit=lines)
    if as_json:
        print_json(page["items"])
        return
    print_table(
        ["TIME", "STATION", "BY", "EVENT", "SEVERITY", "HITS", "TELLS"],
        [
            (
                _when(row["last_at"]),
                row["station_id"],
                row["source"],
                row["type"],
                row["severity"],
                row["hits"],
                row["info"] or (row["details"] or {}).get("reason"),
            )
            for row in page["items"]
        ],
        empty="Nothing happened.",
        right=("HITS",),
    )
