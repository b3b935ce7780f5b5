"""The local authorisation list of a station: its version, its limits, and updates."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.local_lists import LAST_VERSION, ListEntry, ListUpdate
from chargeplane.domain.messages import IdToken

Version = Annotated[int, Meta(ge=1, le=LAST_VERSION)]


class GetLocalListVersion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_local_list_version"):
    """Ask for the version of the list that the station holds. The reply is a `LocalListVersion`."""


class LocalListVersion(Struct, frozen=True, kw_only=True):
    """The version of the list a station holds.

    Args:
        version: 0: it has no list; -1: it has no place for one (OCPP 1.6, 5.10).
    """

    version: int


class GetLocalListLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="get_local_list_limits"):
    """Ask how long a list and a message of it may be. The reply is a `ListLimits`."""


class SendLocalList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="send_local_list"):
    """Give the station its list, or changes of it, by hand. Where the list is kept by policy, what was sent by hand is replaced.

    Args:
        version: of the list after this; above the one it has.
        kind: `Full` replaces the list, `Differential` changes it.
        put: entries that are new or changed.
        remove: id tokens that leave the list (`Differential`).
    """

    version: Version
    kind: ListUpdate = ListUpdate.DIFFERENTIAL
    put: Annotated[tuple[ListEntry, ...], Meta(max_length=2000)] = ()
    remove: Annotated[tuple[IdToken, ...], Meta(max_length=2000)] = ()
