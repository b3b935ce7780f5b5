"""How variables are written on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.variables import shown_name, variable_named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("HeartbeatInterval", {"variable": "HeartbeatInterval"}),
        ("TxCtrlr/EVConnectionTimeOut", {"component": "TxCtrlr", "variable": "EVConnectionTimeOut"}),
        (
            "Connector[left]#2.1/Power[L1]:MaxSet",
            {
                "component": "Connector",
                "component_instance": "left",
                "evse_id": 2,
                "connector_id": 1,
                "variable": "Power",
                "variable_instance": "L1",
                "attribute": "MaxSet",
            },
        ),
        ("EVSE#3/Power", {"component": "EVSE", "evse_id": 3, "variable": "Power"}),
    ],
)
def test_a_name_is_read_as_it_is_shown(text: str, named: dict[str, Any]) -> None:
    assert variable_named(text) == named
    assert shown_name(named) == text


@pytest.mark.parametrize("text", ["", "/X", "A/", "A/B/C", "A#x/B", "A/B:Best", "A[/B"])
def test_what_is_no_name_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        variable_named(text)
    assert "Component/Variable" in str(refused.value)
