"""Local lists: whatever a station holds, the messages bring it to what is wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.authorization import IdTokenRecord
from chargeplane.domain.local_lists import (
    LAST_VERSION,
    Held,
    ListEntry,
    ListLimits,
    ListMessage,
    ListPolicy,
    ListUpdate,
    after,
    chosen,
    key_of,
    messages,
)
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from chargeplane.domain.token_rules import TokenRules

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
UNLIMITED = ListLimits()
TYPES_201 = ("Central", "ISO14443", "KeyCode")


class Station:
    """A list as the specification has stations keep it (OCPP 1.6, 5.15; 2.0.1 D01)."""

    def __init__(self, version: int = 0, entries: tuple[ListEntry, ...] = (), capacity: int = 10**6) -> None:
        self.version = version
        self.entries = {key_of(entry.id_token): entry for entry in entries}
        self.capacity = capacity

    def take(self, message: ListMessage) -> None:
        if message.kind is ListUpdate.FULL:
            self.entries = {}
        else:
            assert message.version > self.version, "VersionMismatch"
        for token in message.remove:
            assert self.entries[key_of(token)].id_token == token, "as it was added"
            del self.entries[key_of(token)]
        for entry in message.put:
            self.entries[key_of(entry.id_token)] = entry
        assert len(self.entries) <= self.capacity
        assert 1 <= message.version <= LAST_VERSION
        self.version = message.version


def entry(value: str, **more: object) -> ListEntry:
    return ListEntry(id_token=IdToken(value=value, type="ISO14443"), **more)  # type: ignore[arg-type]


entries = st.lists(
    st.builds(
        entry,
        st.text("abcDEFß", min_size=1, max_size=3),
        status=st.sampled_from([AuthorizationStatus.ACCEPTED, AuthorizationStatus.BLOCKED]),
        group_id=st.sampled_from([None, "G", "H"]),
    ),
    max_size=40,
    unique_by=lambda one: key_of(one.id_token),
)


@given(first=entries, second=entries, items=st.integers(1, 7), version=st.sampled_from([0, 7, LAST_VERSION - 3]))
def test_d01_the_messages_make_the_list_that_is_wanted(
    first: list[ListEntry], second: list[ListEntry], items: int, version: int
) -> None:
    """From nothing to a list, from that to another, never above what both need at most, each message within its limit."""
    limits = ListLimits(items_per_message=items)
    station = Station()
    held: Held | None = Held(version=version) if version else Held()
    station.version = version
    for wanted in (first, second):
        station.capacity = max(len(station.entries), len(wanted))
        sent = messages(held, wanted, limits)
        for message in sent:
            assert len(message.put) + len(message.remove) <= items
            station.take(message)
            held = after(held, message)
        assert {key_of(one.id_token): one for one in wanted} == station.entries
        assert held is not None
        assert (held.version, set(held.entries)) == (station.version, set(station.entries))
        assert messages(held, wanted, limits) == []


@given(had=entries, wanted=entries, version=st.integers(0, 50), told=st.integers(0, 50))
def test_d01_fr_03_whatever_a_station_holds_a_full_list_replaces_it(
    had: list[ListEntry], wanted: list[ListEntry], version: int, told: int
) -> None:
    station = Station(max(version, told), tuple(had))
    sent = messages(None, wanted, ListLimits(items_per_message=5), above=station.version)
    assert sent[0].kind is ListUpdate.FULL
    assert sent[0].version > station.version
    for message in sent:
        station.take(message)
    assert list(station.entries.values()) == wanted


def test_a_small_change_is_told_as_a_difference() -> None:
    held = after(None, messages(None, [entry(f"t{n}") for n in range(50)], ListLimits())[0])
    wanted = [entry(f"t{n}") for n in range(1, 50)] + [
        entry("new"),
    ]
    (message,) = messages(held, wanted, ListLimits())
    assert (message.kind, message.version) == (ListUpdate.DIFFERENTIAL, 2)
    assert [token.value for token in message.remove] == ["t0"]
    assert [one.id_token.value for one in message.put] == ["new"]


def test_a_changed_group_is_told_and_case_is_not() -> None:
    held = after(None, messages(None, [entry("A", group_id="G"), entry("B")], ListLimits())[0])
    (message,) = messages(held, [entry("A", group_id="H"), entry("B")], ListLimits())
    assert [one.group_id for one in message.put] == ["H"]
    assert not message.remove
    assert key_of(IdToken(value="AbC", type="ISO14443")) == key_of(IdToken(value="aBc", type="ISO14443"))


def test_what_is_removed_is_named_as_it_was_added() -> None:
    held = after(None, messages(None, [entry("AbC"), entry("DEF")], ListLimits())[0])
    (message,) = messages(held, [entry("DEF")], ListLimits())
    assert [token.value for token in message.remove] == ["AbC"]
    # what an earlier release kept has no letters of its own
    older = Held(version=held.version, entries={key: kept[:16] for key, kept in held.entries.items()})
    (message,) = messages(older, [entry("DEF")], ListLimits())
    assert ([token.value for token in message.remove], message.put) == (["abc"], ())


def test_an_empty_list_that_was_never_sent_stays_unsent() -> None:
    assert messages(Held(), [], ListLimits()) == []
    (cleared,) = messages(Held(version=3, entries={key_of(IdToken(value="a")): "x"}), [], ListLimits())
    assert cleared.version == 4


def test_versions_begin_anew_after_the_last() -> None:
    held = Held(version=LAST_VERSION, entries={})
    (message,) = messages(held, [entry("a")], ListLimits())
    assert (message.kind, message.version) == (ListUpdate.FULL, 1)


def record(value: str, **more: object) -> IdTokenRecord:
    return IdTokenRecord(value=value, **{"type": "ISO14443", **more})  # type: ignore[arg-type]


def values(
    records: list[IdTokenRecord],
    policy: ListPolicy,
    limits: ListLimits = UNLIMITED,
    fits: tuple[str, ...] | None = TYPES_201,
) -> tuple[list[str], int]:
    made, left_out = chosen(records, policy, limits, fits=fits, now=NOW)
    return [one.id_token.value for one in made], left_out


def test_a_list_has_accepted_tokens_that_a_station_can_judge_alone() -> None:
    known = [
        record("good"),
        record("blocked", status=AuthorizationStatus.BLOCKED),
        record("over", valid_until=NOW - timedelta(days=1)),
        record("later", valid_from=NOW + timedelta(days=1)),
        record("ruled", rules=TokenRules(location_ids=("x",))),
        record("praised", rules=TokenRules(charging_priority=3)),
        record("prepaid", credit_wh=Decimal(5)),
    ]
    assert values(known, ListPolicy(tokens="all")) == (["good", "praised"], 0)
    assert values(known, ListPolicy(tokens="all", include_refused=True))[0] == ["good", "blocked", "over", "praised"]


def test_a_list_of_groups_has_their_tokens_only() -> None:
    known = [record("a", group_id="Fleet"), record("b", group_id="Other"), record("c")]
    assert values(known, ListPolicy(tokens="groups", group_ids=("FLEET",))) == (["a"], 0)


def test_what_does_not_fit_is_left_out_and_counted() -> None:
    known = [record("a"), record("b"), record("c")]
    assert values(known, ListPolicy(tokens="all"), ListLimits(max_entries=2)) == (["a", "b"], 1)
    assert values(known, ListPolicy(tokens="all", max_entries=1), ListLimits(max_entries=2)) == (["a"], 2)
    assert values([record("a"), record("vin", type="VIN")], ListPolicy(tokens="all")) == (["a"], 1)
    assert values([record("x" * 37)], ListPolicy(tokens="all")) == ([], 1)


def test_1_6_has_no_types_and_20_characters() -> None:
    known = [
        record("x" * 21),
        record("a", type="Central", status=AuthorizationStatus.BLOCKED),
        record("A"),
        record("0A0B", type="MacAddress"),
    ]
    assert values(known, ListPolicy(tokens="all"), fits=None) == (["A", "VID:0A0B"], 1)
