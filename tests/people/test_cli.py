"""`chargeplane user` and `driver` against the running server."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

from click.testing import CliRunner, Result

from chargeplane.main.cli.root import cli
from tests.support.rest import ADMIN_KEY, Rest


async def run(rest: Rest, *arguments: str, typed: str | None = None) -> Result:
    """The command's result; it runs beside the server's loop."""
    given = [*arguments, "--url", rest.base_url, "--api-key", ADMIN_KEY]
    result = await asyncio.to_thread(CliRunner().invoke, cli, given, typed)
    assert result.exit_code == 0, result.output
    return result


async def test_users_on_the_command_line(rest: Rest) -> None:
    mail = f"cli-{secrets.token_hex(4)}@example.org"
    password = "correct horse battery"
    made = await run(rest, "user", "create", mail, "--role", "operator", typed=f"{password}\n{password}\n")
    assert "is operator" in made.output
    listed = json.loads((await run(rest, "user", "list", "--json")).output)
    ident = next(row["id"] for row in listed if row["email"] == mail)
    await run(rest, "user", "role", ident, "support")
    assert (await rest.client.get(f"/v1/users/{ident}")).json()["role"] == "support"
    await run(rest, "user", "remove", ident)
    assert (await rest.client.get(f"/v1/users/{ident}")).status_code == 404


async def test_drivers_on_the_command_line(rest: Rest, tmp_path: Path) -> None:
    tag = f"CLI{secrets.token_hex(4)}"
    made = await run(rest, "driver", "create", "--first-name", "Cli", "--id-token", tag, "--json")
    ident = json.loads(made.output)["id"]
    assert tag in (await run(rest, "driver", "show", ident)).output
    await run(rest, "driver", "block", ident, "--reason", "unpaid")
    assert (await rest.client.get(f"/v1/drivers/{ident}")).json()["status"] == "blocked"
    await run(rest, "driver", "unblock", ident)
    file = tmp_path / "data.json"
    await run(rest, "driver", "export", ident, str(file))
    assert json.loads(file.read_text())["driver"]["first_name"] == "Cli"
    await run(rest, "driver", "erase", ident, "--yes")
    assert (await rest.client.get(f"/v1/drivers/{ident}")).json()["status"] == "erased"


async def test_sign_on_providers_on_the_command_line(rest: Rest) -> None:
    slug = f"cli-{secrets.token_hex(4)}"
    given = ("sign-on", "add", slug, "https://id.example.org", "--client-id", "us", "--title", "House", "--json")
    # The secret is asked for, and never shown.
    said = (await run(rest, *given, "--create-users", "--default-role", "support", typed="a client secret\n")).output
    made = json.loads(said[said.index("{") :])
    assert (made["has_client_secret"], made["create_users"], made["enabled"]) == (True, True, True)
    assert "a client secret" not in said
    assert slug in (await run(rest, "sign-on", "list")).output
    assert "is disabled" in (await run(rest, "sign-on", "disable", made["id"])).output
    (row,) = [one for one in json.loads((await run(rest, "sign-on", "list", "--json")).output) if one["slug"] == slug]
    assert row["enabled"] is False
    assert "is enabled" in (await run(rest, "sign-on", "enable", made["id"])).output
    public = ("sign-on", "add", f"{slug}-p", "https://id.example.org", "--client-id", "us", "--public", "--json")
    other = json.loads((await run(rest, *public)).output)
    assert other["has_client_secret"] is False
    for ident in (made["id"], other["id"]):
        await run(rest, "sign-on", "remove", ident)
        assert (await rest.client.get(f"/v1/sign-on-providers/{ident}")).status_code == 404
