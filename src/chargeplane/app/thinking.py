"""Waiting for somebody's answer to a station's question."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.house import Desk
from chargeplane.app.reports import Place
from chargeplane.kernel.errors import UnavailableError

_ANSWER_WITHIN_S: Final = 25.0
"""Below what stations wait for an answer, commonly 30 s."""

_ASK_AGAIN_S: Final = 1.0

log = structlog.get_logger(__name__)


async def think(desk: Desk, place: Place, asks: Struct) -> Struct | None:
    """The desk's answer; None where it has none, fails, or takes too long. While the database is away it is asked again."""
    while True:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                return await desk(place, asks)
        except TimeoutError:
            log.warning("question_not_answered_in_time", station=place.station_id, asks=type(asks).__name__)
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not we were cancelled but what the desk waited for: the station must not wait for ever.
            log.warning("question_given_up", station=place.station_id, asks=type(asks).__name__)
            return None
        except Exception as error:
            # Not `is_unavailable`: what a desk asks besides the database may refuse a connection for ever.
            if not isinstance(error, UnavailableError):
                log.exception("question_not_answered", station=place.station_id, asks=type(asks).__name__)
                return None
        await asyncio.sleep(_ASK_AGAIN_S)
