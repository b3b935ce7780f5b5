"""Fixtures of REST's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.rest import Rest, running_rest


@pytest.fixture
async def rest(database_url: str) -> AsyncIterator[Rest]:
    """The running server with the admin's client."""
    async with running_rest(database_url) as running:
        yield running
