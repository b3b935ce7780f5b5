"""Looking id tokens up for a decision, many stations' questions in one query and never from a cache that could be stale."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import structlog

from chargeplane.domain.authorization import IdTokenRecord, token_key
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.domain.token_rules import TokenRules
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import storable

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger(__name__)

TokenCallback = Callable[[tuple[IdTokenRecord, ...]], None]

_decode_rules = msgspec.json.Decoder(TokenRules).decode

_QUERY = """
SELECT q.ordinality, t.id_token, t.type, t.status, t.valid_from, t.valid_until, t.group_id, t.language, t.personal_message,
       t.concurrent_limit, t.rules::text, t.credit_wh, t.credit,
       CASE WHEN t.concurrent_limit IS NULL THEN 0 ELSE
           (SELECT count(*) FROM open_transaction o WHERE o.tenant_id = q.tenant_id AND o.token_key = q.token_key) END
FROM unnest($1::int4[], $2::text[]) WITH ORDINALITY AS q(tenant_id, token_key, ordinality)
JOIN id_token t ON t.tenant_id = q.tenant_id AND t.token_key = q.token_key
"""


class TokenReader:
    """Answers `lookup` by call-back, with one query in flight and everything asked meanwhile in the next.

    While the database is away the questions wait; nobody is told "unknown" because of it.

    Args:
        connect: opens a connection for this reader alone.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._db: Connection | None = None
        self._waiting: list[tuple[TenantId, str, TokenCallback]] = []
        self._task: asyncio.Task[None] | None = None

    def lookup(self, tenant: TenantId, value: str, callback: TokenCallback) -> None:
        """Calls back, later, with every record of the tenant whose id equals `value` without case (one a type; often none or
        one). Text that the database could not hold matches nothing."""
        if not storable(value):
            asyncio.get_running_loop().call_soon(callback, ())
            return
        self._waiting.append((tenant, value, callback))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve(), name="token-reader")

    async def stop(self) -> None:
        """Closes the connection; questions still open are never answered."""
        if self._task is not None:
            self._task.cancel()
        if self._db is not None:
            self._db.terminate()

    async def _serve(self) -> None:
        delay = 0.05
        while self._waiting:
            asked = self._waiting
            self._waiting = []
            while True:
                try:
                    if self._db is None or self._db.is_closed():
                        self._db = await self._connect()
                    rows = await self._db.fetch(
                        _QUERY, [tenant for tenant, _, _ in asked], [token_key(value) for _, value, _ in asked]
                    )
                    break
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    log.error("token_lookup_delayed", error=str(error) or type(error).__name__, waiting=len(asked))
                    if self._db is not None:
                        self._db.terminate()
                        self._db = None
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, 2.0)
            found: dict[int, list[IdTokenRecord]] = {}
            for row in rows:
                found.setdefault(row[0], []).append(
                    IdTokenRecord(
                        value=row[1],
                        type=row[2],
                        status=AuthorizationStatus(row[3]),
                        valid_from=row[4],
                        valid_until=row[5],
                        group_id=row[6],
                        language=row[7],
                        personal_message=row[8],
                        concurrent_limit=row[9],
                        rules=None if row[10] is None else _decode_rules(row[10]),
                        credit_wh=row[11],
                        credit=row[12],
                        concurrent_count=row[13],
                    )
                )
            for position, (_, _, callback) in enumerate(asked, 1):
                callback(tuple(found.get(position, ())))
        self._task = None
