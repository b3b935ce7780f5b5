"""Id tokens for decisions: from memory where they were asked for lately, else many stations' questions in one query.

What is in memory may be stale, and nobody tells this process. So a decision by it rests on a premise (`store/commit`): the batch that
writes the decision reads the token's rows again, and where they changed it writes nothing of that decision, which is then made
anew. A record that was just read needs no such proof. Two kinds are never kept: tokens with a limit of concurrent
transactions, whose count changes without their rows, and tokens nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from msgspec import Struct

from chargeplane.domain.authorization import IdTokenRecord, token_key
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.domain.token_rules import TokenRules
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import storable
from chargeplane.store.commit import Premise
from chargeplane.store.commit.committer import ONE_PLAN
from chargeplane.store.commit.fields import int4, int8, text
from chargeplane.store.commit.tables import ID_TOKEN_MATCH, ID_TOKEN_VERSION
from chargeplane.store.held import EFFECTIVE_CONCURRENT, EFFECTIVE_CREDIT_WH, EFFECTIVE_STATUS

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger(__name__)

TokenCallback = Callable[[tuple[IdTokenRecord, ...]], None]

_decode_rules = msgspec.json.Decoder(TokenRules).decode

_QUERY = f"""
SELECT q.ordinality, t.id_token, t.type, {EFFECTIVE_STATUS}, t.valid_from, t.valid_until, t.group_id, t.language,
       t.personal_message,
       {EFFECTIVE_CONCURRENT}, t.rules::text, {EFFECTIVE_CREDIT_WH}, t.credit,
       CASE WHEN {EFFECTIVE_CONCURRENT} IS NULL THEN 0 ELSE
           (SELECT count(*) FROM open_transaction o WHERE o.tenant_id = q.tenant_id AND o.token_key = q.token_key) END,
       {ID_TOKEN_VERSION}
FROM unnest($1::int4[], $2::text[]) WITH ORDINALITY AS q(tenant_id, token_key, ordinality)
JOIN id_token t ON {ID_TOKEN_MATCH.replace("{q}", "q")}
"""  # noqa: S608 - constants only

_MOST_RECORDS: Final = 4
"""Records of one token (it has one a type) up to which it is kept."""


class KnownToken(Struct, frozen=True):
    """A token in memory.

    Args:
        records: one a type.
        premise: that they are still what the store holds.
    """

    records: tuple[IdTokenRecord, ...]
    premise: Premise


class TokenReader:
    """Answers `known` from memory, and `lookup` by call-back, with one query in flight and everything asked meanwhile in the next.

    While the database is away the questions wait; nobody is told "unknown" because of it.

    Args:
        connect: opens a connection for this reader alone.
        memory: tokens in memory at most, those used last; about a kilobyte each.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, memory: int = 20_000) -> None:
        self._connect = connect
        self._generation = memory // 2
        self._db: Connection | None = None
        self._waiting: list[tuple[TenantId, str, TokenCallback]] = []
        self._task: asyncio.Task[None] | None = None
        self._young: dict[tuple[TenantId, str], KnownToken] = {}
        self._old: dict[tuple[TenantId, str], KnownToken] = {}

    def known(self, tenant: TenantId, value: str) -> KnownToken | None:
        """What memory holds of a token; whoever decides by it must submit its premise with the decision."""
        key = (tenant, token_key(value))
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is None:
                return None
            self._keep(key, found)
        if not found.premise.holds:
            del self._young[key]
            return None
        return found

    def forget(self) -> None:
        """Empties the memory."""
        self._young.clear()
        self._old.clear()

    def _keep(self, key: tuple[TenantId, str], token: KnownToken) -> None:
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[key] = token

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
                        await self._db.execute(ONE_PLAN)
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
            found: dict[int, list[Record]] = {}
            for row in rows:
                found.setdefault(row[0], []).append(row)
            for position, (tenant, value, callback) in enumerate(asked, 1):
                held = found.get(position)
                if held is None:
                    callback(())
                    continue
                records = tuple([_record(row) for row in held])
                if len(records) <= _MOST_RECORDS and all(record.concurrent_limit is None for record in records):
                    key = token_key(value)
                    version = reduce(xor, [row[14] for row in held])
                    self._keep((tenant, key), KnownToken(records, Premise((int4(tenant), text(key), int8(version)))))
                callback(records)
        self._task = None


def _record(row: Record) -> IdTokenRecord:
    return IdTokenRecord(
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
