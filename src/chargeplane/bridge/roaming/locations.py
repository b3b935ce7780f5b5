"""Locations as OCPI publishes them (OCPI 2.3.0 mod_locations)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chargeplane.bridge.roaming.values import Document, fields, filled, moment
from chargeplane.domain.locations.model import EvseContent, EvseStatus, LocationContent, PaymentMethod
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.published import ConnectorNow, EvseNow

_TERMINALS: Final = {
    PaymentMethod.TERMINAL_CREDIT_CARD: "CREDIT_CARD_PAYABLE",
    PaymentMethod.TERMINAL_DEBIT_CARD: "DEBIT_CARD_PAYABLE",
    PaymentMethod.TERMINAL_CONTACTLESS: "CONTACTLESS_CARD_SUPPORT",
}
REMOTE: Final = "REMOTE_START_STOP_CAPABLE"
PLUG_AND_CHARGE: Final = "ISO_15118_2_PLUG_AND_CHARGE"
_PLUG_AND_CHARGE_20: Final = "ISO_15118_20_PLUG_AND_CHARGE"

_LOCATION: Final = (
    "publish_allowed_to",
    "name",
    "address",
    "city",
    "postal_code",
    "state",
    "country",
    "coordinates",
    "related_locations",
    "parking_type",
    "parking_places",
    "directions",
    "operator",
    "suboperator",
    "owner",
    "facilities",
    "time_zone",
    "opening_times",
    "images",
    "energy_mix",
    "help_phone",
)
_EVSE: Final = (
    "status_schedule",
    "floor_level",
    "coordinates",
    "physical_reference",
    "directions",
    "parking_restrictions",
    "parking",
    "images",
    "accepted_service_providers",
)
_CONNECTOR: Final = (
    "id",
    "standard",
    "format",
    "power_type",
    "max_voltage",
    "max_amperage",
    "max_electric_power",
    "tariff_ids",
    "terms_and_conditions",
)


def location_document(
    content: LocationContent, location_id: str, evses: Sequence[EvseNow], party: PartyId, last_updated: datetime
) -> Document:
    """A Location.

    Args:
        party: the tenant's own, where the location names none.
        last_updated: when it, or an EVSE of it, changed last.
    """
    said = fields(content, _LOCATION)
    if content.publish:
        said.pop("publish_allowed_to", None)  # only to be used where the location is not published
    return filled(
        {
            "country_code": content.country_code or party.country_code,
            "party_id": content.party_id or party.party_id,
            "id": location_id,
            "publish": content.publish,
            **said,
            "evses": [evse_document(evse) for evse in evses if evse.connectors],
            "charging_when_closed": content.charging_when_closed,
            "last_updated": moment(last_updated),
        }
    )


def evse_document(evse: EvseNow) -> Document:
    """An EVSE. One that was removed keeps its uid, and gives back its evse_id to be used again."""
    content = evse.content
    plug_and_charge = PaymentMethod.PLUG_AND_CHARGE in content.payment_methods
    removed = evse.status is EvseStatus.REMOVED
    return filled(
        {
            "uid": evse.uid,
            "evse_id": None if removed else content.evse_id,
            "status": evse.status.value,
            "capabilities": capabilities_of(content, evse.bound and not removed),
            "connectors": [connector_document(one, plug_and_charge) for one in evse.connectors],
            **fields(content, _EVSE),
            "last_updated": moment(evse.last_updated),
        }
    )


def connector_document(connector: ConnectorNow, plug_and_charge: bool = False) -> Document:
    """A Connector.

    Args:
        plug_and_charge: its EVSE takes contract certificates; said of ISO 15118-2 where nobody said of which.
    """
    said = list(connector.content.capabilities)
    if plug_and_charge and PLUG_AND_CHARGE not in said and _PLUG_AND_CHARGE_20 not in said:
        said.append(PLUG_AND_CHARGE)
    return {
        **fields(connector.content, _CONNECTOR),
        **({"capabilities": said} if said else {}),
        "last_updated": moment(connector.last_updated),
    }


def capabilities_of(content: EvseContent, bound: bool) -> list[str]:
    """What an EVSE can do: as described, what its ways to pay say of a terminal, and that it is started and stopped from here."""
    found = list(content.capabilities)
    said = [_TERMINALS[method] for method in content.payment_methods if method in _TERMINALS]
    if bound:
        said.append(REMOTE)
    return list(dict.fromkeys([*found, *said]))
