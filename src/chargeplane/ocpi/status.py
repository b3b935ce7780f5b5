"""Status codes of the envelope (OCPI 2.3.0 status_codes)."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """How a request was handled; 1xxx well, 2xxx the client's fault, 3xxx the server's, 4xxx on a hub's way.

    Others exist: 19xx, 29xx, 39xx and 49xx are anybody's own. Whoever reads one takes its thousand.
    """

    SUCCESS = 1000
    CLIENT_ERROR = 2000
    INVALID_PARAMETERS = 2001
    NOT_ENOUGH_INFORMATION = 2002
    UNKNOWN_LOCATION = 2003
    UNKNOWN_TOKEN = 2004
    SERVER_ERROR = 3000
    UNUSABLE_API = 3001
    """The server could not use the client's API while it registered."""
    UNSUPPORTED_VERSION = 3002
    NO_MATCHING_ENDPOINTS = 3003
    HUB_ERROR = 4000
    UNKNOWN_RECEIVER = 4001
    TIMEOUT_ON_FORWARD = 4002
    CONNECTION_PROBLEM = 4003


def is_success(code: int) -> bool:
    """Whether a code says that all went well."""
    return 1000 <= code < 2000


def is_for_good(code: int) -> bool:
    """Whether the same request would be refused again: the client's own fault."""
    return 2000 <= code < 3000
