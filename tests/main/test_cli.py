"""The command line against a running server, as a person or a script would use it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargeplane.main.config import Config
from chargeplane.main.rest import RestClient
from chargeplane.main.wiring import Server

KEY = "test-key-0123456789"
ROOT = Path(__file__).parents[2]


class Running:
    """A server in a thread of its own, and its addresses."""

    def __init__(self, http: str, ocpp: str) -> None:
        self.http = http
        self.ocpp = ocpp


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    config = Config(
        bind="127.0.0.1", http_port=0, ocpp_port=0, data_dir=str(tmp_path), database_url=database_url, admin_key=KEY
    )
    running = Server(config)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(running.start(), loop).result(30)
    assert running.http is not None
    assert running.ocpp is not None
    try:
        yield Running(f"http://127.0.0.1:{running.http.port}", f"ws://127.0.0.1:{running.ocpp.ports[0]}/ocpp")
    finally:
        asyncio.run_coroutine_threadsafe(running.stop(), loop).result(30)
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(5)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), loop).result(5)  # closed transports take a turn to go
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CHARGEPLANE_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from chargeplane.main.cli import main; main()", *arguments]


def run(*arguments: str, server: Running | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    if server is not None:
        more = {"CHARGEPLANE_URL": server.http, "CHARGEPLANE_API_KEY": KEY, **more}
    return subprocess.run(
        command(*arguments), env=environment(**more), capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("serve", "demo", "simulate", "db", "tenant", "apikey", "idtoken", "station"):
        assert f"\n  {name} " in done.stdout


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("simulate", "--stations", "none").returncode == 2
    assert run("nonsense").returncode == 2


def test_server_that_is_away_is_one_sentence_and_exit_code_3() -> None:
    done = run("station", "list", "--url", "http://127.0.0.1:1", CHARGEPLANE_API_KEY=KEY)
    assert done.returncode == 3
    assert done.stdout == ""
    assert re.fullmatch(
        r"Error: The server at http://127\.0\.0\.1:1 does not answer .*chargeplane serve.*\n", done.stderr
    )


def test_missing_and_wrong_keys_say_what_to_do(server: Running) -> None:
    done = run("station", "list", "--url", server.http)
    assert done.returncode == 1
    assert "--api-key" in done.stderr
    done = run("station", "list", server=server, CHARGEPLANE_API_KEY="wrong-key-0123456789")
    assert done.returncode == 1
    assert "does not take this API key" in done.stderr
    assert "Traceback" not in done.stderr


def test_station_is_added_listed_called_and_removed(server: Running) -> None:
    done = run("station", "add", "CP/1", "--name", "At the gate", server=server)
    assert done.returncode == 0, done.stderr
    password = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"\w{20}", password)
    done = run("station", "add", "CP/1", server=server)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    (row,) = json.loads(run("station", "list", "--json", server=server).stdout)
    assert (row["station_id"], row["name"], row["connected"]) == ("CP/1", "At the gate", False)
    lines = run("station", "list", server=server).stdout.splitlines()
    assert lines[0].startswith("STATION\t")
    assert lines[1].startswith("CP/1\tAt the gate\toffline")
    assert json.loads(run("station", "show", "CP/1", server=server).stdout)["station_id"] == "CP/1"
    done = run("station", "call", "CP/1", "Reset", '{"type": "Soft"}', server=server)
    assert done.returncode == 1
    assert run("station", "password", "CP/1", server=server).stdout.splitlines()[-1] != password
    assert run("station", "remove", "CP/1", "--yes", server=server).returncode == 0
    assert run("station", "show", "CP/1", server=server).returncode == 1


def test_keys_tokens_and_tenants(server: Running) -> None:
    done = run("apikey", "add", "reader", "--scope", "stations:read", server=server)
    key = done.stdout.splitlines()[-1]
    assert run("station", "list", server=server, CHARGEPLANE_API_KEY=key).returncode == 0
    done = run("station", "add", "CP-2", server=server, CHARGEPLANE_API_KEY=key)
    assert done.returncode == 1
    found = json.loads(run("apikey", "list", "--json", server=server).stdout)
    ident = next(row["id"] for row in found if row["name"] == "reader")
    assert run("apikey", "revoke", ident, server=server).returncode == 0
    assert run("station", "list", server=server, CHARGEPLANE_API_KEY=key).returncode == 1

    assert run("idtoken", "add", "04AABBCC", "--note", "Ada", server=server).returncode == 0
    (token,) = json.loads(run("idtoken", "list", "--json", server=server).stdout)
    assert (token["id_token"], token["note"]) == ("04AABBCC", "Ada")
    assert run("idtoken", "remove", "04aabbcc", server=server).returncode == 0
    assert run("idtoken", "remove", "04aabbcc", server=server).returncode == 1

    assert run("tenant", "add", "north", "--name", "North Grid", server=server).returncode == 0
    assert "north\tNorth Grid" in run("tenant", "list", server=server).stdout


def test_lost_keys_are_recovered_from_the_database(server: Running, database_url: str, tmp_path: Path) -> None:
    done = run("apikey", "recover", CHARGEPLANE_DATABASE_URL=database_url, CHARGEPLANE_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    key = done.stdout.splitlines()[-1]
    assert run("station", "list", server=server, CHARGEPLANE_API_KEY=key).returncode == 0


def test_simulate_registers_connects_and_charges(server: Running) -> None:
    done = run(
        *("simulate", "-n", "9", "--url", server.ocpp, "--register-with", server.http, "--rate", "100"),
        *("--speed", "3600", "--busy", "1", "--meter-interval", "300", "--duration", "6"),
        server=server,
    )
    assert done.returncode == 0, done.stderr
    assert "connected=9/9 booted=9" in done.stdout
    assert re.search(r"9 connections, [1-9]\d* sessions, .* 0 refused, 0 unanswered", done.stdout), done.stdout
    rows = json.loads(run("station", "list", "--json", server=server).stdout)
    assert {row["ocpp_version"] for row in rows} == {"1.6", "2.0.1", "2.1"}
    with RestClient(server.http, KEY) as rest:
        transactions = list(rest.pages("/v1/transactions"))
    assert transactions
    assert {row["state"] for row in transactions} == {"closed"}


def test_simulate_opens_more_sockets_than_the_soft_limit_of_files(server: Running) -> None:
    arguments = command(
        *(
            "simulate",
            "-n",
            "120",
            "--url",
            server.ocpp,
            "--register-with",
            server.http,
            "--rate",
            "200",
            "--busy",
            "0",
        ),
        *("--duration", "3"),
    )
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -Sn 100; exec "$@"', "sh", *arguments],
        env=environment(CHARGEPLANE_URL=server.http, CHARGEPLANE_API_KEY=KEY),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "connected=120/120" in done.stdout, done.stderr


def test_simulate_against_nobody_says_so() -> None:
    done = run("simulate", "-n", "2", "--url", "ws://127.0.0.1:1/ocpp", "--duration", "0.5")
    assert done.returncode == 3
    assert "No station could connect to ws://127.0.0.1:1/ocpp" in done.stderr
    assert "Traceback" not in done.stderr


def test_simulate_knows_its_faults() -> None:
    assert "lost_stop" in run("simulate", "--list-faults").stdout.split()
    done = run("simulate", "--fault", "no_such_fault")
    assert done.returncode == 1
    assert "--list-faults" in done.stderr


SCENARIO = """
name = "Two of them"
speed = 3600.0

