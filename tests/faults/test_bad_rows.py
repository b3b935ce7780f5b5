"""What the database does not take, sent in the middle of other stations' sessions: kept, answered, and of no effect on them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.faults.town import PASSWORD, VERSIONS, database, town
from tests.support.raw_station import RawStation
from tests.support.served import Served

_FRAMES_16 = {
    "Authorize": b'{"idTag":"%b"}',
    "StartTransaction": b'{"connectorId":1,"idTag":"%b","meterStart":10,"timestamp":"2026-05-01T12:00:00Z"}',
    "StopTransaction": b'{"transactionId":0,"idTag":"%b","meterStop":20,"timestamp":"2026-05-01T12:10:00Z"}',
    "StatusNotification": b'{"connectorId":1,"errorCode":"NoError","status":"Available","info":"%b"}',
    "DataTransfer": b'{"vendorId":"x","data":"%b"}',
}
_EVENT = (
    b'{"eventType":"%b","timestamp":"2026-05-01T12:00:00Z","triggerReason":"Authorized","seqNo":%d,"transactionInfo":'
    b'{"transactionId":"%b"},"idToken":{"idToken":"%b","type":"Central"},"evse":{"id":1,"connectorId":1}}'
)


def frames(version: str, text: bytes) -> list[tuple[str, bytes]]:
    """(action, payload) of messages with this text in every place where a station writes one."""
    if version == "1.6":
        return [(action, payload % text) for action, payload in _FRAMES_16.items()]
    return [
        ("Authorize", b'{"idToken":{"idToken":"%b","type":"Central"}}' % text),
        ("TransactionEvent", _EVENT % (b"Started", 0, b"T-1", text)),
        ("TransactionEvent", _EVENT % (b"Updated", 1, text, b"TAG1")),
        ("TransactionEvent", _EVENT % (b"Ended", 2, b"T-2", text)),
        ("DataTransfer", b'{"vendorId":"x","data":"%b"}' % text),
    ]


async def plug(server: Served, station_id: str, version: str) -> RawStation:
    """A new station in raw bytes."""
    made = await server.ask("POST", "/v1/charging-stations", {"station_id": station_id, "password": PASSWORD})
    assert made.status_code == 201, made.text
    return await dial(server, station_id, version)


async def dial(server: Served, station_id: str, version: str) -> RawStation:
    """Another socket of a station."""
    station = await RawStation.dial(server.ocpp_port)
    answer = await station.upgrade(
        f"/ocpp/{station_id}", protocols=f"ocpp{version}", auth=f"{station_id}:{PASSWORD}".encode()
    )
    assert answer.status == 101
    return station


async def say(station: RawStation, message_id: str, action: str, payload: bytes) -> list[Any]:
    """The answer to a CALL whose payload is sent as it stands."""
    station.send(b'[2,"%b","%b",%b]' % (message_id.encode(), action.encode(), payload))
    while True:
        answer = cast(list[Any], await station.message())
        if answer[0] != 2 and answer[1] == message_id:
            return answer


async def bursts(stations: dict[str, RawStation], text: bytes, turn: int) -> dict[str, list[Any]]:
    """All stations at once, each with all its frames in one go: in the same batches as the good ones. The answers."""

    async def burst(version: str, station: RawStation) -> dict[str, list[Any]]:
        sent = frames(version, text)
        for number, (action, payload) in enumerate(sent):
            station.send(b'[2,"%d-%d","%b",%b]' % (turn, number, action.encode(), payload))
        answers: dict[str, list[Any]] = {}
        while len(answers) < len(sent):
            answer = cast(list[Any], await station.message())
            if answer[0] != 2:
                action = sent[int(str(answer[1]).split("-")[1])][0]
                answers[f"{version} {action} {answer[1]}"] = answer
        return answers

    found = await asyncio.gather(*(burst(version, station) for version, station in stations.items()))
    return {name: answer for answers in found for name, answer in answers.items()}


async def test_rows_that_the_database_refuses_are_kept_and_answered_and_good_ones_beside_them_commit(
    server: Served,
) -> None:
    async with town(server) as stations, database(server.database_url()) as db:
        # No text that a station can send gets past our own checks and is refused; so the database is given a dislike.
        for table, column in (
            ("transaction_event", "payload"),
            ("station_notice", "payload"),
            ("authorization_attempt", "id_token"),
            ("connector", "info"),
        ):
            await db.execute(f"ALTER TABLE {table} ADD CHECK (position('POISON' in {column}) = 0)")
        bad = {version: await plug(server, f"BAD-{version}", version) for version in VERSIONS}
        stations.charge()
        for turn in range(4):
            for name, answer in (await bursts(bad, b"POISON", turn)).items():
                assert answer[0] == 3, (name, answer)
                if "Authorize" in name or "StartTransaction" in name:
                    info = answer[2].get("idTagInfo") or answer[2]["idTokenInfo"]
                    assert info["status"] == "Invalid"
                if "StartTransaction" in name:
                    assert answer[2]["transactionId"] > 0
            await asyncio.sleep(0.05)
        kept = await server.items("/v1/quarantine")
        must = [(f"BAD-{version}", action) for version in VERSIONS for action, _ in frames(version, b"")]
        assert sorted((entry["station_id"], entry["action"]) for entry in kept) == sorted(must)
        assert all("violates check constraint" in entry["reason"] for entry in kept)
        assert {entry["hits"] for entry in kept} == {4}  # the same message again is counted, not kept again
        await stations.finish()
        await stations.check_all(db)
        assert await db.fetchval("SELECT count(*) FROM transaction_event WHERE position('POISON' in payload) > 0") == 0
        refused = server.log("row_refused")
        assert refused
        assert all(line["level"] == "warning" for line in refused)


async def test_texts_that_postgresql_cannot_hold_are_taken_with_a_mark_and_stop_nobody(server: Served) -> None:
    async with town(server) as stations, database(server.database_url()) as db:
        bad = {version: await plug(server, f"BAD-{version}", version) for version in VERSIONS}
        stations.charge()
        for turn, text in enumerate((b"a\\u0000b", b"\\u0000", b"\\ud800", b"\\udfff\\ud800")):
            for name, answer in (await bursts(bad, text, turn)).items():
                if (
                    b"u0000" in text or "Transaction" in name
                ):  # a lone surrogate is no JSON text: refused where that does no harm
                    assert answer[0] == 3, (name, text, answer)
        await stations.finish()
        await stations.check_all(db)
        marked = await db.fetch(
            "SELECT DISTINCT id_token FROM authorization_attempt WHERE position('\ufffd' in id_token) > 0"
        )
        assert {row[0] for row in marked} >= {"a\ufffdb", "\ufffd"}
        # Whatever became of the text: not one message about a transaction is missing.
        events = await db.fetchval(
            "SELECT count(*) FROM transaction_event e JOIN charging_station s ON s.key = e.station_key "
            "WHERE s.station_id LIKE 'BAD-%'"
        )
        kept = await server.items("/v1/quarantine")
        sent = sum("Transaction" in action for version in VERSIONS for action, _ in frames(version, b""))
        assert events + sum("Transaction" in entry["action"] for entry in kept) == 4 * sent
