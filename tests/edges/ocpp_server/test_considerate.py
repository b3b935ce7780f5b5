"""Commands to stations with quirks, each with the shape of a message that such stations send."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import json

from chargeplane.bridge.repairs import repair
from chargeplane.domain.commands import CallOutcome, CallOutcomeKind
from chargeplane.domain.quirks import Known, Limit, Quirk, WireRule
from chargeplane.edges.ocpp_server.considerate import Considerate
from chargeplane.kernel.errors import ConflictError, RuleError
from chargeplane.ocpp import OcppVersion


class Socket:
    """Answers with what a test gives it."""

    station_id = "CS1"

    def __init__(self, *answers: CallOutcome) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes, float]] = []
        self.hits: list[str] = []

    async def ask(self, action: str, payload: bytes, timeout_s: float) -> CallOutcome:
        self.asked.append((action, payload, timeout_s))
        return self.answers.pop(0)

    def hit(self, rules: tuple[str, ...]) -> None:
        self.hits.extend(rules)


def result(payload: bytes, latency_ms: float = 5.0) -> CallOutcome:
    return CallOutcome(outcome=CallOutcomeKind.CALLRESULT, message_id="1", payload=payload, latency_ms=latency_ms)


GONE = CallOutcome(outcome=CallOutcomeKind.DISCONNECTED, message_id="1")


def known(**effects: object) -> Known:
    return Known((Quirk(name="acme", does="x.", vendor="Acme", **effects),))  # type: ignore[arg-type]


async def test_late_answerer_gets_the_time_it_takes_and_only_late_answers_count() -> None:
    socket = Socket(result(b"{}", 31_000), result(b"{}", 200), result(b"{}", 200))
    asking = Considerate(socket, known(answer_within_s={"GetConfiguration": 120.0}))
    await asking.ask("GetConfiguration", b"{}", 30.0)
    assert socket.hits == ["acme"]
    await asking.ask("GetConfiguration", b"{}", 300.0)
    await asking.ask("Reset", b"{}", 30.0)
    assert [timeout for _, _, timeout in socket.asked] == [120.0, 300.0, 30.0]
    assert socket.hits == ["acme"]


@pytest.mark.parametrize("payload", [b"{}", b"", b"null", b'{"status":""}'])
async def test_empty_answer_of_one_that_means_accepted(payload: bytes) -> None:
    socket = Socket(result(payload), result(b'{"status":"Rejected"}'), result(payload))
    asking = Considerate(socket, known(empty_means_accepted=frozenset({"ChangeConfiguration"})))
    assert (await asking.ask("ChangeConfiguration", b"{}", 1.0)).payload == b'{"status":"Accepted"}'
    assert (await asking.ask("ChangeConfiguration", b"{}", 1.0)).payload == b'{"status":"Rejected"}'
    assert (await asking.ask("Reset", b"{}", 1.0)).payload == payload
    assert socket.hits == ["acme"]


async def test_one_that_answers_certificate_signed_by_closing_the_connection() -> None:
    socket = Socket(GONE, GONE)
    asking = Considerate(socket, known(close_means_accepted=frozenset({"CertificateSigned"})))
    outcome = await asking.ask("CertificateSigned", b"{}", 1.0)
    assert (outcome.outcome, outcome.payload) == (CallOutcomeKind.CALLRESULT, b'{"status":"Accepted"}')
    assert (await asking.ask("Reset", b"{}", 1.0)).outcome is CallOutcomeKind.DISCONNECTED
    assert socket.hits == ["acme"]


async def test_list_version_in_the_field_of_another_version_is_understood() -> None:
    socket = Socket(result(b'{"listVersion":12}'))
    rule = WireRule(action="GetLocalListVersion", rename={"listVersion": "versionNumber"})
    asking = Considerate(socket, known(wire=(rule,)))
    assert json.decode((await asking.ask("GetLocalListVersion", b"{}", 1.0)).payload or b"") == {"versionNumber": 12}
    assert socket.hits == ["acme"]


async def test_calls_beyond_the_limits_of_a_model_are_not_sent() -> None:
    socket = Socket(result(b"{}"))
    asking = Considerate(socket, known(max_message_bytes=100, max_items={"GetConfiguration": 4}))
    with pytest.raises(RuleError, match="at most 4 items in key"):
        await asking.ask("GetConfiguration", b'{"key":["a","b","c","d","e"]}', 1.0)
    with pytest.raises(RuleError, match="at most 100 bytes"):
        await asking.ask("SendLocalList", b"[" + b"1," * 60 + b"1]", 1.0)
    assert socket.asked == []
    await asking.ask("GetConfiguration", b'{"key":["a","b","c","d"]}', 1.0)
    assert socket.hits == ["acme", "acme"]


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("ChangeConfiguration", b'{"status":"Accepted"}'),
        (
            "SetVariables",
            b'{"setVariableResult":[{"attributeStatus":"Accepted","component":{"name":"A"},"variable":{"name":"B"}}]}',
        ),
    ],
)
async def test_what_follows_a_change_waits_for_the_restart_that_it_brings(action: str, answer: bytes) -> None:
    socket = Socket(result(answer), result(b"{}"))
    asking = Considerate(socket, known(limits=frozenset({Limit.RESTARTS_ON_CHANGE})))
    await asking.ask(action, b"{}", 1.0)
    next_one = asyncio.create_task(asking.ask("GetConfiguration", b"{}", 1.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(socket.asked) == 1
    asking.ended()
    with pytest.raises(ConflictError, match="restarts after a change"):
        await next_one
    assert len(socket.asked) == 1


async def test_refused_change_brings_no_restart() -> None:
    socket = Socket(result(b'{"status":"Rejected"}'), result(b"{}"))
    asking = Considerate(socket, known(limits=frozenset({Limit.RESTARTS_ON_CHANGE})))
    await asking.ask("ChangeConfiguration", b"{}", 1.0)
    await asking.ask("GetConfiguration", b"{}", 1.0)
    assert len(socket.asked) == 2


def test_wire_rules_are_undone_before_the_repairs_for_all() -> None:
    of_model = known(
        wire=(
            WireRule(
                action="StatusNotification",
                rename={"connector": "connectorId"},
                absent={"errorCode": "NoError"},
                words={"status": {"Ladend": "Charging"}},
            ),
        )
    )
    payload = b'{"connector":1,"status":"Ladend","timestamp":"2025-02-16T22:33:00Z"}'
    made = repair(OcppVersion.V16, "StatusNotification", payload, of_model.wire_of("StatusNotification"))
    assert made is not None
    assert made.names == ("acme",)
    request = made.request
    assert (request.connector_id, str(request.status), str(request.error_code)) == (1, "Charging", "NoError")  # type: ignore[attr-defined]
    without = repair(OcppVersion.V16, "StatusNotification", payload)
    assert without is None or str(without.request.status) != "Charging"  # type: ignore[attr-defined]
