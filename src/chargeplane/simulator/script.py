"""What a driver and a station do one after the other, as a generator without a task of its own.

A script yields waits; a wait is a function that is given `resume` and calls it once, at once or later. Thousands of
stations charge as thousands of suspended generators of a few hundred bytes each, woken by answers and by the wheel.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

Resume = Callable[[Any], None]
Wait = Callable[[Resume], None]
"""Given `resume`, arranges that it is called once with the result."""

R = TypeVar("R")
Steps = Generator[Wait, Any, R]
"""A script that ends with an R."""


class Script:
    """Runs a generator to its end.

    Args:
        steps: the generator.
        on_done: called with its result, or with the exception that ended it.
    """

    __slots__ = ("_inside", "_on_done", "_ready", "_steps", "_value", "_waiting")

    def __init__(self, steps: Steps[Any], on_done: Callable[[Any, BaseException | None], None]) -> None:
        self._steps: Steps[Any] | None = steps
        self._on_done = on_done
        self._inside = False
        self._ready = False
        self._value: Any = None
        self._waiting = 0

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._steps is not None

    def start(self) -> None:
        """Begins; returns at the first wait that is not over at once."""
        self._advance(None)

    def cancel(self) -> None:
        """Ends it where it stands; `on_done` gets GeneratorExit."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()
            self._on_done(None, GeneratorExit())

    def _advance(self, value: Any) -> None:
        while self._steps is not None:
            try:
                wait = self._steps.send(value)
            except StopIteration as end:
                self._steps = None
                self._on_done(end.value, None)
                return
            except Exception as error:
                self._steps = None
                self._on_done(None, error)
                return
            self._waiting += 1
            self._inside, self._ready = True, False
            number = self._waiting

            def resume(result: Any, number: int = number) -> None:
                if number != self._waiting or self._ready:
                    return  # an answer that came after the wait was over
                if self._inside:
                    self._ready, self._value = True, result
                else:
                    self._waiting += 1
                    self._advance(result)

            wait(resume)
            self._inside = False
            if not self._ready:
                return
            value, self._value = self._value, None
