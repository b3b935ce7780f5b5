"""The line in which sockets wait for the loop to go round."""

from __future__ import annotations

import asyncio

from chargeplane.edges.ocpp_server.line import Line


class Speaker:
    """Takes one message at its turn, which costs something."""

    def __init__(self, name: str, line: Line, seen: list[str], *, fails: bool = False) -> None:
        self.name = name
        self.line = line
        self.seen = seen
        self.fails = fails
        self.was_cut = False

    def at_its_turn(self) -> None:
        self.line.room -= 1
        self.seen.append(self.name)
        if self.fails:
            raise ValueError("of its turn")

    def cut(self) -> None:
        self.was_cut = True


def started(helping: int) -> Line:
    line = Line(helping)
    line.start()
    return line


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_helpings_are_taken_in_order_and_the_loop_goes_round_between_two() -> None:
    line = started(2)
    line.room = 0
    seen: list[str] = []
    for name in "abcde":
        line.join(Speaker(name, line, seen))
    assert seen == []
    for shown in ("ab", "abcd", "abcde"):
        await rounds(1)
        assert "".join(seen) == shown


async def test_there_is_no_room_to_pass_by_while_anybody_waits() -> None:
    line = started(2)
    line.room = 0
    seen: list[str] = []
    for name in "abc":
        line.join(Speaker(name, line, seen))
    await rounds(1)
    assert line.room == 0
    line.join(Speaker("d", line, seen))
    await rounds(1)
    assert seen == ["a", "b", "c", "d"]


async def test_what_a_helping_left_over_may_be_taken_at_once() -> None:
    line = started(3)
    line.room = 0
    line.join(Speaker("a", line, []))
    await rounds(1)
    assert line.room == 2


async def test_an_exception_of_one_cuts_that_one_and_the_others_get_their_turns() -> None:
    line = started(1)
    line.room = 0
    seen: list[str] = []
    broken = Speaker("a", line, seen, fails=True)
    line.join(broken)
    line.join(Speaker("b", line, seen))
    await rounds(2)
    assert broken.was_cut
    assert seen == ["a", "b"]
