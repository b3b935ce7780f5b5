"""The server's own log: structlog, JSON lines or coloured text, to standard error.

A line below the level costs one call to a function that does nothing. Lines of libraries that use the standard library's
logging (uvicorn, alembic, nats, asyncio) come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from chargeplane.main.config import LogFormat, LogLevel

_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}

# These tell each request or frame at INFO; the message log and the metrics do that better.
_CHATTY = ("uvicorn", "alembic", "sqlalchemy", "picows", "nats", "httpx")


def _json_line(_logger: object, _name: str, event: EventDict) -> str:
    """One JSON object; what has no JSON form is written as its repr, so that a log line never raises."""
    first = {"at": event.pop("timestamp", None), "level": event.pop("level", None), "event": event.pop("event", None)}
    return msgspec.json.encode({**first, **event}, enc_hook=repr).decode()


def configure_logging(
    level: LogLevel = LogLevel.INFO, form: LogFormat = LogFormat.AUTO, stream: TextIO | None = None
) -> None:
    """Sets up structlog and the standard library's logging for this process.

    Args:
        level: the least important line that is written.
        form: `auto` takes coloured text where the stream is a terminal, else JSON lines.
        stream: standard error where None.
    """
    out = sys.stderr if stream is None else stream
    text = form is LogFormat.TEXT or (form is LogFormat.AUTO and out.isatty())
    threshold = _LEVELS[level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if text else "iso", utc=not text),
        structlog.processors.StackInfoRenderer(),
    ]
    render: list[Processor]
    if text:
        render = [structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=36)]
    else:
        render = [structlog.processors.format_exc_info, structlog.processors.UnicodeDecoder(), _json_line]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
