"""Pages of docs/ run as tests: the calls that stand there are made, in their order, and answered as the page says.

A block of calls:

    ```http
    POST /v1/things
    If-Match: "1"
    {"name": "one"}
    201 {"id": "{thing}", "name": "one"}
    ```

Headers and body may be absent. What is expected is JSON that the answer includes (`…` stands for anything that is there), or lines that the
answer's text contains. `{name}` alone in an answer is remembered, and stands for what it was from then on; `{in 1 day}` and `{1 day ago}`
are moments. A GET is made again until it is answered as told.

A block ```toml is a scenario of virtual stations, played beside the calls that follow it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

DOCS = Path(__file__).parents[2] / "docs"
PATIENCE_S = 30.0
_BLOCK = re.compile(r"^```(http|toml)\n(.*?)^```$", re.S | re.M)
_CALL = re.compile(
    r"(?P<method>[A-Z]+) (?P<path>\S+)\n(?P<headers>(?:[A-Za-z-]+: [^\n]+\n)*)(?P<body>.*?)^(?P<status>\d{3})(?: (?P<answer>.*?))?\s*\Z",
    re.S | re.M,
)
_NAME = re.compile(r"\{(\w+)\}")
_MOMENT = re.compile(r"\{in (\d+) (\w+?)s?\}|\{(\d+) (\w+?)s? ago\}")
ANYTHING = "…"


class Call(Struct, frozen=True, kw_only=True):
    """A call of a page.

    Args:
        line: where it stands.
        answer: what is expected; None: the status alone.
    """

    line: int
    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int
    answer: str | None


class Scene(Struct, frozen=True, kw_only=True):
    """What virtual stations do."""

    line: int
    text: str


def blocks(text: str) -> Iterator[Call | Scene]:
    """The calls and scenarios of a page."""
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found[1] == "toml":
            yield Scene(line=line, text=found[2])
            continue
        call = _CALL.match(found[2])
        assert call is not None, f"line {line} begins a call that is not understood"
        headers = dict(header.split(": ", 1) for header in call["headers"].splitlines())
        yield Call(
            line=line,
            method=call["method"],
            path=call["path"],
            headers=headers,
            body=call["body"].strip(),
            status=int(call["status"]),
            answer=None if call["answer"] is None else call["answer"].strip(),
        )


def _moment(found: re.Match[str]) -> str:
    sign = 1 if found[1] else -1
    number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
    return (datetime.now(UTC) + sign * timedelta(**{f"{unit}s": int(number)})).isoformat()


class Reader:
    """Does what a page says.

    Args:
        client: to the server, as the page's caller.
        play: begins a scenario; returns what waits for its end.
        known: names that the page may use from its beginning.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        play: Callable[[str], Awaitable[None]] | None = None,
        known: dict[str, Any] | None = None,
    ) -> None:
        self.client = client
        self.known: dict[str, Any] = known if known is not None else {}
        self.answers: list[Any] = []
        self._play = play
        self._scenes: list[tuple[int, asyncio.Future[None]]] = []

    async def read(self, text: str) -> int:
        """Makes the calls of a page; how many blocks it had."""
        count = 0
        try:
            for block in blocks(text):
                count += 1
                if isinstance(block, Call):
                    self.answers.append(await self._called(block))
                else:
                    assert self._play is not None
                    self._scenes.append((block.line, asyncio.ensure_future(self._play(self._filled(block.text)))))
            for _, scene in self._scenes:
                async with asyncio.timeout(PATIENCE_S):
                    await scene
        finally:
            for _, scene in self._scenes:
                scene.cancel()
            await asyncio.gather(*(scene for _, scene in self._scenes), return_exceptions=True)
        return count

    async def _called(self, call: Call) -> Any:
        end = time.monotonic() + PATIENCE_S
        while True:
            for line, scene in self._scenes:
                if scene.done() and scene.exception() is not None:
                    raise AssertionError(f"the scenario of line {line} failed") from scene.exception()
            path, body = self._filled(call.path), self._filled(call.body)
            headers = {name: self._filled(value) for name, value in call.headers.items()}
            if body and "Content-Type" not in headers:
                headers["Content-Type"] = "application/json"
            answer = await self.client.request(call.method, path, headers=headers, content=body or None)
            learned: dict[str, Any] = {}
            if answer.status_code == call.status and self._as_told(call.answer, answer, learned):
                self.known.update(learned)
                return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
            if call.method != "GET" or time.monotonic() > end:
                raise AssertionError(
                    f"line {call.line}: {call.method} {path} {body}\n{answer.status_code} {answer.text}"
                )
            await asyncio.sleep(0.05)

    def _as_told(self, expected: str | None, answer: httpx.Response, learned: dict[str, Any]) -> bool:
        if expected is None:
            return True
        if not expected.startswith(("{", "[")):
            return all(self._filled(line.strip()) in answer.text for line in expected.splitlines())
        return self._included(json.loads(expected), answer.json(), learned)

    def _included(self, expected: Any, found: Any, learned: dict[str, Any]) -> bool:
        """Whether an answer has what is expected of it; lists item by item."""
        if isinstance(expected, dict):
            return isinstance(found, dict) and all(
                name in found and self._included(value, found[name], learned) for name, value in expected.items()
            )
        if isinstance(expected, list):
            return (
                isinstance(found, list)
                and len(found) == len(expected)
                and all(self._included(one, other, learned) for one, other in zip(expected, found, strict=True))
            )
        if isinstance(expected, str):
            if expected == ANYTHING:
                return found is not None
            name = _NAME.fullmatch(expected)
            if name is not None and name[1] not in self.known:
                if found is None:
                    return False
                learned[name[1]] = found
                return True
            expected = self._filled(expected)
        return bool(expected == found)

    def _filled(self, text: str) -> str:
        text = _MOMENT.sub(_moment, text)
        return _NAME.sub(lambda found: str(self.known.get(found[1], found[0])), text)
