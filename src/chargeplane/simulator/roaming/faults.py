"""What a simulated partner does wrong on command."""

from __future__ import annotations

from enum import StrEnum


class PartnerFault(StrEnum):
    """A fault of every answer but those to registration, until it is taken away."""

    SLOW = "slow"
    """Answers after `delay_s`."""
    FAILS = "fails"
    """HTTP 500 with a page of HTML."""
    REDIRECTS = "redirects"
    """HTTP 302 to another address."""
    BROKEN_JSON = "broken_json"
    """Half a body."""
    NO_ENVELOPE = "no_envelope"
    """The data alone."""
    WRONG_TYPES = "wrong_types"
    """Objects whose ids are lists and whose times are numbers."""
    WRONG_IDS = "wrong_ids"
    """Objects of another party."""
    LOOPING_PAGES = "looping_pages"
    """Each page of a list names itself as the next one."""
    REFUSES_TOKEN = "refuses_token"  # noqa: S105
    """HTTP 401, whatever the token."""
    SERVER_ERROR = "server_error"
    """HTTP 200 with status 3000."""
