"""The configuration: where values come from, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargeplane.edges.ocpp_server import OcppServerConfig
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main import config
from chargeplane.main.config import Config, LogLevel, OcppConfig, Role, load_config


def write(folder: Path, text: str) -> Path:
    file = folder / "chargeplane.toml"
    file.write_text(text)
    return file


def test_everything_has_a_default() -> None:
    loaded = load_config(environ={})
    assert loaded == Config()
    assert (loaded.http_port, loaded.ocpp_port, loaded.ocpps_port) == (8080, 9000, 9443)
    assert loaded.data_path.is_absolute()


def test_the_file_overrides_defaults_and_the_variable_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path, 'http_port = 1\nocpp_port = 2\nrole = "api"\n[ocpp]\nping_interval_s = 3\ncompression = true\n'
    )
    loaded = load_config(
        file,
        {
            "CHARGEPLANE_OCPP_PORT": "22",
            "CHARGEPLANE_OCPP_PING_INTERVAL_S": "3.5",
            "CHARGEPLANE_OCPP_COMPRESSION": "false",
            "CHARGEPLANE_LOG_LEVEL": "debug",
        },
    )
    assert (loaded.http_port, loaded.ocpp_port, loaded.role) == (1, 22, Role.API)
    assert (loaded.ocpp.ping_interval_s, loaded.ocpp.compression) == (3.5, False)
    assert loaded.log.level is LogLevel.DEBUG


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert load_config(environ={"CHARGEPLANE_DATABASE_URL": ""}).database_url is None


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    file = write(tmp_path, "workers = 2")
    assert load_config(environ={"CHARGEPLANE_CONFIG": str(file)}).workers == 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http_port = 70000", ["chargeplane.toml", "http_port", "70000", "up to 65535"]),
        ('http_port = "80"', ["chargeplane.toml", "http_port", "'80'", "a whole number"]),
        ("[ocpp]\nping_timeout_s = 0", ["ocpp.ping_timeout_s", "0", "above 0"]),
        ('role = "web"', ["role", "'web'", "`stations`"]),
        ('database_url = "mysql://user:pw@host/db"', ["database_url", "postgresql://"]),
        ("[ocpp]\nheartbeat_s = 5", ["no key ocpp.heartbeat_s", "ocpp.heartbeat_interval_s"]),
        ("ocpp = 5", ["ocpp must be a table"]),
        ("http_port = ", ["chargeplane.toml", "not valid TOML"]),
    ],
)
def test_an_error_names_the_file_the_key_and_what_is_allowed(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_config(write(tmp_path, text), {})
    for part in parts:
        assert part in str(caught.value)


def test_an_error_in_a_variable_names_the_variable() -> None:
    with pytest.raises(InvalidInputError, match=r"^CHARGEPLANE_HTTP_PORT is 'http', but must be a whole number"):
        load_config(environ={"CHARGEPLANE_HTTP_PORT": "http"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"none\.toml: cannot be read \(No such file"):
        load_config(tmp_path / "none.toml", {})


@pytest.mark.parametrize("key", ["short", "sixteen characters", "0123456789abcde/"])
def test_an_admin_key_is_16_url_safe_characters_and_never_shown(key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_config(environ={"CHARGEPLANE_ADMIN_KEY": key})
    assert "16 or more URL-safe characters" in str(caught.value)
    assert key not in str(caught.value)


def test_secrets_do_not_show_in_a_repr() -> None:
    shown = repr(Config(admin_key="0123456789abcdef", database_url="postgresql://u:pw@h/d"))
    assert "0123456789abcdef" not in shown
    assert "pw" not in shown
    assert "http_port=8080" in shown


def test_no_two_keys_share_a_variable() -> None:
    variables = [key.variable for key in config.known_keys()]
    assert len(set(variables)) == len(variables)


def test_every_key_is_described() -> None:
    assert [key.path for key in config.known_keys() if not key.description.endswith(".")] == []


def test_misspelt_variables_are_found() -> None:
    environ = {"CHARGEPLANE_HTTPPORT": "1", "CHARGEPLANE_HTTP_PORT": "1", "CHARGEPLANE_CONFIG": "", "HOME": "/"}
    environ["CHARGEPLANE_API_KEY"] = "for the commands, not the server"
    assert config.unknown_variables(environ) == ["CHARGEPLANE_HTTPPORT"]


def test_the_defaults_of_the_ocpp_door_are_those_of_its_own_struct() -> None:
    ours, door = OcppConfig(), OcppServerConfig()
    same = set(ours.__struct_fields__) & set(door.__struct_fields__)
    assert "ping_interval_s" in same
    assert {name: getattr(ours, name) for name in same} == {name: getattr(door, name) for name in same}
