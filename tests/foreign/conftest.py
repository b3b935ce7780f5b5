"""One server for the foreign stations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.foreign.house", "tests.foreign.stations")

from tests.foreign.house import Address, served  # noqa: E402


@pytest.fixture(scope="package")
def address() -> Iterator[Address]:
    """A server of these tests' own."""
    yield from served()
