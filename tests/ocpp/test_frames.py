"""Frames survive the way out and in again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.ocpp import ErrorCode, OcppVersion
from chargeplane.ocpp.frames import (
    Broken,
    Call,
    CallError,
    CallResult,
    CallResultError,
    Send,
    decode_frame,
    encode_call,
    encode_error,
    encode_result,
    encode_result_error,
    encode_send,
    text_of,
)

V21 = OcppVersion.V21
TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\x00"))
IDS = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=128)
ACTIONS = st.from_regex(r"[A-Za-z0-9]{1,40}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
PAYLOADS = st.dictionaries(TEXT, JSON, max_size=5).map(lambda value: json.dumps(value).encode())


@given(IDS, ACTIONS, PAYLOADS)
def test_calls_and_sends_round_trip(message_id: str, action: str, payload: bytes) -> None:
    call = decode_frame(encode_call(message_id, action, payload), V21)
    assert isinstance(call, Call)
    assert (call.message_id, call.action, bytes(call.payload)) == (message_id, action, payload)
    send = decode_frame(encode_send(message_id, action, payload), V21)
    assert isinstance(send, Send)
    assert (send.message_id, send.action, bytes(send.payload)) == (message_id, action, payload)


@given(IDS, PAYLOADS)
def test_results_round_trip(message_id: str, payload: bytes) -> None:
    frame = decode_frame(encode_result(message_id, payload), V21)
    assert isinstance(frame, CallResult)
    assert (frame.message_id, bytes(frame.payload)) == (message_id, payload)


@given(IDS, st.sampled_from(ErrorCode), TEXT, PAYLOADS)
def test_errors_round_trip(message_id: str, code: ErrorCode, description: str, details: bytes) -> None:
    for encoder, kind in ((encode_error, CallError), (encode_result_error, CallResultError)):
        frame = decode_frame(encoder(message_id, code, description, details), V21)
        assert isinstance(frame, kind)
        assert frame.message_id == message_id
        assert text_of(frame.code) == code
        assert text_of(frame.description) == description[:255]
        assert bytes(frame.details) == details


@given(IDS, ACTIONS, PAYLOADS)
def test_frames_are_the_json_the_specification_shows(message_id: str, action: str, payload: bytes) -> None:
    assert json.loads(encode_call(message_id, action, payload)) == [2, message_id, action, json.loads(payload)]
    assert json.loads(encode_result(message_id, payload)) == [3, message_id, json.loads(payload)]
    assert json.loads(encode_error(message_id, "X", action)) == [4, message_id, "X", action, {}]


@given(st.binary(max_size=200), st.sampled_from(OcppVersion))
def test_any_bytes_are_a_frame_or_broken(data: bytes, version: OcppVersion) -> None:
    frame = decode_frame(data, version)
    assert isinstance(frame, msgspec.Struct)
    if isinstance(frame, Broken):
        assert frame.problem.description


@given(JSON, st.sampled_from(OcppVersion))
def test_any_json_is_a_frame_or_broken(value: Any, version: OcppVersion) -> None:
    assert isinstance(decode_frame(json.dumps(value).encode(), version), msgspec.Struct)


@given(st.lists(JSON, max_size=6), st.sampled_from([2, 3, 4, 5, 6, 7]))
def test_any_array_is_a_frame_or_broken(rest: list[Any], kind: int) -> None:
    frame = decode_frame(json.dumps([kind, *rest]).encode(), V21)
    if kind == 7 or not rest or not isinstance(rest[0], str):
        assert isinstance(frame, Broken)
        assert frame.message_type == kind


@given(IDS, ACTIONS, st.integers(1, 30))
def test_the_head_of_a_cut_frame_is_read(message_id: str, action: str, cut: int) -> None:
    payload = b'{"some":"payload","that":"is longer than the cut"}'
    frame = decode_frame(encode_call(message_id, action, payload)[:-cut], V21)
    assert isinstance(frame, Broken)
    assert (frame.message_type, frame.message_id, frame.action) == (2, message_id, action)
    assert payload.startswith(frame.payload)


@pytest.mark.parametrize(
    ("element", "text"), [(b"", ""), (b"null", ""), (b'"a\\nb"', "a\nb"), (b"5", "5"), (b'{"a":1}', '{"a":1}')]
)
def test_text_of_an_element(element: bytes, text: str) -> None:
    assert text_of(msgspec.Raw(element)) == text
