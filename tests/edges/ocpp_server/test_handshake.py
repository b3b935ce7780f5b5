from base64 import b64encode

import pytest
from multidict import CIMultiDict

from chargeplane.edges.ocpp_server.handshake import (
    Upgrade,
    basic_password,
    choose_subprotocol,
    network,
    path_segments,
    read_upgrade,
    tokens,
    valid_key,
)


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        (b"/ocpp/CS1", ["CS1"]),
        (b"/ocpp/CS1/", ["CS1"]),
        (b"//ocpp///CS1//", ["CS1"]),
        (b"/OCPP/CS1?x=/1", ["CS1"]),
        (b"/ocpp/acme/CS1", ["acme", "CS1"]),
        (b"/ocpp/CS%2F1", ["CS/1"]),
        (b"/ocpp/a%20b+c%C3%A9", ["a b+cé"]),
        (b"/ocpp/caf\xc3\xa9", ["café"]),
        (b"ws://host:9000/ocpp/CS1", ["CS1"]),
        (b"/ocpp/100%", ["100%"]),
        (b"/ocpp", []),
        (b"/ocpp/", []),
    ],
)
def test_path_gives_decoded_segments(target: bytes, segments: list[str]) -> None:
    assert path_segments(target) == segments


@pytest.mark.parametrize("target", [b"/", b"", b"/other/CS1", b"*", b"/ocppx/CS1"])
def test_path_elsewhere_is_none_of_ours(target: bytes) -> None:
    assert path_segments(target) is None


@pytest.mark.parametrize(
    "target", [b"/ocpp/%00", b"/ocpp/a%0Ab", b"/ocpp/%FF", b"/ocpp/" + b"a" * 256, b"/ocpp/%ED%A0%80"]
)
def test_segment_that_is_no_identity_is_malformed(target: bytes) -> None:
    with pytest.raises(ValueError):
        path_segments(target)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("ocpp1.6", ("1.6", "ocpp1.6")),
        ("ocpp1.6, ocpp2.0.1", ("2.0.1", "ocpp2.0.1")),
        ("ocpp2.0.1,ocpp2.1 ,ocpp1.6", ("2.1", "ocpp2.1")),
        ("OCPP1.6", ("1.6", "OCPP1.6")),
        ("ocpp2.0", None),
        ("", None),
    ],
)
def test_newest_common_subprotocol_is_chosen(offered: str, chosen: tuple[str, str] | None) -> None:
    assert choose_subprotocol(tokens(offered), ("2.1", "2.0.1", "1.6")) == chosen


def basic(raw: bytes) -> str:
    return "Basic " + b64encode(raw).decode()


@pytest.mark.parametrize(
    ("raw", "password"),
    [
        (b"CS1:secret", b"secret"),
        (b"cs1:secret", b"secret"),
        (b"CS1:a:b::c", b"a:b::c"),
        (b"CS1:\x00\xff\xfe:", b"\x00\xff\xfe:"),
        (b"CS1:", b""),
        (b"CS2:secret", None),
        (b":secret", None),
    ],
)
def test_password_is_everything_behind_the_station_id(raw: bytes, password: bytes | None) -> None:
    assert basic_password(basic(raw), ("CS1",)) == password


def test_station_id_with_a_colon_is_still_told_from_its_password() -> None:
    assert basic_password(basic(b"DE:CS:1:pass:word"), ("DE:CS:1",)) == b"pass:word"


def test_scheme_is_compared_without_case_and_padding_may_lack() -> None:
    assert basic_password("bAsIc  " + b64encode(b"CS1:pw").decode().rstrip("="), ("CS1",)) == b"pw"


def test_other_scheme_has_no_password() -> None:
    assert basic_password("Bearer abc", ("CS1",)) is None


@pytest.mark.parametrize("header", ["Basic %%%", "Basic \udcff", "Basic " + b64encode(b"nocolon").decode()])
def test_broken_basic_header_is_malformed(header: str) -> None:
    with pytest.raises(ValueError):
        basic_password(header, ("CS1",))


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        ({"Upgrade": "websocket", "Connection": "Upgrade"}, Upgrade.VALID),
        ({"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade"}, Upgrade.VALID),
        ({"Upgrade": "websocket"}, Upgrade.LOOSE),
        ({"Upgrade": "WEBSOCKET", "Connection": "keep-alive"}, Upgrade.LOOSE),
        ({"Upgrade": "h2c, websocket", "Connection": "UPGRADE"}, Upgrade.VALID),
    ],
)
def test_every_wish_for_a_websocket_is_brought_to_one_form(headers: dict[str, str], wish: Upgrade) -> None:
    given = CIMultiDict(headers)
    assert read_upgrade(given) is wish
    assert given.getall("Upgrade") == ["websocket"]
    assert given.getall("Connection") == ["upgrade"]


@pytest.mark.parametrize(
    "headers", [{}, {"Connection": "Upgrade"}, {"Upgrade": "h2c"}, {"Upgrade": "websocket", "Connection": "close"}]
)
def test_request_without_the_wish_is_plain_http(headers: dict[str, str]) -> None:
    assert read_upgrade(CIMultiDict(headers)) is Upgrade.NONE


def test_key_is_sixteen_bytes() -> None:
    assert valid_key("dGhlIHNhbXBsZSBub25jZQ==")
    for key in ("", "dGhl", "not base64 at all!!!!!!!", "\udcff"):
        assert not valid_key(key)


def test_failures_count_against_an_address_or_a_customers_ipv6_network() -> None:
    assert network("192.0.2.1") == "192.0.2.1"
    assert network("2001:db8:0:1::5") == network("2001:db8:0:1:ffff::9%eth0")
    assert network("2001:db8:0:1::5") != network("2001:db8:0:2::5")
    assert network("") == ""
    assert network("not:an:address") == "not:an:address"
