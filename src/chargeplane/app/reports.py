"""What stations report besides transactions, handed to the subject it belongs to, after it was committed.

A notice that something follows from (a firmware status, a part of a report, a security event) is written together with a fact of
the outbox. The fact is handed to the handler of its type, in order per station, at least once, and again until the handler
succeeds. So a subject writes its own tables in its own time, off the path of the messages, and loses nothing by a crash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
from msgspec import Struct

from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import StationId, StationKey, TenantId
from chargeplane.store.outbox import Fact, OutboxWorker, Topic

_PREFIX: Final = "station."


class Place(Struct, frozen=True, kw_only=True):
    """Which station reports, and when.

    Args:
        received_at: our time of the message, aware UTC.
        fact_id: the same whenever the same report is handed over again; 0 for a question.
    """

    tenant_id: TenantId
    key: StationKey
    station_id: StationId
    received_at: datetime
    fact_id: int = 0


class _Envelope(Struct, frozen=True, kw_only=True):
    key: StationKey
    station_id: StationId
    received_at: datetime
    report: msgspec.Raw


R = TypeVar("R", bound=Struct)

ReportHandler = Callable[[Place, R], Awaitable[None]]
"""Takes a report. It may get the same one again. RuleError: never again; any other error: again later."""

_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_encode: Final = msgspec.json.Encoder().encode


def topic_of(report: Struct) -> str:
    """The outbox topic of a report."""
    return f"{_PREFIX}{report.__struct_config__.tag}"


def as_fact(key: StationKey, station_id: StationId, received_at: datetime, report: Struct) -> tuple[str, str, bytes]:
    """Topic, key and payload of the fact that carries a report."""
    payload = _encode(
        {"key": key, "station_id": station_id, "received_at": received_at, "report": report},
    )
    return topic_of(report), f"station {key}", payload


class Reports:
    """Who takes which report."""

    def __init__(self, outbox: OutboxWorker) -> None:
        self._outbox = outbox

    def take(
        self, kind: type[R], handler: ReportHandler[R], *, max_attempts: int = 14, timeout_s: float = 30.0
    ) -> None:
        """Has a handler take all reports of a type, a tagged struct, from now on; those that waited for it too."""
        decode: Callable[[Any], R] = msgspec.json.Decoder(kind).decode

        async def hand_over(fact: Fact) -> None:
            try:
                envelope = _envelope(fact.payload)
                report = decode(envelope.report)
            except (
                msgspec.MsgspecError
            ) as error:  # it would never be another: what the station tells later must not wait
                raise RuleError(f"The report cannot be read: {error}") from error
            place = Place(
                tenant_id=TenantId(fact.tenant_id),
                key=envelope.key,
                station_id=envelope.station_id,
                received_at=envelope.received_at,
                fact_id=fact.id,
            )
            try:
                await handler(place, report)
            except asyncpg.DataError as error:  # a number no column holds: the database will never take it
                raise RuleError(f"The database refuses what the report says: {error}") from error

        name = f"{_PREFIX}{kind.__struct_config__.tag}"
        self._outbox.register(
            name, Topic(handler=hand_over, max_attempts=max_attempts, timeout_s=timeout_s, first_retry_s=0.5)
        )

    def hint(self) -> None:
        """A report was committed: it is looked for at once."""
        self._outbox.hint()
