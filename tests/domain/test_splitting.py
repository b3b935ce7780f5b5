"""Many variables as messages: never more items or bytes than the station takes, never one variable twice, nothing lost."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from chargeplane.bridge.commands import to_call
from chargeplane.bridge.encoding import encode
from chargeplane.domain.commands import GetVariables, SetVariables
from chargeplane.domain.splitting import ITEMS_UNKNOWN, MessageLimits, size_of, split_variables
from chargeplane.domain.variables import Attribute, VariableName, VariableSetting, canonical, folded
from chargeplane.ocpp.versions import OcppVersion

_names = st.text(min_size=1, max_size=50).filter(lambda text: all(ord(c) < 0xD800 or ord(c) > 0xDFFF for c in text))
settings = st.builds(
    VariableSetting,
    component=st.sampled_from(["A", "a", "B"]) | _names,
    component_instance=st.none() | _names,
    evse_id=st.none() | st.integers(1, 9_999),
    variable=st.sampled_from(["X", "x", "Y"]) | _names,
    variable_instance=st.none() | _names,
    attribute=st.sampled_from(Attribute),
    value=st.text(max_size=80).filter(lambda text: all(ord(c) < 0xD800 or ord(c) > 0xDFFF for c in text)),
)
limits = st.builds(MessageLimits, items=st.none() | st.integers(0, 12), bytes=st.none() | st.integers(0, 5_000))


@given(st.lists(settings, max_size=40), limits)
def test_b05_fr_11_b05_fr_13_parts_keep_the_limits_and_lose_nothing(
    wanted: list[VariableSetting], limits: MessageLimits
) -> None:
    parts = split_variables(wanted, limits)
    assert [one for part in parts for one in part] == wanted
    for part in parts:
        assert 1 <= len(part) <= (limits.items or ITEMS_UNKNOWN)
        places = [folded(canonical(one).place) for one in part]
        assert len(set(places)) == len(places)
        if limits.bytes and len(part) > 1:
            command = SetVariables(variables=tuple(part))  # type: ignore[arg-type]
            _, request = to_call(OcppVersion.V21, command)
            assert len(encode(request)) + len('[2,"","SetVariables",]') + 36 <= limits.bytes


@given(st.lists(settings, min_size=1, max_size=40), limits)
def test_no_two_neighbouring_messages_would_fit_in_one(wanted: list[VariableSetting], limits: MessageLimits) -> None:
    parts = split_variables(wanted, limits)
    most = limits.items or ITEMS_UNKNOWN
    for one, other in itertools.pairwise(parts):
        first = other[0]
        twice = folded(canonical(first).place) in {folded(canonical(each).place) for each in one}
        room = limits.bytes and sum(size_of(each) for each in [*one, first]) > limits.bytes - 100
        assert len(one) == most or twice or room


def test_b06_fr_05_a_station_that_told_nothing_gets_a_moderate_number() -> None:
    names = [VariableName(component="C", variable=f"V{number}") for number in range(120)]
    assert [len(part) for part in split_variables(names, MessageLimits())] == [50, 50, 20]
    for part in split_variables(names, MessageLimits(items=3)):
        to_call(OcppVersion.V201, GetVariables(variables=tuple(part)))
