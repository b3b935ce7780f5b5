"""docs/agreements.md: the life of an agreement is made of the calls that stand there, and each is answered as it says."""

from __future__ import annotations

import asyncio
import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chargeplane.app.agreements.facts import NOUNS
from chargeplane.domain.agreements.states import Action
from tests.support.rest import Rest

PAGE = Path(__file__).parents[2] / "docs" / "agreements.md"
CALL = re.compile(
    r"```http\n(?P<method>\w+) (?P<path>\S+)\n(?:If-Match: (?P<match>\S+)\n)?(?P<body>.*?)^(?P<status>\d{3}) (?P<answer>.*?)```",
    re.S | re.M,
)


def included(expected: Any, found: Any) -> bool:
    """Whether an answer has what is expected of it; lists item by item."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name in found and included(value, found[name]) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(included(one, other) for one, other in zip(expected, found, strict=True))
        )
    return bool(expected == found)


def _filled(text: str, ident: str) -> str:
    def moment(found: re.Match[str]) -> str:
        return (datetime.now(UTC) + timedelta(**{f"{found[2].rstrip('s')}s": int(found[1])})).isoformat()

    return re.sub(r"\{in (\d+) (\w+)\}", moment, text.replace("{id}", ident))


async def test_the_life_of_one_is_as_the_page_shows_it(rest: Rest) -> None:
    ident, states = "", []
    calls = list(CALL.finditer(PAGE.read_text()))
    for call in calls:
        headers = {"If-Match": call["match"]} if call["match"] else {}
        given = _filled(call["body"], ident).strip()
        path, expected = _filled(call["path"], ident), json.loads(call["answer"])
        end = time.monotonic() + 30
        while True:
            answer = await rest.client.request(
                call["method"], path, headers=headers, json=json.loads(given) if given else None
            )
            found = answer.json()
            as_told = answer.status_code == int(call["status"]) and included(expected, found)
            if as_told or call["method"] != "GET" or time.monotonic() > end:
                break
            await asyncio.sleep(0.05)
        assert as_told, f"{call['method']} {path} {given}\n{answer.status_code} {answer.text}"
        ident = ident or found["id"]
        states.append(found.get("status"))
    lived = [state for state in states if isinstance(state, str)]
    for state in ("draft", "proposed", "accepted", "active", "suspended", "active", "ending", "ended", "closed"):
        lived = lived[lived.index(state) :]
    assert len(calls) == PAGE.read_text().count("```http")


def test_the_page_names_every_action_and_every_fact() -> None:
    text = PAGE.read_text()
    assert [action for action in Action if f"`{action.value}`" not in text] == []
    assert [noun for noun in NOUNS if f"`{noun}`" not in text and f"`agreement.{noun}`" not in text] == []
