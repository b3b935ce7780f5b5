import zlib

import pytest

from chargeplane.edges.ocpp_server.deflate import DeflateError, TooLargeError, deflate, inflate, negotiate

BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("Permessage-Deflate; client_max_window_bits=9", BOTH),
        ("permessage-deflate; server_max_window_bits=12", BOTH + "; server_max_window_bits=12"),
        ('permessage-deflate; server_max_window_bits="15"', BOTH + "; server_max_window_bits=15"),
        ("x-webkit-deflate-frame, permessage-deflate", BOTH),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BOTH),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", BOTH),
    ],
)
def test_first_acceptable_offer_is_answered_without_context_takeover(offer: str, answer: str) -> None:
    assert negotiate(offer) == answer


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "permessage-foo",
        "permessage-deflate; unknown",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
    ],
)
def test_offer_with_a_wrong_parameter_is_declined(offer: str) -> None:
    assert negotiate(offer) is None


@pytest.mark.parametrize("message", [b"", b"{}", b'[2,"1","Heartbeat",{}]' * 400, bytes(range(256)) * 40])
def test_what_is_deflated_inflates_to_the_same(message: bytes) -> None:
    assert inflate(deflate(message), len(message)) == message


def test_stream_of_another_compressor_with_the_largest_window_inflates() -> None:
    message = bytes(range(256)) * 300
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert inflate(data, 100_000) == message


def test_message_ended_by_a_final_block_inflates() -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = compressor.compress(b"final") + compressor.flush(zlib.Z_FINISH)
    assert inflate(data + b"\x00", 100) == b"final"


def test_bomb_is_refused_without_being_unfolded() -> None:
    bomb = deflate(b"\x00" * 50_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(TooLargeError):
        inflate(bomb, 256 * 1024)


def test_message_of_exactly_the_limit_is_taken() -> None:
    assert len(inflate(deflate(b"a" * 1000), 1000)) == 1000
    with pytest.raises(TooLargeError):
        inflate(deflate(b"a" * 1001), 1000)


def test_garbage_is_no_deflate_stream() -> None:
    with pytest.raises(DeflateError):
        inflate(b"\xff\xff\xff\xff", 1000)
