"""The worker of changes of variables: it outlives whatever happens to the database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from chargeplane.app.variable_changes import VariableChanges
from chargeplane.kernel.errors import UnavailableError


class Flaky:
    """A database that fails so often, and then tells that it was asked once more."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked_again = asyncio.Event()

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Any]:
        if self.errors:
            raise self.errors.pop(0)
        self.asked_again.set()
        raise UnavailableError("It is away.")
        yield


@pytest.mark.parametrize("error", [UnavailableError("It is away."), ValueError("something nobody thought of")])
async def test_changes_are_looked_for_again_after_an_error(error: Exception) -> None:
    database = Flaky(error)
    unused = cast("Any", None)
    changes = VariableChanges(cast("Any", database), unused, unused, unused, unused)
    await changes.start()
    for _ in range(100):  # woken, so that the test need not wait for the next look
        changes.look()
        if database.asked_again.is_set():
            break
        await asyncio.sleep(0.01)
    asked_again = database.asked_again.is_set()  # the end asks as well
    await changes.stop()
    assert asked_again
