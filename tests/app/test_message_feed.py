"""What the message log is given."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import json

from chargeplane.app.message_feed import MessageFeed
from chargeplane.app.ports import LoggedCall
from chargeplane.kernel.ids import StationKey


class Kept:
    def __init__(self) -> None:
        self.entries: list[LoggedCall] = []

    def add(self, entry: LoggedCall) -> None:
        self.entries.append(entry)


def logged(action: str, request: bytes | None) -> bytes | None:
    kept = Kept()
    call = LoggedCall(StationKey(1), datetime.now(UTC), True, action, "m", request, b"{}", "callresult", None, 1)
    MessageFeed(kept).add(call)
    (entry,) = kept.entries
    return entry.request


@pytest.mark.parametrize(
    ("action", "payload", "shown"),
    [
        (
            "Authorize",
            {"idToken": {"idToken": "4711", "type": "KeyCode"}},
            {"idToken": {"idToken": "(hidden)", "type": "KeyCode"}},
        ),
        (
            "SendLocalList",
            {"localAuthorizationList": [{"idToken": {"type": "KeyCode", "idToken": "4711"}}]},
            {"localAuthorizationList": [{"idToken": {"type": "KeyCode", "idToken": "(hidden)"}}]},
        ),
    ],
)
def test_c04_fr_04_key_codes_are_in_no_log(action: str, payload: object, shown: object) -> None:
    assert json.decode(logged(action, json.encode(payload)) or b"") == shown


def test_other_messages_are_logged_as_they_came() -> None:
    for action, request in (
        ("Authorize", b'{ "idToken": {"idToken": "04A1", "type": "ISO14443"} }'),
        ("Heartbeat", b'{"KeyCode": 1}'),
        ("Authorize", None),
    ):
        assert logged(action, request) == request


def test_what_cannot_be_read_and_names_key_codes_is_not_shown() -> None:
    assert logged("Authorize", b'{"idToken":{"idToken":"4711","type":"KeyCode"},}') is None
