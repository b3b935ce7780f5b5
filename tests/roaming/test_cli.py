"""`chargeplane ocpi` as somebody uses it who connects two installations: five commands; what is wrong is said with what to do about it."""

from __future__ import annotations

import asyncio
import json
import re

from click.testing import CliRunner

from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.main.cli.root import cli
from chargeplane.main.cli.terminal import EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_USAGE, exit_code_of
from tests.support.charging_house import ChargingHouse, Tenant

LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[")
"""Lines that the servers in this process log."""


async def ocpi(tenant: Tenant | None, *arguments: str, code: int = 0) -> str:
    """What a command prints, beside the servers' loop; the error in place of it, where there is one."""
    given = ["ocpi", *arguments]
    if tenant is not None:
        key = tenant.client.headers["Authorization"].removeprefix("Bearer ")
        given += ["--url", tenant.house.base.removesuffix("/v1"), "--api-key", key]
    result = await asyncio.to_thread(CliRunner().invoke, cli, given)
    error = result.exception
    # The command line's main turns these into a sentence and an exit code.
    found = exit_code_of(error) if isinstance(error, ChargeplaneError) else result.exit_code
    text = str(error) if isinstance(error, ChargeplaneError) else result.output
    assert found == code, (arguments, result.output, error)
    return "".join(line for line in text.splitlines(keepends=True) if LOGGED.match(line) is None)


async def test_two_installations_are_connected_in_five_commands(houses: tuple[ChargingHouse, ChargingHouse]) -> None:
    operator, provider = await houses[0].tenant(), await houses[1].tenant()
    # 1 and 2: who we are, on either side.
    assert (await ocpi(operator, "party", "nl", "cl1", "One Ltd")) == "NL*CL1 is CPO.\n"
    assert (await ocpi(provider, "party", "DE", "CL2", "Two GmbH", "--role", "EMSP")) == "DE*CL2 is EMSP.\n"
    # 3: one side invites.
    invited = (await ocpi(operator, "invite", "Two")).splitlines()
    said = {line.split("  ")[1]: line.split()[-1] for line in invited if line.startswith("  ")}
    # 4: the other registers.
    registered = await ocpi(
        provider, "register", "One", said["versions URL"], "--token", said["token"], "--version", "2.2.1"
    )
    assert "Registered with One as partner" in registered
    assert "in OCPI 2.2.1: NL*CL1 (CPO)." in registered
    # 5: both see each other.
    (theirs,) = json.loads(await ocpi(operator, "list", "--json"))
    assert (theirs["name"], theirs["state"], theirs["parties"][0]["party_id"]) == ("Two", "registered", "CL2")
    (ours,) = json.loads(await ocpi(provider, "list", "--json"))

    shown = await ocpi(operator, "show", theirs["id"])
    assert f"Two (partner {theirs['id']}) is registered, OCPI 2.2.1" in shown
    assert "To be sent: 0 cdrs, 0 locations, 0 sessions, 0 tariffs." in (await ocpi(operator, "push", theirs["id"]))
    pushed = json.loads(await ocpi(operator, "show", theirs["id"], "--json"))
    assert {one["module"] for one in pushed["pushes"]} == {"locations", "tariffs", "sessions", "cdrs"}
    assert "Ended. The same once more" in (await ocpi(provider, "remove", ours["id"]))
    assert "with its log" in (await ocpi(provider, "remove", ours["id"]))
    assert json.loads(await ocpi(operator, "list", "--state", "ended", "--json"))[0]["id"] == theirs["id"]


async def test_what_is_wrong_is_said_with_what_to_do(houses: tuple[ChargingHouse, ChargingHouse]) -> None:
    tenant = await houses[0].tenant()
    for arguments, words in (
        (("party", "NLD", "ABC", "One"), "'NLD' is not two letters"),
        (("party", "NL", "AB", "One"), "'AB' is not three letters or digits"),
        (("party", "NL", "ABC", "One", "--role", "CP0"), "'CP0' is not one of 'CPO'"),
        (("register", "One", "http://127.0.0.1:1/"), "Missing option '--token'"),
        (("register", "One", "http://127.0.0.1:1/", "--token", "x", "--version", "3.0"), "'3.0' is not one of"),
        (("list", "--state", "gone"), "'gone' is not one of"),
    ):
        assert words in (await ocpi(tenant, *arguments, code=EXIT_USAGE))
    assert "An API key is needed" in (await ocpi(None, "list", code=EXIT_REFUSED))
    url = "http://127.0.0.1:1/ocpi/versions"
    nobody = await ocpi(tenant, "register", "One", url, "--token", "x", code=EXIT_REFUSED)
    assert "chargeplane ocpi party" in nobody
    await ocpi(tenant, "party", "NL", "CL3", "Three Ltd")
    for _ in range(2):
        away = await ocpi(tenant, "register", "One", url, "--token", "x", code=EXIT_UNAVAILABLE)
        assert f"{url} cannot be asked" in away
    # Tried twice, and one partner that waits for a third time.
    (waiting,) = json.loads(await ocpi(tenant, "list", "--json"))
    assert (waiting["state"], waiting["versions_url"]) == ("registering", url)
    refused = await ocpi(tenant, "push", waiting["id"], code=EXIT_REFUSED)
    assert "'One' is registering, not registered." in refused
    assert "There is no roaming partner '999'" in (await ocpi(tenant, "show", "999", code=EXIT_REFUSED))
    wrong = f"{tenant.house.base.removesuffix('/v1')}/ocpi/versions"
    unknown = await ocpi(tenant, "register", "Us", wrong, "--token", "nonsense", code=EXIT_UNAVAILABLE)
    assert "401/2000: The credentials token is missing or unknown." in unknown
    checked = await ocpi(None, "check", wrong, "--token", "nonsense", code=EXIT_REFUSED)
    assert "401: the token is unknown there" in " ".join(checked.split())
