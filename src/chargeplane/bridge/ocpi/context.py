"""What a conversion must know beyond the document."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from chargeplane.ocpi.v2_3_0.enums import Role

Tree = dict[str, Any]
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")


class Party(Struct, frozen=True):
    """A party: what OCPI 2.1.1 has in URLs only.

    Args:
        country_code: ISO 3166-1 alpha-2.
        party_id: three characters.
    """

    country_code: str
    party_id: str


def nothing(*_: str) -> Tree | None:
    """A look-up that finds nothing."""
    return None


def reservation_number(reservation_id: str) -> int:
    """The number of a reservation where OCPI 2.1.1 asks for one: the id itself if it is one, else made from it, always the same."""
    if _NUMBER.fullmatch(reservation_id):
        return int(reservation_id)
    return zlib.crc32(reservation_id.encode("utf-8", "replace")) & 0x7FFF_FFFF


class Context(Struct, frozen=True, kw_only=True):
    """What 2.1.1 says elsewhere or not at all. All of it may lack; what then must be made up is told.

    Args:
        owner: whose the object is: from the URL, or the partner itself.
        token_owner: whose the tokens in sessions, CDRs and commands are: the eMSP of the connection.
        peer_role: what the partner is, for its credentials and endpoints.
        find_location: (location id, EVSE uid, connector id) -> canonical tree of the Location, whole; "" where a level is not known.
        find_token: auth id (contract id) of 2.1.1 -> canonical tree of the Token.
        asked_token: canonical tree of the token that an authorisation asked for.
        reservation_number: reservation id -> the number that 2.1.1 wants.
        timeout_s: seconds a partner of 2.1.1 is given for a command; it names none.
    """

    owner: Party | None = None
    token_owner: Party | None = None
    peer_role: Role | None = None
    find_location: Callable[[str, str, str], Tree | None] = nothing
    find_token: Callable[[str], Tree | None] = nothing
    asked_token: Tree | None = None
    reservation_number: Callable[[str], int] = reservation_number
    timeout_s: int = 30


NO_CONTEXT = Context()
