"""The error tree.

    ChargeplaneError
    ├── RuleError               understood and refused by a rule of the house
    │   ├── InvalidInputError   a value a caller gave is wrong; carries a pointer per field
    │   ├── NotFoundError       no such object (for this caller)
    │   ├── ConflictError       the object exists or is in a state that forbids it
    │   ├── ForbiddenError      the caller may not
    │   ├── UnauthenticatedError   nobody proved who they are
    │   └── ThrottledError      tried too often; carries how long to wait
    ├── PeerError               a station or partner broke its protocol
    ├── LocalProtocolError      we tried to break a protocol: a bug of ours
    └── UnavailableError        cannot be done now, retry later (the only one that is retried)

They hold no HTTP, OCPP or OCPI code: each edge has one table from class to code. "Refused" on the wire
(`status: Rejected`) is a value, not an exception.
"""

from __future__ import annotations


class ChargeplaneError(Exception):
    """Root of every error the project raises on purpose."""


class RuleError(ChargeplaneError):
    """Understood and refused: the sentence says which rule and what would be allowed."""


class InvalidInputError(RuleError):
    """A value a caller gave is wrong.

    Args:
        message: one sentence that names the object and what to do.
        fields: (JSON pointer, sentence) per wrong field.
    """

    def __init__(self, message: str, fields: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields


class NotFoundError(RuleError):
    """No such object, or none that this caller may see."""

    def __init__(self, kind: str, ident: str) -> None:
        super().__init__(f"There is no {kind} '{ident}'.")
        self.kind = kind
        self.ident = ident


class ConflictError(RuleError):
    """The object's present state forbids what was asked; the sentence says what is allowed instead."""


class ForbiddenError(RuleError):
    """The caller is known and may not do this."""


class UnauthenticatedError(RuleError):
    """Nobody proved who they are, or not in the way that was asked for."""


class ThrottledError(RuleError):
    """Tried too often.

    Args:
        wait_s: seconds until it may be tried again.
    """

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class PeerError(ChargeplaneError):
    """A station or partner broke its protocol."""


class LocalProtocolError(ChargeplaneError):
    """We tried to break a protocol: a bug of ours, never the peer's fault."""


class UnavailableError(ChargeplaneError):
    """Cannot be done now; the same call may succeed later."""
