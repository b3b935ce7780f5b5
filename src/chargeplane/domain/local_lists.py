"""Local authorisation lists: which messages bring a station's list from what it holds to what it should hold.

We count the versions. Each message has a higher one than the last, also the parts of one update: a station refuses a
differential message whose version is not above its own (OCPP 1.6, 5.15; 2.0.1 D01.FR.19), and takes a long list as a full
message followed by differential ones (D01.FR.03).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from chargeplane.domain.authorization import IdTokenRecord
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from chargeplane.domain.token_rules import restricts

FIRST_VERSION: Final = 1
"""0 says that no list is installed (D01.FR.18)."""

LAST_VERSION: Final = 2**31 - 1
"""After this a list begins anew at the first version, with a full message."""

MOST_ENTRIES: Final = 20_000
"""Entries of one list, whatever a station says it could hold."""

_BATCH: Final = 500
"""Entries of one message where the station names no limit: well below 256 KiB."""


_MOST_AT_ONCE: Final = 2_000


class ListEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An id token in a local list, with what a station may know of it offline."""

    id_token: IdToken
    status: AuthorizationStatus = AuthorizationStatus.ACCEPTED
    valid_until: datetime | None = None
    group_id: str | None = None
    language: str | None = None
    personal_message: str | None = None


class ListUpdate(enum.StrEnum):
    """OCPP UpdateType."""

    FULL = "Full"
    DIFFERENTIAL = "Differential"


class ListMessage(Struct, frozen=True, kw_only=True):
    """One message of an update.

    Args:
        version: of the list after it.
    """

    kind: ListUpdate
    version: int
    put: tuple[ListEntry, ...] = ()
    remove: tuple[IdToken, ...] = ()


class ListLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a station says of its local list; None where it says nothing.

    Args:
        enabled: whether it goes by the list at all.
        max_entries: 1.6 LocalAuthListMaxLength; 2.x the limit of LocalAuthListCtrlr.Entries.
        items_per_message: 1.6 SendLocalListMaxLength; 2.x LocalAuthListCtrlr.ItemsPerMessage.
    """

    enabled: bool | None = None
    max_entries: int | None = None
    items_per_message: int | None = None


class Held(Struct, frozen=True, kw_only=True):
    """What a station holds, as far as we know.

    Args:
        version: 0 where it has no list.
        entries: fingerprint of each entry by its key, and the id as it was sent where its letters are not those of the key.
    """

    version: int = 0
    entries: dict[str, str] = {}


NOTHING: Final = Held()
_encode: Final = msgspec.json.Encoder().encode
_SEPARATOR: Final = "\x1f"


class ListPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which id tokens belong on a station's local list.

    Args:
        tokens: `none`: the list is left alone; `all`: all accepted ones; `groups`: the accepted ones of `group_ids`.
        include_refused: blocked and expired ones too, so that a station that lets unknown ones charge offline refuses them.
        max_entries: at most so many, the ones that charged or changed last; the station's own limit holds beside it.
    """

    tokens: Annotated[str, Meta(pattern="^(none|all|groups)$")] = "none"
    group_ids: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(max_length=1000)] = ()
    include_refused: bool = False
    max_entries: Annotated[int, Meta(ge=0, le=MOST_ENTRIES)] | None = None


def key_of(token: IdToken) -> str:
    """What entries of a list are told apart by."""
    return f"{token.type or ''}{_SEPARATOR}{token.value.casefold()}"


def token_of(key: str, kept: str = "") -> IdToken:
    """The token that a key means.

    Args:
        kept: what is held under the key. It has the letters in which the station was sent the id: ids compare without case, and
            stations that compare them with case find it all the same.
    """
    kind, _, folded = key.partition(_SEPARATOR)
    return IdToken(value=kept.partition(_SEPARATOR)[2] or folded, type=kind or None)


def fingerprint(entry: ListEntry) -> str:
    """Changes with everything that a station is told of the entry."""
    return blake2b(_encode(entry), digest_size=8).hexdigest()


def _kept(entry: ListEntry) -> str:
    value = entry.id_token.value
    mark = fingerprint(entry)
    return mark if value == value.casefold() else f"{mark}{_SEPARATOR}{value}"


def _is_held(held: Held, key: str, entry: ListEntry) -> bool:
    kept = held.entries.get(key)
    return kept is not None and kept.partition(_SEPARATOR)[0] == fingerprint(entry)


