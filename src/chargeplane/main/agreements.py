"""Service agreements: made and wired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chargeplane.app.agreements.agreements import Agreements
from chargeplane.app.agreements.facts import TOPICS
from chargeplane.app.agreements.following import Following
from chargeplane.app.agreements.ports import Charges, Drivers
from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.agreements.usage import Usage
from chargeplane.main.config import Role

if TYPE_CHECKING:
    from chargeplane.main.subjects import Parts


@dataclass(frozen=True, kw_only=True)
class AgreementParts:
    """Their use cases."""

    agreements: Agreements
    resolving: Resolving
    usage: Usage
    following: Following


async def start_agreements(
    parts: Parts,
    *,
    drivers: Drivers | None = None,
    charges: Charges | None = None,
) -> AgreementParts:
    """Makes and starts them.

    Args:
        drivers, charges: what others know; without them id tokens are nobody's and nothing was rated.
    """
    database, outbox = parts.database, parts.outbox
    following = Following(
        database,
        parts.events,
        jobs=parts.config.role in (Role.ALL, Role.JOBS),
        drivers=drivers,
        told=outbox.hint,
        every_s=parts.config.agreements.look_every_s,
    )
    parts.facts.declare(TOPICS)
    parts.facts.subscribe("agreements", TOPICS, following.follow, first_retry_s=1.0)
    await following.start()
    parts.on_stop.append(following.stop)
    return AgreementParts(
        agreements=Agreements(database, outbox.hint),
        resolving=Resolving(database, drivers),
        usage=Usage(database, drivers, charges),
        following=following,
    )
