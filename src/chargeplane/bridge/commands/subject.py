"""What one subject's module tells about its commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from chargeplane.domain.commands import CommandState
from chargeplane.ocpp.versions import OcppVersion

ToCall = Callable[[Any], tuple[str, Struct]]
"""A command as the action and the request of a version.

Raises InvalidInputError where a value does not fit the version, RuleError where the version cannot do it.
"""


class Understood(Struct, frozen=True, kw_only=True):
    """What an answer says that has no status word, or more than one.

    Args:
        status: a word for it.
        reason: one sentence for a person where the station does not do what was asked.
        reply: the domain's struct of what it told.
    """

    state: CommandState
    status: str | None = None
    reason: str | None = None
    reply: Struct | None = None


class Subject(Struct, frozen=True, kw_only=True):
    """The commands of one subject on the wire.

    Args:
        calls: by version, how each command is written. A command that a version lacks is refused.
        lacks: the sentence for a command that a version lacks; what is possible instead.
        reasons: what a status word means after a command, for a person.
        soon: what is still to come where the station answered Scheduled.
        replies: by version, what an answer tells beyond its status word: from the payload, which was decoded by nobody so far
            and may be anything, to the domain's struct or None.
        answers: the same for answers without one status word of their own; msgspec errors are taken for an unusable answer.
        told: the same where the answer is understood only together with the question: from the command and the payload.
    """

    calls: Mapping[OcppVersion, Mapping[type, ToCall]]
    lacks: Mapping[tuple[OcppVersion, type], str] = {}
    reasons: Mapping[tuple[type, str], str] = {}
    soon: Mapping[type, str] = {}
    replies: Mapping[OcppVersion, Mapping[type, Callable[[bytes], Struct | None]]] = {}
    answers: Mapping[OcppVersion, Mapping[type, Callable[[bytes], Understood]]] = {}
    told: Mapping[OcppVersion, Mapping[type, Callable[[Any, bytes], Understood]]] = {}
