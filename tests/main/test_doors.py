"""A door that cannot be opened is said in one sentence, before anything is started."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest

from chargeplane.kernel.errors import RuleError
from chargeplane.main.config import Config, Role, TlsConfig
from chargeplane.main.doors import check_doors


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        yield other.getsockname()[1]


def test_taken_port_is_named_with_its_setting(taken: int) -> None:
    with pytest.raises(RuleError, match=rf"127\.0\.0\.1:{taken}: port {taken} is taken .* CHARGEPLANE_HTTP_PORT\."):
        check_doors(Config(bind="127.0.0.1", http_port=taken, ocpp_port=0))
    with pytest.raises(RuleError, match=r"for stations .* CHARGEPLANE_OCPP_PORT\."):
        check_doors(Config(bind="127.0.0.1", http_port=0, ocpp_port=taken))
    secured = Config(bind="127.0.0.1", http_port=0, ocpp_port=0, ocpps_port=taken)
    check_doors(secured)  # opened only where there is a certificate
    secured = msgspec.structs.replace(secured, tls=TlsConfig(certificate_file="chain.pem", key_file="key.pem"))
    with pytest.raises(RuleError, match=r"for stations over TLS .* CHARGEPLANE_OCPPS_PORT\."):
        check_doors(secured)


def test_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(RuleError, match=r"203\.0\.113\.9:0: cannot assign requested address; .* CHARGEPLANE_BIND\."):
        check_doors(Config(bind="203.0.113.9", http_port=0, ocpp_port=0))


def test_doors_that_the_role_leaves_out_are_not_tried(taken: int) -> None:
    check_doors(Config(bind="127.0.0.1", http_port=taken, ocpp_port=0, role=Role.STATIONS))
    check_doors(Config(bind="127.0.0.1", http_port=taken, ocpp_port=taken, role=Role.JOBS))
    check_doors(Config(bind="127.0.0.1", http_port=0, ocpp_port=0))