[[group]]
name = "good"
versions = ["1.6", "2.1"]
stations = 2
evses = ["ac11"]
step = [
    { do = "connect" },
    { do = "boot" },
    { do = "plug" },
    { do = "present", token = "GUEST" },
    { do = "deliver", wh = 1500 },
    { do = "present", token = "GUEST" },
    { do = "unplug" },
    { do = "expect_energy", wh = 1500, within_s = 20 },
]
"""


def test_simulate_plays_a_scenario_and_says_how_it_went(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    door = ("--url", server.ocpp, "--register-with", server.http)
    file.write_text(SCENARIO)
    done = run("simulate", "--scenario", str(file), *door, server=server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "good" in done.stdout
    with RestClient(server.http, KEY) as rest:
        rows = list(rest.pages("/v1/transactions"))
    assert [(row["energy_wh"], row["state"]) for row in rows] == [(1500, "closed")] * 2
    file.write_text(SCENARIO.replace("wh = 1500, within_s = 20", "wh = 9999, within_s = 0.5"))
    failed = run("simulate", "--scenario", str(file), *door, server=server)
    assert failed.returncode == 1
    assert "9999" in failed.stdout + failed.stderr
    file.write_text(SCENARIO.replace('do = "plug"', 'do = "plugg"'))
    wrong = run("simulate", "--scenario", str(file), *door, server=server)
    assert wrong.returncode == 1
    assert "plugg" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    nobody = run("simulate", "--scenario", "no-such-scenario", *door, server=server)
    assert nobody.returncode == 1
    assert "depot_night" in nobody.stderr


def test_database_status_backup_and_restore(
    server: Running, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    assert run("station", "add", "CP-1", server=server).returncode == 0
    base = {"CHARGEPLANE_DATA_DIR": str(tmp_path), "CHARGEPLANE_DATABASE_URL": database_url}
    status = json.loads(run("db", "status", "--json", **base).stdout)
    assert status["migrations"]["current"] == status["migrations"]["head"]
    assert "up to date" in run("db", "status", **base).stdout
    file = tmp_path / "a.backup"
    done = run("db", "backup", str(file), **base)
    assert done.returncode == 0, done.stderr
    assert run("db", "backup", str(file), **base).returncode == 1
    other = {**base, "CHARGEPLANE_DATABASE_URL": empty_database_url}
    done = run("db", "restore", str(file), **other)
    assert done.returncode == 0, done.stderr
    assert "Restored 1 stations" in done.stdout
    assert "the newest" in run("db", "upgrade", **other).stdout
    assert run("db", "restore", str(file), **other).returncode == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_says_when_it_is_ready_and_stops_on_sigterm(database_url: str, tmp_path: Path, workers: str) -> None:
    process = subprocess.Popen(
        command("serve", "--workers", workers),
        env=environment(
            CHARGEPLANE_DATABASE_URL=database_url,
            CHARGEPLANE_DATA_DIR=str(tmp_path),
            CHARGEPLANE_BIND="127.0.0.1",
            CHARGEPLANE_HTTP_PORT="0",
            CHARGEPLANE_OCPP_PORT="0",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert re.match(r"First API key \(shown only now\): \S{16,}", process.stdout.readline())
        ready = process.stdout.readline()
        assert re.match(r"Chargeplane is ready: OCPP at ws://127\.0\.0\.1:\d+/ocpp/STATION_ID, REST at http://", ready)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_serve_with_a_wrong_configuration_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("http_prot = 1\n")
    done = run("serve", "--config", str(file))
    assert done.returncode == 1
    assert "perhaps http_port is meant" in done.stderr
    assert "Traceback" not in done.stderr


def test_bench_hands_its_arguments_to_the_checkout_s_benchmarks() -> None:
    told = run("bench", "-h")
    assert told.returncode == 0, told.stderr
    assert "--prefill" in told.stdout


def test_database_that_refuses_is_one_sentence(database_url: str, tmp_path: Path) -> None:
    before, _, query = database_url.partition("?")
    wrong = f"{before.rpartition('/')[0]}/no_such_database?{query}"
    done = run(
        "serve",
        CHARGEPLANE_DATABASE_URL=wrong,
        CHARGEPLANE_DATA_DIR=str(tmp_path),
        CHARGEPLANE_HTTP_PORT="0",
        CHARGEPLANE_OCPP_PORT="0",
    )
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        r'Error: The database \S+ cannot be reached: database "no_such_database" does not exist\.', last
    ), done.stderr
