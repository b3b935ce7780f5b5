"""The life of an agreement: which action leads from which state to which, and what else each does.

Every action first lets the clock come to now, so that nothing is done to a state that is over. From acceptance on the clock moves
the agreement by itself (`clock.CLOCK`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.domain.agreements.clock import Happened, advance, as_of, renewed, renews, start_of
from chargeplane.domain.agreements.model import (
    SIGNING,
    Acceptance,
    Agreement,
    AgreementState,
    Notice,
    PartyRole,
    RenewalMode,
    Suspension,
    Terms,
    Version,
    VersionState,
    content_hash,
    version_at,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError

S = AgreementState
_Doing: TypeAlias = "Callable[[Agreement, Wish, AgreementState, datetime], Agreement]"


class Action(enum.StrEnum):
    """What can be done to an agreement; the last part of its address."""

    PROPOSE = "propose"
    ACCEPT = "accept"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    CANCEL = "cancel"
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    END = "end"
    REINSTATE = "reinstate"
    RENEW = "renew"
    CLOSE = "close"


TABLE: Final[Mapping[tuple[AgreementState, Action], AgreementState]] = {
    (S.DRAFT, Action.PROPOSE): S.PROPOSED,
    (S.DRAFT, Action.CANCEL): S.CANCELED,
    (S.PROPOSED, Action.ACCEPT): S.ACCEPTED,  # stays proposed until the last signing party has
    (S.PROPOSED, Action.REJECT): S.REJECTED,
    (S.PROPOSED, Action.WITHDRAW): S.WITHDRAWN,
    (S.PROPOSED, Action.CANCEL): S.CANCELED,
    (S.ACCEPTED, Action.ACTIVATE): S.ACTIVE,
    (S.ACCEPTED, Action.CANCEL): S.CANCELED,
    (S.ACTIVE, Action.SUSPEND): S.SUSPENDED,
    (S.ACTIVE, Action.RENEW): S.ACTIVE,
    (S.ACTIVE, Action.END): S.ENDING,
    (S.SUSPENDED, Action.RESUME): S.ACTIVE,
    (S.SUSPENDED, Action.RENEW): S.SUSPENDED,
    (S.SUSPENDED, Action.END): S.ENDING,
    (S.ENDING, Action.REINSTATE): S.ACTIVE,
    (S.ENDED, Action.CLOSE): S.CLOSED,
}
"""The whole of what can be done by hand."""

TOPICS: Final[Mapping[Action, str]] = {
    Action.PROPOSE: "proposed",
    Action.ACCEPT: "accepted",
    Action.REJECT: "rejected",
    Action.WITHDRAW: "withdrawn",
    Action.CANCEL: "canceled",
    Action.ACTIVATE: "activated",
    Action.SUSPEND: "suspended",
    Action.RESUME: "resumed",
    Action.END: "ending",
    Action.REINSTATE: "reinstated",
    Action.RENEW: "renewed",
    Action.CLOSE: "closed",
}
"""What is told of an action that was done: the fact `agreement.<this>`."""


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be done.

    Args:
        role: who does it. Of a proposal, who makes the offer and so accepts it (the provider unless given); of an acceptance, who accepts (the
            other one); of an end, who gives notice.
        signed_by: the person who accepts.
        by: who tells us, as the audit log names callers.
        ends_at: of an end: when; None: as soon as the notice allows.
        waive_notice: of an end: the parties agree on an earlier one.
    """

    action: Action
    by: str
    role: PartyRole | None = None
    signed_by: str | None = None
    reason: str | None = None
    ends_at: datetime | None = None
    waive_notice: bool = False


def allowed(agreement: Agreement) -> tuple[Action, ...]:
    """What can be done to an agreement as it is, in the order of the table."""
    return tuple(action for state, action in TABLE if state is agreement.state)


def refusal(agreement: Agreement, tried: str) -> ConflictError:
    """The error of something that the state forbids, with what is allowed instead."""
    may = ", ".join(allowed(agreement)) or "nothing: it is over"
    return ConflictError(
        f"Agreement '{agreement.number}' is {agreement.state.value} and cannot {tried}. Allowed: {may}."
    )


def act(agreement: Agreement, wish: Wish, now: datetime) -> tuple[Agreement, tuple[Happened, ...]]:
    """The agreement after an action, and what the clock does at once because of it.

    Raises:
        ConflictError: its state, as of now, forbids the action; the sentence says what it allows.
        InvalidInputError: a field of the wish is wrong.
    """
    agreement = as_of(agreement, now)
    state = TABLE.get((agreement.state, wish.action))
    if state is None:
        raise refusal(agreement, f"be {_DONE[wish.action]}")
    done = _DO[wish.action](agreement, wish, state, now)
    return advance(replace(done, state_reason=wish.reason), now)


