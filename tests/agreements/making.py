"""Agreements made in a line, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chargeplane.domain.agreements.model import (
    Agreement,
    AgreementKind,
    AgreementState,
    Party,
    PartyKind,
    PartyRole,
    ScopeEntry,
    ScopeKind,
    Terms,
    Version,
    VersionState,
)
from chargeplane.domain.agreements.states import Action, Wish, act

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def later(days: float) -> datetime:
    return NOON + timedelta(days=days)


def wish(action: Action, **more: Any) -> Wish:
    return Wish(action=action, by="test", **more)


def scoped(
    *entries: tuple[ScopeKind, str | None], exclude: tuple[tuple[ScopeKind, str | None], ...] = ()
) -> tuple[ScopeEntry, ...]:
    return (
        *(ScopeEntry(kind=kind, value=value) for kind, value in entries),
        *(ScopeEntry(kind=kind, value=value, exclude=True) for kind, value in exclude),
    )


def draft(ident: int = 1, *, terms: Terms = Terms(), **more: Any) -> Agreement:  # noqa: B008
    values: dict[str, Any] = {
        "kind": AgreementKind.DRIVER_PLAN,
        "parties": (
            Party(role=PartyRole.PROVIDER, kind=PartyKind.HOUSE),
            Party(role=PartyRole.CONSUMER, kind=PartyKind.DRIVER, id="d1"),
        ),
        **more,
    }
    return Agreement(
        id=ident,
        number=f"A-{ident}",
        state=AgreementState.DRAFT,
        currency="EUR",
        time_zone="Europe/Berlin",
        versions=(Version(version=1, state=VersionState.DRAFT, terms=terms),),
        **values,
    )


def accepted(ident: int = 1, at: datetime = NOON, **more: Any) -> Agreement:
    """Accepted at a moment, and what the clock made of it."""
    made = draft(ident, **{"starts_at": at, **more})
    made, _ = act(made, wish(Action.PROPOSE), at)
    made, _ = act(made, wish(Action.ACCEPT), at)
    return made
