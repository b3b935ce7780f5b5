"""Fixtures for all rings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from chargeplane.main.limits import raise_descriptor_limit
from tests.support import postgres

pytest.register_assert_rewrite("tests.faults.town")

# How long an example takes says something of the machine, which others use too, and nothing of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    raise_descriptor_limit()  # a thousand stations and their server in one process
    if not hasattr(config, "workerinput"):
        postgres.begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        postgres.end_run()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.TestServer]:
    """The run's PostgreSQL cluster; not durable."""
    server = postgres.TestServer(Path(os.environ[postgres.RUN_VARIABLE]))
    yield server
    server.close()


@pytest.fixture
def database_url(postgres_server: postgres.TestServer) -> Iterator[str]:
    """URL of a fresh database with all migrations, for one test; dropped afterwards."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: postgres.TestServer) -> Iterator[str]:
    """URL of a fresh database without any table, for one test; dropped afterwards."""
    with postgres_server.database(template="template1") as url:
        yield url


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A new data folder for a test's own EmbeddedPostgres; whatever runs in it is stopped and it is removed."""
    folder = postgres.make_data_dir()
    yield folder
    postgres.remove_data_dir(folder)
