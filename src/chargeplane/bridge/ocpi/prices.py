"""Amounts between the versions: 2.3.0 names each tax, 2.2.1 has with and without VAT, 2.1.1 without only."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from chargeplane.bridge.ocpi.losses import Why
from chargeplane.bridge.ocpi.plan import At, Run, Tree

VAT: Final = "VAT"
"""The name of a tax that an older version did not name."""

_STEP: Final = Decimal("0.000001")


def price_to_vat(run: Run, source: Tree, target: Tree, at: At) -> None:
    """Price of 2.3.0 -> `incl_vat` of 2.2.1: the amount with all its taxes."""
    taxes = source.get("taxes")
    if not taxes:
        return
    target["incl_vat"] = source["before_taxes"] + sum(tax["amount"] for tax in taxes)
    if len(taxes) > 1 or taxes[0].keys() != {"name", "amount"} or taxes[0]["name"] != VAT:
        run.lose((at, "taxes"), taxes, Why.NO_FIELD)


def price_from_vat(run: Run, source: Tree, target: Tree, at: At) -> None:
    """`incl_vat` of 2.2.1 -> the one tax of a Price of 2.3.0."""
    with_vat = source.get("incl_vat")
    if with_vat is not None:
        target["taxes"] = [{"name": VAT, "amount": with_vat - source["excl_vat"]}]


def price_to_number(run: Run, value: Any, at: At) -> Any:
    """Price of 2.3.0 -> the amount without taxes, all that 2.1.1 has."""
    if value.get("taxes"):
        run.lose((at, "taxes"), value["taxes"], Why.NO_FIELD)
    return value["before_taxes"]


def price_from_number(run: Run, value: Any, at: At) -> Tree:
    """An amount of 2.1.1, which is without taxes -> Price of 2.3.0."""
    return {"before_taxes": value}


def without_taxes(run: Run, tariff: Tree, at: At) -> Tree:
    """A Tariff whose prices are without taxes, as older versions have them, from one whose prices may include them.

    Where the rate of a price is known it is taken out, to six places; where not, the price stays and that is told.
    """
    included = tariff.get("tax_included")
    if included == "N/A":
        run.lose((at, "tax_included"), included, Why.NEAREST)
    if included != "YES":
        return tariff
    elements = []
    for place, element in enumerate(tariff.get("elements") or ()):
        where = (((at, "elements"), place), "price_components")
        components = [
            _without(run, component, (where, number))
            for number, component in enumerate(element.get("price_components") or ())
        ]
        elements.append({**element, "price_components": components})
    return {**tariff, "elements": elements, "tax_included": "NO"}


def _without(run: Run, component: Tree, at: At) -> Tree:
    vat = component.get("vat")
    if vat is None:
        if component["price"]:
            run.lose((at, "price"), component["price"], Why.TAXES)
        return component
    exact = Decimal(component["price"]) * 100 / (100 + Decimal(vat))
    price = exact.quantize(_STEP, ROUND_HALF_UP)
    if price != exact:
        run.lose((at, "price"), component["price"], Why.ROUNDED)
    return {**component, "price": price.normalize() if price else Decimal(0)}
