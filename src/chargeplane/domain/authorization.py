"""May this id token charge here, and who may stop what another began.

An unknown token is an answer, not an error; a refused one never costs the record of the energy that flowed anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from chargeplane.domain.messages import AuthorizationStatus, IdToken, IdTokenInfo


class IdTokenRecord(Struct, frozen=True, kw_only=True):
    """What we hold about an id token.

    Args:
        value: as registered; compared without case.
        type: OCPP 2.x IdTokenEnum word; None matches every type.
        status: OCPP's word; Accepted, Blocked, Expired, Invalid and any other the operator set.
        valid_from, valid_until: outside of these an accepted token is Expired (Invalid before its time).
        group_id: tokens of one group may stop each other's transactions (OCPP 2.0.1 C09).
        concurrent_limit: transactions the token may have open at once; None is no limit.
        concurrent_count: transactions it has open now, over all stations of the tenant.
        evse_ids: EVSEs of this station the token may use; empty is all.
    """

    value: str
    type: str | None = None
    status: AuthorizationStatus = AuthorizationStatus.ACCEPTED
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    group_id: str | None = None
    language: str | None = None
    personal_message: str | None = None
    concurrent_limit: int | None = None
    concurrent_count: int = 0
    evse_ids: tuple[int, ...] = ()


NO_AUTHORIZATION: Final = "NoAuthorization"
"""Type of the empty token a station sends where anyone may charge (OCPP 2.0.1 C02)."""

_UNKNOWN: Final = IdTokenInfo(status=AuthorizationStatus.UNKNOWN)
_FREE: Final = IdTokenInfo(status=AuthorizationStatus.ACCEPTED)


def token_key(value: str) -> str:
    """What id tokens are compared by: without case (OCPP 1.6 CiString20Type, 2.x identifierString)."""
    return value.casefold()


def same_token(one: IdToken | None, other: IdToken | None) -> bool:
    """Whether two presented tokens are the same; a type that one side lacks (1.6) matches any."""
    if one is None or other is None:
        return False
    if one.value.casefold() != other.value.casefold():
        return False
    return one.type is None or other.type is None or one.type.casefold() == other.type.casefold()


def matching(token: IdToken, records: Iterable[IdTokenRecord]) -> IdTokenRecord | None:
    """The record that a presented token means, or None.

    A token with a type matches records of that type (a record without a type is of every type); one without a type
    (1.6) matches any, an accepted record before others where the same value is registered under several types.
    """
    wanted = token.value.casefold()
    kind = token.type.casefold() if token.type is not None else None
    best: IdTokenRecord | None = None
    for record in records:
        if record.value.casefold() != wanted:
            continue
        if kind is not None and record.type is not None and record.type.casefold() != kind:
            continue
        if best is None or (
            record.status is AuthorizationStatus.ACCEPTED and best.status is not AuthorizationStatus.ACCEPTED
        ):
            best = record
    return best


def decide(
    record: IdTokenRecord | None,
    *,
    now: datetime,
    evse_ids: Sequence[int] = (),
    concurrent_count: int | None = None,
    starting: bool = True,
) -> IdTokenInfo:
    """What a station is told about a token.

    Args:
        record: None where we do not know the token.
        evse_ids: EVSEs it is asked for; empty is any.
        concurrent_count: open transactions of the token, the one asked for not among them; None takes the record's.
        starting: a transaction is to begin, so the concurrency limit applies; False for one that counts already.
    Returns:
        Unknown without a record (the bridge narrows it to Invalid in 1.6), the record's status where it is not
        Accepted, else Expired, ConcurrentTx or NotAllowedTypeEVSE by its rules, else Accepted. The group, language and
        message go with every answer about a known token (OCPP 2.0.1 C09.FR.02).
    Source: OCPP 1.6, 4.1 and 7.2; OCPP 2.0.1 C01, C07, C09.
    """
    if record is None:
        return _UNKNOWN
    status = record.status
    if status is AuthorizationStatus.ACCEPTED:
        if record.valid_until is not None and now >= record.valid_until:
            status = AuthorizationStatus.EXPIRED
        elif record.valid_from is not None and now < record.valid_from:
            status = AuthorizationStatus.INVALID
        elif record.evse_ids and evse_ids and not any(evse in record.evse_ids for evse in evse_ids):
            status = AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE
        elif starting and record.concurrent_limit is not None:
            count = record.concurrent_count if concurrent_count is None else concurrent_count
            if count >= record.concurrent_limit:
                status = AuthorizationStatus.CONCURRENT_TX
    return IdTokenInfo(
        status=status,
        valid_until=record.valid_until,
        group_id=record.group_id,
        language=record.language,
        personal_message=record.personal_message,
    )


def authorize(
    token: IdToken,
    records: Iterable[IdTokenRecord],
    *,
    now: datetime,
    evse_ids: Sequence[int] = (),
    starting: bool = True,
) -> IdTokenInfo:
    """What a station is told about a presented token, given the records that equal it without case.

    The arguments are those of `decide`. A NoAuthorization token needs no record: the station has been set up to let
    anyone charge (OCPP 2.0.1 C02).
    """
    if token.type == NO_AUTHORIZATION:
        return _FREE
    return decide(matching(token, records), now=now, evse_ids=evse_ids, starting=starting)


def may_stop(
    token: IdToken,
    started_by: IdToken | None,
    *,
    group_id: str | None,
    started_by_group_id: str | None,
) -> bool:
    """Whether a token may stop a transaction that another began: the same token, or one of the same group.

    Source: OCPP 1.6, 4.10 (parent id tag); OCPP 2.0.1 C01.FR.03, C09.FR.03. Who began is not known after a start
    without a token; then nobody's token stops it, only the EV, the operator or the station itself.
    """
    if same_token(token, started_by):
        return True
    return (
        group_id is not None
        and started_by_group_id is not None
        and group_id.casefold() == started_by_group_id.casefold()
    )
