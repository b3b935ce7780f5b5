"""Bodies on the wire of any version <-> canonical documents: what both OCPI edges do with each body."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.ocpi import NO_CONTEXT, Context, Converted, Party, convert
from chargeplane.bridge.ocpi import to_canonical as brought_up
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.ocpi.documents import Document, decode, encode_tree, parse
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.v2_3_0.enums import Role
from chargeplane.ocpi.versions import CANONICAL, Version

_LOSSES: Final = 50


class Carried(Struct, frozen=True, kw_only=True):
    """A body brought to another version.

    Args:
        losses: what could not be carried, or was made up, a sentence each; at most 50.
    """

    document: Document
    losses: tuple[str, ...] = ()


def context_of(peer: Peer, owner: PartyId | None = None) -> Context:
    """What conversions from and to a partner's version must know, as far as its connection tells.

    Args:
        owner: whose the object is, where the URL says it; None: the partner's only party, or its first.
    """
    theirs = peer.parties[0] if peer.parties else None
    owner = owner or (None if theirs is None else theirs.id)
    own = peer.own_party(PartyRole.EMSP) or peer.own_party()
    drivers = theirs.id if theirs is not None and theirs.role is not PartyRole.CPO else None if own is None else own.id
    return Context(
        owner=_party(owner),
        token_owner=_party(drivers),
        peer_role=None if theirs is None or theirs.role.value not in _ROLES else Role(theirs.role.value),
    )


_ROLES: Final = frozenset(role.value for role in Role)


def _party(party: PartyId | None) -> Party | None:
    return None if party is None else Party(party.country_code, party.party_id)


def to_canonical(
    kind: Kind, version: Version, body: bytes, context: Context = NO_CONTEXT, *, partial: bool = False
) -> Carried:
    """What a partner sent, as a canonical document.

    Args:
        partial: the body of a PATCH.
    Raises:
        MalformedError, DocumentError: it is no such object of the version.
        UnconvertibleError: it lacks what the canonical version cannot be without.
    """
    document = decode(kind, version, body, partial=partial)
    if version is CANONICAL:
        return Carried(document=document)
    canonical, made = brought_up(document, context)
    return Carried(document=canonical, losses=_told(made))


def from_canonical(
    kind: Kind, version: Version, body: bytes, context: Context = NO_CONTEXT, *, partial: bool = False
) -> Carried:
    """A canonical document, as a partner of the version gets it.

    Raises:
        MalformedError: it is no JSON.
        UnconvertibleError: it cannot be said in the version.
    """
    tree = parse(body)
    made = convert(kind, tree, CANONICAL, version, context, partial=partial)
    document = Document(kind=kind, version=version, tree=made.tree, value=None, partial=partial)
    return Carried(document=document, losses=_told(made))


def _told(made: Converted) -> tuple[str, ...]:
    found = [f"{loss.pointer}: {loss.why.value}" for loss in made.losses[:_LOSSES]]
    found += [f"{filled.pointer}: made up, {filled.why.value}" for filled in made.filled[:_LOSSES]]
    return tuple(found[:_LOSSES])


def with_owners(kind: Kind, wire: bytes, canonical: bytes) -> bytes:
    """A document of OCPI 2.1.1 with whose it is, which that version has in URLs alone: behind a hub, the URL of a list, of a CDR or of a
    command says nothing of it. The fields are those of later versions; who does not know them passes them over.
    """
    source, target = parse(canonical), parse(wire)
    if not isinstance(source, dict) or not isinstance(target, dict):
        return wire
    if kind in _OF_DRIVERS:
        token, given = target.get("token"), source.get("token")
        if not isinstance(token, dict) or not isinstance(given, dict):
            return wire
        return encode_tree({**target, "token": {**token, **_owner_in(given)}})
    return encode_tree({**target, **_owner_in(source)})


_OF_DRIVERS: Final = frozenset({Kind.START_SESSION, Kind.RESERVE_NOW})


def _owner_in(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: tree[name] for name in ("country_code", "party_id") if name in tree}
