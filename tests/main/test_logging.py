"""The server's own log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from chargeplane.main.config import LogFormat, LogLevel
from chargeplane.main.logging import configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_one_json_object(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    structlog.get_logger().info("station connected", station_id="CS\n1", tenant=None)
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("at").endswith("Z")
    assert record == {"level": "info", "event": "station connected", "station_id": "CS\n1", "tenant": None}


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure_logging(level=LogLevel.WARNING, stream=stream)
    structlog.get_logger().info("no")
    logging.getLogger("library").info("no")
    structlog.get_logger().warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_lines_of_libraries_come_out_in_the_same_form(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    logging.getLogger("asyncio").warning("took %d s", 3)
    record = json.loads(stream.getvalue())
    assert (record["event"], record["level"], record["logger"]) == ("took 3 s", "warning", "asyncio")


def test_an_exception_is_told_in_its_line(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    try:
        raise ValueError("odd")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: odd" in json.loads(line)["exception"]


def test_what_has_no_json_form_is_written_as_its_repr(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    structlog.get_logger().info("odd", value=object)
    assert json.loads(stream.getvalue())["value"] == "<class 'object'>"


def test_text_is_for_people(stream: io.StringIO) -> None:
    configure_logging(form=LogFormat.TEXT, stream=stream)
    structlog.get_logger().info("ready", port=9000)
    assert "ready" in stream.getvalue()
    assert "port=9000" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
