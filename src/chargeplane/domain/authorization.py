"""May this id token charge here, and who may stop what another began.

An unknown token is an answer, not an error; a refused one never costs the record of the energy that flowed anyway.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct, structs

from chargeplane.domain.messages import AdditionalIdToken, AuthorizationStatus, IdToken, IdTokenInfo, TransactionLimits
from chargeplane.domain.token_rules import ANYWHERE, Here, TokenRules, fitting_evses, limits_of, restriction


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
        rules: what restricts it beyond its status.
        credit_wh, credit: what is left of a prepaid account, in Wh and in money; None: it is no prepaid one.
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
    rules: TokenRules | None = None
    credit_wh: Decimal | None = None
    credit: Decimal | None = None


NO_AUTHORIZATION: Final = "NoAuthorization"
"""Type of the empty token a station sends where anyone may charge (OCPP 2.0.1 C02)."""

KEY_CODE: Final = "KeyCode"
"""Type of a PIN or licence plate (OCPP 2.0.1 C04)."""

_UNKNOWN: Final = IdTokenInfo(status=AuthorizationStatus.UNKNOWN)
_INVALID: Final = IdTokenInfo(status=AuthorizationStatus.INVALID)
_FREE: Final = IdTokenInfo(status=AuthorizationStatus.ACCEPTED)
_SEPARATED: Final = frozenset({"MacAddress", "EVCCID", "eMAID"})
_SEPARATORS: Final = str.maketrans("", "", ":-. ")


class Asked(enum.Enum):
    """What a station asks for with an id token."""

    AUTHORIZE = "may it charge, or stop what it may stop"
    START = "a transaction begins with it"
    GO_ON = "a transaction that counts already goes on or ends"


def canonical(value: str, kind: str | None) -> str:
    """The id token without what its writers put in or leave out as they like: the separators of MAC addresses and eMAIDs."""
    if kind in _SEPARATED:
        return value.translate(_SEPARATORS) or value
    return value


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
    asked: Asked = Asked.AUTHORIZE,
    here: Here = ANYWHERE,
    additional: Sequence[AdditionalIdToken] = (),
) -> IdTokenInfo:
    """What a station is told about a token.

    Args:
        record: None where we do not know the token.
        evse_ids: EVSEs it is asked for; empty is any.
        concurrent_count: open transactions of the token, the one asked for not among them; None takes the record's.
        here: the station and its tenant's policy.
        additional: what was presented with the token.
    Returns:
        Unknown without a record (the bridge narrows it to Invalid in 1.6), the record's status where it is not
        Accepted, else the first of its rules that stands against it, else Accepted. The group, language and
        message go with every answer about a known token (OCPP 2.0.1 C09.FR.02).
    Source: OCPP 1.6, 4.1 and 7.2; OCPP 2.0.1 C01, C07, C09, C16.
    """
    if record is None:
        return _UNKNOWN
    status = record.status
    rules = record.rules
    starting = asked is not Asked.GO_ON
    if status is AuthorizationStatus.ACCEPTED:
        if record.valid_until is not None and now >= record.valid_until:
            status = AuthorizationStatus.EXPIRED
        elif record.valid_from is not None and now < record.valid_from:
            status = AuthorizationStatus.INVALID
        elif asked is Asked.START and is_master(record.group_id, here):
            status = AuthorizationStatus.INVALID  # C16.FR.03: it begins none
        elif record.evse_ids and evse_ids and not any(evse in record.evse_ids for evse in evse_ids):
            status = AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE
        elif starting:
            refused = (
                None if rules is None else restriction(rules, here, now=now, evse_ids=evse_ids, additional=additional)
            )
            if refused is not None:
                status = refused
            elif (record.credit_wh is not None and record.credit_wh <= 0) or (
                record.credit is not None and record.credit <= 0
            ):
                status = AuthorizationStatus.NO_CREDIT
            elif record.concurrent_limit is not None:
                count = record.concurrent_count if concurrent_count is None else concurrent_count
                if count >= record.concurrent_limit:
                    status = AuthorizationStatus.CONCURRENT_TX
    valid_until = record.valid_until
    cache_s = here.policy.cache_s
    if cache_s is not None:
        soon = now + timedelta(seconds=cache_s)
        valid_until = soon if valid_until is None else min(soon, valid_until)
    if rules is None and record.credit_wh is None and record.credit is None:
        return IdTokenInfo(
            status=status,
            valid_until=valid_until,
            group_id=record.group_id,
            language=record.language,
            personal_message=record.personal_message,
        )
    accepted = status is AuthorizationStatus.ACCEPTED
    if record.credit_wh is not None or record.credit is not None:
        valid_until = now  # OCPP 2.1 C17.FR.01, FR.02: how much is left is not the station's to remember
    return IdTokenInfo(
        status=status,
        valid_until=valid_until,
        group_id=record.group_id,
        language=record.language,
        personal_message=record.personal_message,
        language2=None if rules is None else rules.language2,
        charging_priority=None if rules is None else rules.charging_priority,
        evse_ids=_some_evses(rules, here) if accepted and rules is not None else (),
        limits=limits_of(rules, record.credit_wh, record.credit) if accepted and asked is Asked.START else None,
    )


def begun_with(token: IdToken, records: Iterable[IdTokenRecord]) -> TransactionLimits | None:
    """The limits of a transaction that a token begins; None where it has none."""
    record = matching(token, records)
    return None if record is None else limits_of(record.rules, record.credit_wh, record.credit)


def _some_evses(rules: TokenRules, here: Here) -> tuple[int, ...]:
    fitting = fitting_evses(rules, here)
    return () if fitting is None or len(fitting) == len(here.evse_types) else fitting


def is_master(group_id: str | None, here: Here) -> bool:
    """Whether tokens of a group are master passes at a station (OCPP 2.0.1 C16)."""
    master = here.policy.master_pass_group_id
    return master is not None and group_id is not None and group_id.casefold() == master.casefold()


def authorize(
    token: IdToken,
    records: Iterable[IdTokenRecord],
    *,
    now: datetime,
    evse_ids: Sequence[int] = (),
    asked: Asked = Asked.AUTHORIZE,
    here: Here = ANYWHERE,
    running: bool = False,
) -> IdTokenInfo:
    """What a station is told about a presented token, given the records that equal it without case.

    The arguments are those of `decide`. A NoAuthorization token needs no record: the station has been set up to let
    anyone charge (OCPP 2.0.1 C02); nor does one that the station vouches for itself, where the tenant trusts its type.

    Args:
        running: a transaction is open at the station.
    """
    kind = token.type
    if kind == NO_AUTHORIZATION:
        return _FREE
    record = matching(token, records)
    if record is None and kind is not None:
        if kind == KEY_CODE:
            return _INVALID  # C04.FR.01
        if kind in here.policy.trusted_types:
            return _FREE
    info = decide(record, now=now, evse_ids=evse_ids, asked=asked, here=here, additional=token.additional)
    if (
        kind is None
        and asked is Asked.AUTHORIZE
        and not running
        and record is not None
        and info.status is AuthorizationStatus.ACCEPTED
        and is_master(record.group_id, here)
    ):
        # OCPP 1.6 knows no master pass and asks in one way only: where nothing runs, it could only begin something.
        return structs.replace(info, status=AuthorizationStatus.INVALID)
    return info


def may_stop(
    token: IdToken,
    started_by: IdToken | None,
    *,
    group_id: str | None,
    started_by_group_id: str | None,
    here: Here = ANYWHERE,
) -> bool:
    """Whether a token may stop a transaction that another began: the same token, one of the same group, or a master pass.

    Source: OCPP 1.6, 4.10 (parent id tag); OCPP 2.0.1 C01.FR.03, C09.FR.03, C16. Who began is not known after a start
    without a token; then nobody's token stops it, only the EV, the operator or the station itself.
    """
    if same_token(token, started_by) or is_master(group_id, here):
        return True
    return (
        group_id is not None
        and started_by_group_id is not None
        and group_id.casefold() == started_by_group_id.casefold()
    )
