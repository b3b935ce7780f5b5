"""The chart of accounts: which account a thing is booked on. A code is made of parts joined by colons; the first tells the type."""

from __future__ import annotations

import enum
from decimal import Decimal

from msgspec import Struct


class AccountType(enum.StrEnum):
    """What a balance is: debit balances of assets and expenses, credit balances of liabilities and income."""

    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"


class PayerKind(enum.StrEnum):
    """Who owes."""

    DRIVER = "driver"
    COMPANY = "company"
    PARTNER = "partner"
    GUEST = "guest"
    """Whoever paid one payment; the id is the payment's."""


class Account(Struct, frozen=True, kw_only=True):
    """An account, opened by the first posting on it.

    Args:
        code: as `receivable:driver:12`; unique within the tenant.
    """

    code: str
    type: AccountType


def receivable(kind: PayerKind, ident: str) -> Account:
    """What somebody owes us; below nothing it is what we owe them."""
    return Account(code=f"receivable:{kind.value}:{ident}", type=AccountType.ASSET)


def advance(kind: PayerKind, ident: str) -> Account:
    """What somebody paid before it was owed, such as deposits."""
    return Account(code=f"advance:{kind.value}:{ident}", type=AccountType.LIABILITY)


def bank() -> Account:
    """What came by bank transfer, booked by hand."""
    return Account(code="bank", type=AccountType.ASSET)


def clearing(provider: str) -> Account:
    """What a payment provider took for us and did not pay out yet."""
    return Account(code=f"clearing:{provider}", type=AccountType.ASSET)


def disputed(provider: str) -> Account:
    """What a provider took back because the payer disputes it."""
    return Account(code=f"disputed:{provider}", type=AccountType.ASSET)


def fees(provider: str) -> Account:
    """What a provider keeps for its work."""
    return Account(code=f"fees:{provider}", type=AccountType.EXPENSE)


def revenue(kind: str, country: str, category: str, percent: Decimal) -> Account:
    """What was earned, net, by kind and tax rate.

    Args:
        kind: as `charging`, `fee`.
        country: ISO 3166-1 alpha-2, where it is taxed; with the state where states tax, as `US-CA`.
        category: EN 16931's code, as `S`.
    """
    return Account(code=f"revenue:{kind}:{country}:{category}:{rate_text(percent)}", type=AccountType.INCOME)


def tax(country: str, percent: Decimal) -> Account:
    """Tax that we owe a country."""
    return Account(code=f"tax:{country}:{rate_text(percent)}", type=AccountType.LIABILITY)


def input_tax(country: str) -> Account:
    """Tax that others charged us, which we may claim back."""
    return Account(code=f"input-tax:{country}", type=AccountType.ASSET)


def wallet(account_id: str) -> Account:
    """What a prepaid account has in it."""
    return Account(code=f"wallet:{account_id}", type=AccountType.LIABILITY)


def write_off() -> Account:
    """What is given up."""
    return Account(code="write-off", type=AccountType.EXPENSE)


def rounding() -> Account:
    """Less than a minor unit, where rounding leaves it."""
    return Account(code="rounding", type=AccountType.EXPENSE)


def partner(ident: str) -> Account:
    """What we owe a partner: a site host's share, roaming."""
    return Account(code=f"payable:{ident}", type=AccountType.LIABILITY)


def partner_cost(kind: str) -> Account:
    """What partners cost us: `revenue-share`, `roaming`."""
    return Account(code=f"cost:{kind}", type=AccountType.EXPENSE)


def rate_text(percent: Decimal) -> str:
    """A tax rate without zeros at the end: `19`, `5.5`, `7.25`."""
    text = f"{percent:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
