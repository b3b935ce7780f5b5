"""OCPI 2.2.1 and the canonical version: what their schemas do not say of each other.

Most of it they do say: 2.3.0 added fields and values, which are lost downwards and absent upwards.
"""

from __future__ import annotations

from typing import Final

from chargeplane.bridge.ocpi.losses import Why
from chargeplane.bridge.ocpi.plan import At, Planner, Rules, Run, Tree
from chargeplane.bridge.ocpi.prices import price_from_vat, price_to_vat, without_taxes
from chargeplane.ocpi.v2_2_1 import credentials as old_credentials
from chargeplane.ocpi.v2_2_1 import hub_client_info as old_hub
from chargeplane.ocpi.v2_2_1 import tariffs as old_tariffs
from chargeplane.ocpi.v2_2_1 import types as old_types
from chargeplane.ocpi.v2_3_0 import cdrs, credentials, locations, tariffs, tokens, types

_NO_EMAID: Final = Rules(nearest={"type": {"EMAID": "OTHER"}})
"""Tokens of Plug & Charge came with 2.3.0."""

HUB: Final = "HUB"
"""The role that 2.3.0 no longer has: a hub is a field of the credentials there."""


def _hub_to_role(run: Run, source: Tree, target: Tree, at: At) -> None:
    hub = source.get("hub_party_id")
    if hub:
        name = run.fill(((at, "roles"), "business_details"), {"name": hub})
        role = {"role": HUB, "business_details": name, "party_id": hub[2:], "country_code": hub[:2]}
        target["roles"] = [*target.get("roles", ()), role]


def _role_to_hub(run: Run, source: Tree, at: At) -> Tree:
    roles = source.get("roles") or []
    hub = next((place for place, role in enumerate(roles) if role.get("role") == HUB), None)
    if hub is None:
        return source
    role = roles[hub]
    run.lose((((at, "roles"), hub), "business_details"), role.get("business_details"), Why.NO_FIELD)
    left = [*roles[:hub], *roles[hub + 1 :]]
    return {**source, "roles": left or [role], "hub_party_id": f"{role['country_code']}{role['party_id']}"}


def _taxes_on_top(run: Run, source: Tree, target: Tree, at: At) -> None:
    if "tax_included" not in target and not run.partial:
        # Prices are without VAT in 2.2.1 (mod_tariffs, PriceComponent).
        target["tax_included"] = run.fill((at, "tax_included"), "NO", Why.IMPLIED)


DOWN: Final = Planner(
    {
        credentials.Credentials: Rules(told=frozenset({"hub_party_id"}), finish=_hub_to_role),
        types.Price: Rules(rename={"before_taxes": "excl_vat"}, told=frozenset({"taxes"}), finish=price_to_vat),
        tariffs.PriceLimit: Rules(rename={"before_taxes": "excl_vat", "after_taxes": "incl_vat"}),
        tariffs.Tariff: Rules(told=frozenset({"tax_included"}), prepare=without_taxes),
        tariffs.TariffElement: Rules(vital=frozenset({"restrictions"})),
        tariffs.TariffRestrictions: Rules(closes=True),
        tokens.Token: _NO_EMAID,
        cdrs.CdrToken: _NO_EMAID,
        cdrs.CdrLocation: Rules(nearest={"connector_standard": {"SAE_J3400": "TESLA_S"}}),
        locations.PublishTokenType: _NO_EMAID,
        # The plug is the same, what is spoken over it is not (mod_locations, ConnectorType).
        locations.Connector: Rules(nearest={"standard": {"SAE_J3400": "TESLA_S"}}),
    },
    keep=False,
)
"""2.3.0 -> 2.2.1."""

UP: Final = Planner(
    {
        old_credentials.Credentials: Rules(prepare=_role_to_hub),
        old_credentials.CredentialsRole: Rules(nearest={"role": {HUB: "OTHER"}}),
        old_hub.ClientInfo: Rules(nearest={"role": {HUB: "OTHER"}}),
        (old_types.Price, types.Price): Rules(
            rename={"excl_vat": "before_taxes"}, told=frozenset({"incl_vat"}), finish=price_from_vat
        ),
        (old_types.Price, tariffs.PriceLimit): Rules(rename={"excl_vat": "before_taxes", "incl_vat": "after_taxes"}),
        old_tariffs.Tariff: Rules(finish=_taxes_on_top),
    },
    keep=True,
)
"""2.2.1 -> 2.3.0."""