def entry_of(record: IdTokenRecord, *, now: datetime) -> ListEntry | None:
    """What a list says of a token; None where it has no place on one: its rules could not be kept offline, or it is not valid yet.

    Args:
        record: as registered.
    """
    status = record.status
    if status is AuthorizationStatus.ACCEPTED:
        if record.valid_until is not None and now >= record.valid_until:
            status = AuthorizationStatus.EXPIRED
        elif (
            (record.valid_from is not None and now < record.valid_from)
            or (record.rules is not None and restricts(record.rules))
            or record.credit_wh is not None
            or record.credit is not None
        ):
            return None
    return ListEntry(
        id_token=IdToken(value=record.value, type=record.type),
        status=status,
        valid_until=record.valid_until,
        group_id=record.group_id,
        language=record.language,
        personal_message=record.personal_message,
    )


def chosen(
    records: Iterable[IdTokenRecord],
    policy: ListPolicy,
    limits: ListLimits,
    *,
    fits: Sequence[str] | None,
    now: datetime,
) -> tuple[list[ListEntry], int]:
    """The entries that belong on a list, and how many had no room.

    Args:
        records: the most wanted first.
        fits: types of id tokens that the station's version has; None: it has no types, and no ids above 20 characters.
    """
    groups = {group.casefold() for group in policy.group_ids}
    most = min(one for one in (policy.max_entries, limits.max_entries, MOST_ENTRIES) if one is not None)
    entries: dict[str, ListEntry] = {}
    left_out = 0
    for record in records:
        if policy.tokens == "groups" and (record.group_id is None or record.group_id.casefold() not in groups):
            continue
        entry = entry_of(record, now=now)
        if entry is None or (entry.status is not AuthorizationStatus.ACCEPTED and not policy.include_refused):
            continue
        if fits is None:
            token = entry.id_token
            value = f"VID:{token.value}" if token.type == "MacAddress" else token.value
            entry = msgspec.structs.replace(entry, id_token=IdToken(value=value))
            if len(value) > 20:
                left_out += 1
                continue
        elif entry.id_token.type not in fits or (len(fits) < 10 and len(entry.id_token.value) > 36):
            left_out += 1
            continue
        key = key_of(entry.id_token)
        if key in entries:
            if entries[key].status is AuthorizationStatus.ACCEPTED:  # without types two may be one
                continue
        elif len(entries) >= most:
            left_out += 1
            continue
        entries[key] = entry
    return list(entries.values()), left_out


def messages(
    held: Held | None, wanted: Sequence[ListEntry], limits: ListLimits, *, above: int = 0
) -> list[ListMessage]:
    """The messages that bring a list to what is wanted; none where it is so already.

    Args:
        held: None where it is not known what the station holds: everything is sent again.
        above: a version the station told, which the next one must exceed.
    """
    most = min(limits.items_per_message or _BATCH, _MOST_AT_ONCE)
    by_key = {key_of(entry.id_token): entry for entry in wanted}
    version = max(held.version if held is not None else 0, above)
    if held is not None and held.version >= FIRST_VERSION and held.version == version:
        put = [entry for key, entry in by_key.items() if not _is_held(held, key, entry)]
        remove = [token_of(key, kept) for key, kept in held.entries.items() if key not in by_key]
        if not put and not remove:
            return []
        # Room first: a list that is full takes nothing new.
        parts = _parts(remove, put, most)
        full_parts = -(-max(len(by_key), 1) // most)
        if len(parts) <= full_parts and version + len(parts) <= LAST_VERSION:
            return [
                ListMessage(kind=ListUpdate.DIFFERENTIAL, version=version + number, put=tuple(puts), remove=tuple(gone))
                for number, (gone, puts) in enumerate(parts, 1)
            ]
    elif held is not None and held.version == 0 and version == 0 and not by_key:
        return []
    first = version + 1
    if first + len(by_key) // most > LAST_VERSION:
        first = FIRST_VERSION
    entries = list(by_key.values())
    made = [ListMessage(kind=ListUpdate.FULL, version=first, put=tuple(entries[:most]))]
    for number, start in enumerate(range(most, len(entries), most), 1):
        made.append(
            ListMessage(kind=ListUpdate.DIFFERENTIAL, version=first + number, put=tuple(entries[start : start + most]))
        )
    return made


def _parts(
    remove: Sequence[IdToken], put: Sequence[ListEntry], most: int
) -> list[tuple[list[IdToken], list[ListEntry]]]:
    changes: list[IdToken | ListEntry] = [*remove, *put]
    parts = []
    for start in range(0, len(changes), most):
        part = changes[start : start + most]
        gone = [one for one in part if isinstance(one, IdToken)]
        puts = [one for one in part if isinstance(one, ListEntry)]
        parts.append((gone, puts))
    return parts


def after(held: Held | None, message: ListMessage) -> Held:
    """What a station holds that took a message."""
    entries = {} if message.kind is ListUpdate.FULL or held is None else dict(held.entries)
    for token in message.remove:
        entries.pop(key_of(token), None)
    for entry in message.put:
        entries[key_of(entry.id_token)] = _kept(entry)
    return Held(version=message.version, entries=entries)
