"""Tariffs as OCPI publishes them (OCPI 2.3.0 mod_tariffs)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from chargeplane.bridge.roaming.values import Document, fields, filled, moment, number, plain
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.tariffs.model import PriceComponent, Restrictions, TariffContent, TariffElement

_RESTRICTIONS: Final = Restrictions.__struct_fields__
_TARIFF: Final = (
    "tariff_alt_text",
    "tariff_alt_url",
    "min_price",
    "max_price",
    "preauthorize_amount",
    "start_date_time",
    "end_date_time",
    "energy_mix",
)


def tariff_document(content: TariffContent, tariff_id: str, party: PartyId, last_updated: datetime) -> Document:
    """A Tariff.

    Args:
        party: the tenant's own, where the tariff names none.
        last_updated: when this version was stored.
    """
    return {
        "country_code": content.country_code or party.country_code,
        "party_id": content.party_id or party.party_id,
        "id": tariff_id,
        "currency": content.currency,
        **filled({"type": None if content.type is None else content.type.value}),
        **fields(content, _TARIFF),
        "elements": [_element(element) for element in content.elements],
        "tax_included": content.tax_included.value,
        "last_updated": moment(last_updated),
    }


def _element(element: TariffElement) -> Document:
    restrictions = element.restrictions
    return filled(
        {
            "price_components": [_component(one) for one in element.price_components],
            "restrictions": None if restrictions is None else fields(restrictions, _RESTRICTIONS) or None,
        }
    )


def _component(component: PriceComponent) -> Document:
    return filled(
        {
            "type": component.type.value,
            "price": number(component.price),
            "vat": plain(component.vat),
            # No step is one of a single unit.
            "step_size": component.step_size or 1,
        }
    )
