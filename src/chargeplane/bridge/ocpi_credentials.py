"""Credentials objects of all versions <-> what the use cases know of a platform (OCPI 2.3.0 and 2.1.1, credentials)."""

from __future__ import annotations

from typing import Any

from chargeplane.domain.roaming.connection import BusinessDetails, PartnerParty, PartyId, PartyRole, PeerCredentials
from chargeplane.ocpi.documents import decode, encode_tree
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version


def read_credentials(body: bytes, version: Version) -> PeerCredentials:
    """What a platform gave us to call it with.

    Raises:
        MalformedError, DocumentError: it is no credentials object.
    """
    tree = decode(Kind.CREDENTIALS, version, body).tree
    parties = [tree] if version is Version.V2_1_1 else tree["roles"]
    hub = tree.get("hub_party_id")
    return PeerCredentials(
        token=tree["token"],
        versions_url=tree["url"],
        parties=tuple(_party(one) for one in parties),
        hub_party=PartyId(hub[:2], hub[2:]) if isinstance(hub, str) and len(hub) == 5 else None,
    )


def write_credentials(given: PeerCredentials, version: Version) -> bytes:
    """What we give a platform to call us with; of 2.1.1 the first party alone."""
    tree: dict[str, Any] = {"token": given.token, "url": given.versions_url}
    if version is Version.V2_1_1:
        first = given.parties[0]
        tree |= {
            "business_details": _details(first.business_details),
            "party_id": first.id.party_id,
            "country_code": first.id.country_code,
        }
        return encode_tree(tree)
    if given.hub_party is not None and version is Version.V2_3_0:
        tree["hub_party_id"] = f"{given.hub_party.country_code}{given.hub_party.party_id}"
    tree["roles"] = [
        {
            "role": _role(one.role, version),
            "business_details": _details(one.business_details),
            "party_id": one.id.party_id,
            "country_code": one.id.country_code,
        }
        for one in given.parties
    ]
    return encode_tree(tree)


def _role(role: PartyRole, version: Version) -> str:
    # 2.3.0 has no role HUB, 2.2.1 no PTP (OCPI types, Role).
    if role is PartyRole.HUB and version is Version.V2_3_0:
        return PartyRole.OTHER.value
    if role is PartyRole.PTP and version is not Version.V2_3_0:
        return PartyRole.OTHER.value
    return role.value


def _party(tree: dict[str, Any]) -> PartnerParty:
    role = str(tree.get("role", "OTHER")).upper()
    details = tree.get("business_details") or {}
    logo = details.get("logo") or {}
    return PartnerParty(
        id=PartyId(tree["country_code"], tree["party_id"]),
        role=PartyRole(role) if role in set(PartyRole) else PartyRole.OTHER,
        business_details=BusinessDetails(
            name=str(details.get("name") or tree["party_id"])[:100],
            website=details.get("website"),
            logo_url=logo.get("url") if isinstance(logo, dict) else None,
        ),
    )


def _details(details: BusinessDetails) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": details.name}
    if details.website is not None:
        tree["website"] = details.website
    if details.logo_url is not None:
        kind = details.logo_url.rpartition(".")[2].lower()
        tree["logo"] = {
            "url": details.logo_url,
            "category": "OPERATOR",
            "type": kind if kind in ("png", "svg", "gif", "jpeg") else "jpeg",
        }
    return tree
