"""What a virtual station remembers of id tokens: its local list and its authorisation cache, and what it concludes from them.

The list goes before the cache (OCPP 2.0.1 C13.FR.01). Online both are asked only where the settings say so; offline they decide,
and the policy for unknown tokens decides the rest (C15, 1.6 3.5.4).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import MsgspecError, Struct, json

from chargeplane.ocpp import v21, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.simulator.settings import (
    CACHE_ENABLED,
    LOCAL_AUTHORIZE_OFFLINE,
    LOCAL_LIST_ENABLED,
    LOCAL_PRE_AUTHORIZE,
    MASTER_PASS_GROUP,
    OFFLINE_UNKNOWN,
)

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_CACHE_MOST: Final = 500


class Known(Struct, frozen=True):
    """What a station was told of an id token."""

    status: str
    group: str | None = None
    expires: datetime | None = None


class TokenMemory:
    """A station's cache, and what its local list says beyond the status; texts are compared without case."""

    __slots__ = ("cache", "groups")

    def __init__(self) -> None:
        self.cache: dict[str, Known] = {}
        self.groups: dict[str, str] = {}


def told(payload: bytes) -> Known | None:
    """What an answer says of the id token, in any version; None where it says nothing."""
    try:
        answer: Any = json.decode(payload)
    except MsgspecError:
        return None
    info = answer.get("idTokenInfo") or answer.get("idTagInfo") if isinstance(answer, dict) else None
    if not isinstance(info, dict) or "status" not in info:
        return None
    group = info.get("parentIdTag") or (info.get("groupIdToken") or {}).get("idToken")
    ends = info.get("cacheExpiryDateTime") or info.get("expiryDate")
    return Known(info["status"], group, None if ends is None else parse_timestamp(ends))


def plain_token(token: v201.IdTokenType | v21.IdTokenType) -> str:
    """The text a driver would present; what is no RFID card carries its type in front."""
    return token.id_token if token.type in ("ISO14443", "NoAuthorization") else f"{token.type}:{token.id_token}"


def listed(station: VirtualStation, id_token: str) -> Known | None:
    """What the local list says of a token."""
    if not station.local_list or not station.settings.is_on(LOCAL_LIST_ENABLED):
        return None
    key = id_token.casefold()
    status = station.local_list.get(key)
    return None if status is None else Known(status, station.state_of(TokenMemory).groups.get(key))


def cached(station: VirtualStation, id_token: str) -> Known | None:
    """What the cache says of a token, while it may be believed (C10.FR.13)."""
    if not station.settings.is_on(CACHE_ENABLED):
        return None
    known = station.state_of(TokenMemory).cache.get(id_token.casefold())
    if known is not None and known.expires is not None and station.clock.now() >= known.expires:
        return None
    return known


def remember(station: VirtualStation, id_token: str, known: Known | None) -> None:
    """Keeps what the CSMS told of a token; tokens of nobody are not kept (C02.FR.03)."""
    if known is None or not id_token or not station.settings.is_on(CACHE_ENABLED):
        return
    cache = station.state_of(TokenMemory).cache
    cache.pop(id_token.casefold(), None)
    while len(cache) >= _CACHE_MOST:
        cache.pop(next((key for key, one in cache.items() if one.status != "Accepted"), next(iter(cache))))  # C10.FR.07
    cache[id_token.casefold()] = known


def group_of(station: VirtualStation, id_token: str) -> str | None:
    """The group of a token, as far as the list or the cache know it, case-folded."""
    for known in (listed(station, id_token), cached(station, id_token)):
        if known is not None and known.group is not None:
            return known.group.casefold()
    return None


def is_master(station: VirtualStation, group: str | None) -> bool:
    """Whether tokens of a group stop everything and begin nothing (C16)."""
    master = station.settings.text(MASTER_PASS_GROUP)
    return bool(master) and group is not None and group.casefold() == master.casefold()


def locally(station: VirtualStation, id_token: str) -> bool | None:
    """Whether a token is taken or refused without asking; None where the CSMS is to be asked.

    Online only what is known as Accepted is taken, where `LocalPreAuthorize` is on. Offline the list decides, then the
    cache, then the policy for unknown tokens.
    """
    known = listed(station, id_token) or cached(station, id_token)
    if known is not None and is_master(station, known.group):
        return False
    if station.online and station.accepted:
        return True if known is not None and known.status == "Accepted" and _asks_itself_first(station) else None
    if not station.settings.is_on(LOCAL_AUTHORIZE_OFFLINE):
        return False
    if known is not None:
        return known.status == "Accepted"
    return station.settings.is_on(OFFLINE_UNKNOWN)


def _asks_itself_first(station: VirtualStation) -> bool:
    return station.settings.is_on(LOCAL_PRE_AUTHORIZE)