def _propose(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    role = _signing(wish.role or PartyRole.PROVIDER)
    if agreement.ends_at is not None and agreement.ends_at <= now:
        raise InvalidInputError("The agreement would be over already.", (("/ends_at", "Must be in the future"),))
    first = _offered(agreement, agreement.versions[0], role, wish, now)
    return replace(agreement, state=state, versions=(first,))


def _offered(agreement: Agreement, version: Version, role: PartyRole, wish: Wish, now: datetime) -> Version:
    """A version as it is proposed: its content frozen, accepted by who offers it."""
    hashed = content_hash(agreement, version.terms, version.effective_at)
    return replace(
        version,
        state=VersionState.PROPOSED,
        proposed_by=role,
        proposed_at=now,
        hash=hashed,
        acceptances=(Acceptance(role=role, at=now, by=wish.by, signed_by=wish.signed_by, hash=hashed),),
    )


def _signing(role: PartyRole) -> PartyRole:
    if role not in SIGNING:
        sentence = "Must be provider or consumer: these two sign"
        raise InvalidInputError(f"'{role.value}' does not sign agreements. {sentence}.", (("/role", sentence),))
    return role


def _signed(version: Version, wish: Wish, now: datetime) -> Version:
    """A version with one acceptance more; accepted with the last one."""
    missing = tuple(role for role in SIGNING if role not in {one.role for one in version.acceptances})
    role = _signing(wish.role or missing[0])
    if role not in missing:
        raise ConflictError(f"The {role.value} has accepted already; the {missing[0].value} has not.")
    assert version.hash is not None  # it was proposed
    signed = (
        *version.acceptances,
        Acceptance(role=role, at=now, by=wish.by, signed_by=wish.signed_by, hash=version.hash),
    )
    complete = len(signed) == len(SIGNING)
    return replace(version, acceptances=signed, state=VersionState.ACCEPTED if complete else VersionState.PROPOSED)


def _accept(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    if agreement.ends_at is not None and agreement.ends_at <= now:
        raise ConflictError(
            f"Agreement '{agreement.number}' would have ended at {agreement.ends_at:%Y-%m-%dT%H:%M:%SZ}: it cannot be accepted"
            " any more. Allowed: withdraw, reject, cancel."
        )
    first = _signed(agreement.versions[0], wish, now)
    if first.state is not VersionState.ACCEPTED:
        return replace(agreement, versions=(first,))
    return replace(agreement, state=state, versions=(first,), accepted_at=now)


def _over(to: VersionState) -> _Doing:
    def done(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
        return replace(agreement, state=state, versions=(replace(agreement.versions[0], state=to),))

    return done


def _plain(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    return replace(agreement, state=state)


def _activate(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    return replace(agreement, state=state, starts_at=agreement.starts_at or now, begun_at=now)


def _suspend(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    return replace(agreement, state=state, suspensions=(*agreement.suspensions, Suspension(since=now)))


def _resume(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    past = tuple(replace(one, until=now) if one.until is None else one for one in agreement.suspensions)
    return replace(agreement, state=state, suspensions=past)


def _end(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    """Notice: not before `notice_days`, and not after the end of a term that does not renew by itself."""
    days = version_at(agreement, now).terms.notice_days
    earliest = now if wish.waive_notice else now + timedelta(days=days)
    wanted = wish.ends_at or now + timedelta(days=0 if wish.waive_notice else days)
    if wanted < earliest:
        sentence = f"Must be {earliest:%Y-%m-%dT%H:%M:%SZ} or later: " + (
            "it is over before now" if wish.waive_notice else f"the notice is {days} days; waive_notice goes without"
        )
        raise InvalidInputError(f"'ends_at' is wrong: {sentence}.", (("/ends_at", sentence),))
    before = agreement.ends_at
    if before is not None and not renews(agreement):
        wanted = min(wanted, before)
    return replace(agreement, state=state, ends_at=wanted, notice=Notice(at=now, role=wish.role, ends_before=before))


def _reinstate(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    notice = agreement.notice
    end = agreement.ends_at if notice is None else notice.ends_before
    return replace(_resume(agreement, wish, state, now), ends_at=end, notice=None)


def _renew(agreement: Agreement, wish: Wish, state: AgreementState, now: datetime) -> Agreement:
    renewal = version_at(agreement, now).terms.renewal
    if agreement.ends_at is None or renewal.mode is RenewalMode.NONE:
        why = "it has no end" if agreement.ends_at is None else "its terms know no renewal; propose an amendment"
        raise ConflictError(f"Agreement '{agreement.number}' cannot be renewed: {why}.")
    return renewed(agreement, agreement.ends_at, renewal.months)


_DO: Final[Mapping[Action, _Doing]] = {
    Action.PROPOSE: _propose,
    Action.ACCEPT: _accept,
    Action.REJECT: _over(VersionState.REJECTED),
    Action.WITHDRAW: _over(VersionState.WITHDRAWN),
    Action.CANCEL: _plain,
    Action.ACTIVATE: _activate,
    Action.SUSPEND: _suspend,
    Action.RESUME: _resume,
    Action.END: _end,
    Action.REINSTATE: _reinstate,
    Action.RENEW: _renew,
    Action.CLOSE: _plain,
}

_DONE: Final[Mapping[Action, str]] = {
    **TOPICS,
    Action.END: "ended",
}


# -- amendments ----------------------------------------------------------------------------------------------------

AMENDABLE: Final = frozenset({S.ACCEPTED, S.ACTIVE, S.SUSPENDED})
"""States in which other terms can be agreed on."""


def amend(agreement: Agreement, terms: Terms, effective_at: datetime | None, wish: Wish, now: datetime) -> Agreement:
    """The agreement with an amendment proposed: the whole terms of the next version.

    Args:
        effective_at: from when; None: from its acceptance.
    Raises:
        ConflictError: the state forbids it, or another amendment waits.
        InvalidInputError: it would take effect in the past, or after the end.
    """
    agreement = as_of(agreement, now)
    if agreement.state not in AMENDABLE:
        raise refusal(agreement, "be amended")
    waiting = agreement.open_amendment
    if waiting is not None:
        raise ConflictError(
            f"Version {waiting.version} of agreement '{agreement.number}' waits for acceptance. Allowed: accept, reject or"
            " withdraw it first."
        )
    if effective_at is not None:
        late = agreement.ends_at is not None and effective_at >= agreement.ends_at and not renews(agreement)
        if effective_at < now or late:
            sentence = "Must be before the agreement ends" if late else "Must not be in the past"
            raise InvalidInputError(f"'effective_at' is wrong: {sentence}.", (("/effective_at", sentence),))
    version = Version(
        version=len(agreement.versions) + 1,
        state=VersionState.DRAFT,
        terms=terms,
        effective_at=effective_at,
        reason=wish.reason,
    )
    offered = _offered(agreement, version, _signing(wish.role or PartyRole.PROVIDER), wish, now)
    return replace(agreement, versions=(*agreement.versions, offered))


def answer_amendment(
    agreement: Agreement, number: int, wish: Wish, now: datetime
) -> tuple[Agreement, tuple[Happened, ...]]:
    """The agreement after an amendment was accepted, rejected or withdrawn, and what the clock does at once because of it.

    An amendment whose day has passed when the last party accepts holds from its acceptance.

    Raises:
        ConflictError: it does not wait, or the agreement's state forbids it.
    """
    agreement = as_of(agreement, now)
    waiting = agreement.open_amendment
    if waiting is None or waiting.version != number:
        known = number <= len(agreement.versions) and agreement.versions[number - 1]
        state = f" it is {known.state.value}" if known else " there is none"
        raise ConflictError(f"Version {number} of agreement '{agreement.number}' does not wait for acceptance:{state}.")
    if agreement.state not in AMENDABLE and wish.action is Action.ACCEPT:
        raise refusal(agreement, "be amended")
    if wish.action is Action.ACCEPT:
        answered = _signed(waiting, wish, now)
        if answered.state is VersionState.ACCEPTED:
            answered = replace(answered, effective_at=max(answered.effective_at or now, now))
    else:
        to = VersionState.REJECTED if wish.action is Action.REJECT else VersionState.WITHDRAWN
        answered = replace(waiting, state=to)
    return advance(replace(agreement, versions=(*agreement.versions[:-1], answered)), now)


def superseded(agreement: Agreement, start: datetime, now: datetime) -> tuple[Agreement, tuple[Happened, ...]]:
    """An agreement whose place another takes from a moment on: it ends there, or is canceled where it would not begin before."""
    agreement = as_of(agreement, now)
    begins = start_of(agreement)
    if agreement.state is S.ACCEPTED and (begins is None or begins >= start):
        return replace(agreement, state=S.CANCELED, state_reason="superseded"), ()
    over = agreement.ends_at is not None and agreement.ends_at <= start and not renews(agreement)
    if over or agreement.state not in (S.ACCEPTED, S.ACTIVE, S.SUSPENDED, S.ENDING):
        return agreement, ()
    notice = Notice(at=now, role=None, ends_before=agreement.ends_at)
    state = agreement.state if agreement.state is S.ACCEPTED else S.ENDING
    ended = replace(agreement, state=state, ends_at=max(start, now), notice=notice, state_reason="superseded")
    return advance(ended, now)
