"""Another authority signs, by EST (RFC 7030): against a real server over TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chargeplane.edges.est import EstAuthority, EstConfig
from chargeplane.kernel.errors import InvalidInputError, RuleError, UnavailableError
from chargeplane.kernel.ids import StationKey
from tests.support.authority import csr_of
from tests.support.est import SECRET, USER, EstServer, est_server


def client(server: EstServer, **more: object) -> EstAuthority:
    own = {"url": server.url, "ca_file": str(server.ca_file), "user": USER, "password": SECRET, "timeout_s": 5.0}
    return EstAuthority(EstConfig(**{**own, **more}))  # type: ignore[arg-type]


async def sign(authority: EstAuthority, csr: str, name: str = "CS") -> list[x509.Certificate]:
    signed = await authority.sign(csr, common_name=name, station_key=StationKey(7))
    chain = x509.load_pem_x509_certificates(signed.chain.encode())
    assert signed.serial_number == f"{chain[0].serial_number:x}"
    assert signed.issuer == chain[0].issuer.public_bytes()
    return chain


@pytest.mark.parametrize("is_rsa", [False, True])
async def test_simpleenroll_signs_the_stations_key_and_the_chain_ends_below_the_root(
    tmp_path: Path, is_rsa: bool
) -> None:
    key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    with est_server(tmp_path) as server:
        certificate, above = await sign(client(server), csr_of("CS", key))
        assert certificate.public_key() == key.public_key()
        assert above == server.issuing
        certificate.verify_directly_issued_by(above)


async def test_label_and_client_certificate_are_used(tmp_path: Path) -> None:
    with est_server(tmp_path, with_certificate=True) as server:
        server.label = "stations/"
        chain, key = server.client_files()
        authority = client(
            server, url=f"{server.url}/stations", user=None, password=None, certificate_file=chain, key_file=key
        )
        assert len(await sign(authority, csr_of("CS"))) == 2
        assert (await authority.trust()).count("BEGIN CERTIFICATE") == 2


async def test_other_paths_under_well_known_and_bearer_tokens_are_used_as_they_are(tmp_path: Path) -> None:
    """Interfaces of Plug & Charge operators have EST's operations under a path of their own."""
    with est_server(tmp_path) as server:
        server.prefix, server.admits = "cpo/", "Bearer a-token"
        authority = client(server, url=f"{server.url}/.well-known/cpo", user=None, password=None, token="a-token")
        assert len(await sign(authority, csr_of("CS"))) == 2
        with pytest.raises(UnavailableError, match="401"):
            await sign(client(server, url=f"{server.url}/.well-known/cpo"), csr_of("CS"))


async def test_cacerts_is_whom_to_trust_and_is_remembered_while_the_server_is_away(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache.pem")
    with est_server(tmp_path) as server:
        told = await client(server, cache_file=cache).trust()
        found = x509.load_pem_x509_certificates(told.encode())
        assert set(found) == {server.issuing, server.root.certificate}
    assert await client(server, cache_file=cache).trust() == told
    assert await client(server).trust() == ""
    own = tmp_path / "own.pem"
    own.write_text("mine")
    assert await client(server, trust_file=str(own)).trust() == "mine"


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (202, UnavailableError, "has not decided yet; it may be asked again after 60"),
        (400, RuleError, "refused with 400: not now"),
        (500, UnavailableError, "answered 500"),
        (503, UnavailableError, "answered 503"),
    ],
)
async def test_what_the_server_answers_decides_whether_it_is_asked_again(
    tmp_path: Path, status: int, error: type[Exception], sentence: str
) -> None:
    with est_server(tmp_path) as server:
        server.status = status
        with pytest.raises(error, match=sentence):
            await sign(client(server), csr_of("CS"))


async def test_wrong_password_is_tried_again_later_and_says_so(tmp_path: Path) -> None:
    with est_server(tmp_path) as server, pytest.raises(UnavailableError, match="answered 401"):
        await sign(client(server, password="wrong"), csr_of("CS"))


async def test_server_that_is_away_or_not_trusted_is_unavailable(tmp_path: Path) -> None:
    with est_server(tmp_path) as server:
        with pytest.raises(UnavailableError, match="cannot be asked"):
            await sign(client(server, ca_file=None), csr_of("CS"))
        assert server.answers == 0
    with pytest.raises(UnavailableError, match="cannot be asked"):
        await sign(client(server), csr_of("CS"))


async def test_what_it_signed_is_looked_at_before_it_goes_to_a_station(tmp_path: Path) -> None:
    with est_server(tmp_path) as server:
        with pytest.raises(RuleError, match="must be 'CS'"):
            await sign(client(server), csr_of("OTHER"))
        server.wrong_key = True
        with pytest.raises(RuleError, match="another key"):
            await sign(client(server), csr_of("CS"))


@pytest.mark.parametrize("url", ["", "http://localhost", "https://", "https://host?x=1"])
def test_only_https_addresses_are_taken(url: str) -> None:
    with pytest.raises(InvalidInputError):
        EstAuthority(EstConfig(url=url))


def test_missing_files_are_named() -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        EstAuthority(EstConfig(url="https://localhost", ca_file="/no/such/file"))
