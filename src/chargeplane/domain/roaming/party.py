"""Parties of OCPI."""

from __future__ import annotations

from msgspec import Struct


class Party(Struct, frozen=True, kw_only=True):
    """A party: an operator, a provider (OCPI 2.3.0 credentials, CredentialsRole).

    Args:
        country_code: ISO 3166-1 alpha-2.
        party_id: three characters.
    """

    country_code: str
    party_id: str

    def __str__(self) -> str:
        return f"{self.country_code}*{self.party_id}"

    @property
    def key(self) -> str:
        """What parties are compared by."""
        return f"{self.country_code}{self.party_id}".upper()
